package ai.lfm.edge

import ai.lfm.edge.example.ask
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** The example of docs/android_library.md runs. */
class ExampleTest {
    @Test
    fun example() = runBlocking {
        val shown = mutableListOf<String>()
        ask(bundle("onnx-f16"), Long.MAX_VALUE, "Hello") { shown += it }
        assertTrue("tokens, " in shown.last(), shown.last())
        assertEquals(0, Lfm.openHandles)
    }
}
