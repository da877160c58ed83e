package ai.lfm.edge

import kotlinx.serialization.json.JsonObject

/** What a user says. */
public fun userMessage(text: String): Message = TODO()

/** What a tool answered: a text, or JSON. */
public fun toolMessage(content: String, name: String? = null): Message = TODO()

/**
 * The tool calls in an answer, as the model wrote it.
 *
 * @param tools the tools that it had, in OpenAI's form.
 * @throws InvalidRequestError a tool is malformed.
 */
public fun parseToolCalls(text: String, tools: List<JsonObject>? = null): List<Event.ToolCall> = TODO()

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
): List<Event> = TODO()
