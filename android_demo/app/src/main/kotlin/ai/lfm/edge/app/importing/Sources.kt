package ai.lfm.edge.app.importing

import java.io.File
import java.io.FileInputStream
import java.io.IOException
import java.io.InputStream

/** A file that is being read, and from which byte on. */
class Opened(val input: InputStream, val offset: Long)

/** Where a bundle's files can be had by name. */
interface BundleSource {
    /**
     * Opens a file, from `offset` on where the source can do so, else from its beginning.
     *
     * @throws ImportException there is no such file.
     * @throws IOException it cannot be read now.
     */
    fun open(name: String, offset: Long): Opened
}

/** A folder of this device, for example one that `adb push` wrote. */
class FolderSource(private val folder: File) : BundleSource {
    override fun open(name: String, offset: Long): Opened {
        val file = File(folder, name)
        if (!file.canonicalPath.startsWith(folder.canonicalPath + File.separator) || !file.isFile) {
            throw ImportException("${folder.name}: there is no $name")
        }
        val input = FileInputStream(file)
        input.channel.position(offset)
        return Opened(input, offset)
    }
}

/** Reads a manifest, no more than [Manifest.MAX_BYTES] of it. */
internal fun readManifest(input: InputStream): Manifest = Manifest.parse(readAtMost(input, Manifest.MAX_BYTES))

private fun readAtMost(input: InputStream, most: Long): ByteArray {
    val out = java.io.ByteArrayOutputStream()
    val buffer = ByteArray(1 shl 16)
    while (true) {
        val count = input.read(buffer)
        if (count < 0) return out.toByteArray()
        out.write(buffer, 0, count)
        if (out.size() > most) throw ImportException("${Manifest.NAME}: larger than $most bytes")
    }
}

/**
 * Imports a bundle from where its files can be had by name: the manifest first, then each file.
 *
 * @param tries how often a file that broke off is gone on with.
 * @param pause waits before the next try; the argument counts them.
 */
class SourceImport(
    private val models: File,
    private val usableSpace: (File) -> Long = File::getUsableSpace,
    private val tries: Int = 5,
    private val pause: (Int) -> Unit = { Thread.sleep(1000L shl it) },
) {
    /**
     * Brings the bundle in and returns its folder.
     *
     * @throws ImportException it is none, is damaged, is here already, or does not fit.
     * @throws IOException it broke off too often; what came stays for the next time.
     */
    fun run(source: BundleSource, name: String, progress: ImportProgress): File {
        val manifest = retried { source.open(Manifest.NAME, 0).input.use(::readManifest) }
        val staging = Staging(models, name, manifest, usableSpace)
        staging.begin()
        for (entry in manifest.files) {
            if (!staging.isWhole(entry)) retried { bring(source, entry, staging, progress) }
        }
        return staging.finish()
    }

    private fun bring(source: BundleSource, entry: FileEntry, staging: Staging, progress: ImportProgress) {
        val here = minOf(staging.partialSize(entry), entry.size)
        val opened = if (here < entry.size) source.open(entry.name, here) else Opened(ByteArray(0).inputStream(), here)
        opened.input.use { staging.write(entry, it, opened.offset, progress) }
    }

    private fun <T> retried(action: () -> T): T {
        for (attempt in 0 until tries - 1) {
            try {
                return action()
            } catch (_: IOException) {
                pause(attempt)
            }
        }
        return action()
    }
}
