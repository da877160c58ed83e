package ai.lfm.edge.app.server

import java.security.MessageDigest
import java.security.SecureRandom

private const val KEY_BYTES = 24

/** A key that nobody can guess, for the clients of this device. */
fun newKey(): String {
    val bytes = ByteArray(KEY_BYTES).also(SecureRandom()::nextBytes)
    return "lfm-" + bytes.joinToString("") { "%02x".format(it) }
}

/**
 * Who may ask. Loopback is open to every app and, through the browser, to every page: so a key is
 * demanded, the `Host` must be a loopback name (DNS rebinding), and no other page's `Origin` passes.
 */
class Guard(private val key: String, private val port: () -> Int) {
    /** @throws HttpError the request may not ask. */
    fun check(request: HttpRequest) {
        val host = request.headers["host"] ?: throw HttpError(400, "Host: missing")
        if (host !in ownHosts()) throw HttpError(403, "Host '${host.take(100)}' is not this server's; use its address")
        val origin = request.headers["origin"]
        if (origin != null && origin !in ownHosts().map { "http://$it" }) {
            throw HttpError(403, "Origin '${origin.take(100)}' may not ask")
        }
        if (request.path != "/health" && !hasKey(request)) {
            throw HttpError(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY")
        }
    }

    private fun ownHosts() = listOf("127.0.0.1", "localhost", "[::1]").map { "$it:${port()}" }

    private fun hasKey(request: HttpRequest): Boolean {
        val (kind, token) = (request.headers["authorization"] ?: "").split(' ', limit = 2) + listOf("", "")
        val given = if (kind.equals("bearer", ignoreCase = true)) token.trim() else request.headers["x-api-key"] ?: ""
        return MessageDigest.isEqual(given.toByteArray(), key.toByteArray())
    }
}
