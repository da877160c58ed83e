package ai.lfm.edge.app.importing

import ai.lfm.edge.app.json.objectOf
import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import kotlinx.serialization.json.JsonObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class ImportTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val bundle = TestBundle()
    private val models by lazy { temporary.newFolder("models") }
    private val source by lazy { temporary.newFolder("source") }

    private fun import(from: BundleSource, space: Long = Long.MAX_VALUE, tries: Int = 1) =
        SourceImport(models, { space }, tries, pause = {}).run(from, "tiny", QUIET)

    private fun refused(action: () -> Unit) = assertThrows(ImportException::class.java) { action() }.message.orEmpty()

    @Test
    fun `a folder comes in whole`() {
        val place = import(FolderSource(bundle.write(source)))
        assertEquals(File(models, "tiny"), place)
        for ((name, bytes) in bundle.files) assertArrayEquals(bytes, File(place, name).readBytes())
        assertEquals(listOf("tiny"), models.list().orEmpty().toList())
        assertTrue(refused { import(FolderSource(source)) }.startsWith("tiny is here already"))
    }

    @Test
    fun `a file that differs from its hash is refused and nothing is moved in`() {
        bundle.write(source)
        File(source, "model.onnx.data").writeBytes(bundle.weights.also { it[7] = (it[7] + 1).toByte() })
        val message = refused { import(FolderSource(source)) }
        assertTrue(message, message.startsWith("model.onnx.data: SHA-256 is"))
        assertFalse(File(models, "tiny").exists())
        assertFalse(File(models, ".tiny.partial/model.onnx.data.part").exists())
    }

    @Test
    fun `a file longer than the manifest says is refused`() {
        bundle.write(source)
        File(source, "model.onnx").appendText("!")
        assertTrue(refused { import(FolderSource(source)) }.startsWith("model.onnx: is longer than the 5 bytes"))
    }

    @Test
    fun `a missing file is named`() {
        bundle.write(source)
        File(source, "sub/tokenizer.json").delete()
        assertTrue(refused { import(FolderSource(source)) }.endsWith("there is no sub/tokenizer.json"))
    }

    @Test
    fun `too little space is said before anything is fetched`() {
        val message = refused { import(FolderSource(bundle.write(source)), space = (256L shl 20) + 1000) }
        assertTrue(message, message.startsWith("tiny needs 300 kB more, but only 1 kB are free"))
    }

    @Test
    fun `manifests that are none are refused`() {
        val entry = objectOf("size" to 1, "sha256" to "0".repeat(64))
        val bad = mapOf(
            "[]" to "expected a JSON object", "{" to "not JSON", "{}" to "format_version: got null",
            bundle.manifest("2.0").decodeToString() to "format_version 2.0: this app reads 1.x",
            bundle.manifest { objectOf() }.decodeToString() to "files: lists none",
            bundle.manifest { JsonObject(it + ("../evil" to entry)) }.decodeToString() to "../evil: not a path inside",
            bundle.manifest { JsonObject(it + ("/etc/passwd" to entry)) }.decodeToString() to "not a path inside",
            bundle.manifest { JsonObject(it + ("a/../../b" to entry)) }.decodeToString() to "not a path inside",
            bundle.manifest { JsonObject(it + ("manifest.json" to entry)) }.decodeToString() to "not a path inside",
            bundle.manifest { JsonObject(it + ("x" to objectOf("size" to -1, "sha256" to "0".repeat(64)))) }.decodeToString() to "x: no size",
            bundle.manifest { JsonObject(it + ("x" to objectOf("size" to 1, "sha256" to "zz"))) }.decodeToString() to "x: no sha256",
        )
        for ((text, expected) in bad) {
            val message = refused { Manifest.parse(text.toByteArray()) }
            assertTrue("$expected: $message", expected in message)
        }
    }

    @Test
    fun `what broke off is gone on with`() {
        bundle.write(source)
        val opened = ArrayList<Pair<String, Long>>()
        var failures = 1
        val flaky = object : BundleSource {
            override fun open(name: String, offset: Long): Opened {
                opened.add(name to offset)
                val whole = FolderSource(source).open(name, offset)
                if (name != "model.onnx.data" || failures-- <= 0) return whole
                return Opened(Breaking(whole.input.readBytes().copyOf(100_000)), offset)
            }
        }
        assertThrows(IOException::class.java) { import(flaky) }
        import(flaky)
        assertArrayEquals(bundle.weights, File(models, "tiny/model.onnx.data").readBytes())
        assertEquals("model.onnx.data" to 100_000L, opened.last { it.first == "model.onnx.data" })
        assertEquals(1, opened.count { it.first == "model.onnx" })
    }

    @Test
    fun `another version under the same name begins anew`() {
        val partial = Staging.partialFolder(models, "tiny").apply { mkdirs() }
        File(partial, Manifest.NAME).writeBytes(TestBundle(seed = 2).manifest())
        File(partial, "model.onnx.data").writeBytes(ByteArray(bundle.weights.size))
        import(FolderSource(bundle.write(source)))
        assertArrayEquals(bundle.weights, File(models, "tiny/model.onnx.data").readBytes())
    }

    private fun unzip(bytes: ByteArray) = ZipImport(models, { Long.MAX_VALUE }) { ByteArrayInputStream(bytes) }.run("tiny", QUIET)

    @Test
    fun `a zip comes in wherever its manifest lies`() {
        for ((index, bytes) in listOf(bundle.zip(), bundle.zip("folder/"), bundle.zip("folder/", manifestLast = true)).withIndex()) {
            val place = unzip(bytes)
            assertArrayEquals("$index", bundle.weights, File(place, "model.onnx.data").readBytes())
            place.deleteRecursively()
        }
    }

    @Test
    fun `a zip that leaves its folder is refused`() {
        for (name in listOf("../evil", "a/../../evil", "/evil", "..\\evil")) {
            val message = refused { unzip(bundle.zip(more = mapOf(name to ByteArray(1)), manifestLast = true)) }
            assertTrue(message, message.startsWith("the zip names a path outside its folder"))
        }
        // Behind the manifest nothing but its own files is looked at.
        unzip(bundle.zip(more = mapOf("../evil" to ByteArray(1))))
        assertFalse(File(temporary.root, "evil").exists())
    }

    @Test
    fun `a bomb is held to the manifest's sizes`() {
        val bomb = TestBundle().apply { files["model.onnx.data"] = ByteArray(50_000_000) }
        val message = refused { unzip(bomb.zip(manifest = bundle.manifest())) }
        assertTrue(message, message.startsWith("model.onnx.data: is longer than the 300000 bytes"))
        val written = models.walk().filter { it.isFile }.sumOf { it.length() }
        assertTrue("$written", written < 400_000)
    }

    @Test
    fun `what is no zip of a bundle is refused`() {
        assertEquals("the zip holds no manifest.json", refused { unzip("no zip".toByteArray()) })
        assertEquals("the zip is cut off", refused { unzip(bundle.zip().copyOf(150_000)) })
        models.listFiles().orEmpty().forEach { it.deleteRecursively() }
        val lacking = TestBundle().apply { files.remove("model.onnx") }
        assertEquals("tiny: model.onnx is missing", refused { unzip(lacking.zip(manifest = bundle.manifest())) })
    }

    @Test
    fun `addresses are those of folders`() {
        fun base(text: String) = WebAddress.parse(text).let { it.base.toString() to it.name }
        val hub = "https://huggingface.co/org/repo/resolve/main/" to "repo"
        assertEquals(hub, base("org/repo"))
        assertEquals(hub, base(" https://huggingface.co/org/repo/ "))
        assertEquals(hub, base("https://huggingface.co/org/repo/resolve/main/manifest.json"))
        assertEquals("https://h.example/o/r/resolve/v2/sub/" to "sub", base("https://h.example/o/r/resolve/v2/sub"))
        assertEquals("https://h.example/files/lfm/" to "lfm", base("https://h.example/files/lfm"))
        for (bad in listOf("", "x", "http://h.example/a", "ftp://h.example/a", "https://u:p@h.example/a", "https://h.example/a?b", "file:///etc")) {
            refused { WebAddress.parse(bad) }
        }
    }
}

/** Gives what it has, and then breaks. */
private class Breaking(bytes: ByteArray) : ByteArrayInputStream(bytes) {
    override fun read(buffer: ByteArray, offset: Int, length: Int): Int =
        super.read(buffer, offset, length).also { if (it < 0) throw IOException("broke off") }
}
