package ai.lfm.edge

import java.io.File
import java.time.LocalDateTime
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long

/** ONNX Runtime's library, if not that of the jar. */
private val ONNXRUNTIME = System.getProperty("lfm.onnxruntime")?.also { Lfm.useOnnxRuntime(File(it)) }

/**
 * The bundles that `tests/android/made.py` made. The portable graph's operators for experts are newer
 * than the jar.
 */
val BUNDLES = listOf("onnx-f16", "onnx-int8") + listOfNotNull("portable".takeIf { ONNXRUNTIME != null })

/** When the chats of vectors and bundles began. */
val CLOCK: LocalDateTime = LocalDateTime.of(2025, 3, 9, 7, 5, 1)

val TOOLS =
    listOf(
        jsonOf(
            "type" to "function",
            "function" to
                jsonOf(
                    "name" to "read_file",
                    "description" to "What a file holds.",
                    "parameters" to
                        jsonOf(
                            "type" to "object",
                            "properties" to jsonOf("path" to jsonOf("type" to "string")),
                        ),
                ),
        ),
    )

/** Runs a test with a model, which is closed behind it. */
fun withModel(name: String, threads: Int = 1, test: suspend CoroutineScope.(LfmModel) -> Unit): Unit =
    runBlocking { LfmModel.load(bundle(name), threads).use { test(it) } }

/** The likeliest [count] tokens behind [ids], each read before the next. */
suspend fun LfmSession.following(ids: IntArray, count: Int): List<Int> {
    var logits = prefill(ids)
    return List(count) {
        logits.indices.maxByOrNull { logits[it] }!!.also { logits = decode(it) }
    }
}

fun answerOptionsOf(json: JsonObject) =
    AnswerOptions(
        maxTokens = json.getValue("max_tokens").jsonPrimitive.int,
        temperature = json.double("temperature"),
        topK = json.int("top_k"),
        topP = json.double("top_p"),
        minP = json.double("min_p"),
        repetitionPenalty = json.double("repetition_penalty"),
        seed = json.long("seed").toULong(),
    )

/** The options of the chats that Python made. */
val CHATTED =
    AnswerOptions(
        maxTokens = 24,
        temperature = 0.8,
        topK = 40,
        topP = 0.95,
        minP = 0.02,
        repetitionPenalty = 1.05,
        seed = 7uL,
        thinkingBudget = 5,
    )

/** The likeliest tokens, as many as asked for. */
fun endless(tokens: Int, model: LfmModel) =
    AnswerOptions(
        maxTokens = tokens,
        temperature = 0.0,
        repetitionPenalty = 1.0,
        banned = model.info.eosTokenIds,
    )

/** An answer in one piece. */
data class Said(val text: String, val reasoning: String, val calls: Int, val end: Event.End)

suspend fun Flow<Event>.said(): Said {
    val events = toList()
    return Said(
        events.filterIsInstance<Event.Text>().joinToString("") { it.text },
        events.filterIsInstance<Event.Reasoning>().joinToString("") { it.text },
        events.count { it is Event.ToolCall || it is Event.InvalidToolCall },
        events.last() as Event.End,
    )
}
