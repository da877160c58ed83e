package ai.lfm.edge

import kotlinx.serialization.json.JsonObject

/**
 * What one answer can be asked for; null stands for the default everywhere.
 *
 * The defaults of sampling are the bundle's ([ModelInfo.sampling]).
 *
 * @property maxTokens most tokens of the answer; by default the context is the only limit.
 * @property temperature divides the logits; 0 always takes the likeliest token.
 * @property topK keeps the k likeliest tokens; 0 keeps all.
 * @property topP keeps the fewest tokens whose probabilities add up to p; 1 keeps all.
 * @property minP keeps tokens at least this likely, as a fraction of the likeliest one's probability.
 * @property repetitionPenalty above 1: tokens of the prompt and the answer become less likely.
 * @property frequencyPenalty taken from a token's logit for each time that the answer has it.
 * @property presencePenalty taken from a token's logit once the answer has it.
 * @property logitBias added to the logits of these token ids, from -100 to 100.
 * @property banned token ids that are never drawn.
 * @property seed the same seed gives the same tokens; by default a fresh one is drawn.
 * @property stop strings that end the text and are not part of it.
 * @property thinkingBudget most tokens of reasoning, which is then closed; of chats alone.
 */
public data class AnswerOptions(
    val maxTokens: Int? = null,
    val temperature: Double? = null,
    val topK: Int? = null,
    val topP: Double? = null,
    val minP: Double? = null,
    val repetitionPenalty: Double? = null,
    val frequencyPenalty: Double? = null,
    val presencePenalty: Double? = null,
    val logitBias: Map<Int, Double>? = null,
    val banned: Collection<Int>? = null,
    val seed: ULong? = null,
    val stop: List<String>? = null,
    val thinkingBudget: Int? = null,
)

internal fun AnswerOptions.json(): JsonObject =
    jsonOf(
        "max_tokens" to maxTokens,
        "temperature" to temperature,
        "top_k" to topK,
        "top_p" to topP,
        "min_p" to minP,
        "repetition_penalty" to repetitionPenalty,
        "frequency_penalty" to frequencyPenalty,
        "presence_penalty" to presencePenalty,
        "logit_bias" to logitBias,
        "banned" to banned,
        "seed" to seed,
        "stop" to stop,
        "thinking_budget" to thinkingBudget,
    )
