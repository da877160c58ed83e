package ai.lfm.edge

import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.int
import kotlinx.serialization.json.intOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

private typealias Token = Pair<Int?, String>

/** tests/vectors/tool_calls.json and events.json. */
class ChatVectorsTest {
    @TestFactory
    fun `tool calls`(): List<DynamicTest> =
        cases("tool_calls.json").map { case ->
            dynamicTest(case.text("name")) {
                val found = parseToolCalls(case.text("text"), case.listOfObjects("tools"))
                val calls = found.map { jsonOf("name" to it.name, "arguments" to it.arguments) }
                assertSameJson(case.getValue("calls"), JsonArray(calls))
            }
        }

    @TestFactory
    fun `events at every split`(): List<DynamicTest> =
        cases("events.json").map { case ->
            dynamicTest(case.text("name")) {
                for (tokens in cuts(case)) {
                    assertSameJson(case.getValue("events"), asJson(split(case, tokens)))
                }
            }
        }

    @Test
    fun `a malformed tool is named`() {
        val tool = Json.parseToJsonElement("""{"type": "function", "function": {"name": 3}}""")
        val error =
            assertThrows(InvalidRequestError::class.java) {
                parseToolCalls("[f()]", listOf(tool.jsonObject))
            }
        assertTrue("tool" in error.message!!, error.message)
    }

    @Test
    fun `a text with half of a character is refused`() {
        assertThrows(InvalidRequestError::class.java) { parseToolCalls("[f(a='\uD83D')]") }
    }
}

private fun split(case: JsonObject, tokens: List<Token>): List<Event> =
    splitEvents(
        tokens,
        specialOf(case),
        case.getValue("in_reasoning").jsonPrimitive.boolean,
        case.listOfObjects("tools"),
    )

private fun specialOf(case: JsonObject): Map<String, Int> =
    case.getValue("special_tokens").jsonObject.mapValues { it.value.jsonPrimitive.int }

/** The tokens as given, each one cut at each place, and all of them in single characters. */
private fun cuts(case: JsonObject): Sequence<List<Token>> = sequence {
    val special = specialOf(case).values.toSet()
    val tokens =
        case.getValue("tokens").jsonArray.map { it.jsonArray }.map { (id, text) ->
            Token((id.takeIf { it !is JsonNull })?.jsonPrimitive?.intOrNull, text.jsonPrimitive.content)
        }
    yield(tokens)
    tokens.forEachIndexed { index, (id, text) ->
        if (id in special) return@forEachIndexed
        for ((head, tail) in halves(text)) {
            val two = listOf(Token(id, head), Token(id, tail))
            yield(tokens.take(index) + two + tokens.drop(index + 1))
        }
    }
    yield(tokens.flatMap { (id, text) -> if (id in special) listOf(Token(id, text)) else characters(id, text) })
}

private fun halves(text: String) =
    (1 until text.codePointCount(0, text.length)).map { text.offsetByCodePoints(0, it) }
        .map { text.substring(0, it) to text.substring(it) }

private fun characters(id: Int?, text: String): List<Token> =
    text.codePoints().toArray().map { Token(id, String(Character.toChars(it))) }

/** Events as the vectors write them, adjacent pieces of text joined. */
private fun asJson(events: List<Event>): JsonArray {
    val written = mutableListOf<JsonObject>()
    for (event in events) {
        val json = asJson(event)
        val last = written.lastOrNull()
        if (event is Event.Text || event is Event.Reasoning) {
            assertTrue(json.text("text").isNotEmpty())
            if (last?.get("type") == json["type"]) {
                written.removeLast()
                written += JsonObject(json + jsonOf("text" to last!!.text("text") + json.text("text")))
                continue
            }
        }
        written += json
    }
    return JsonArray(written)
}

private fun asJson(event: Event): JsonObject =
    when (event) {
        is Event.Text -> jsonOf("type" to "text", "text" to event.text)
        is Event.Reasoning -> jsonOf("type" to "reasoning", "text" to event.text)
        is Event.ToolCall ->
            jsonOf("type" to "call", "name" to event.name, "arguments" to event.arguments)
        is Event.InvalidToolCall -> {
            assertEquals(1, event.error.lines().size, event.error)
            jsonOf("type" to "invalid", "text" to event.text)
        }
        is Event.Progress, is Event.End -> error("an answer written before has no $event")
    }

private fun assertSameJson(expected: JsonElement, found: JsonElement) =
    assertEquals(plain(expected).toString(), plain(found).toString()) // the order counts
