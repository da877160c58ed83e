package ai.lfm.edge.app.server

import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.json.JsonException
import ai.lfm.edge.app.json.boolean
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.objects
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import ai.lfm.edge.app.json.texts
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

/** The conversation of the engine that clients of the endpoint share. */
const val ENDPOINT_CHAT = "endpoint"

/** A body of `/v1/chat/completions`, as far as this endpoint reads it. */
class ChatRequest private constructor(
    private val messages: List<JsonObject>,
    private val tools: List<JsonObject>,
    private val options: JsonObject,
    private val templateOptions: JsonObject,
    val stream: Boolean,
    val includeUsage: Boolean,
) {
    /** The same as an engine takes it; [clock] is the time that the template sees. */
    fun forEngine(clock: String) =
        EngineRequest.Answer(ENDPOINT_CHAT, messages, tools, clock, options, null, templateOptions)

    companion object {
        private val PASSED = listOf(
            "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty",
            "presence_penalty", "logit_bias", "seed", "thinking_budget",
        )
        private val REFUSED = listOf("response_format", "logprobs", "n", "tool_choice", "functions")

        /** @throws HttpError the body is not such a request, or asks for what this endpoint has not. */
        fun parse(body: ByteArray): ChatRequest {
            val json = try {
                parseObject(body.toString(Charsets.UTF_8))
            } catch (error: JsonException) {
                throw HttpError(400, "body: ${error.message}")
            }
            refuse(json)
            val messages = json.objects("messages") ?: throw HttpError(400, "messages: expected a list of messages")
            if (messages.isEmpty()) throw HttpError(400, "messages: there are none")
            if (messages.size > Limits.MESSAGES) throw HttpError(400, "messages: more than ${Limits.MESSAGES}")
            val tools = if (json.text("tool_choice") == "none") emptyList() else toolsOf(json)
            return ChatRequest(
                messages.mapIndexed { index, message -> messageOf(message, "messages[$index]") }, tools,
                optionsOf(json), json.objectAt("chat_template_kwargs") ?: objectOf(),
                json.boolean("stream") ?: false,
                json.objectAt("stream_options")?.boolean("include_usage") ?: false,
            )
        }

        private fun refuse(json: JsonObject) {
            for (name in REFUSED) {
                val value = json[name] ?: continue
                if (value is JsonNull || value in harmless(name)) continue
                throw HttpError(400, "$name: not had by this endpoint")
            }
        }

        private fun harmless(name: String): List<Any> = when (name) {
            "response_format" -> listOf(objectOf("type" to "text"))
            "logprobs" -> listOf(JsonPrimitive(false))
            "n" -> listOf(JsonPrimitive(1))
            "tool_choice" -> listOf(JsonPrimitive("auto"), JsonPrimitive("none"))
            else -> emptyList()
        }

        private fun toolsOf(json: JsonObject): List<JsonObject> {
            if ((json["tools"] ?: JsonNull) is JsonNull) return emptyList()
            val tools = json.objects("tools") ?: throw HttpError(400, "tools: expected a list of tools")
            if (tools.size > Limits.TOOLS) throw HttpError(400, "tools: more than ${Limits.TOOLS}")
            return tools
        }

        private fun optionsOf(json: JsonObject): JsonObject {
            val limit = json["max_completion_tokens"].orNull() ?: json["max_tokens"].orNull()
            val stop = json.text("stop")?.let(::listOf) ?: json.texts("stop")
            if (stop == null && json["stop"].orNull() != null) throw HttpError(400, "stop: expected texts")
            if (stop.orEmpty().size > Limits.STOP_STRINGS) throw HttpError(400, "stop: more than ${Limits.STOP_STRINGS}")
            val passed = PASSED.map { it to json[it].orNull() }.toTypedArray()
            return objectOf(*passed, "max_tokens" to limit, "stop" to stop)
        }

        private fun kotlinx.serialization.json.JsonElement?.orNull() = takeUnless { it is JsonNull }

        private fun messageOf(message: JsonObject, where: String): JsonObject {
            val role = message.text("role") ?: throw HttpError(400, "$where.role: expected a text such as 'user'")
            val own = if (role == "developer") "system" else role
            val content = textOf(message["content"], where)
            return JsonObject(message + mapOf("role" to JsonPrimitive(own), "content" to JsonPrimitive(content)))
        }

        private fun textOf(content: Any?, where: String): String = when (content) {
            null, is JsonNull -> ""
            is JsonPrimitive -> content.content
            is JsonArray -> content.joinToString("") { part ->
                (part as? JsonObject)?.takeIf { it.text("type") == "text" }?.text("text")
                    ?: throw HttpError(400, "$where.content: only text is read")
            }
            else -> throw HttpError(400, "$where.content: expected a text")
        }
    }
}
