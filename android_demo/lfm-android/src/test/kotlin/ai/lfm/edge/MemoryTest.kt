package ai.lfm.edge

import java.io.File
import java.lang.management.ManagementFactory
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.fail
import org.junit.jupiter.api.Test

private const val ALLOWED = 1.05

class MemoryTest {
    @Test
    fun `50 conversations leave nothing behind`() {
        withModel("onnx-f16") { model ->
            repeat(10) { live(model) } // what is compiled and cached once
            val handles = Lfm.openHandles
            assertNothingGrows(50) { live(model) }
            assertEquals(handles, Lfm.openHandles)
        }
        assertEquals(0, Lfm.openHandles)
    }

    @Test
    fun `20 models leave nothing behind`() {
        repeat(5) { withModel("onnx-f16") { live(it) } }
        assertNothingGrows(20) { withModel("onnx-f16") { live(it) } }
        assertEquals(0, Lfm.openHandles)
    }
}

/**
 * Runs it that often, and once or twice more where the JVM itself took memory meanwhile: what leaks
 * does so every time.
 */
private fun assertNothingGrows(times: Int, action: () -> Unit) {
    val seen = mutableListOf(memory())
    repeat(3) {
        repeat(times) { action() }
        val before = seen.last()
        val after = memory().also(seen::add)
        if (after.native <= before.native * ALLOWED && after.heap <= before.heap * ALLOWED) return
    }
    fail<Unit>("grows every time: $seen")
}

/** A conversation that answers, goes back, is cancelled and closed. */
private fun live(model: LfmModel) = runBlocking {
    model.conversation("Be brief.", context = 2048, clock = CLOCK).use { chat ->
        chat.send("Hello", endless(4, model)).said()
        chat.edit(0, "Good morning", endless(4, model)).said()
        chat.session().use { session ->
            session.rewind(3)
            session.fork().use { it.decode(1) }
        }
        val begun = CompletableDeferred<Unit>()
        val job = launch { chat.send("More", endless(900, model)).collect { begun.complete(Unit) } }
        begun.await()
        job.cancelAndJoin()
    }
}

/** Bytes: of the process without Java's heap, which is all there from the beginning; and of the heap. */
private data class Memory(val native: Long, val heap: Long)

private fun memory(): Memory {
    repeat(3) { System.gc() }
    val heap = ManagementFactory.getMemoryMXBean().heapMemoryUsage
    val resident = File("/proc/self/status").readLines().first { it.startsWith("RssAnon:") }
    return Memory(resident.filter(Char::isDigit).toLong() * 1024 - heap.committed, heap.used)
}
