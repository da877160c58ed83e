package ai.lfm.edge.app.engine

import ai.lfm.edge.app.R
import android.app.ActivityManager
import android.app.ApplicationExitInfo
import android.content.Context
import android.os.Build

/** Why the engine's process ended, as far as the system tells, in a sentence for the user. */
fun exitReason(context: Context): String {
    val reason = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) lastExit(context) else null
    return context.getString(
        when (reason) {
            ApplicationExitInfo.REASON_LOW_MEMORY -> R.string.engine_died_memory
            ApplicationExitInfo.REASON_CRASH, ApplicationExitInfo.REASON_CRASH_NATIVE -> R.string.engine_died_crash
            ApplicationExitInfo.REASON_SIGNALED -> R.string.engine_died_signal
            else -> R.string.engine_died
        },
    )
}

private fun lastExit(context: Context): Int? {
    val manager = context.getSystemService(ActivityManager::class.java)
    return manager.getHistoricalProcessExitReasons(context.packageName, 0, 5)
        .find { it.processName.endsWith(":engine") }?.reason
}
