package ai.lfm.edge.app.json

import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.longOrNull

/** What is no JSON object, in one line. */
class JsonException(message: String) : IllegalArgumentException(message)

private const val MAX_DEPTH = 100

/** Reads a text that must be a JSON object. */
fun parseObject(text: String): JsonObject = try {
    // The parser calls itself for each level of a list, so a hostile text would overflow the stack.
    if (depthOf(text) > MAX_DEPTH) throw JsonException("not JSON: nested deeper than $MAX_DEPTH levels")
    Json.parseToJsonElement(text) as? JsonObject ?: throw JsonException("expected a JSON object")
} catch (error: SerializationException) {
    throw JsonException("not JSON: ${error.message.orEmpty().lineSequence().first().take(200)}")
}

private fun depthOf(text: String): Int {
    var (depth, deepest) = 0 to 0
    var inText = false
    var at = 0
    while (at < text.length) {
        when (text[at]) {
            '"' -> inText = !inText
            '\\' -> if (inText) at++
            '{', '[' -> if (!inText) deepest = maxOf(deepest, ++depth)
            '}', ']' -> if (!inText) depth--
        }
        at++
    }
    return deepest
}

/** An object of fields; those of null are left out. */
fun objectOf(vararg fields: Pair<String, Any?>): JsonObject = JsonObject(
    fields.filter { it.second != null }.associate { (name, value) -> name to elementOf(value) },
)

/** A JSON value of a Kotlin one: texts, numbers, booleans, lists, null, and what is JSON already. */
fun elementOf(value: Any?): JsonElement = when (value) {
    null -> JsonNull
    is JsonElement -> value
    is String -> JsonPrimitive(value)
    is Number -> JsonPrimitive(value)
    is Boolean -> JsonPrimitive(value)
    is Iterable<*> -> JsonArray(value.map(::elementOf))
    else -> throw JsonException("no JSON for ${value.javaClass.simpleName}")
}

private fun JsonObject.primitive(name: String) = (this[name] as? JsonPrimitive)?.takeUnless { it is JsonNull }

/** A field that is a text; null if there is none. */
fun JsonObject.text(name: String): String? = primitive(name)?.takeIf { it.isString }?.content

/** A field that is a whole number; null if there is none. */
fun JsonObject.long(name: String): Long? = primitive(name)?.takeUnless { it.isString }?.longOrNull

/** A field that is a whole number of 32 bits; null if there is none. */
fun JsonObject.int(name: String): Int? = long(name)?.takeIf { it in Int.MIN_VALUE..Int.MAX_VALUE }?.toInt()

/** A field that is a number; null if there is none. */
fun JsonObject.double(name: String): Double? = primitive(name)?.takeUnless { it.isString }?.doubleOrNull

/** A field that is true or false; null if there is none. */
fun JsonObject.boolean(name: String): Boolean? = primitive(name)?.takeUnless { it.isString }?.booleanOrNull

/** A field that is an object; null if there is none. */
fun JsonObject.objectAt(name: String): JsonObject? = this[name] as? JsonObject

/** A field that is a list of objects; null if there is none, or if it holds something else. */
fun JsonObject.objects(name: String): List<JsonObject>? =
    (this[name] as? JsonArray)?.let { list -> list.map { it as? JsonObject ?: return null } }

/** A field that is a list of texts; null if there is none, or if it holds something else. */
fun JsonObject.texts(name: String): List<String>? =
    (this[name] as? JsonArray)?.let { list ->
        list.map { (it as? JsonPrimitive)?.takeIf(JsonPrimitive::isString)?.content ?: return null }
    }
