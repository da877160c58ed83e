package ai.lfm.edge.app.chat

import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.json.objectOf
import kotlinx.serialization.json.JsonObject

/** An answer as far as it has come; it becomes the message that the SDK would have made of it. */
data class Partial(
    val reasoning: String = "",
    val text: String = "",
    val calls: List<JsonObject> = emptyList(),
) {
    val isEmpty get() = reasoning.isEmpty() && text.isEmpty() && calls.isEmpty()

    /** This and an event. */
    fun plus(event: EngineEvent): Partial = when (event) {
        is EngineEvent.Text -> copy(text = text + event.text)
        is EngineEvent.InvalidToolCall -> copy(text = text + event.text)
        is EngineEvent.Reasoning -> copy(reasoning = reasoning + event.text)
        is EngineEvent.ToolCall -> copy(
            calls = calls + objectOf(
                "type" to "function",
                "function" to objectOf("name" to event.name, "arguments" to event.arguments),
            ),
        )
        else -> this
    }

    /** The message that it is. */
    fun message(): JsonObject = objectOf(
        "role" to "assistant", "content" to text, "thinking" to reasoning.ifEmpty { null },
        "tool_calls" to calls.ifEmpty { null },
    )
}
