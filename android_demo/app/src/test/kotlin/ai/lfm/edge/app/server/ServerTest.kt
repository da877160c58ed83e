package ai.lfm.edge.app.server

import ai.lfm.edge.app.FakeEngine
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.engine.ModelFacts
import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.objects
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import java.net.Socket
import java.net.URL
import java.util.concurrent.Executors
import kotlinx.serialization.json.JsonObject
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test

private const val KEY = "lfm-test"
private const val HI = """{"model": "any", "messages": [{"role": "user", "content": "Hi"}]}"""

class ServerTest {
    private val engine = FakeEngine()
    private val server = Server(engine, KEY, 0) { "2026-11-27T12:00:00" }
    private val port = URL(server.address).port

    private class Reply(val status: Int, val body: String) {
        val json: JsonObject get() = parseObject(body)
        val error get() = json.objectAt("error")!!
        val events get() = body.split("\n\n").filter { it.isNotEmpty() }.map { it.removePrefix("data: ") }
    }

    @Before
    fun start() {
        engine.status.value = EngineStatus.Ready(ModelFacts("/models/tiny", "lfm2", 4096, 4, "avx2"))
        server.start()
    }

    @After
    fun close() = server.close()

    private fun raw(text: String): Reply = Socket("127.0.0.1", port).use { socket ->
        socket.getOutputStream().write(text.toByteArray())
        socket.getOutputStream().flush()
        val answer = socket.getInputStream().readBytes().decodeToString()
        Reply(answer.substringAfter(' ').take(3).toInt(), answer.substringAfter("\r\n\r\n"))
    }

    private fun ask(
        body: String? = null, path: String = "/v1/chat/completions", key: String? = KEY, host: String = "127.0.0.1:$port",
        more: String = "", type: String = "application/json", method: String = if (body == null) "GET" else "POST",
    ): Reply {
        val auth = if (key != null) "Authorization: Bearer $key\r\n" else ""
        val content = if (body != null) "Content-Type: $type\r\nContent-Length: ${body.toByteArray().size}\r\n" else ""
        return raw("$method $path HTTP/1.1\r\nHost: $host\r\n$auth$content$more\r\n${body.orEmpty()}")
    }

    @Test
    fun `one that was closed answers nobody`() {
        repeat(500) {
            val closed = Server(engine, KEY, 0) { "2026-11-27T12:00:00" }
            val port = URL(closed.address).port
            closed.start()
            Thread.yield()
            closed.close()
            val answer = runCatching {
                Socket("127.0.0.1", port).use { socket ->
                    socket.getOutputStream().write("GET /health HTTP/1.1\r\nHost: 127.0.0.1:$port\r\n\r\n".toByteArray())
                    socket.getInputStream().readBytes().decodeToString()
                }
            }
            assertEquals("", answer.getOrDefault(""))
        }
    }

    @Test
    fun `an answer has OpenAI's form`() {
        engine.says(
            EngineEvent.Reasoning("Hm."), EngineEvent.Text("Hel"), EngineEvent.Text("lo \"ü\""),
            EngineEvent.End("eos", reused = 2, processed = 5, generated = 3, reasoning = 1),
        )
        val reply = ask("""{"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_tokens": 5, "temperature": 0, "stop": "x", "seed": 7}""")
        assertEquals(200, reply.status)
        assertEquals("chat.completion", reply.json.text("object"))
        assertEquals("tiny", reply.json.text("model"))
        val choice = reply.json.objects("choices")!!.single()
        assertEquals("stop", choice.text("finish_reason"))
        assertEquals("Hello \"ü\"", choice.objectAt("message")!!.text("content"))
        assertEquals("Hm.", choice.objectAt("message")!!.text("reasoning_content"))
        val usage = reply.json.objectAt("usage")!!
        assertEquals(listOf(7, 3, 10), listOf("prompt_tokens", "completion_tokens", "total_tokens").map(usage::int))
        val asked = engine.answers.single()
        assertEquals(listOf("system", "user"), asked.messages.map { it.text("role") })
        assertEquals(listOf("Be brief.", "Hi"), asked.messages.map { it.text("content") })
        assertEquals(parseObject("""{"max_tokens": 5, "temperature": 0, "stop": ["x"], "seed": 7}"""), asked.options)
    }

