package ai.lfm.edge.app.models

import ai.lfm.edge.app.importing.ImportException
import ai.lfm.edge.app.importing.ImportProgress
import ai.lfm.edge.app.importing.Manifest
import ai.lfm.edge.app.importing.hashFile
import ai.lfm.edge.app.importing.Staging
import java.io.File
import java.security.MessageDigest

/** A bundle on this device. */
data class LocalModel(val folder: File, val bytes: Long, val checked: Boolean) {
    val name: String get() = folder.name
}

/**
 * The bundles of this device: those that were imported, which were checked on their way in, and those
 * that `adb push` put into the app's folder on the shared storage, which are checked once, in place.
 */
class ModelStore(val imported: File, private val pushed: File?, private val marks: File) {
    /** All of them, by name. */
    fun list(): List<LocalModel> =
        (foldersOf(imported).map { modelOf(it, true) } + foldersOf(pushed).map { modelOf(it, isMarked(it)) })
            .sortedBy { it.name }

    /** A bundle by its folder; null if there is none. */
    fun find(folder: File): LocalModel? = list().find { it.folder == folder }

    /** What broke off and can be gone on with. */
    fun unfinished(): List<String> = imported.listFiles().orEmpty().map { it.name }
        .filter { it.startsWith(".") && it.endsWith(".partial") }
        .map { it.removePrefix(".").removeSuffix(".partial") }

    /** Deletes a bundle. */
    fun delete(model: LocalModel) {
        // The manifest goes first: what is half deleted is no bundle.
        File(model.folder, Manifest.NAME).delete()
        model.folder.deleteRecursively()
        mark(model.folder).delete()
    }

    /** Deletes what came of an import that broke off. */
    fun deleteUnfinished(name: String) = Staging.partialFolder(imported, name).deleteRecursively()

    /**
     * Checks sizes and hashes of a bundle that was pushed, and remembers that they are right.
     *
     * @throws ImportException a file is missing or another.
     */
    fun check(model: LocalModel, progress: ImportProgress) {
        val manifest = Manifest.of(model.folder)
        var done = 0L
        for (entry in manifest.files) {
            val file = File(model.folder, entry.name)
            if (!file.isFile) throw ImportException("${model.name}: ${entry.name} is missing; push it again")
            if (file.length() != entry.size) {
                throw ImportException("${model.name}: ${entry.name} has ${file.length()} bytes, expected ${entry.size}")
            }
            val hash = MessageDigest.getInstance("SHA-256")
            hashFile(file, hash) { progress.at(done + it, manifest.totalBytes) }
            done += entry.size
            if (hash.digest().joinToString("") { "%02x".format(it) } != entry.sha256) {
                throw ImportException("${model.name}: ${entry.name} is damaged; push it again")
            }
        }
        marks.mkdirs()
        mark(model.folder).writeText(markText(model.folder))
    }

    private fun foldersOf(root: File?) = root?.listFiles().orEmpty()
        .filter { !it.name.startsWith(".") && File(it, Manifest.NAME).isFile }

    private fun modelOf(folder: File, checked: Boolean) =
        LocalModel(folder, folder.walk().filter(File::isFile).sumOf(File::length), checked)

    private fun isMarked(folder: File) = mark(folder).let { it.isFile && it.readText() == markText(folder) }

    private fun mark(folder: File) = File(marks, folder.name)

    private fun markText(folder: File) =
        folder.walk().filter(File::isFile).sortedBy(File::getPath)
            .joinToString("\n") { "${it.relativeTo(folder)} ${it.length()} ${it.lastModified()}" }
}
