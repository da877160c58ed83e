package ai.lfm.edge.app.server

import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.json.objectOf
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

/** An answer in the forms of `/v1/chat/completions`. */
class ChatAnswer(private val id: String, private val created: Long, private val model: String) {
    private val content = StringBuilder()
    private val reasoning = StringBuilder()
    private val calls = ArrayList<JsonObject>()
    private var end: EngineEvent.End? = null

    /** Takes an event in, and gives the chunk that streams it; null for one that is not streamed. */
    fun take(event: EngineEvent): JsonObject? = when (event) {
        is EngineEvent.Text -> text(event.text)
        is EngineEvent.InvalidToolCall -> text(event.text)
        is EngineEvent.Reasoning -> {
            reasoning.append(event.text)
            chunk(objectOf("reasoning_content" to event.text))
        }
        is EngineEvent.ToolCall -> call(event)
        is EngineEvent.End -> {
            end = event
            chunk(objectOf(), reason(event))
        }
        else -> null
    }

    /** The first chunk of a stream. */
    fun first(): JsonObject = chunk(objectOf("role" to "assistant", "content" to ""))

    /** The last chunk of a stream whose client wants to know. */
    fun usageChunk(): JsonObject =
        JsonObject(head("chat.completion.chunk") + objectOf("choices" to emptyList<Any>(), "usage" to usage()))

    /** The whole answer. */
    fun whole(): JsonObject {
        val text = content.toString()
        val message = JsonObject(
            objectOf("role" to "assistant") +
                mapOf("content" to if (text.isEmpty() && calls.isNotEmpty()) JsonNull else JsonPrimitive(text), "refusal" to JsonNull) +
                objectOf(
                    "reasoning_content" to reasoning.toString().ifEmpty { null },
                    "tool_calls" to calls.ifEmpty { null },
                ),
        )
        val choice = objectOf(
            "index" to 0, "message" to message, "logprobs" to JsonNull,
            "finish_reason" to end?.let(::reason),
        )
        return JsonObject(head("chat.completion") + objectOf("choices" to listOf(choice), "usage" to usage()))
    }

    private fun text(text: String): JsonObject {
        content.append(text)
        return chunk(objectOf("content" to text))
    }

    private fun call(event: EngineEvent.ToolCall): JsonObject {
        val call = objectOf(
            "id" to "call_$id${calls.size}", "type" to "function",
            "function" to objectOf("name" to event.name, "arguments" to event.arguments.toString()),
        )
        calls.add(call)
        return chunk(objectOf("tool_calls" to listOf(JsonObject(objectOf("index" to calls.size - 1) + call))))
    }

    private fun reason(end: EngineEvent.End): String = when {
        end.reason != "eos" && end.reason != "stop" -> "length"
        calls.isNotEmpty() -> "tool_calls"
        else -> "stop"
    }

    private fun usage(): JsonObject {
        val prompt = (end?.reused ?: 0) + (end?.processed ?: 0)
        val generated = end?.generated ?: 0
        return objectOf(
            "prompt_tokens" to prompt, "completion_tokens" to generated, "total_tokens" to prompt + generated,
            "prompt_tokens_details" to objectOf("cached_tokens" to (end?.reused ?: 0)),
            "completion_tokens_details" to objectOf("reasoning_tokens" to (end?.reasoning ?: 0)),
        )
    }

    private fun chunk(delta: JsonObject, reason: String? = null): JsonObject {
        val choice = objectOf(
            "index" to 0, "delta" to delta, "logprobs" to JsonNull,
            "finish_reason" to (reason?.let { JsonPrimitive(it) } ?: JsonNull),
        )
        return JsonObject(head("chat.completion.chunk") + objectOf("choices" to listOf(choice)))
    }

    private fun head(kind: String) =
        objectOf("id" to "chatcmpl-$id", "object" to kind, "created" to created, "model" to model)
}
