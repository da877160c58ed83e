package ai.lfm.edge.app.importing

import java.io.IOException
import java.net.HttpURLConnection
import java.net.URL

private const val CONNECT_MILLIS = 15_000
private const val READ_MILLIS = 30_000

/** Where a bundle lies on the web: the address before its files' names, and a name for its folder. */
class WebAddress private constructor(val base: URL, val name: String) {
    companion object {
        private const val HUB = "https://huggingface.co"
        private val REPO = Regex("[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
        private val LOOPBACK = setOf("127.0.0.1", "localhost", "[::1]")

        /**
         * Reads what a user typed: `ORG/REPO` of the Hub, the page of a repository
         * (`https://HOST/ORG/REPO`), a file or folder of one (`.../resolve/REVISION/...`), or any folder.
         *
         * @throws ImportException it is no address, or not HTTPS.
         */
        fun parse(text: String): WebAddress {
            val typed = text.trim().trimEnd('/').removeSuffix("/${Manifest.NAME}")
            val full = if (REPO.matches(typed)) "$HUB/$typed" else typed
            val url = try {
                URL(full)
            } catch (_: IOException) {
                throw ImportException("$typed: expected ORG/REPO or an address that begins with https://")
            }
            if (url.protocol != "https" && !(url.protocol == "http" && url.host in LOOPBACK)) {
                throw ImportException("$typed: only https:// is fetched")
            }
            if (url.host.isEmpty() || url.query != null || url.userInfo != null) {
                throw ImportException("$typed: not the address of a folder")
            }
            return of(full, url)
        }

        private fun of(full: String, url: URL): WebAddress {
            val parts = url.path.split('/').filter { it.isNotEmpty() }
            val isRepository = url.host == "huggingface.co" && parts.size == 2
            val base = if (isRepository) "$full/resolve/main/" else "$full/"
            val resolve = parts.indexOf("resolve")
            val named = if (resolve > 0 && parts.size <= resolve + 2) parts[resolve - 1] else parts.lastOrNull()
            return WebAddress(URL(base), folderName(named ?: url.host))
        }
    }
}

/** A plain folder name made of any text. */
fun folderName(text: String): String {
    val plain = text.replace(Regex("[^A-Za-z0-9._-]"), "-").trim('.', '-', '_').take(100)
    return plain.ifEmpty { "model" }
}

/** A folder of a web server, such as a repository of the Hub; files are gone on with by `Range`. */
class HttpSource(private val base: URL) : BundleSource {
    override fun open(name: String, offset: Long): Opened {
        val connection = URL(base, name).openConnection() as HttpURLConnection
        connection.connectTimeout = CONNECT_MILLIS
        connection.readTimeout = READ_MILLIS
        connection.setRequestProperty("Accept-Encoding", "identity")
        if (offset > 0) connection.setRequestProperty("Range", "bytes=$offset-")
        val status = connection.responseCode
        return when {
            status == 206 && startOf(connection) == offset -> Opened(connection.inputStream, offset)
            status == 200 -> Opened(connection.inputStream, 0)
            status == 206 || status == 416 -> {
                connection.disconnect()
                if (offset == 0L) throw IOException("$name: the server answers with another part")
                open(name, 0)
            }
            status == 429 || status >= 500 -> throw IOException("${connection.url.host}: $status for $name")
            else -> throw ImportException("${connection.url.host}: $status for $name" + hint(status))
        }
    }

    private fun startOf(connection: HttpURLConnection): Long? =
        connection.getHeaderField("Content-Range")
            ?.let { Regex("bytes ([0-9]+)-.*").matchEntire(it) }?.groupValues?.get(1)?.toLongOrNull()

    private fun hint(status: Int) = when (status) {
        401, 403 -> "; it is not public"
        404 -> "; is there a bundle of lfm-edge export at this address?"
        in 300..399 -> "; it leads to an address that is not HTTPS"
        else -> ""
    }
}
