package ai.lfm.edge

import java.nio.ByteBuffer
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** How answers are given: in other threads, one at a time, and only as long as they are wanted. */
class AnswerTest {
    @AfterEach
    fun `nothing is left open`() = assertEquals(0, Lfm.openHandles)

    @Test
    fun `nothing is computed in the thread of the caller`() = runBlocking {
        assertTrue(computing { Thread.currentThread().name }.startsWith("lfm-edge-"))
        var thread = ""
        val events =
            eventsOf({
                thread = Thread.currentThread().name
                throw BundleError("no")
            }) { it }
        assertThrows(BundleError::class.java) { runBlocking { events.toList() } }
        assertTrue(thread.startsWith("lfm-edge-"), thread)
    }

    @Test
    fun `an answer is given anew to whoever collects it`() = withModel("onnx-f16") { model ->
        model.session(256).use { session ->
            val answer = model.generate(session, "def f(", endless(8, model))
            val first = answer.said()
            val again = answer.said()
            assertEquals(first.text, again.text)
            assertEquals(0, first.end.usage.reused)
            assertTrue(again.end.usage.reused > 0)
        }
    }

    @Test
    fun `cancelled, it ends at the next token and leaves no trace`() = withModel("onnx-f16") { model ->
        chatted(model).use { chat ->
            val before = chat.messages
            val begun = CompletableDeferred<Unit>()
            val job =
                launch {
                    chat.send("Hello", endless(900, model)).collect {
                        if (it is Event.Text) begun.complete(Unit)
                    }
                }
            begun.await()
            job.cancelAndJoin()
            assertEquals(before, chat.messages)
            assertGoesOn(chat, model)
        }
    }

    @Test
    fun `collected in part, it leaves no trace`() = withModel("onnx-f16") { model ->
        chatted(model).use { chat ->
            val before = chat.messages
            assertEquals(3, chat.send("Hello", endless(900, model)).take(3).toList().size)
            assertEquals(before, chat.messages)
            val failing = chat.send("Hello", endless(900, model)).onEach { error("of the app's") }
            assertThrows(IllegalStateException::class.java) { runBlocking { failing.toList() } }
            assertEquals(before, chat.messages)
            assertGoesOn(chat, model)
        }
    }

    @Test
    fun `cancelled while a long prompt is read`() = withModel("onnx-f16") { model ->
        val text = "def read(path):\n".repeat(200)
        model.session(4096).use { session ->
            val begun = CompletableDeferred<Unit>()
            val job =
                launch {
                    model.generate(session, text, endless(900, model)).collect { begun.complete(Unit) }
                }
            begun.await()
            job.cancelAndJoin()
            val answer = model.generate(session, "def f(", endless(4, model)).said()
            assertEquals(4, answer.end.usage.generated)
        }
    }

    @Test
    fun `stopped, what was said until then stays`() = withModel("onnx-f16") { model ->
        chatted(model).use { chat ->
            val before = chat.messages
            var pieces = 0
            val answer =
                chat.send("Hello", endless(900, model))
                    .onEach { if (it is Event.Text && ++pieces == 3) chat.stop() }
                    .said()
            assertEquals("cancelled", answer.end.reason)
            assertTrue(answer.end.usage.generated < 900)
            val thought = answer.reasoning.ifEmpty { null }
            val said = jsonOf("role" to "assistant", "content" to answer.text, "thinking" to thought)
            assertEquals(before + userMessage("Hello") + said, chat.messages)
            chat.stop() // nobody
            assertGoesOn(chat, model)
        }
    }

    @Test
    fun `a fork goes on by itself`() = withModel("onnx-f16") { model ->
        chatted(model).use { chat ->
            assertEquals("length", chat.send("Hello", endless(4, model)).said().end.reason)
            val before = chat.messages
            chat.fork().use { fork ->
                assertGoesOn(fork, model)
                fork.session().use { assertTrue(it.position > chat.session().use { own -> own.position }) }
            }
            assertEquals(before, chat.messages)
            assertGoesOn(chat, model)
        }
    }

    @Test
    fun `closed while it answers`() = withModel("onnx-f16") { model ->
        val chat = chatted(model)
        val begun = CompletableDeferred<Unit>()
        val job =
            async {
                runCatching {
                    chat.send("Hello", endless(900, model)).collect { begun.complete(Unit) }
                }
            }
        begun.await()
        chat.close()
        chat.close()
        job.await() // ended or refused, but not for ever
        assertThrows(InvalidRequestError::class.java) { chat.messages }
    }

    @Test
    fun `several answer at once, each what it would alone`() = withModel("onnx-f16", 2) { model ->
        val alone = listOf("def f(", "import ", "class A").map { text -> answer(model, text) }
        val together = listOf("def f(", "import ", "class A").map { async { answer(model, it) } }
        assertEquals(alone, together.awaitAll())
    }

    @Test
    fun `a model may be closed before what stands on it`() = runBlocking {
        val model = LfmModel.load(bundle("onnx-f16"), 1)
        val session = model.session(64)
        model.close()
        assertThrows(InvalidRequestError::class.java) { model.encode("a") }
        assertEquals(model.info.vocabSize, session.prefill(intArrayOf(1, 2, 3)).size)
        session.close()
        assertThrows(InvalidRequestError::class.java) { session.position }
        assertThrows(InvalidRequestError::class.java) { runBlocking { session.decode(1) } }
        Unit
    }

    @Test
    fun `an event that does not fit is given again`() = withModel("onnx-f16") { model ->
        model.session(64).use { session ->
            val request = jsonOf("text" to "def f(", "max_tokens" to 1)
            val events = Native.generate(session.handle, utf8(request))
            var room = 1
            var length = Native.next(events, ByteBuffer.allocateDirect(room))
            assertTrue(length < Native.END)
            room = -length
            val buffer = ByteBuffer.allocateDirect(room)
            length = Native.next(events, buffer)
            assertEquals(room - 1, length)
            assertNotEquals("", parsed(buffer, length).text("type"))
            Native.close(events)
        }
    }
}

private suspend fun chatted(model: LfmModel) =
    model.conversation("Be brief.", context = 1024, clock = CLOCK)

private suspend fun assertGoesOn(chat: LfmConversation, model: LfmModel) {
    val said = chat.messages.size
    assertEquals("length", chat.send("Hello", endless(4, model)).said().end.reason)
    assertEquals(said + 2, chat.messages.size)
}

private suspend fun answer(model: LfmModel, text: String) =
    model.session(128).use { model.generate(it, text, endless(24, model)).said().text }
