package ai.lfm.edge.app.bench

import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.objectOf
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject

/** What is measured; sizes in tokens, 0 leaves a measurement out. The terms are llama-bench's. */
data class BenchSettings(
    val promptTokens: Int = 512,
    val generatedTokens: Int = 128,
    val repetitions: Int = 5,
    val depth: Int = 0,
    val threads: Int = 0,
    val sustainedSeconds: Int = 0,
) {
    /** Tokens that a session must hold. */
    val capacity: Int get() = depth + promptTokens + generatedTokens

    /** What is wrong with it; null if nothing is. */
    fun problem(): String? = when {
        minOf(promptTokens, generatedTokens, depth) < 0 || threads < 0 || sustainedSeconds < 0 ->
            "A number must not be negative."
        maxOf(promptTokens, generatedTokens, depth) > MOST -> "At most $MOST tokens."
        repetitions !in 1..100 -> "Repetitions: expected 1 to 100."
        promptTokens == 0 && generatedTokens == 0 -> "Nothing to measure: give tokens to read or to write."
        sustainedSeconds > 0 && generatedTokens == 0 -> "A sustained run needs tokens to write."
        else -> null
    }

    /** For an engine. */
    val json: JsonObject
        get() = objectOf(
            "prompt_tokens" to promptTokens, "generated_tokens" to generatedTokens,
            "repetitions" to repetitions, "depth" to depth, "threads" to threads,
            "sustained_seconds" to sustainedSeconds,
        )

    /** As a result has it, measured with [threads] threads. */
    fun resultJson(threads: Int): JsonObject =
        JsonObject((json - "sustained_seconds") + objectOf("threads" to threads) + ("compute_units" to JsonNull))

    companion object {
        private const val MOST = 1_000_000

        fun of(json: JsonObject) = BenchSettings(
            json.int("prompt_tokens") ?: 0, json.int("generated_tokens") ?: 0, json.int("repetitions") ?: 1,
            json.int("depth") ?: 0, json.int("threads") ?: 0, json.int("sustained_seconds") ?: 0,
        )
    }
}