    @Test
    fun `a stream tells the role, the pieces, why it ended and what it took`() {
        engine.says(EngineEvent.Progress("prefill", 1, 2), EngineEvent.Reasoning("Hm."), EngineEvent.Text("Hello"), FakeEngine.END)
        val events = ask("""{"stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "Hi"}]}""").events
        val chunks = events.dropLast(1).map(::parseObject)
        assertEquals("[DONE]", events.last())
        val deltas = chunks.mapNotNull { it.objects("choices")!!.firstOrNull()?.objectAt("delta") }
        assertEquals(
            listOf("""{"role":"assistant","content":""}""", """{"reasoning_content":"Hm."}""", """{"content":"Hello"}""", "{}"),
            deltas.map { it.toString() },
        )
        assertEquals(1, chunks.map { it.text("id") }.toSet().size)
        assertEquals(8, chunks.last().objectAt("usage")!!.int("total_tokens"))
        assertEquals("stop", chunks[chunks.size - 2].objects("choices")!!.single().text("finish_reason"))
    }

    @Test
    fun `calls of tools come as OpenAI has them`() {
        val tools = """[{"type": "function", "function": {"name": "f"}}]"""
        for (stream in listOf(false, true)) {
            engine.says(EngineEvent.ToolCall("f", objectOf("a" to 1)), FakeEngine.END)
            val reply = ask("""{"stream": $stream, "tools": $tools, "messages": [{"role": "user", "content": "Hi"}]}""")
            val message = if (stream) parseObject(reply.events[1]).objects("choices")!!.single().objectAt("delta")!! else reply.json.objects("choices")!!.single().objectAt("message")!!
            val function = message.objects("tool_calls")!!.single().objectAt("function")!!
            assertEquals("f" to """{"a":1}""", function.text("name") to function.text("arguments"))
            assertTrue("\"finish_reason\":\"tool_calls\"" in reply.body)
        }
        assertEquals(listOf("f"), engine.answers.first().tools.map { it.objectAt("function")!!.text("name") })
    }

    @Test
    fun `nobody asks without the key`() {
        for (key in listOf(null, "", "lfm-tes", "lfm-test2", "Bearer $KEY")) {
            val reply = ask(HI, key = key)
            assertEquals("$key", 401, reply.status)
            assertEquals("authentication_error", reply.error.text("type"))
            assertEquals(401, ask(path = "/v1/models", key = key).status)
        }
        assertEquals(200, ask(path = "/health", key = null).status)
        assertEquals(200, ask(path = "/v1/models", key = null, more = "x-api-key: $KEY\r\n").status)
        assertTrue(engine.answers.isEmpty())
    }

