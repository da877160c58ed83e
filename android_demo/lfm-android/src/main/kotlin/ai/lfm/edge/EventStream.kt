package ai.lfm.edge

import java.io.Closeable
import java.nio.ByteBuffer
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import kotlin.coroutines.coroutineContext
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel.Factory.RENDEZVOUS
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.serialization.json.JsonObject

private const val ROOM = 4096

private val threads = AtomicInteger()

/** Where the core computes: as many threads as answers are being given, and none when it is idle. */
private val compute: CoroutineDispatcher =
    Executors.newCachedThreadPool { work ->
        Thread(work, "lfm-edge-${threads.incrementAndGet()}").apply { isDaemon = true }
    }.asCoroutineDispatcher()

internal suspend fun <T> computing(work: () -> T): T = withContext(compute) { work() }

/** What [open] gives; closed again where the coroutine was cancelled meanwhile. */
internal suspend fun <T : Closeable> opening(open: () -> T): T {
    var opened: T? = null
    try {
        return computing { open().also { opened = it } }
    } catch (error: Throwable) {
        opened?.close()
        throw error
    }
}

/**
 * The events that [begin] gives a handle of, computed one ahead of who collects them.
 *
 * Where the collecting coroutine is cancelled the handle is closed at once, which ends the answer at
 * its next token; the coroutine ends once that has happened.
 */
internal fun <T> eventsOf(begin: () -> Long, read: (JsonObject) -> T): Flow<T> =
    flow {
        coroutineScope {
            val events = begin()
            val closer =
                launch(start = CoroutineStart.UNDISPATCHED) {
                    try {
                        awaitCancellation()
                    } finally {
                        Native.close(events)
                    }
                }
            try {
                pull(events, read)
            } finally {
                closer.cancel()
                Native.close(events)
            }
        }
    }.buffer(RENDEZVOUS).flowOn(compute)

private suspend fun <T> FlowCollector<T>.pull(events: Long, read: (JsonObject) -> T) {
    var buffer = ByteBuffer.allocateDirect(ROOM)
    while (true) {
        val length =
            try {
                Native.next(events, buffer)
            } catch (error: LfmError) {
                coroutineContext.ensureActive() // What closed events say is nobody's concern then.
                throw error
            }
        when {
            length == Native.END -> return
            length < Native.END -> buffer = ByteBuffer.allocateDirect(-length)
            else -> emit(read(parsed(buffer, length)))
        }
    }
}
