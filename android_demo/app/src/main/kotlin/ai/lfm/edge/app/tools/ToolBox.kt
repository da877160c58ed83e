package ai.lfm.edge.app.tools

import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.text
import java.time.ZonedDateTime
import java.time.format.DateTimeFormatter
import java.util.Locale
import kotlinx.serialization.json.JsonObject

/** A function of this device that the model may ask for. */
class Tool(val name: String, description: String, parameters: JsonObject, val run: (JsonObject) -> String) {
    /** As OpenAI's form has it. */
    val schema: JsonObject = objectOf(
        "type" to "function",
        "function" to objectOf("name" to name, "description" to description, "parameters" to parameters),
    )
}

/** The functions of this app. They read; none changes or sends anything. */
class ToolBox(private val tools: List<Tool>) {
    val schemas: List<JsonObject> get() = tools.map { it.schema }

    /** What the model is told: the result, or what was wrong with the call. */
    fun run(name: String, arguments: JsonObject): String {
        val tool = tools.find { it.name == name }
            ?: return "error: there is no tool $name; there are ${tools.joinToString { it.name }}"
        return try {
            tool.run(arguments)
        } catch (error: IllegalArgumentException) {
            "error: ${error.message}"
        }
    }
}

private fun parameters(vararg properties: Pair<String, String>) = objectOf(
    "type" to "object",
    "properties" to JsonObject(
        properties.associate { (name, description) ->
            name to objectOf("type" to "string", "description" to description)
        },
    ),
    "required" to properties.map { it.first },
)

/** Tells date and time. */
fun timeTool(now: () -> ZonedDateTime) = Tool(
    "get_time", "The date, the time and the time zone of this device.", parameters(),
) { now().format(DateTimeFormatter.ofPattern("EEEE, yyyy-MM-dd HH:mm:ss VV", Locale.ENGLISH)) }

/** Tells the charge of the battery; [percent] gives null where the system does not know. */
fun batteryTool(percent: () -> Int?, charging: () -> Boolean?) = Tool(
    "get_battery", "The charge of this device's battery, and whether it is being charged.", parameters(),
) {
    objectOf("percent" to percent(), "charging" to charging()).toString()
}

/** Computes. */
fun calculatorTool() = Tool(
    "calculate", "The value of an arithmetic expression with + - * / ^ % and parentheses.",
    parameters("expression" to "for example (2 + 3) * 4.5"),
) { arguments ->
    val text = arguments.text("expression") ?: throw IllegalArgumentException("expression: expected a text")
    calculate(text).toPlainString()
}
