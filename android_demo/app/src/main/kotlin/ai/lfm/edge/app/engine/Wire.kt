package ai.lfm.edge.app.engine

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/** The messages between the app's process and the engine's. */
internal object Wire {
    const val HELLO = 1
    const val ASK = 2
    const val CANCEL = 3
    const val STOP = 4

    const val STATUS = 10
    const val EVENTS = 11
    const val END = 12
    const val FAILED = 13

    const val ID = "id"
    const val TEXT = "text"
    const val FILE = "file"
    const val KIND = "kind"

    /** The most characters in a message: all of a process's together have a megabyte. */
    const val MOST_CHARACTERS = 100_000
}

private const val BATCH_MILLIS = 30L

/** Collects events for a moment, so that fast tokens do not each wake the other process. */
internal class Batch(private val scope: CoroutineScope, private val send: (String) -> Unit) {
    private val lock = Mutex()
    private val events = ArrayList<String>()
    private var characters = 0
    private var timer: Job? = null

    suspend fun add(event: EngineEvent) = lock.withLock {
        val text = event.json.toString()
        if (characters + text.length > Wire.MOST_CHARACTERS) sendAll()
        events.add(text)
        characters += text.length
        if (timer == null) timer = scope.launch { delay(BATCH_MILLIS); lock.withLock { sendAll() } }
    }

    suspend fun flush() = lock.withLock {
        timer?.cancel()
        sendAll()
    }

    private fun sendAll() {
        timer = null
        if (events.isEmpty()) return
        send(events.joinToString(",", "[", "]"))
        events.clear()
        characters = 0
    }
}
