package ai.lfm.edge.app.chat

import ai.lfm.edge.app.json.boolean
import ai.lfm.edge.app.json.long
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.objects
import ai.lfm.edge.app.json.text
import kotlinx.serialization.json.JsonObject

/**
 * A conversation as it is kept.
 *
 * @property clock when it began, as the template sees it; it stays, so that no prefix changes.
 * @property system instructions before the conversation; "" for none.
 * @property options of sampling, as the fields of the SDK's `AnswerOptions`; the rest are the bundle's.
 * @property withTools whether the model may ask for the app's tools.
 * @property messages all that was said, in OpenAI's form, without the system's.
 * @property draft what was typed and not yet sent.
 * @property partial the answer that is being written; kept, so that an end of the process loses little.
 */
data class Chat(
    val id: String,
    val clock: String,
    val updated: Long,
    val system: String = "",
    val options: JsonObject = objectOf(),
    val withTools: Boolean = false,
    val messages: List<JsonObject> = emptyList(),
    val draft: String = "",
    val partial: JsonObject? = null,
) {
    /** The beginning of what the user said first; null before that. */
    val title: String?
        get() = messages.firstOrNull { it.role == "user" }?.text("content")
            ?.lineSequence()?.firstOrNull { it.isNotBlank() }?.trim()?.take(TITLE)

    /** Where each of the user's turns stands in [messages]. */
    val userTurns: List<Int> get() = messages.indices.filter { messages[it].role == "user" }

    /** What a template takes: the messages, behind the system's where there is one. */
    val prompt: List<JsonObject>
        get() = if (system.isBlank()) messages else listOf(messageOf("system", system)) + messages

    /** The calls at the end that nobody has answered yet. */
    val openCalls: List<JsonObject>
        get() = messages.lastOrNull()?.objects("tool_calls").orEmpty().mapNotNull { it.objectAt("function") }

    val json: JsonObject
        get() = objectOf(
            "id" to id, "clock" to clock, "updated" to updated, "system" to system, "options" to options,
            "with_tools" to withTools, "messages" to messages, "draft" to draft, "partial" to partial,
        )

    companion object {
        private const val TITLE = 60

        /** Reads what [json] gives; null for what is none. */
        fun of(json: JsonObject): Chat? {
            return Chat(
                json.text("id") ?: return null, json.text("clock") ?: return null, json.long("updated") ?: 0,
                json.text("system").orEmpty(), json.objectAt("options") ?: objectOf(),
                json.boolean("with_tools") ?: false, json.objects("messages") ?: return null,
                json.text("draft").orEmpty(), json.objectAt("partial"),
            )
        }
    }
}

/** Who says a message. */
val JsonObject.role: String get() = text("role").orEmpty()

/** A message in OpenAI's form. */
fun messageOf(role: String, content: String): JsonObject = objectOf("role" to role, "content" to content)
