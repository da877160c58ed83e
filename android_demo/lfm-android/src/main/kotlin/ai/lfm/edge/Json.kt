package ai.lfm.edge

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.CharBuffer
import java.nio.charset.CharacterCodingException
import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int
import kotlinx.serialization.json.long

/**
 * A text as the core takes it.
 *
 * @throws InvalidRequestError it holds half of a surrogate pair.
 */
internal fun utf8(text: String): ByteArray {
    val bytes =
        try {
            Charsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text))
        } catch (_: CharacterCodingException) {
            throw InvalidRequestError("the text holds half of a surrogate pair, which is no character")
        }
    return ByteArray(bytes.remaining()).also(bytes::get)
}

/**
 * The same, where the core takes it to end at its first zero.
 *
 * @throws InvalidRequestError it holds one, or half of a surrogate pair.
 */
internal fun line(text: String): ByteArray {
    if ('\u0000' in text) throw InvalidRequestError("the text holds a zero character; leave it out")
    return utf8(text)
}

internal fun utf8(json: JsonElement): ByteArray = utf8(json.toString())

internal fun parsed(json: ByteArray): JsonElement = Json.parseToJsonElement(json.decodeToString())

/** The first [length] bytes of [buffer]. */
internal fun parsed(buffer: ByteBuffer, length: Int): JsonObject {
    buffer.show(length)
    return Json.parseToJsonElement(Charsets.UTF_8.decode(buffer).toString()) as JsonObject
}

/** On [Buffer], since those of ByteBuffer return another type on a JVM than on Android. */
private fun Buffer.show(length: Int) {
    clear()
    limit(length)
}

internal fun JsonObject.text(name: String): String = primitive(name).content

internal fun JsonObject.textOrNull(name: String): String? =
    (get(name) as? JsonPrimitive)?.takeIf { it.isString }?.content

internal fun JsonObject.int(name: String): Int = primitive(name).int

internal fun JsonObject.long(name: String): Long = primitive(name).long

internal fun JsonObject.double(name: String): Double = primitive(name).double

internal fun JsonObject.boolean(name: String): Boolean = primitive(name).boolean

private fun JsonObject.primitive(name: String) = getValue(name) as JsonPrimitive

/**
 * An object of the fields that are not null.
 *
 * @throws InvalidRequestError one is a number that JSON has not, such as NaN.
 */
internal fun jsonOf(vararg fields: Pair<String, Any?>): JsonObject =
    JsonObject(fields.filter { it.second != null }.associate { (name, value) -> name to json(name, value!!) })

@OptIn(ExperimentalSerializationApi::class)
private fun json(name: String, value: Any): JsonElement =
    when (value) {
        is JsonElement -> value
        is String -> JsonPrimitive(value)
        is Boolean -> JsonPrimitive(value)
        is ULong -> JsonPrimitive(value)
        is Number -> JsonPrimitive(finite(name, value))
        is IntArray -> JsonArray(value.map(::JsonPrimitive))
        is Iterable<*> -> JsonArray(value.map { json(name, it!!) })
        is Map<*, *> -> JsonObject(value.entries.associate { "${it.key}" to json(name, it.value!!) })
        else -> error("$name: no JSON is known of ${value::class}")
    }

private fun finite(name: String, value: Number): Number {
    if (!value.toDouble().isFinite()) {
        throw InvalidRequestError("$name: got $value, expected a finite number")
    }
    return value
}
