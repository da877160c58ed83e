package ai.lfm.edge

import java.io.File
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

private val ROOT = File(System.getProperty("lfm.root"))

/** What Python made for these tests: bundles, and what it got from them. */
val MADE: File = File(System.getProperty("lfm.bundles")).canonicalFile

/** A file of tests/vectors. */
fun vectors(name: String): JsonElement =
    Json.parseToJsonElement(File(ROOT, "tests/vectors/$name").readText())

fun cases(name: String): List<JsonObject> = vectors(name).jsonArray.map { it.jsonObject }

/** A bundle that `tests/android/made.py` made. */
fun bundle(name: String): File = made(name)

fun expected(name: String): JsonObject = Json.parseToJsonElement(made(name).readText()).jsonObject

private fun made(name: String) =
    File(MADE, name).also {
        check(it.exists()) { "$it: not found; run make test-android, which makes it" }
    }

fun ints(list: JsonElement): IntArray = list.jsonArray.map { it.jsonPrimitive.int }.toIntArray()

fun JsonObject.listOfObjects(name: String): List<JsonObject>? =
    (get(name) as? JsonArray)?.map { it.jsonObject }

/** JSON with numbers written in one way: integers as they are, others as the double that they are. */
fun plain(json: JsonElement): JsonElement =
    when (json) {
        is JsonObject -> JsonObject(json.mapValues { plain(it.value) })
        is JsonArray -> JsonArray(json.map(::plain))
        is JsonNull -> json
        is JsonPrimitive -> if (json.isString || whole(json)) json else asDouble(json)
    }

private fun whole(number: JsonPrimitive) = number.content.none { it in ".eE" }

private fun asDouble(value: JsonPrimitive) = value.doubleOrNull?.let(::JsonPrimitive) ?: value
