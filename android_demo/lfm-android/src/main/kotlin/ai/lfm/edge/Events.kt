package ai.lfm.edge

import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonObject

/** What an answer is made of, as it comes. */
public sealed interface Event {
    /**
     * How far a long work is, between two steps of it.
     *
     * @property what what is done, such as "prefill".
     * @property done how much of it: tokens of a prompt, bytes of files, positions of a proof.
     * @property total how much there is.
     */
    public data class Progress(val what: String, val done: Long, val total: Long) : Event, Proof

    /** A piece of the model's thinking, never empty, as the model wrote it. */
    public data class Reasoning(val text: String) : Event

    /** A piece of the answer, never empty, as the model wrote it. */
    public data class Text(val text: String) : Event

    /**
     * A call that the model asks for.
     *
     * @property name the tool's name, dots included.
     * @property arguments JSON values by parameter name, in the order written.
     */
    public data class ToolCall(val name: String, val arguments: JsonObject) : Event

    /**
     * Text that stood where a call belongs and that no call could be read from.
     *
     * @property text what the model wrote.
     * @property error one line that the model can be told.
     */
    public data class InvalidToolCall(val text: String, val error: String) : Event

    /**
     * The last event of an answer.
     *
     * @property reason why it ended: "eos", "length", "stop", "loop", "cancelled", "context".
     * @property usage its tokens.
     * @property timings its times.
     */
    public data class End(val reason: String, val usage: Usage, val timings: Timings) : Event
}

/** What [LfmModel.verify] tells. */
public sealed interface Proof {
    /**
     * The golden vectors were met; it comes last.
     *
     * @property worst the largest difference from a golden logit.
     * @property tolerance what is allowed.
     */
    public data class Golden(val worst: Double, val tolerance: Double) : Proof
}

/**
 * Tokens of an answer.
 *
 * @property reused of the prompt, those that the session held already.
 * @property processed those that were run before the first new one.
 * @property generated new ones.
 * @property proposed guesses of what the new ones would be.
 * @property accepted the guesses that came true.
 * @property reasoning of the new ones, those of reasoning, with the markers around it.
 */
public data class Usage(
    val reused: Int,
    val processed: Int,
    val generated: Int,
    val proposed: Int = 0,
    val accepted: Int = 0,
    val reasoning: Int = 0,
)

/**
 * Seconds that an answer took.
 *
 * @property timeToFirstToken from the request to the first new token.
 * @property total from the request to the end.
 */
public data class Timings(val timeToFirstToken: Double, val total: Double)

/** An event as `lfm_core.h` writes it. */
internal fun eventOf(event: JsonObject): Event =
    when (val type = event.text("type")) {
        "progress" -> Event.Progress(event.text("what"), event.long("done"), event.long("total"))
        "reasoning" -> Event.Reasoning(event.text("text"))
        "text" -> Event.Text(event.text("text"))
        "tool_call" -> toolCallOf(event)
        "invalid_tool_call" -> Event.InvalidToolCall(event.text("text"), event.text("message"))
        "end" -> endOf(event)
        else -> error("lfm_core gave an event of type $type, which is unknown")
    }

internal fun proofOf(event: JsonObject): Proof =
    if (event.text("type") == "golden") {
        Proof.Golden(event.double("worst"), event.double("tolerance"))
    } else {
        eventOf(event) as Event.Progress
    }

internal fun toolCallOf(call: JsonObject) =
    Event.ToolCall(call.text("name"), call.getValue("arguments").jsonObject)

private fun endOf(event: JsonObject): Event.End {
    val usage = event.getValue("usage").jsonObject
    val timings = event.getValue("timings").jsonObject
    return Event.End(
        event.text("reason"),
        Usage(
            reused = usage.int("reused"),
            processed = usage.int("processed"),
            generated = usage.int("generated"),
            proposed = usage.int("proposed"),
            accepted = usage.int("accepted"),
            reasoning = usage.int("reasoning"),
        ),
        Timings(timings.double("time_to_first_token"), timings.double("total")),
    )
}
