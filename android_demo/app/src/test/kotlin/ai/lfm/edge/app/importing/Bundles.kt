package ai.lfm.edge.app.importing

import ai.lfm.edge.app.json.objectOf
import java.io.ByteArrayOutputStream
import java.io.File
import java.security.MessageDigest
import java.util.Random
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlinx.serialization.json.JsonObject

/** A bundle's files by name, large enough to break off; its manifest is right unless a test changes it. */
class TestBundle(seed: Long = 1) {
    val weights = ByteArray(300_000).also(Random(seed)::nextBytes)
    val files = linkedMapOf("model.onnx" to "graph".toByteArray(), "model.onnx.data" to weights, "sub/tokenizer.json" to "{}".toByteArray())

    fun manifest(version: String = "1.0", change: (JsonObject) -> JsonObject = { it }): ByteArray {
        val listed = JsonObject(files.mapValues { objectOf("size" to it.value.size, "sha256" to sha256(it.value)) })
        val json = objectOf(
            "format_version" to version, "model" to objectOf("name" to "tiny", "family" to "lfm2"),
            "graph" to objectOf("target" to "onnx"), "quantization" to objectOf("method" to "q4", "head" to "q8"),
            "files" to change(listed),
        )
        return json.toString().toByteArray()
    }

    fun write(folder: File, manifest: ByteArray = manifest()): File {
        for ((name, bytes) in files) File(folder, name).apply { parentFile.mkdirs() }.writeBytes(bytes)
        File(folder, Manifest.NAME).writeBytes(manifest)
        return folder
    }

    /** All of it, with `more`, in the order given. */
    fun zip(prefix: String = "", manifest: ByteArray = manifest(), more: Map<String, ByteArray> = emptyMap(), manifestLast: Boolean = false): ByteArray {
        val out = ByteArrayOutputStream()
        ZipOutputStream(out).use { zip ->
            fun put(name: String, bytes: ByteArray) {
                zip.putNextEntry(ZipEntry(name))
                zip.write(bytes)
            }
            if (!manifestLast) put(prefix + Manifest.NAME, manifest)
            for ((name, bytes) in more) put(name, bytes)
            for ((name, bytes) in files) put(prefix + name, bytes)
            if (manifestLast) put(prefix + Manifest.NAME, manifest)
        }
        return out.toByteArray()
    }
}

fun sha256(bytes: ByteArray): String =
    MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }

/** Nobody listens. */
val QUIET = ImportProgress { _, _ -> }
