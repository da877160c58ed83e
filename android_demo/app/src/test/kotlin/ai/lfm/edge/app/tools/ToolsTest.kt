package ai.lfm.edge.app.tools

import ai.lfm.edge.app.json.objectOf
import java.time.ZonedDateTime
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ToolsTest {
    private val box = ToolBox(
        listOf(
            timeTool { ZonedDateTime.parse("2026-11-27T16:00:00Z") }, batteryTool({ 80 }, { null }), calculatorTool(),
        ),
    )

    @Test
    fun `expressions have the value of arithmetic`() {
        val values = mapOf(
            "1 + 2 * 3" to "7", "(1 + 2) * 3" to "9", "-2 ^ 2" to "-4", "2 ^ 3 ^ 2" to "512", "2 ** -1" to "0.5",
            "10 / 4" to "2.5", "7 % 4" to "3", "0.1 + 0.2" to "0.3", "- - 3" to "3", "6 ÷ 2 × 5" to "15",
        )
        assertEquals(values, values.mapValues { calculate(it.key).toPlainString() })
    }

    @Test
    fun `what is no expression is said`() {
        for (text in listOf("", "1 +", "(1", "1)", "a", "1 / 0", "5 % 0", "9 ^ 9 ^ 9", "9 ^ 0.5", "0 ^ -1", "1..2", "(".repeat(501))) {
            assertThrows(text, IllegalArgumentException::class.java) { calculate(text) }
        }
    }

    @Test
    fun `calls are answered and errors are told`() {
        assertEquals("Friday, 2026-11-27 16:00:00 Z", box.run("get_time", objectOf()))
        assertEquals("""{"percent":80}""", box.run("get_battery", objectOf()))
        assertEquals("42", box.run("calculate", objectOf("expression" to "6*7")))
        assertEquals("error: expression: expected a text", box.run("calculate", objectOf("expression" to 3)))
        assertTrue(box.run("rm", objectOf()).startsWith("error: there is no tool rm; there are get_time"))
    }
}
