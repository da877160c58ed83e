package ai.lfm.edge.app.server

import ai.lfm.edge.app.engine.Engine
import ai.lfm.edge.app.engine.EngineDied
import ai.lfm.edge.app.engine.EngineException
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.json.objectOf
import java.io.Closeable
import java.io.IOException
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.serialization.json.JsonObject

/**
 * OpenAI's chat completions on loopback, for other apps of this device.
 *
 * One request is answered at a time; [Limits.WAITING] more wait in the order in which they came, and
 * the next is answered 429. A client that hangs up ends its answer at the next token.
 *
 * @param port 0: any.
 * @param clock the time that a template sees.
 */
class Server(
    private val engine: Engine,
    key: String,
    port: Int,
    private val clock: () -> String,
) : Closeable {
    private val socket = ServerSocket(port, Limits.CONNECTIONS, InetAddress.getByName("127.0.0.1"))
    private val guard = Guard(key) { socket.localPort }
    private val turn = Mutex()
    private val inLine = AtomicInteger()
    private val workers = ThreadPoolExecutor(
        0, Limits.CONNECTIONS, 10, TimeUnit.SECONDS, SynchronousQueue(),
    )

    /** Where it listens. */
    val address get() = "http://127.0.0.1:${socket.localPort}/v1"

    /** Begins to listen. */
    fun start() = Thread(::accept, "endpoint").apply { isDaemon = true }.start()

    override fun close() {
        socket.close()
        workers.shutdownNow()
    }

    private fun accept() {
        while (!socket.isClosed) {
            try {
                val client = socket.accept()
                // What blocks there may still be handed a client after it was closed.
                if (socket.isClosed) client.close() else hand(client)
            } catch (_: IOException) {
                // Closed, or a client that was gone before it was accepted.
            }
        }
    }

    private fun hand(client: Socket) = try {
        workers.execute { serve(client) }
    } catch (_: RejectedExecutionException) {
        client.use { HttpResponse(it.getOutputStream()).send(429, errorBody(429, "too many connections")) }
    }

    private fun serve(client: Socket): Unit = client.use {
        client.soTimeout = Limits.READ_MILLIS
        val response = HttpResponse(client.getOutputStream().buffered())
        try {
            HttpRequest.read(client.getInputStream().buffered())?.let { request ->
                guard.check(request)
                answer(request, response)
            }
        } catch (_: IOException) {
            // The client is gone, or too slow.
        } catch (error: Exception) {
            val (status, body) = failure(error)
            runCatching { if (response.begun) response.event(body.toString()) else response.send(status, body) }
            Unit
        }
    }

    private fun failure(error: Exception): Pair<Int, JsonObject> {
        val (status, code) = when (error) {
            is HttpError -> error.status to error.code
            is EngineDied -> 503 to null
            is EngineException -> when (error.kind) {
                "ContextFullError" -> 400 to "context_length_exceeded"
                "InvalidRequestError", "UnknownTokenError", "TemplateError" -> 400 to null
                else -> 500 to null
            }
            else -> 500 to null
        }
        val message = if (error is HttpError || error is EngineException || error is EngineDied) error.message else null
        return status to errorBody(status, message ?: "an error of the server", code)
    }

    private fun answer(request: HttpRequest, response: HttpResponse) {
        when (request.method to request.path) {
            "GET" to "/health" -> response.send(200, objectOf("status" to "ok"))
            "GET" to "/v1/models" -> response.send(200, objectOf("object" to "list", "data" to listOf(modelCard())))
            "POST" to "/v1/chat/completions" -> chat(request, response)
            else -> {
                val known = request.path in setOf("/health", "/v1/models", "/v1/chat/completions")
                val what = "${request.method} ${request.path.take(200)}"
                throw if (known) HttpError(405, "$what: method not allowed") else HttpError(404, "there is no $what")
            }
        }
    }

    private fun model() = (engine.status.value as? EngineStatus.Ready)?.model
        ?: throw HttpError(503, "no model is loaded; load one in the app")

    private fun modelCard(): JsonObject {
        val model = model()
        return objectOf(
            "id" to model.name, "object" to "model", "created" to 0, "owned_by" to "lfm-edge",
            "max_model_len" to model.context,
        )
    }

    private fun chat(request: HttpRequest, response: HttpResponse) {
        if (request.headers["content-type"]?.substringBefore(';')?.trim()?.lowercase() != "application/json") {
            throw HttpError(415, "the body must be application/json")
        }
        val asked = ChatRequest.parse(request.body)
        model()
        try {
            if (inLine.incrementAndGet() > Limits.WAITING + 1) {
                throw HttpError(429, "too many requests wait already; try again later", "queue_full")
            }
            runBlocking { turn.withLock { reply(asked, response) } }
        } finally {
            inLine.decrementAndGet()
        }
    }

    private suspend fun reply(asked: ChatRequest, response: HttpResponse) {
        val answer = ChatAnswer(newKey().takeLast(24), System.currentTimeMillis() / 1000, model().name)
        engine.run(asked.forEngine(clock())).collect { event ->
            if (asked.stream && !response.begun) {
                response.beginEvents()
                response.event(answer.first().toString())
            }
            val chunk = answer.take(event)
            if (asked.stream && chunk != null) response.event(chunk.toString())
        }
        if (!asked.stream) return response.send(200, answer.whole())
        if (asked.includeUsage) response.event(answer.usageChunk().toString())
        response.event("[DONE]")
    }
}
