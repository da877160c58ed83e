package ai.lfm.edge

import java.io.Closeable

/**
 * How [Sampler] draws the next token.
 *
 * @property temperature divides the logits; 0 always takes the most likely token.
 * @property topK keeps the k most likely tokens; 0 keeps all.
 * @property topP keeps the fewest tokens whose probabilities add up to p; 1 keeps all.
 * @property minP keeps tokens at least this likely, as a fraction of the most likely one's.
 * @property repetitionPenalty makes tokens of the prompt and the answer less likely (above 1).
 * @property frequencyPenalty taken from a token's logit for each time that the answer has it.
 * @property presencePenalty taken from a token's logit once the answer has it.
 * @property logitBias added to the logits of tokens.
 * @property banned tokens that are never drawn.
 * @property seed the same seed gives the same tokens; null draws a fresh one.
 */
public data class SamplingOptions(
    val temperature: Double = 0.0,
    val topK: Int = 0,
    val topP: Double = 1.0,
    val minP: Double = 0.0,
    val repetitionPenalty: Double = 1.0,
    val frequencyPenalty: Double = 0.0,
    val presencePenalty: Double = 0.0,
    val logitBias: Map<Int, Double> = emptyMap(),
    val banned: Collection<Int> = emptyList(),
    val seed: ULong? = null,
)

/**
 * From logits to a token, the same on every device; draws the tokens of one answer, for one thread at
 * a time. Answers of a model have theirs; this one is for whoever reads logits of a session.
 *
 * @throws InvalidRequestError an option is out of its range; the message names it.
 * @throws UnknownTokenError [SamplingOptions.logitBias] or `banned` names a token outside the
 *     vocabulary.
 */
public class Sampler(options: SamplingOptions, vocabSize: Int) : Closeable {
    /** Tells which tokens the prompt has, for the repetition penalty. */
    public fun observe(ids: IntArray): Unit = TODO()

    /**
     * The next token of the answer.
     *
     * @param logits as many as the vocabulary has.
     * @param allowed null, or one bit a token: `id % 32` of word `id / 32`.
     * @throws BundleError the logits hold NaN or infinity, or nothing finite.
     * @throws InvalidRequestError every token is banned or not allowed.
     */
    public fun sample(logits: FloatArray, allowed: IntArray? = null): Int = TODO()

    /** Gives it back; may be called twice. */
    override fun close(): Unit = TODO()
}