    @Test
    fun `no page reaches it by a name of its own`() {
        for (host in listOf("evil.example", "evil.example:$port", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:$port", "")) {
            assertEquals(host, 403, ask(HI, host = host).status)
        }
        assertEquals(403, ask(HI, more = "Origin: https://evil.example\r\n").status)
        assertEquals(400, raw("GET /health HTTP/1.1\r\n\r\n").status)
        for (host in listOf("localhost:$port", "[::1]:$port")) assertEquals(200, ask(path = "/health", host = host).status)
    }

    @Test
    fun `what is too large or malformed is refused`() {
        assertEquals(413, raw("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nContent-Length: ${Limits.BODY_BYTES + 1}\r\n\r\n").status)
        assertEquals(431, raw("GET /health HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nX: ${"a".repeat(Limits.HEADER_BYTES)}\r\n\r\n").status)
        assertEquals(411, raw("POST / HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nTransfer-Encoding: chunked\r\n\r\n").status)
        for (length in listOf("-1", "x", "", "99999999999999999999")) {
            assertEquals(length, 400, raw("POST / HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nContent-Length: $length\r\n\r\n").status)
        }
        assertEquals(400, raw("nonsense\r\n\r\n").status)
        assertEquals(400, raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status)
        assertEquals(415, ask(HI, type = "text/plain").status)
        assertEquals(404, ask(path = "/v1/nothing").status)
        assertEquals(405, ask(path = "/v1/chat/completions").status)
    }

    @Test
    fun `bodies that are no request say what is wrong`() {
        val bodies = mapOf(
            "{" to "body: not JSON", "[]" to "expected a JSON object", "{}" to "messages: expected a list",
            """{"messages": []}""" to "messages: there are none", """{"messages": [{}]}""" to "messages[0].role",
            """{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}""" to "only text is read",
            """{"messages": [{"role": "user", "content": "x"}], "n": 2}""" to "n: not had",
            """{"messages": [{"role": "user", "content": "x"}], "stop": 3}""" to "stop: expected texts",
            """{"messages": [{"role": "user", "content": "x"}], "tools": {}}""" to "tools: expected a list",
            """{"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}}""" to "response_format: not had",
            """{"messages": ${"[".repeat(100_000)}}""" to "body: not JSON: nested deeper than 100 levels",
            """{"messages": [{"role": "user", "content": "\"${"[".repeat(1_000)}"}], "n": 2}""" to "n: not had",
        )
        for ((body, expected) in bodies) {
            val reply = ask(body)
            assertEquals(body.take(100), 400, reply.status)
            assertTrue(reply.body, expected in reply.error.text("message")!!)
        }
    }

    @Test
    fun `errors of the engine have a status`() {
        engine.fails(FakeEngine.error("ContextFullError", "the context is full"))
        assertEquals("context_length_exceeded", ask(HI).error.text("code"))
        engine.fails(FakeEngine.error("BundleError", "it fails"))
        assertEquals(500, ask(HI).status)
        engine.fails(FakeEngine.died())
        assertEquals(503, ask(HI).status)
        engine.says(EngineEvent.Text("a"))
        engine.fails(FakeEngine.error("BundleError", "it fails"))
        val events = ask("""{"stream": true, "messages": [{"role": "user", "content": "Hi"}]}""").events
        assertEquals("it fails", parseObject(events.last()).objectAt("error")!!.text("message"))
        engine.status.value = EngineStatus.Empty
        assertEquals(503, ask(HI).status)
    }

    @Test
    fun `requests wait in line and what comes when it is full is refused`() {
        val pool = Executors.newCachedThreadPool()
        // One more than there is room for: whichever comes last is refused while the others wait.
        val all = List(Limits.WAITING + 2) { pool.submit<Reply> { ask(HI) } }
        while (all.none { it.isDone }) Thread.sleep(5)
        assertEquals(1, engine.answers.size)
        repeat(Limits.WAITING + 1) { engine.answers("ok") }
        val statuses = all.map { it.get().status }.groupingBy { it }.eachCount()
        pool.shutdown()
        assertEquals(mapOf(200 to Limits.WAITING + 1, 429 to 1), statuses)
        assertEquals(Limits.WAITING + 1, engine.answers.size)
    }

    @Test
    fun `a client that hangs up ends its answer`() {
        Socket("127.0.0.1", port).use { socket ->
            val body = """{"stream": true, "messages": [{"role": "user", "content": "Hi"}]}"""
            socket.getOutputStream().write("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:$port\r\nAuthorization: Bearer $KEY\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n$body".toByteArray())
            socket.getOutputStream().flush()
            while (engine.answers.isEmpty()) Thread.sleep(5)
            socket.setSoLinger(true, 0)
        }
        // Its pieces go nowhere; soon the answer is given up and the next in line is served.
        val feeding = Thread {
            while (engine.answers.size < 2) {
                engine.says(EngineEvent.Text("a"))
                Thread.sleep(5)
            }
            engine.answers("served")
        }.apply { start() }
        assertTrue("served" in ask(HI).body)
        feeding.join()
    }
}
