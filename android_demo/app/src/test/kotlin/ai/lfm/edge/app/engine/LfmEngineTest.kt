package ai.lfm.edge.app.engine

import ai.lfm.edge.Lfm
import ai.lfm.edge.app.bench.BenchSettings
import ai.lfm.edge.app.bench.FakeDevice
import ai.lfm.edge.app.chat.Partial
import ai.lfm.edge.app.chat.messageOf
import ai.lfm.edge.app.json.double
import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.objects
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import ai.lfm.edge.app.server.Server
import java.io.File
import java.net.HttpURLConnection
import java.net.URL
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonObject
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** The engine over the real library and the shipped model. */
class LfmEngineTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val engine = LfmEngine(FakeDevice())
    private val folder = File(System.getProperty("lfm.bundles"), "onnx-f16")
        .also { check(it.exists()) { "$it: not found; run make test-android, which makes it" } }.path
    private val greedy = objectOf("temperature" to 0, "max_tokens" to 12)

    @After
    fun close() {
        run(EngineRequest.Unload)
        assertEquals(0L, Lfm.openHandles)
    }

    private fun run(request: EngineRequest): List<EngineEvent> = runBlocking { engine.run(request).toList() }

    private fun load(context: Int = 512) = (run(EngineRequest.Load(folder, context)).single() as EngineEvent.Loaded).model

    private fun ask(messages: List<JsonObject>, chat: String = "a", file: File? = null, options: JsonObject = greedy) =
        run(EngineRequest.Answer(chat, messages, clock = "2026-11-27T12:00:00", options = options, stateFile = file?.path))

    private fun said(events: List<EngineEvent>) = events.fold(Partial(), Partial::plus).message()

    private fun end(events: List<EngineEvent>) = events.last() as EngineEvent.End

    @Test
    fun `a bundle is planned, loaded and proved`() {
        val need = runBlocking { engine.plan(folder, 256) }
        assertEquals(256, need.context)
        assertTrue(need.weights > 1_000_000 && need.bytesPerToken > 0 && need.chat)
        assertEquals(512, load().context)
        assertTrue(run(EngineRequest.Verify).last() is EngineEvent.Golden)
        val checked = run(EngineRequest.Check(folder)).last() as EngineEvent.Progress
        assertEquals(checked.total, checked.done)
    }

    @Test
    fun `a conversation goes on without reading again what it has read`() {
        load()
        val first = listOf(messageOf("user", "Hello"))
        val answer = ask(first)
        assertEquals(0, end(answer).reused)
        val second = first + said(answer) + messageOf("user", "And now?")
        assertTrue(end(ask(second)).reused > 5)
        // Edited: back to where it differs, and the same answer as read afresh.
        val edited = ask(listOf(messageOf("user", "Hello there")))
        assertTrue(end(edited).reused > 0)
        run(EngineRequest.Forget("a"))
        val afresh = ask(listOf(messageOf("user", "Hello there")))
        assertEquals(0, end(afresh).reused)
        assertEquals(said(afresh), said(edited))
    }

    @Test
    fun `a saved conversation is not read again by a new process`() {
        load()
        val file = File(temporary.root, "a.state")
        val first = listOf(messageOf("user", "Hello"))
        val answer = ask(first, file = file)
        ask(listOf(messageOf("user", "Another")), chat = "b")
        assertTrue(file.isFile)
        run(EngineRequest.Unload)
        load()
        val next = first + said(answer) + messageOf("user", "And now?")
        val reopened = ask(next, file = file)
        assertTrue(end(reopened).reused > 5)
        run(EngineRequest.Forget("a"))
        file.writeText("damaged")
        val afresh = ask(next, file = file)
        assertEquals(0, end(afresh).reused)
        assertEquals(said(afresh), said(reopened))
    }

    @Test
    fun `an answer is stopped at its next token`() = runBlocking {
        load()
        val request = EngineRequest.Answer(
            "a", listOf(messageOf("user", "Tell a long story")), clock = "2026-11-27T12:00:00",
            options = objectOf("temperature" to 1, "seed" to 1),
        )
        val events = engine.run(request).onEach { if (it is EngineEvent.Text || it is EngineEvent.Reasoning) engine.stop() }.toList()
        assertEquals("cancelled", end(events).reason)
        assertTrue(end(events).generated < 20)
    }

    @Test
    fun `errors have the SDK's names`() {
        fun kind(request: EngineRequest) = assertThrows(EngineException::class.java) { run(request) }.kind
        assertEquals("InvalidRequestError", kind(EngineRequest.Verify))
        assertEquals("BundleError", kind(EngineRequest.Load("/nowhere", 512)))
        load(context = 64)
        assertEquals("ContextFullError", kind(EngineRequest.Answer("a", listOf(messageOf("user", "word ".repeat(100))), clock = "2026-11-27T12:00:00")))
        assertEquals("InvalidRequestError", kind(EngineRequest.Answer("a", listOf(messageOf("user", "x")), clock = "today")))
        assertEquals("InvalidRequestError", kind(EngineRequest.Answer("a", listOf(messageOf("user", "x")), clock = "2026-11-27T12:00:00", options = objectOf("temperature" to -1))))
    }

    @Test
    fun `a bundle is measured`() {
        val settings = BenchSettings(promptTokens = 16, generatedTokens = 4, repetitions = 2, depth = 8, sustainedSeconds = 1)
        val events = run(EngineRequest.Bench(folder, settings.json))
        val result = (events.last() as EngineEvent.Measured).result
        assertTrue(result.double("decode_tokens_per_second")!! > 0)
        assertEquals("onnx", result.objectAt("bundle")!!.text("target"))
        assertTrue(result.objectAt("settings")!!.int("threads")!! >= 1)
        assertTrue(result.objectAt("android")!!.objects("sustained")!!.isNotEmpty())
    }

    @Test
    fun `the endpoint answers with the model`() {
        load()
        Server(engine, "key", 0) { "2026-11-27T12:00:00" }.use { server ->
            server.start()
            val connection = URL("${server.address}/chat/completions").openConnection() as HttpURLConnection
            connection.doOutput = true
            connection.setRequestProperty("Authorization", "Bearer key")
            connection.setRequestProperty("Content-Type", "application/json")
            connection.outputStream.write("""{"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 12}""".toByteArray())
            val reply = parseObject(connection.inputStream.readBytes().decodeToString())
            val message = reply.objects("choices")!!.single().objectAt("message")!!
            assertEquals(said(ask(listOf(messageOf("user", "Hello")))).text("content"), message.text("content"))
            assertTrue(reply.objectAt("usage")!!.int("completion_tokens")!! in 1..12)
        }
    }
}
