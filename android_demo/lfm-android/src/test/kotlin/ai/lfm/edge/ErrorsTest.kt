package ai.lfm.edge

import java.io.File
import java.nio.file.Path
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.io.TempDir

/** Errors have the class and the text of Python's, which `tests/android/made.py` wrote down. */
class ErrorsTest {
    private val wrong: Map<String, suspend (LfmModel) -> Unit> =
        mapOf(
            "no bundle" to { LfmModel.load(File(MADE, "nowhere")).close() },
            "threads" to { LfmModel.load(bundle("onnx-f16"), 0).close() },
            "context" to { it.session(10_000_000).close() },
            "no context" to { it.session(0).close() },
            "no context of a chat" to { it.conversation(context = 0).close() },
            "no context of a file" to { LfmSession.open(it, bundle("onnx-f16.session"), 0).close() },
            "no budget" to { model ->
                model.conversation().use { it.check(AnswerOptions(thinkingBudget = -1)) }
            },
            "temperature" to { answer(it, AnswerOptions(temperature = -1.0)) },
            "max_tokens" to { answer(it, AnswerOptions(maxTokens = 0)) },
            "logit_bias" to { answer(it, AnswerOptions(logitBias = mapOf(3 to 200.0))) },
            "banned" to { answer(it, AnswerOptions(banned = listOf(9_999_999))) },
            "empty prompt" to { model -> model.session(16).use { model.generate(it, "").toList() } },
            "long prompt" to { model ->
                model.session(4).use { model.generate(it, intArrayOf(1, 2, 3, 4, 5)).toList() }
            },
            "unknown token" to { model -> model.session(16).use { it.prefill(intArrayOf(1, 9_999_999)) } },
            "full" to { model -> model.session(4).use { it.prefill(intArrayOf(1, 2, 3, 4, 5)) } },
            "nothing to read" to { model -> model.session(4).use { it.prefill(intArrayOf()) } },
            "rewind" to { model -> model.session(4).use { it.rewind(3) } },
            "no session file" to { LfmSession.open(it, File(MADE, "nowhere.session")).close() },
            "no conversation" to { LfmConversation.open(it, bundle("onnx-f16.session")).close() },
            "of another bundle" to { LfmSession.open(it, bundle("portable.session")).close() },
            "no such turn" to { model -> model.conversation().use { it.edit(0, "a").toList() } },
            "nothing to answer" to { model -> model.conversation("b").use { it.regenerate().toList() } },
        )

    @TestFactory
    fun `as in Python`(): List<DynamicTest> {
        val errors = expected("expected.json").getValue("errors").jsonObject
        assertEquals(errors.keys, wrong.keys)
        return errors.map { (name, error) ->
            dynamicTest(name) {
                val found =
                    assertThrows(LfmError::class.java) { withModel("onnx-f16") { wrong.getValue(name)(it) } }
                assertEquals(error.jsonObject.text("kind"), found.javaClass.simpleName)
                assertEquals(error.jsonObject.text("message"), found.message)
                assertEquals(0, Lfm.openHandles)
            }
        }
    }

    @Test
    fun `a plan of no context is refused as a session is`() = withModel("onnx-f16") { model ->
        val session = assertThrows(InvalidRequestError::class.java) { runBlocking { model.session(0) } }
        val plan =
            assertThrows(InvalidRequestError::class.java) {
                runBlocking { LfmBundle.plan(bundle("onnx-f16"), 0) }
            }
        assertEquals(session.message, plan.message)
    }

    @Test
    fun `a damaged file is found by a check`(@TempDir folder: Path) {
        val copy = folder.resolve("bundle").toFile()
        bundle("onnx-f16").copyRecursively(copy)
        val largest = copy.listFiles()!!.maxBy { it.length() }
        val bytes = largest.readBytes()
        bytes[bytes.size / 2] = (bytes[bytes.size / 2] + 1).toByte()
        largest.writeBytes(bytes)
        val error =
            assertThrows(IntegrityError::class.java) { runBlocking { LfmBundle.check(copy).toList() } }
        assertTrue(largest.name in error.message!!, error.message)
        largest.delete()
        assertThrows(BundleError::class.java) { runBlocking { LfmBundle.check(copy).toList() } }
    }

    @Test
    fun `a bundle of another format is not for this version`(@TempDir folder: Path) {
        val copy = folder.resolve("bundle").toFile()
        bundle("onnx-f16").copyRecursively(copy)
        val manifest = File(copy, "manifest.json")
        manifest.writeText(manifest.readText().replaceFirst("\"1.0\"", "\"99.0\""))
        assertThrows(UnsupportedBundleError::class.java) { runBlocking { LfmModel.load(copy) } }
    }

    @Test
    fun `an answer whose session is taken cannot go on`() = withModel("onnx-f16") { model ->
        model.session(256).use { session ->
            var taken = false
            val answer =
                async {
                    runCatching {
                        model.generate(session, "def f(", endless(200, model)).collect {
                            // Refused while the answer, which runs ahead, reads a token there.
                            while (!taken) taken = runCatching { session.rewind(0) }.isSuccess
                        }
                    }
                }
            val error = answer.await().exceptionOrNull()
            assertTrue(error is SessionTakenError, "$error")
        }
    }

    @Test
    fun `a template's refusal is told`() = withModel("onnx-f16") { model ->
        val empty = assertThrows(InvalidRequestError::class.java) { model.prompt(emptyList()) }
        assertEquals("the chat is empty; expected at least one message", empty.message)
    }

    private suspend fun answer(model: LfmModel, options: AnswerOptions) {
        model.session(16).use { model.generate(it, intArrayOf(1), options).toList() }
    }
}
