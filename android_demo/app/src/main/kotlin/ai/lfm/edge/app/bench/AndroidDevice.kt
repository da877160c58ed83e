package ai.lfm.edge.app.bench

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager

/** This device, as Android tells of it. */
class AndroidDevice(private val context: Context) : Device {
    override val cpu: String
        get() = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) {
            "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}"
        } else {
            Build.HARDWARE
        }

    override val cores: Int get() = Runtime.getRuntime().availableProcessors()

    override val memoryBytes: Long
        get() = ActivityManager.MemoryInfo().also(context.getSystemService(ActivityManager::class.java)::getMemoryInfo)
            .totalMem

    override val os: String
        get() = "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT}) ${Build.SUPPORTED_ABIS.firstOrNull()}"

    override val product: String get() = "${Build.MANUFACTURER} ${Build.MODEL}"

    override fun thermalStatus(): Int? = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
        context.getSystemService(PowerManager::class.java).currentThermalStatus
    } else {
        null
    }

    override fun celsius(): Double? = battery()?.number(BatteryManager.EXTRA_TEMPERATURE)?.let { it / 10.0 }

    override fun batteryPercent(): Int? {
        val battery = battery() ?: return null
        val scale = battery.number(BatteryManager.EXTRA_SCALE)?.takeIf { it > 0 } ?: return null
        return battery.number(BatteryManager.EXTRA_LEVEL)?.let { it * 100 / scale }
    }

    override fun charging(): Boolean? = battery()?.number(BatteryManager.EXTRA_PLUGGED)?.let { it != 0 }

    private fun battery(): Intent? = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))

    private fun Intent.number(name: String): Int? = getIntExtra(name, -1).takeIf { it >= 0 }
}
