package ai.lfm.edge.app.importing

import android.content.ContentResolver
import android.net.Uri
import android.provider.DocumentsContract
import android.provider.DocumentsContract.Document
import java.io.FileInputStream
import java.io.FileNotFoundException

/** A folder that the user picked with the system's own picker. */
class TreeSource(private val resolver: ContentResolver, private val tree: Uri) : BundleSource {
    /** The folder's own name. */
    val name: String by lazy {
        val root = DocumentsContract.getTreeDocumentId(tree)
        val uri = DocumentsContract.buildDocumentUriUsingTree(tree, root)
        folderName(text(uri, Document.COLUMN_DISPLAY_NAME) ?: root.substringAfterLast('/'))
    }

    override fun open(name: String, offset: Long): Opened {
        var document = DocumentsContract.getTreeDocumentId(tree)
        for (part in name.split('/')) document = child(document, part) ?: throw ImportException("the folder has no $name")
        val uri = DocumentsContract.buildDocumentUriUsingTree(tree, document)
        val input = try {
            resolver.openInputStream(uri)
        } catch (_: FileNotFoundException) {
            null
        } ?: throw ImportException("$name cannot be opened")
        if (offset == 0L || input !is FileInputStream) return Opened(input, 0)
        input.channel.position(offset)
        return Opened(input, offset)
    }

    private fun child(parent: String, name: String): String? {
        val children = DocumentsContract.buildChildDocumentsUriUsingTree(tree, parent)
        val columns = arrayOf(Document.COLUMN_DOCUMENT_ID, Document.COLUMN_DISPLAY_NAME)
        resolver.query(children, columns, null, null, null)?.use { rows ->
            while (rows.moveToNext()) if (rows.getString(1) == name) return rows.getString(0)
        }
        return null
    }

    private fun text(uri: Uri, column: String): String? =
        resolver.query(uri, arrayOf(column), null, null, null)?.use { if (it.moveToFirst()) it.getString(0) else null }
}
