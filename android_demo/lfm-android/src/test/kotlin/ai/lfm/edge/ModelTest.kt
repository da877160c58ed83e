package ai.lfm.edge

import java.io.File
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.MethodSource

/** The shipped model in its bundles gives what Python gets of them. */
class ModelTest {
    @ParameterizedTest
    @MethodSource("bundles")
    fun `says what it is`(name: String) = withModel(name) { model ->
        val info = model.info
        assertEquals(bundle(name).path, info.folder)
        assertEquals(if (name == "portable") "onnx-portable" else "onnx", info.target)
        assertEquals(1, info.threads)
        assertTrue(info.vocabSize > 4000 && info.maxContext >= info.defaultContext)
        assertTrue(info.eosTokenIds.isNotEmpty() && info.onnxruntime.isNotEmpty())
        assertNull(info.withoutText)
        assertNull(info.withoutChat)
    }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `plans its memory before it is loaded`(name: String) = runBlocking {
        val plan = LfmBundle.plan(bundle(name), 512)
        assertEquals(512, plan.context)
        assertEquals(plan.total, plan.weights + plan.state + plan.scratch)
        assertTrue(plan.chat)
        val larger = LfmBundle.plan(bundle(name), 1024)
        assertEquals(plan.bytesPerToken * 512, larger.state - plan.state)
    }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `is checked and meets its golden vectors`(name: String) = withModel(name) { model ->
        val checked = LfmBundle.check(bundle(name)).toList()
        assertEquals(checked.last().total, checked.last().done)
        val proved = model.verify().toList()
        val golden = proved.last() as Proof.Golden
        assertTrue(golden.worst <= golden.tolerance)
        assertTrue(proved.dropLast(1).all { it is Event.Progress })
    }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `200 greedy tokens are those of Python`(name: String) = withModel(name) { model ->
        val expected = expected("expected.json").getValue(name).jsonObject
        val ids = ints(expected.getValue("ids"))
        assertEquals(ids.toList(), model.encode(expected.text("prompt"), special = true).toList())
        val greedy = ints(expected.getValue("greedy")).toList()
        model.session(512).use { assertEquals(greedy, it.following(ids, 200)) }
        model.session(512).use { session ->
            val answer = model.generate(session, ids, endless(200, model)).said()
            assertEquals(model.decode(greedy.toIntArray()), answer.text)
            assertEquals("length", answer.end.reason)
        }
    }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `a seed gives the answer of Python`(name: String) = withModel(name) { model ->
        val expected = expected("expected.json").getValue(name).jsonObject
        val sampled = expected.getValue("sampled").jsonObject
        model.session(256).use { session ->
            val options = answerOptionsOf(sampled.getValue("options").jsonObject)
            val answer = model.generate(session, expected.text("prompt"), options).said()
            assertEquals(sampled.text("text"), answer.text)
            assertEquals(sampled.text("reason"), answer.end.reason)
            assertEquals(sampled.int("generated"), answer.end.usage.generated)
            assertEquals(ints(sampled.getValue("ids")).toList(), session.ids.toList())
        }
    }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `a session of Python's is opened, and one is left for Python`(name: String) =
        withModel(name) { model ->
            val expected = expected("expected.json").getValue(name).jsonObject
            LfmSession.open(model, bundle("$name.session")).use { session ->
                assertEquals(ints(expected.getValue("held")).toList(), session.ids.toList())
                assertEquals(512, session.capacity)
                val ids = session.ids.copyOfRange(1, ints(expected.getValue("ids")).size)
                assertEquals(ints(expected.getValue("again")).toList(), session.following(ids, 20))
                session.save(forPython("$name.session"))
                val held = session.ids
                session.fork().use { fork ->
                    assertEquals(held.toList(), fork.ids.toList())
                    val again = fork.following(intArrayOf(1), 20)
                    leave("$name.json", jsonOf("held" to held, "again" to again))
                }
                assertEquals(held.toList(), session.ids.toList())
            }
        }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `a conversation goes as in Python`(name: String) = withModel(name) { model ->
        val turns = expected("expected.json").getValue(name).jsonObject.getValue("turns").jsonArray
        model.conversation("You write Python.", TOOLS, context = 1024, clock = CLOCK).use { chat ->
            for (turn in turns.map { it.jsonObject }) {
                if ("warm" in turn) {
                    assertEquals(turn.int("warm"), chat.warm())
                    assertEquals(0, chat.warm())
                    chat.session().use { assertEquals(turn.int("position"), it.position) }
                    continue
                }
                val said =
                    when {
                        "send" in turn -> chat.send(turn.text("send"), CHATTED)
                        "edit" in turn -> chat.edit(-1, turn.text("edit"), CHATTED)
                        else -> chat.regenerate(CHATTED.copy(seed = 8uL))
                    }.said()
                assertSame(turn, said)
                assertEquals(turn.getValue("messages"), JsonArray(chat.messages))
                chat.session().use { assertEquals(turn.int("position"), it.position) }
            }
            chat.save(forPython("$name.conversation"))
        }
    }

    @ParameterizedTest
    @MethodSource("bundles")
    fun `a conversation of Python's goes on`(name: String) = withModel(name) { model ->
        val expected = expected("expected.json").getValue(name).jsonObject
        LfmConversation.open(model, bundle("$name.conversation")).use { chat ->
            val last = expected.getValue("turns").jsonArray.last().jsonObject
            assertEquals(last.getValue("messages"), JsonArray(chat.messages))
            val reopened = expected.getValue("reopened").jsonObject
            assertSame(reopened, chat.regenerate(CHATTED.copy(seed = 8uL)).said())
        }
    }

    private fun assertSame(turn: JsonObject, said: Said) {
        assertEquals(turn.text("text"), said.text)
        assertEquals(turn.text("reasoning"), said.reasoning)
        assertEquals(turn.int("calls"), said.calls)
        assertEquals(turn.text("reason"), said.end.reason)
        assertEquals(turn.int("reused"), said.end.usage.reused)
        assertEquals(turn.int("processed"), said.end.usage.processed)
        assertEquals(turn.int("generated"), said.end.usage.generated)
        assertEquals(turn.int("reasoning_tokens"), said.end.usage.reasoning)
    }

    private fun forPython(name: String) = File(MADE, "of-kotlin").apply(File::mkdirs).resolve(name)

    private fun leave(name: String, json: JsonObject) = forPython(name).writeText(json.toString())

    companion object {
        @JvmStatic
        fun bundles(): List<String> = BUNDLES
    }
}
