package ai.lfm.edge

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject

/** What a user says. */
public fun userMessage(text: String): Message = jsonOf("role" to "user", "content" to text)

/** What a tool answered: a text, or JSON. */
public fun toolMessage(content: String, name: String? = null): Message =
    jsonOf("role" to "tool", "content" to content, "name" to name)

/**
 * The tool calls in an answer, as the model wrote it.
 *
 * @param tools the tools that it had, in OpenAI's form.
 * @throws InvalidRequestError a tool is malformed.
 */
public fun parseToolCalls(text: String, tools: List<JsonObject>? = null): List<Event.ToolCall> {
    val calls = Native.parseToolCalls(utf8(text), tools?.let { utf8(JsonArray(it)) })
    return parsed(calls).jsonArray.map { toolCallOf(it.jsonObject) }
}

/**
 * The events of an answer that was written before.
 *
 * @param tokens its tokens: their ids (null: text without one), and the characters that each completes.
 * @param specialTokens the ids of the markers that are special tokens, by their text.
 * @param inReasoning whether the prompt ended in `<think>`.
 * @param tools the tools that the model had.
 */
public fun splitEvents(
    tokens: List<Pair<Int?, String>>,
    specialTokens: Map<String, Int> = emptyMap(),
    inReasoning: Boolean = false,
    tools: List<JsonObject>? = null,
): List<Event> {
    val answer =
        jsonOf(
            "special_tokens" to specialTokens,
            "in_reasoning" to inReasoning,
            "tools" to tools,
            "tokens" to tokens.map { (id, text) -> JsonArray(listOf(JsonPrimitive(id), JsonPrimitive(text))) },
        )
    return parsed(Native.splitEvents(utf8(answer))).jsonArray.map { eventOf(it.jsonObject) }
}
