package ai.lfm.edge

import java.io.Closeable
import java.security.SecureRandom
import java.util.Locale
import java.util.concurrent.atomic.AtomicLong

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
public class Sampler(options: SamplingOptions, private val vocabSize: Int) : Closeable {
    private val handle: AtomicLong

    init {
        check(options)
        val biases = options.logitBias + options.banned.associateWith { Double.NEGATIVE_INFINITY }
        for (token in biases.keys.filter { it >= vocabSize }) {
            val name = if (token in options.banned) "banned" else "logit_bias"
            throw UnknownTokenError("$name: token $token is not one of the model's ${grouped(vocabSize)}")
        }
        handle = AtomicLong(create(options))
        Native.samplerBias(
            handle.get(),
            biases.keys.toIntArray(),
            biases.values.map(Double::toFloat).toFloatArray(),
        )
    }

    /** Tells which tokens the prompt has, for the repetition penalty. */
    public fun observe(ids: IntArray): Unit = Native.samplerObserve(open(), ids)

    /**
     * The next token of the answer.
     *
     * @param logits as many as the vocabulary has.
     * @param allowed null, or one bit a token: `id % 32` of word `id / 32`.
     * @throws BundleError the logits hold NaN or infinity, or nothing finite.
     * @throws InvalidRequestError every token is banned or not allowed.
     */
    public fun sample(logits: FloatArray, allowed: IntArray? = null): Int {
        if (logits.size != vocabSize) {
            throw InvalidRequestError("logits: got ${logits.size}, expected $vocabSize")
        }
        val words = (vocabSize + 31) / 32
        if (allowed != null && allowed.size != words) {
            throw InvalidRequestError("allowed: got ${allowed.size} words, expected $words")
        }
        val token = Native.samplerChoose(open(), logits, allowed)
        Native.samplerAccept(open(), token)
        return token
    }

    /** Gives it back; may be called twice. */
    override fun close(): Unit = Native.samplerDestroy(handle.getAndSet(0))

    private fun open(): Long =
        handle.get().also { if (it == 0L) throw InvalidRequestError("the sampler is closed") }

    private fun create(options: SamplingOptions) =
        Native.samplerCreate(
            seed = options.seed?.toLong() ?: SecureRandom().nextLong(),
            temperature = options.temperature,
            topP = options.topP,
            minP = options.minP,
            repetitionPenalty = options.repetitionPenalty.toFloat(),
            frequencyPenalty = options.frequencyPenalty.toFloat(),
            presencePenalty = options.presencePenalty.toFloat(),
            topK = options.topK,
            vocabSize = vocabSize,
        )
}

/** The ranges of docs/sampling.md. */
private fun check(options: SamplingOptions) =
    with(options) {
        within("temperature", temperature, 0.0, 1e6, "a number from 0 to 1e6")
        within("top_k", topK.toDouble(), 0.0, Double.MAX_VALUE, "an integer of 0 (off) or more")
        within("top_p", topP, Double.MIN_VALUE, 1.0, "a number above 0 and up to 1")
        within("min_p", minP, 0.0, 1.0, "a number from 0 to 1")
        val above = "a number above 0, from 1e-6 to 1e6"
        within("repetition_penalty", repetitionPenalty, 1e-6, 1e6, above)
        within("frequency_penalty", frequencyPenalty, -2.0, 2.0, "a number from -2 to 2")
        within("presence_penalty", presencePenalty, -2.0, 2.0, "a number from -2 to 2")
        for ((token, bias) in logitBias) {
            within("logit_bias", token.toDouble(), 0.0, Double.MAX_VALUE, "token ids of 0 or more")
            within("logit_bias", bias, -100.0, 100.0, "numbers from -100 to 100")
        }
        for (token in banned) {
            within("banned", token.toDouble(), 0.0, Double.MAX_VALUE, "token ids of 0 or more")
        }
    }

private fun within(name: String, value: Double, low: Double, high: Double, expected: String) {
    if (!(value >= low && value <= high)) { // NaN fails both comparisons.
        throw InvalidRequestError("$name: got $value, expected $expected")
    }
}

private fun grouped(count: Int) = "%,d".format(Locale.ROOT, count)
