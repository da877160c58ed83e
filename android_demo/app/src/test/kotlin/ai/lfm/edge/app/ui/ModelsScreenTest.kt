package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.importing.ImportState
import ai.lfm.edge.app.importing.Manifest
import ai.lfm.edge.app.importing.TestBundle
import android.app.AlertDialog
import com.sun.net.httpserver.HttpServer
import java.io.File
import java.net.InetSocketAddress
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.robolectric.Robolectric

class ModelsScreenTest : ScreenTest() {
    private val bundle = TestBundle()
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
    private val controller = Robolectric.buildActivity(ModelsActivity::class.java)
    private val activity get() = controller.get()

    private fun open() {
        controller.setup()
        idle()
    }

    private fun serve(change: (String, ByteArray) -> ByteArray = { _, bytes -> bytes }) {
        server.createContext("/org/tiny/resolve/main/") { exchange ->
            val name = exchange.requestURI.path.removePrefix("/org/tiny/resolve/main/")
            val bytes = if (name == Manifest.NAME) bundle.manifest() else change(name, bundle.files.getValue(name).copyOf())
            exchange.sendResponseHeaders(200, bytes.size.toLong())
            exchange.responseBody.use { it.write(bytes) }
        }
        server.start()
    }

    private fun download() {
        type(activity, R.id.address, "http://127.0.0.1:${server.address.port}/org/tiny/resolve/main")
        click(activity, R.string.download)
        until { app.imports.state.value !is ImportState.Running }
        idle()
    }

    @After
    fun close() = server.stop(0)

    @Test
    fun `a model comes in and is loaded`() {
        serve()
        memory(available = 8_000_000_000)
        open()
        assertTrue(activity.getString(R.string.no_models) in texts(activity))
        download()
        assertTrue(texts(activity).toString(), "tiny is complete, every hash is right." in texts(activity))
        click(activity, R.string.load)
        assertTrue(message(), message().startsWith("Needs 4.2 GB") && "7.8 GB of 12.0 GB can be used now" in message())
        answer(AlertDialog.BUTTON_POSITIVE)
        assertEquals(4096, fake.asked.filterIsInstance<EngineRequest.Load>().single().context)
        assertTrue(texts(activity).any { it.endsWith(", loaded") })
    }

    @Test
    fun `a broken bundle is refused and leaves nothing to load`() {
        serve { name, bytes -> bytes.also { if (name == "model.onnx.data") it[9] = (it[9] + 1).toByte() } }
        open()
        download()
        assertTrue(texts(activity).any { it.startsWith("model.onnx.data: SHA-256 is") })
        assertFalse(activity.getString(R.string.load) in texts(activity))
        assertTrue(app.models.list().isEmpty())
        assertTrue("tiny: not complete" in texts(activity))
        click(activity, R.string.discard)
        assertTrue(app.models.imported.listFiles().orEmpty().isEmpty())
    }

    @Test
    fun `an address that is none is said`() {
        open()
        type(activity, R.id.address, "http://example.org/model")
        click(activity, R.string.download)
        assertTrue("http://example.org/model: only https:// is fetched" in texts(activity))
    }

    @Test
    fun `a context that fits is proposed`() {
        installed()
        memory(available = 4_330_000_000)
        open()
        click(activity, R.string.load)
        assertTrue(message(), "With 2304 tokens of context it needs" in message())
        assertEquals("Load with 2304 tokens", dialog().getButton(AlertDialog.BUTTON_POSITIVE).text)
        answer(AlertDialog.BUTTON_POSITIVE)
        assertEquals(2304, fake.asked.filterIsInstance<EngineRequest.Load>().single().context)
    }

    @Test
    fun `too little memory is refused with numbers`() {
        installed()
        memory(available = 1_000_000_000, total = 4_000_000_000)
        open()
        click(activity, R.string.load)
        assertTrue(message(), "Needs 4.2 GB" in message() && "800 MB of 4.0 GB can be used now" in message())
        assertTrue("too small" in message())
        assertEquals("", dialog().getButton(AlertDialog.BUTTON_POSITIVE).text)
        assertTrue(fake.asked.none { it is EngineRequest.Load })
    }

    @Test
    fun `what was pushed is checked before it is loaded`() {
        val pushed = bundle.write(File(app.getExternalFilesDir("models"), "tiny").apply { mkdirs() })
        open()
        assertTrue(texts(activity).any { it.endsWith(", not checked yet") })
        assertFalse(activity.getString(R.string.load) in texts(activity))
        click(activity, R.string.check)
        until { app.imports.state.value !is ImportState.Running }
        assertTrue("tiny: every hash is right." in texts(activity))
        assertTrue(activity.getString(R.string.load) in texts(activity))
        File(pushed, "model.onnx").writeText("GRAPH")
        File(pushed, "model.onnx").setLastModified(1)
        assertFalse(app.models.list().single().checked)
        app.imports.start("tiny", checking = true) { app.models.check(app.models.list().single(), it) }
        until { app.imports.state.value is ImportState.Failed }
        assertTrue("tiny: model.onnx is damaged; push it again" in texts(activity))
    }

    @Test
    fun `a model is deleted once that is confirmed`() {
        installed()
        open()
        click(activity, R.string.delete)
        assertTrue(dialog().isShowing)
        answer(AlertDialog.BUTTON_POSITIVE)
        assertTrue(app.models.list().isEmpty())
        assertTrue(activity.getString(R.string.no_models) in texts(activity))
    }
}
