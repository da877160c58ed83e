package ai.lfm.edge.app.memory

import ai.lfm.edge.app.engine.MemoryNeed
import ai.lfm.edge.app.importing.sizeText

/** What the device says of its memory, in bytes: `ActivityManager.MemoryInfo`. */
data class DeviceMemory(val total: Long, val available: Long, val threshold: Long) {
    /** What can be used before the system begins to end processes. */
    val usable: Long get() = maxOf(0, available - threshold)
}

/** What to do about a bundle before anything of it is loaded. */
sealed interface Advice {
    /** [context] tokens fit. */
    data class Fits(val context: Int, val text: String) : Advice

    /** Fewer tokens than asked for fit: [context]. */
    data class Smaller(val context: Int, val text: String) : Advice

    /** Nothing useful fits. */
    data class Refused(val text: String) : Advice
}

private const val STEP = 256
private const val LEAST_CONTEXT = 512

/**
 * Whether a bundle fits, or with which context.
 *
 * The weights count in full, though they are mapped from their file: a model whose weights do not stay
 * in memory reads them from flash for every token.
 */
fun advise(need: MemoryNeed, memory: DeviceMemory): Advice {
    val has = "${sizeText(memory.usable)} of ${sizeText(memory.total)} can be used now"
    val parts = "weights ${sizeText(need.weights)}, ${need.context} tokens of context ${sizeText(need.state)}, " +
        "scratch ${sizeText(need.scratch)}"
    if (need.total <= memory.usable) {
        return Advice.Fits(need.context, "Needs ${sizeText(need.total)} ($parts); $has.")
    }
    val context = largestContext(need, memory)
    if (context >= minOf(LEAST_CONTEXT, need.context)) {
        return Advice.Smaller(
            context,
            "Needs ${sizeText(need.total)} ($parts), but $has. With $context tokens of context it needs " +
                "${sizeText(need.total - (need.context - context) * need.bytesPerToken)}.",
        )
    }
    return Advice.Refused(
        "Needs ${sizeText(need.total)} ($parts), but $has. " +
            if (need.total <= memory.total - memory.threshold) {
                "Close other apps and try again, or take a smaller model."
            } else {
                "This device is too small for it; take a smaller model."
            },
    )
}

private fun largestContext(need: MemoryNeed, memory: DeviceMemory): Int {
    val room = memory.usable - (need.total - need.context * need.bytesPerToken)
    if (room <= 0 || need.bytesPerToken <= 0) return 0
    return (minOf(room / need.bytesPerToken, need.context.toLong()) / STEP * STEP).toInt()
}
