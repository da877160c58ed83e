package ai.lfm.edge.app.bench

import java.util.Random

/** As much of a session as is measured. */
interface BenchTarget {
    /** Forgets all tokens. */
    suspend fun reset()

    /** Reads tokens and returns the last one's logits. */
    suspend fun prefill(ids: IntArray): FloatArray

    /** Reads one token. */
    suspend fun decode(id: Int)
}

/** The repetitions' samples: tokens a second, tokens a second, seconds. */
class Timings {
    val prefill = ArrayList<Double>()
    val decode = ArrayList<Double>()
    val firstToken = ArrayList<Double>()
    val thermal = ArrayList<Int?>()
}

/** A point of a sustained run: seconds since its beginning, and tokens a second since the last one. */
data class SpeedPoint(val seconds: Double, val tokensPerSecond: Double)

private const val SEED = 0L
private const val WINDOW_NANOS = 2_000_000_000L

/**
 * Times a session: one warm-up, which is dropped, then the repetitions, each from a fresh state.
 *
 * Every repetition feeds the same random tokens, so the spread is the device's.
 *
 * @param clock nanoseconds.
 */
class Timing(
    private val target: BenchTarget,
    private val settings: BenchSettings,
    vocabSize: Int,
    private val clock: () -> Long = System::nanoTime,
) {
    private val ids = Random(SEED).let { random -> IntArray(settings.capacity) { random.nextInt(vocabSize) } }
    private val context = ids.copyOfRange(0, settings.depth)
    private val prompt = ids.copyOfRange(settings.depth, settings.depth + settings.promptTokens)
    private val generated = ids.copyOfRange(settings.depth + settings.promptTokens, ids.size)

    /** Runs the repetitions; [ready] waits before each, and gives the thermal status that it found. */
    suspend fun repetitions(ready: suspend () -> Int?, progress: suspend (Int) -> Unit): Timings {
        val timings = Timings()
        for (repetition in 0..settings.repetitions) {
            val status = ready()
            val into = if (repetition == 0) Timings() else timings
            into.thermal.add(status)
            if (prompt.isNotEmpty()) timePrefill(into)
            if (generated.isNotEmpty()) timeDecode(into)
            progress(repetition + 1)
        }
        return timings
    }

    /** Decodes for so many seconds, from the depth on again and again, without a pause to cool. */
    suspend fun sustained(seconds: Int, point: suspend (SpeedPoint) -> Unit) {
        val start = clock()
        val end = start + seconds * 1_000_000_000L
        var (tokens, nanos) = 0 to 0L
        while (clock() < end) {
            refill()
            for (id in generated) {
                val before = clock()
                target.decode(id)
                val now = clock()
                tokens++
                nanos += now - before
                if (nanos >= WINDOW_NANOS || now >= end) {
                    point(SpeedPoint((now - start) / 1e9, tokens * 1e9 / nanos))
                    tokens = 0
                    nanos = 0
                }
                if (now >= end) return
            }
        }
    }

    private suspend fun refill() {
        target.reset()
        if (context.isNotEmpty()) target.prefill(context)
    }

    private suspend fun timePrefill(out: Timings) {
        refill()
        val start = clock()
        val logits = target.prefill(prompt)
        val done = clock()
        likeliest(logits)
        out.firstToken.add((clock() - start) / 1e9)
        out.prefill.add(prompt.size * 1e9 / (done - start))
    }

    private suspend fun timeDecode(out: Timings) {
        refill()
        val start = clock()
        for (id in generated) target.decode(id)
        out.decode.add(generated.size * 1e9 / (clock() - start))
    }

    private fun likeliest(logits: FloatArray): Int {
        var best = 0
        for (id in 1 until logits.size) if (logits[id] > logits[best]) best = id
        return best
    }
}
