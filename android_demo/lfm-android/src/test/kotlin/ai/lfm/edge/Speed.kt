package ai.lfm.edge

import java.io.File
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonPrimitive

/**
 * Times answers, for `benchmarks/device_core.py`: BUNDLE LIBONNXRUNTIME THREADS TOKENS RUNS IDS, the
 * ids of a prompt as a JSON list. Prints tokens per second behind the first one, a line for each run,
 * of which the first warms up.
 */
public fun main(arguments: Array<String>): Unit = runBlocking {
    val (bundle, library, threads, tokens, runs) = arguments
    val ids = Json.parseToJsonElement(arguments[5]).jsonArray.map { it.jsonPrimitive.int }.toIntArray()
    Lfm.useOnnxRuntime(File(library))
    LfmModel.load(File(bundle), threads.toInt()).use { model ->
        val options =
            AnswerOptions(
                maxTokens = tokens.toInt(),
                temperature = 0.0,
                repetitionPenalty = 1.0,
                banned = model.info.eosTokenIds.toSet(),
            )
        repeat(runs.toInt()) {
            model.session(ids.size + tokens.toInt()).use { session ->
                val end = model.generate(session, ids, options).last() as Event.End
                val seconds = end.timings.total - end.timings.timeToFirstToken
                println((end.usage.generated - 1) / seconds)
            }
        }
    }
}
