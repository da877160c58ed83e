package ai.lfm.edge.app.engine

import ai.lfm.edge.app.chat.messageOf
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.parseObject
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

class WireTest {
    @Test
    fun `requests pass as they are`() {
        val requests = listOf(
            EngineRequest.Plan("/a", 1), EngineRequest.Load("/a", 2, 3), EngineRequest.Unload, EngineRequest.Check("/a"),
            EngineRequest.Verify, EngineRequest.Save, EngineRequest.Forget("c"),
            EngineRequest.Bench("/a", objectOf("depth" to 1)),
            EngineRequest.Answer(
                "c", listOf(messageOf("user", "ü\n\"x\"")), listOf(objectOf("type" to "function")),
                "2026-11-27T12:00:00", objectOf("seed" to 1), "/f", objectOf("a" to true),
            ),
            EngineRequest.Answer("c", emptyList(), clock = "x"),
        )
        for (request in requests) assertEquals(request, EngineRequest.of(parseObject(request.json.toString())))
        assertNull(EngineRequest.of(objectOf("op" to "other")))
    }

    @Test
    fun `events pass as they are`() {
        val events = listOf(
            EngineEvent.Progress("prefill", 1, 2), EngineEvent.Reasoning("a"), EngineEvent.Text("b"),
            EngineEvent.ToolCall("f", objectOf("x" to listOf(1, "2"))), EngineEvent.InvalidToolCall("t", "e"),
            EngineEvent.End("eos", 1, 2, 3, 4, 0.5, 1.5), EngineEvent.Golden(0.1, 0.2),
            EngineEvent.Planned(MemoryNeed(1, 2, 3, 4, 5, 6, true)),
            EngineEvent.Loaded(ModelFacts("/a/b", "lfm2", 4, 2, "avx2", objectOf("top_k" to 1), "no chat")),
            EngineEvent.Point(1.0, 2.0, null, 30.5), EngineEvent.Measured(objectOf("a" to 1)),
        )
        for (event in events) assertEquals(event, EngineEvent.of(parseObject(event.json.toString())))
        assertNull(EngineEvent.of(objectOf("type" to "other")))
    }

    @Test
    fun `fast events travel together and none is lost`() = runBlocking {
        val sent = ArrayList<String>()
        val batch = Batch(this, sent::add)
        repeat(500) { batch.add(EngineEvent.Text("$it")) }
        batch.flush()
        val texts = sent.flatMap { Json.parseToJsonElement(it).jsonArray }.map { EngineEvent.of(it.jsonObject) }
        assertEquals(List(500) { EngineEvent.Text("$it") }, texts)
        assertTrue("${sent.size}", sent.size < 100)
        batch.add(EngineEvent.Text("last"))
        while (sent.none { "last" in it }) delay(5) // without a flush, after a moment
        batch.add(EngineEvent.Text("x".repeat(Wire.MOST_CHARACTERS - 100)))
        batch.add(EngineEvent.Text("y".repeat(Wire.MOST_CHARACTERS - 100)))
        batch.flush()
        assertTrue(sent.all { it.length < Wire.MOST_CHARACTERS + 100 })
    }
}
