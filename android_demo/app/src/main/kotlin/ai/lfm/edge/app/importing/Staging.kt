package ai.lfm.edge.app.importing

import java.io.File
import java.io.FileInputStream
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest

private const val BUFFER = 1 shl 16
private const val SPARE_BYTES = 256L shl 20

/** Hears how many bytes of the bundle are here; ends the import by throwing. */
fun interface ImportProgress {
    fun at(done: Long, total: Long)
}

/**
 * The folder in which a bundle arrives: `.NAME.partial` beside its place, renamed once it is whole.
 *
 * A file is `FILE.part` until its size and hash are right. What is here already stays when an import
 * breaks off, and is not fetched again.
 *
 * @param models the folder of all bundles.
 * @param name of the bundle's folder.
 * @param manifest what is to come.
 * @param usableSpace bytes that may still be written below a folder.
 */
class Staging(
    private val models: File,
    val name: String,
    val manifest: Manifest,
    private val usableSpace: (File) -> Long = File::getUsableSpace,
) {
    private val folder = partialFolder(models, name)
    private var done = 0L

    /**
     * Makes the folder, keeps what an earlier try left of the same bundle, and looks for room.
     *
     * @throws ImportException a bundle of this name is here already, or there is too little space.
     */
    fun begin() {
        if (File(models, name).exists()) throw ImportException("$name is here already; delete it first")
        val old = File(folder, Manifest.NAME)
        if (folder.exists() && !(old.isFile && old.readBytes().contentEquals(manifest.bytes))) {
            folder.deleteRecursively()
        }
        if (!folder.isDirectory && !folder.mkdirs()) throw ImportException("$folder: cannot be made")
        old.writeBytes(manifest.bytes)
        done = manifest.bytes.size + manifest.files.sumOf { if (isWhole(it)) it.size else partialSize(it) }
        val missing = manifest.totalBytes - done
        val free = usableSpace(folder) - SPARE_BYTES
        if (missing > free) {
            throw ImportException(
                "$name needs ${sizeText(missing)} more, but only ${sizeText(maxOf(0, free))} are free " +
                    "(with ${sizeText(SPARE_BYTES)} left for the system)",
            )
        }
    }

    /** Whether a file has arrived and was checked. */
    fun isWhole(entry: FileEntry): Boolean = place(entry).let { it.isFile && it.length() == entry.size }

    /** How many bytes of an unfinished file are here. */
    fun partialSize(entry: FileEntry): Long = part(entry).let { if (it.isFile) it.length() else 0 }

    /**
     * Writes a file from `offset` on and checks it.
     *
     * @throws ImportException it is longer than the manifest says, or its hash is another: it is
     *     deleted then.
     * @throws IOException it broke off; what came stays.
     */
    fun write(entry: FileEntry, input: InputStream, offset: Long, progress: ImportProgress) {
        val part = part(entry)
        part.parentFile?.mkdirs()
        val hash = MessageDigest.getInstance("SHA-256")
        done -= partialSize(entry)
        if (part.isFile && part.length() > offset) truncate(part, offset)
        if (offset > 0) hashFile(part, hash) { progress.at(done + it, manifest.totalBytes) }
        done += offset
        val size = append(part, entry, input, offset, hash, progress)
        if (size < entry.size) throw IOException("${entry.name}: broke off at $size of ${entry.size} bytes")
        val sha256 = hash.digest().joinToString("") { "%02x".format(it) }
        if (sha256 != entry.sha256) {
            done -= entry.size
            part.delete()
            throw ImportException(
                "${entry.name}: SHA-256 is ${sha256.take(12)}..., the manifest says " +
                    "${entry.sha256.take(12)}...; it was damaged on its way, or is another version",
            )
        }
        if (!part.renameTo(place(entry))) throw ImportException("${entry.name}: cannot be renamed")
    }

    private fun append(
        part: File, entry: FileEntry, input: InputStream, offset: Long, hash: MessageDigest,
        progress: ImportProgress,
    ): Long {
        var size = offset
        FileOutputStream(part, true).use { output ->
            val buffer = ByteArray(BUFFER)
            while (true) {
                val count = input.read(buffer)
                if (count < 0) break
                size += count
                if (size > entry.size) {
                    done -= size - count
                    part.delete()
                    throw ImportException("${entry.name}: is longer than the ${entry.size} bytes of the manifest")
                }
                output.write(buffer, 0, count)
                hash.update(buffer, 0, count)
                done += count
                progress.at(done, manifest.totalBytes)
            }
            output.fd.sync()
        }
        return size
    }

    /**
     * Moves the whole bundle to its place.
     *
     * @throws ImportException a file is missing.
     */
    fun finish(): File {
        manifest.files.find { !isWhole(it) }?.let { throw ImportException("$name: ${it.name} is missing") }
        val place = File(models, name)
        if (!folder.renameTo(place)) throw ImportException("$place: cannot be moved in")
        return place
    }

    private fun place(entry: FileEntry) = File(folder, entry.name)

    private fun part(entry: FileEntry) = File(folder, "${entry.name}.part")

    private fun truncate(file: File, size: Long) =
        FileOutputStream(file, true).channel.use { it.truncate(size) }

    companion object {
        /** Where the bundle `name` arrives. */
        fun partialFolder(models: File, name: String) = File(models, ".$name.partial")
    }
}

/** Feeds a file to a hash; `read` hears of the bytes so far. */
internal fun hashFile(file: File, hash: MessageDigest, read: (Long) -> Unit) {
    FileInputStream(file).use { input ->
        val buffer = ByteArray(BUFFER)
        var total = 0L
        while (true) {
            val count = input.read(buffer)
            if (count < 0) return
            hash.update(buffer, 0, count)
            total += count
            read(total)
        }
    }
}

/** Bytes as people read them: "1.3 GB". */
fun sizeText(bytes: Long): String = when {
    bytes >= 1_000_000_000 -> "%.1f GB".format(java.util.Locale.ROOT, bytes / 1e9)
    bytes >= 1_000_000 -> "%.0f MB".format(java.util.Locale.ROOT, bytes / 1e6)
    else -> "%.0f kB".format(java.util.Locale.ROOT, bytes / 1e3)
}
