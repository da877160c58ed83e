package ai.lfm.edge.app.importing

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.File
import java.io.IOException
import java.net.InetSocketAddress
import java.net.URL
import org.junit.After
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class DownloadTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val bundle = TestBundle()
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
    private val ranges = ArrayList<String?>()
    private var ranged = true
    private var breakAt = -1
    private var status = 200
    private val models by lazy { temporary.newFolder("models") }

    @Before
    fun serve() {
        server.createContext("/org/tiny/resolve/main/", ::answer)
        server.start()
    }

    @After
    fun close() = server.stop(0)

    private fun answer(exchange: HttpExchange) = exchange.use {
        val name = exchange.requestURI.path.removePrefix("/org/tiny/resolve/main/")
        val bytes = if (name == Manifest.NAME) bundle.manifest() else bundle.files[name]
        if (bytes == null || status != 200) return@use exchange.sendResponseHeaders(if (status != 200) status else 404, -1)
        val range = exchange.requestHeaders.getFirst("Range")
        if (name == "model.onnx.data") ranges.add(range)
        val start = if (ranged && range != null) range.removePrefix("bytes=").removeSuffix("-").toInt() else 0
        if (start > 0) exchange.responseHeaders.add("Content-Range", "bytes $start-${bytes.size - 1}/${bytes.size}")
        exchange.sendResponseHeaders(if (start > 0) 206 else 200, (bytes.size - start).toLong())
        val end = if (name == "model.onnx.data" && breakAt > 0) breakAt.also { breakAt = -1 } else bytes.size
        exchange.responseBody.write(bytes, start, end - start)
    }

    private fun download(tries: Int = 1): File {
        val where = WebAddress.parse("http://127.0.0.1:${server.address.port}/org/tiny/resolve/main")
        return SourceImport(models, { Long.MAX_VALUE }, tries, pause = {}).run(HttpSource(where.base), where.name, QUIET)
    }

    private fun assertWhole() {
        assertArrayEquals(bundle.weights, File(models, "tiny/model.onnx.data").readBytes())
        assertEquals(listOf("tiny"), models.list().orEmpty().toList())
    }

    @Test
    fun `a repository of the Hub's layout comes in`() {
        download()
        assertWhole()
        assertEquals(listOf<String?>(null), ranges)
    }

    @Test
    fun `a download that broke off goes on at its byte the next time`() {
        breakAt = 120_000
        assertThrows(IOException::class.java) { download() }
        val here = File(models, ".tiny.partial/model.onnx.data.part").length()
        download()
        assertWhole()
        assertEquals(listOf(null, "bytes=$here-"), ranges)
        assertTrue("$here", here in 1..120_000)
    }

    @Test
    fun `it is tried again by itself`() {
        breakAt = 120_000
        download(tries = 2)
        assertWhole()
    }

    @Test
    fun `a server without ranges sends it from the beginning`() {
        breakAt = 120_000
        assertThrows(IOException::class.java) { download() }
        ranged = false
        download()
        assertWhole()
    }

    @Test
    fun `a partial file that is too long is checked and thrown away`() {
        breakAt = 120_000
        assertThrows(IOException::class.java) { download() }
        File(models, ".tiny.partial/model.onnx.data.part").writeBytes(ByteArray(400_000))
        val error = assertThrows(ImportException::class.java) { download() }
        assertTrue(error.message, error.message!!.startsWith("model.onnx.data: SHA-256"))
        download()
        assertWhole()
    }

    @Test
    fun `errors of the server are told`() {
        for ((code, said) in mapOf(404 to "404 for manifest.json; is there a bundle", 401 to "401 for manifest.json; it is not public")) {
            status = code
            val error = assertThrows(ImportException::class.java) { download() }
            assertTrue(error.message, said in error.message!!)
        }
        status = 503
        assertThrows(IOException::class.java) { download(tries = 2) }
    }

    @Test
    fun `a redirect to clear text is not followed`() {
        server.createContext("/away/") { exchange ->
            exchange.responseHeaders.add("Location", "ftp://127.0.0.1/x")
            exchange.sendResponseHeaders(302, -1)
            exchange.close()
        }
        val source = HttpSource(URL("http://127.0.0.1:${server.address.port}/away/"))
        val error = assertThrows(ImportException::class.java) { source.open(Manifest.NAME, 0) }
        assertTrue(error.message, error.message!!.endsWith("it leads to an address that is not HTTPS"))
    }
}
