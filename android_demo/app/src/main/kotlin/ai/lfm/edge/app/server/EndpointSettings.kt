package ai.lfm.edge.app.server

import ai.lfm.edge.app.json.JsonException
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import java.io.File
import java.io.IOException

/** The endpoint's port, and the key that was made on this device. */
class EndpointSettings(private val file: File) {
    val port = 8080

    /** The key; made where there is none yet. */
    val key: String get() = read() ?: renew()

    /** Makes another key. */
    fun renew(): String = newKey().also { file.writeText(objectOf("key" to it).toString()) }

    private fun read(): String? = try {
        parseObject(file.readText()).text("key")
    } catch (_: IOException) {
        null
    } catch (_: JsonException) {
        null
    }
}
