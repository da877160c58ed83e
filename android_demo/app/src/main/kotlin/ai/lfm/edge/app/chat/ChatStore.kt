package ai.lfm.edge.app.chat

import ai.lfm.edge.app.json.JsonException
import ai.lfm.edge.app.json.parseObject
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.time.LocalDateTime
import java.time.format.DateTimeFormatter
import java.util.UUID

/** The conversations of this device: a file each, and one for the state of its session. */
class ChatStore(private val folder: File) {
    /** A new, empty conversation; it has no file before something is said in it. */
    fun create(now: LocalDateTime = LocalDateTime.now()) =
        Chat(UUID.randomUUID().toString(), clockText(now), System.currentTimeMillis())

    /** All of them, the last used one first; what cannot be read is passed over. */
    fun list(): List<Chat> = folder.listFiles { file -> file.name.endsWith(SUFFIX) }.orEmpty()
        .mapNotNull(::read).sortedByDescending { it.updated }

    /** A conversation by its id; null if there is none. */
    fun find(id: String): Chat? = read(file(id))

    /** Writes it, beside its place first, so that it is whole whenever the process ends. */
    @Synchronized
    fun save(chat: Chat) {
        folder.mkdirs()
        val beside = File(folder, ".${chat.id}.new")
        FileOutputStream(beside).use {
            it.write(chat.json.toString().toByteArray())
            it.fd.sync()
        }
        if (!beside.renameTo(file(chat.id))) throw IOException("${chat.id}: cannot be written")
    }

    /** Deletes it and its state. */
    fun delete(id: String) {
        file(id).delete()
        stateFile(id).delete()
    }

    /** Where the engine keeps what it has read of a conversation. */
    fun stateFile(id: String) = File(folder, "$id.state")

    private fun file(id: String) = File(folder, id + SUFFIX)

    private fun read(file: File): Chat? = try {
        Chat.of(parseObject(file.readText()))
    } catch (_: IOException) {
        null
    } catch (_: JsonException) {
        null
    }

    private companion object {
        const val SUFFIX = ".json"
    }
}

/** A time as templates see it. */
fun clockText(time: LocalDateTime): String = time.format(DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss"))
