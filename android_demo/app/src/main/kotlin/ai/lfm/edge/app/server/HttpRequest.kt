package ai.lfm.edge.app.server

import java.io.InputStream

/** A request that is refused: its status, and why. */
class HttpError(val status: Int, message: String, val code: String? = null) : Exception(message)

/** How much a request may hold. */
object Limits {
    const val HEADER_BYTES = 16 shl 10
    const val BODY_BYTES = 8 shl 20
    const val MESSAGES = 2048
    const val TOOLS = 512
    const val STOP_STRINGS = 16
    const val CONNECTIONS = 16
    const val WAITING = 8
    const val READ_MILLIS = 15_000
}

/** One request of HTTP/1.1, read whole. Header names are in lower case. */
class HttpRequest(val method: String, val path: String, val headers: Map<String, String>, val body: ByteArray) {
    companion object {
        /**
         * Reads a request; null where the client sent nothing more.
         *
         * @throws HttpError it is malformed or too large.
         */
        fun read(input: InputStream): HttpRequest? {
            val lines = readHead(input) ?: return null
            val first = lines.first().split(' ')
            if (first.size != 3 || first[2] !in setOf("HTTP/1.1", "HTTP/1.0")) throw HttpError(400, "not HTTP/1.1")
            val headers = HashMap<String, String>()
            for (line in lines.drop(1)) addHeader(line, headers)
            return HttpRequest(first[0], first[1].substringBefore('?'), headers, readBody(input, headers))
        }

        private fun addHeader(line: String, headers: MutableMap<String, String>) {
            val colon = line.indexOf(':')
            val name = line.take(maxOf(colon, 0)).lowercase()
            if (name.isEmpty() || name.any { it.isWhitespace() }) throw HttpError(400, "malformed header")
            // Two of them, read differently by two programs, are how requests are smuggled.
            if (headers.put(name, line.substring(colon + 1).trim()) != null && name in UNIQUE) {
                throw HttpError(400, "$name: given twice")
            }
        }

        private fun readHead(input: InputStream): List<String>? {
            val head = StringBuilder()
            while (!head.endsWith("\r\n\r\n")) {
                val byte = input.read()
                if (byte < 0) return if (head.isEmpty()) null else throw HttpError(400, "the request is cut off")
                head.append(byte.toChar())
                if (head.length > Limits.HEADER_BYTES) throw HttpError(431, "the headers are too large")
            }
            return head.dropLast(4).split("\r\n")
        }

        private fun readBody(input: InputStream, headers: Map<String, String>): ByteArray {
            if ("transfer-encoding" in headers) throw HttpError(411, "send the body with Content-Length")
            val text = headers["content-length"] ?: return ByteArray(0)
            val length = text.takeIf { it.isNotEmpty() && it.all(Char::isDigit) }?.toLongOrNull()
                ?: throw HttpError(400, "Content-Length: not a number")
            if (length > Limits.BODY_BYTES) throw HttpError(413, "the body is larger than ${Limits.BODY_BYTES} bytes")
            val body = ByteArray(length.toInt())
            var have = 0
            while (have < body.size) {
                val count = input.read(body, have, body.size - have)
                if (count < 0) throw HttpError(400, "the body is cut off")
                have += count
            }
            return body
        }

        private val UNIQUE = setOf("host", "content-length", "transfer-encoding", "authorization", "origin")
    }
}
