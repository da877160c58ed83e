package ai.lfm.edge.app.bench

import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Gives a result of the benchmark to the app with which the user shares it, and nothing else. */
class ResultProvider : ContentProvider() {
    override fun onCreate() = true

    override fun getType(uri: Uri) = "application/json"

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        if (mode != "r") throw FileNotFoundException("$uri: can only be read")
        return ParcelFileDescriptor.open(fileOf(uri), ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun query(
        uri: Uri, projection: Array<String>?, selection: String?, arguments: Array<String>?, order: String?,
    ): Cursor {
        val file = fileOf(uri)
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        return MatrixCursor(columns, 1).apply { addRow(arrayOf<Any>(file.name, file.length())) }
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun update(uri: Uri, values: ContentValues?, selection: String?, arguments: Array<String>?) = 0

    override fun delete(uri: Uri, selection: String?, arguments: Array<String>?) = 0

    private fun fileOf(uri: Uri): File {
        val name = uri.lastPathSegment.orEmpty()
        val file = context?.let { File(folder(it), name) }
        if (!NAME.matches(name) || file?.isFile != true) throw FileNotFoundException("$uri: there is none")
        return file
    }

    companion object {
        private const val AUTHORITY = "ai.lfm.edge.app.results"
        private val NAME = Regex("[A-Za-z0-9_][A-Za-z0-9._-]*")

        private fun folder(context: Context) = File(context.cacheDir, "results")

        /** Writes a result to be shared, and gives its address. */
        fun put(context: Context, name: String, json: String): Uri {
            val folder = folder(context).apply { mkdirs() }
            File(folder, name).writeText(json)
            return Uri.Builder().scheme("content").authority(AUTHORITY).appendPath(name).build()
        }
    }
}
