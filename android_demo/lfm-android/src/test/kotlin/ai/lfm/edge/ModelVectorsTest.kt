package ai.lfm.edge

import kotlin.math.abs
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

private const val TOLERANCE = 0.05

/** tests/vectors/tokenization.json, templates.json and rewind.json, of the shipped model. */
class ModelVectorsTest {
    @Test
    fun tokenization() = withModel("onnx-f16") { model ->
        val before = model.encode("", special = true).toList()
        for (case in cases("tokenization.json")) {
            val ids = ints(case.getValue("ids"))
            assertEquals(before + ids.toList(), model.encode(case.text("text"), special = true).toList())
            val pieces = case.getValue("pieces").jsonArray.map { it.jsonPrimitive.content }
            assertEquals(pieces.joinToString(""), model.decode(ids))
        }
    }

    @Test
    fun templates() = withModel("onnx-f16") { model ->
        for (case in cases("templates.json")) {
            val messages = case.listOfObjects("messages")!!
            val ids = model.prompt(messages, case.listOfObjects("tools"), clock = CLOCK)
            assertEquals(ints(case.getValue("ids")).toList(), ids.toList())
            assertEquals(case.text("text"), model.decode(ids))
        }
    }

    @Test
    fun rewind() = withModel("onnx-f16") { model ->
        val kept = mutableListOf<IntArray>()
        model.session(256).use { session ->
            for (step in cases("rewind.json")) {
                when {
                    "read" in step -> assertRun(step, session, ints(step.getValue("read")))
                    "resume" in step ->
                        assertRun(step, session, session.resume(ints(step.getValue("resume"))))
                    "rewind" in step -> session.rewind(step.int("rewind"))
                    "snapshot" in step -> kept += session.ids
                    else -> assertEquals(step.boolean("fails"), !session.restore(kept[step.int("restore")]))
                }
                assertEquals(step.int("position"), session.position)
            }
        }
    }
}

/** What a snapshot is where any position can be gone back to. */
private fun LfmSession.restore(ids: IntArray): Boolean {
    val holds = position >= ids.size && this.ids.take(ids.size) == ids.toList()
    if (holds) rewind(ids.size)
    return holds
}

private suspend fun assertRun(step: JsonObject, session: LfmSession, ids: IntArray) {
    assertEquals(step.int("run"), session.toReplay + ids.size)
    val logits = session.prefill(ids)
    val found = logits.indices.sortedByDescending { logits[it] }.take(4)
    val top = step.getValue("top").jsonArray.map { it.jsonArray }
    val written = top.map { it[1].jsonPrimitive.double }
    for ((id, logit) in found.zip(written)) assertTrue(abs(logits[id] - logit) <= TOLERANCE)
    if (written[0] - written[1] > 2 * TOLERANCE) assertEquals(top[0][0].jsonPrimitive.int, found[0])
}
