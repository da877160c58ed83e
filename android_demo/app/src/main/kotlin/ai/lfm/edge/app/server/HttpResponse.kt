package ai.lfm.edge.app.server

import ai.lfm.edge.app.json.objectOf
import java.io.OutputStream
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject

private val REASONS = mapOf(
    200 to "OK", 400 to "Bad Request", 401 to "Unauthorized", 403 to "Forbidden", 404 to "Not Found",
    405 to "Method Not Allowed", 411 to "Length Required", 413 to "Content Too Large",
    415 to "Unsupported Media Type", 429 to "Too Many Requests",
    431 to "Request Header Fields Too Large", 500 to "Internal Server Error", 503 to "Service Unavailable",
)

private val KINDS = mapOf(
    400 to "invalid_request_error", 401 to "authentication_error", 403 to "permission_error",
    404 to "not_found_error", 413 to "request_too_large", 429 to "rate_limit_error", 503 to "overloaded_error",
)

/** Writes responses of HTTP/1.1, each of which ends its connection. */
class HttpResponse(private val output: OutputStream) {
    /** Whether the status is sent, so that an error can no longer have one of its own. */
    var begun = false
        private set

    /** Sends a whole answer. */
    fun send(status: Int, body: JsonObject) {
        val bytes = body.toString().toByteArray()
        val retry = if (status == 429 || status == 503) "Retry-After: 1\r\n" else ""
        head(status, "application/json", "${retry}Content-Length: ${bytes.size}\r\n")
        output.write(bytes)
        output.flush()
    }

    /** Begins a stream of events. */
    fun beginEvents() = head(200, "text/event-stream; charset=utf-8", "Cache-Control: no-store\r\n")

    /** Sends one event of it. */
    fun event(data: String) {
        output.write("data: $data\n\n".toByteArray())
        output.flush()
    }

    private fun head(status: Int, type: String, more: String) {
        begun = true
        val line = "HTTP/1.1 $status ${REASONS[status] ?: "Error"}\r\n"
        output.write("${line}Content-Type: $type\r\n${more}Connection: close\r\n\r\n".toByteArray())
    }
}

/** An error in OpenAI's form. */
fun errorBody(status: Int, message: String, code: String? = null): JsonObject {
    val kind = KINDS[status] ?: if (status < 500) "invalid_request_error" else "api_error"
    return objectOf(
        "error" to objectOf(
            "message" to message, "type" to kind, "param" to JsonNull,
            "code" to (code?.let { kotlinx.serialization.json.JsonPrimitive(it) } ?: JsonNull),
        ),
    )
}
