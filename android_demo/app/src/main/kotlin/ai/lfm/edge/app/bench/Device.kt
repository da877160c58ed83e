package ai.lfm.edge.app.bench

/** The device that is measured on, as the system tells of it; null for what it does not. */
interface Device {
    val cpu: String
    val cores: Int
    val memoryBytes: Long
    val os: String
    val product: String

    /** Android's thermal status: 0 none, 1 light, 2 moderate, 3 severe, and so on. */
    fun thermalStatus(): Int?

    /** Temperature of the battery in degrees Celsius. */
    fun celsius(): Double?

    fun batteryPercent(): Int?

    fun charging(): Boolean?
}

private const val READY_STATUS = 1
private const val POLL_MILLIS = 2_000L
private const val MOST_MILLIS = 300_000L

/**
 * Waits until the device is no warmer than "light", five minutes at most, and gives the status then:
 * a phone that is throttled measures its case and not the model.
 */
suspend fun awaitReady(device: Device, pause: suspend (Long) -> Unit): Int? {
    var waited = 0L
    while (waited < MOST_MILLIS && (device.thermalStatus() ?: 0) > READY_STATUS) {
        pause(POLL_MILLIS)
        waited += POLL_MILLIS
    }
    return device.thermalStatus()
}

/** The memory of this process, in bytes, as Linux tells it. */
data class OwnMemory(val peakRss: Long, val privateDirty: Long) {
    companion object {
        /** Reads it. */
        fun read(proc: java.io.File = java.io.File("/proc/self")) = OwnMemory(
            bytes(proc.resolve("status").readText(), "VmHWM"),
            bytes(proc.resolve("smaps_rollup").takeIf { it.canRead() }?.readText().orEmpty(), "Private_Dirty"),
        )

        private fun bytes(text: String, name: String): Long =
            text.lineSequence().find { it.startsWith("$name:") }
                ?.split(Regex("\\s+"))?.getOrNull(1)?.toLongOrNull()?.times(1024) ?: 0
    }
}
