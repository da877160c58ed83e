package ai.lfm.edge.app.importing

import java.io.File
import java.io.InputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipException
import java.util.zip.ZipInputStream

/**
 * Imports a bundle from a zip that can be read from its beginning, twice.
 *
 * Only what the manifest names is unpacked, into paths that the manifest's own check lets pass, and
 * no more bytes than it says; so neither `../` nor a bomb gets anywhere.
 *
 * @param open opens the zip from its beginning.
 */
class ZipImport(
    private val models: File,
    private val usableSpace: (File) -> Long = File::getUsableSpace,
    private val open: () -> InputStream,
) {
    /**
     * Brings the bundle in and returns its folder.
     *
     * @throws ImportException it is no zip of a bundle, is damaged, is here already, or does not fit.
     */
    fun run(name: String, progress: ImportProgress): File = try {
        val (prefix, manifest) = findManifest(progress)
        val staging = Staging(models, name, manifest, usableSpace)
        staging.begin()
        eachEntry(progress) { entry, zip ->
            val file = if (entry.name.startsWith(prefix)) manifest.entry(entry.name.removePrefix(prefix)) else null
            if (file != null && !staging.isWhole(file)) staging.write(file, zip, 0, progress)
            manifest.files.any { !staging.isWhole(it) }
        }
        staging.finish()
    } catch (error: ZipException) {
        throw ImportException("not a zip that can be read: ${error.message}")
    } catch (_: java.io.EOFException) {
        throw ImportException("the zip is cut off")
    }

    /** The folder inside the zip in which the bundle lies ("" or "NAME/"), and the manifest. */
    private fun findManifest(progress: ImportProgress): Pair<String, Manifest> {
        var found: Pair<String, Manifest>? = null
        eachEntry(progress) { entry, zip ->
            refuseOutside(entry.name)
            val prefix = entry.name.removeSuffix(Manifest.NAME)
            if (prefix != entry.name && (prefix.isEmpty() || prefix.indexOf('/') == prefix.length - 1)) {
                found = prefix to readManifest(zip)
            }
            found == null
        }
        return found ?: throw ImportException("the zip holds no ${Manifest.NAME}")
    }

    private fun refuseOutside(name: String) {
        if (name.startsWith("/") || '\\' in name || name.split('/').any { it == ".." }) {
            throw ImportException("the zip names a path outside its folder: ${name.take(100)}")
        }
    }

    private fun eachEntry(progress: ImportProgress, goOn: (ZipEntry, InputStream) -> Boolean) =
        ZipInputStream(open()).use { zip ->
            var entry = zip.nextEntry
            while (entry != null && goOn(entry, zip)) {
                skipRest(zip, progress)
                entry = zip.nextEntry
            }
        }

    /** Skipping inflates, for as long as whoever made the zip likes: so it can be cancelled. */
    private fun skipRest(zip: InputStream, progress: ImportProgress) {
        val buffer = ByteArray(1 shl 16)
        while (zip.read(buffer) >= 0) progress.at(0, 0)
    }
}
