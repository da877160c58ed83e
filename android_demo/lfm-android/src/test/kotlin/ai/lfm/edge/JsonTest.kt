package ai.lfm.edge

import java.nio.ByteBuffer
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test

class JsonTest {
    @Test
    fun `texts are UTF-8, not that of JNI`() {
        assertArrayEquals(byteArrayOf(-16, -97, -104, -128), utf8("\uD83D\uDE00"))
        assertArrayEquals(byteArrayOf(97, 0), utf8("a\u0000"))
    }

    @Test
    fun `half a character is refused, wherever it stands`() {
        for (text in listOf("\uD83D", "a\uDE00b", "\uDE00\uD83D")) {
            assertThrows(InvalidRequestError::class.java) { utf8(text) }
            assertThrows(InvalidRequestError::class.java) { utf8(userMessage(text)) }
        }
    }

    @Test
    fun `a zero is refused where it would end a text`() {
        assertThrows(InvalidRequestError::class.java) { line("a\u0000b") }
        assertEquals("{\"role\":\"user\",\"content\":\"a\\u0000b\"}", utf8(userMessage("a\u0000b")).decodeToString())
    }

    @Test
    fun `options that are not given are not written`() {
        assertEquals("{}", AnswerOptions().json().toString())
        val options =
            AnswerOptions(
                maxTokens = 3,
                temperature = 0.5,
                logitBias = mapOf(7 to -1.5),
                banned = setOf(1, 2),
                seed = ULong.MAX_VALUE,
                stop = listOf("\n"),
            )
        assertEquals(
            """{"max_tokens":3,"temperature":0.5,"logit_bias":{"7":-1.5},"banned":[1,2],""" +
                """"seed":18446744073709551615,"stop":["\n"]}""",
            options.json().toString(),
        )
    }

    @Test
    fun `what is no number in JSON is named`() {
        val error =
            assertThrows(InvalidRequestError::class.java) {
                AnswerOptions(temperature = Double.NaN).json()
            }
        assertEquals("temperature: got NaN, expected a finite number", error.message)
        assertThrows(InvalidRequestError::class.java) {
            AnswerOptions(logitBias = mapOf(1 to Double.POSITIVE_INFINITY)).json()
        }
    }

    @Test
    fun `events of the core`() {
        val events =
            """[{"type":"progress","what":"prefill","done":5,"total":9},{"type":"text","text":"é"},
            {"type":"reasoning","text":"hm"},{"type":"tool_call","name":"f","arguments":{"a":[1,2.5,null]}},
            {"type":"invalid_tool_call","text":"[f(","message":"no"},
            {"type":"end","reason":"eos","usage":{"reused":1,"processed":2,"generated":3,"proposed":4,
            "accepted":5,"reasoning":6},"timings":{"time_to_first_token":0.5,"total":1.5}}]"""
        val call = parsed("""{"a":[1,2.5,null]}""".toByteArray()).jsonObject
        assertEquals(
            listOf(
                Event.Progress("prefill", 5, 9),
                Event.Text("é"),
                Event.Reasoning("hm"),
                Event.ToolCall("f", call),
                Event.InvalidToolCall("[f(", "no"),
                Event.End("eos", Usage(1, 2, 3, 4, 5, 6), Timings(0.5, 1.5)),
            ),
            parsed(events.toByteArray()).jsonArray.map { eventOf(it.jsonObject) },
        )
    }

    @Test
    fun `an event is read from as much of the buffer as it takes`() {
        val buffer = ByteBuffer.allocateDirect(64)
        buffer.put("""{"text":"日本"}garbage""".toByteArray())
        assertEquals("日本", parsed(buffer, 17).text("text"))
        assertEquals("日本", parsed(buffer, 17).text("text"))
    }

    @Test
    fun `a status is an error of its own kind`() {
        val kinds =
            listOf(
                10 to BundleError::class.java,
                11 to UnsupportedBundleError::class.java,
                12 to IntegrityError::class.java,
                13 to InvalidRequestError::class.java,
                14 to UnknownTokenError::class.java,
                15 to ContextFullError::class.java,
                16 to SessionFileError::class.java,
                17 to SessionTakenError::class.java,
                18 to TemplateError::class.java,
                19 to NoMemoryError::class.java,
                20 to IllegalStateException::class.java,
            )
        for ((status, kind) in kinds) {
            assertInstanceOf(kind, Native.errorOf(status, "é".toByteArray()))
        }
        assertEquals("é", Native.errorOf(10, "é".toByteArray()).message)
    }
}
