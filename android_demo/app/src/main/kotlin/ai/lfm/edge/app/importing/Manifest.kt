package ai.lfm.edge.app.importing

import ai.lfm.edge.app.json.JsonException
import ai.lfm.edge.app.json.long
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import java.io.File
import kotlinx.serialization.json.JsonObject

/** What is wrong with something to be imported; one line for the user. */
class ImportException(message: String) : Exception(message)

/** One file of a bundle: its size in bytes and the hash of what is in it. */
data class FileEntry(val name: String, val size: Long, val sha256: String)

/** As much of a bundle's `manifest.json` as an import needs: which files there are. */
class Manifest private constructor(val model: String, val files: List<FileEntry>, val bytes: ByteArray) {
    /** Bytes of all files, that of the manifest included. */
    val totalBytes: Long get() = files.sumOf { it.size } + bytes.size

    /** The entry of a file; null for one that the manifest does not name. */
    fun entry(name: String): FileEntry? = files.find { it.name == name }

    companion object {
        const val NAME = "manifest.json"
        const val MAX_BYTES = 16L shl 20
        private const val MAX_FILES = 10_000
        private const val MAJOR = "1"
        private const val PLAIN = "[A-Za-z0-9_][A-Za-z0-9._-]{0,254}"
        private val PATH = Regex("$PLAIN(/$PLAIN){0,15}")
        private val VERSION = Regex("([0-9]+)\\.[0-9]+")
        private val SHA256 = Regex("[0-9a-f]{64}")

        /**
         * Reads a manifest.
         *
         * @throws ImportException it is none, is of another major version, or names a file whose path
         *     could leave the bundle's folder.
         */
        fun parse(bytes: ByteArray): Manifest {
            val root = try {
                parseObject(bytes.toString(Charsets.UTF_8))
            } catch (error: JsonException) {
                throw ImportException("$NAME: ${error.message}")
            }
            checkVersion(root.text("format_version"))
            val listed = root.objectAt("files") ?: throw ImportException("$NAME: files: missing")
            if (listed.isEmpty()) throw ImportException("$NAME: files: lists none")
            if (listed.size > MAX_FILES) throw ImportException("$NAME: files: lists more than $MAX_FILES")
            val files = listed.map { (name, entry) -> fileEntry(name, entry as? JsonObject) }
            return Manifest(root.objectAt("model")?.text("name") ?: "model", files, bytes)
        }

        /** Reads the manifest of a folder. */
        fun of(folder: File): Manifest {
            val file = File(folder, NAME)
            if (!file.isFile) throw ImportException("${folder.name}: there is no $NAME")
            if (file.length() > MAX_BYTES) throw ImportException("$NAME: larger than $MAX_BYTES bytes")
            return parse(file.readBytes())
        }

        private fun checkVersion(version: String?) {
            val major = version?.let { VERSION.matchEntire(it)?.groupValues?.get(1) }
                ?: throw ImportException("$NAME: format_version: got $version, expected MAJOR.MINOR")
            if (major != MAJOR) {
                throw ImportException("$NAME: format_version $version: this app reads $MAJOR.x; update it")
            }
        }

        private fun fileEntry(name: String, entry: JsonObject?): FileEntry {
            if (!PATH.matches(name) || name == NAME) {
                throw ImportException("$NAME: files: ${name.take(100)}: not a path inside the bundle")
            }
            val size = entry?.long("size")
            if (size == null || size < 0) throw ImportException("$NAME: files: $name: no size")
            val sha256 = entry.text("sha256")
            if (sha256 == null || !SHA256.matches(sha256)) {
                throw ImportException("$NAME: files: $name: no sha256")
            }
            return FileEntry(name, size, sha256)
        }
    }
}
