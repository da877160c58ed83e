package ai.lfm.edge.app.chat

import ai.lfm.edge.app.engine.Engine
import ai.lfm.edge.app.engine.EngineDied
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineException
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.engine.finish
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.text
import ai.lfm.edge.app.models.NotLoadable
import ai.lfm.edge.app.tools.ToolBox
import java.io.IOException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.launch
import kotlinx.serialization.json.JsonObject

private const val SAVE_MILLIS = 1_000L

/**
 * The conversation on the screen. It outlives the screen: a turned phone, or an app that is left for a
 * moment, does not end an answer.
 *
 * @param scope of the main thread, which alone calls.
 * @param ready sees to it that a model is loaded.
 * @param declined what the model is told of a call that the user refused.
 */
class ChatController(
    private val engine: Engine,
    private val store: ChatStore,
    private val tools: ToolBox,
    private val scope: CoroutineScope,
    private val ready: suspend () -> Unit,
    private val texts: Texts,
    private val now: () -> Long = System::currentTimeMillis,
) {
    /** What is said to the user and the model, in their language. */
    class Texts(val interrupted: String, val declined: String)

    private val mutable = MutableStateFlow(ChatState(store.list().firstOrNull() ?: store.create()).let(::recovered))
    private var job: Job? = null
    private var saved = 0L

    val state: StateFlow<ChatState> = mutable

    private val chat get() = state.value.chat

    /** Goes to another conversation; an answer that is being given ends there and stays. */
    fun open(id: String) {
        if (id == chat.id) return
        leave { store.find(id) }
    }

    /** Goes to a new conversation, with the settings of this one. */
    fun create() = leave {
        store.create().copy(system = chat.system, options = chat.options, withTools = chat.withTools)
    }

    /** Keeps what was typed. */
    fun draft(text: String) {
        if (text == chat.draft) return
        change { it.copy(chat = it.chat.copy(draft = text)) }
        if (text.isNotEmpty() || chat.messages.isNotEmpty()) store.save(chat)
    }

    /** Says something. */
    fun send(text: String) {
        if (isBusy() || text.isBlank()) return
        val refused = chat.openCalls.indices.map { state.value.decided[it] ?: declined(it) }
        answer(chat.messages + refused + messageOf("user", text.trim()), draft = "")
    }

    /** Answers the last thing that was said anew. */
    fun regenerate() {
        if (isBusy()) return
        val asked = chat.messages.dropLastWhile { it.role == "assistant" }
        if (asked.isNotEmpty()) answer(asked)
    }

    /** Says something else in one of the user's turns, and forgets what followed. */
    fun edit(turn: Int, text: String) {
        val place = chat.userTurns.getOrNull(turn)
        if (isBusy() || place == null || text.isBlank()) return
        answer(chat.messages.take(place) + JsonObject(chat.messages[place] + messageOf("user", text.trim())))
    }

    /** Ends the answer at its next token; what has come stays. */
    fun stop() {
        if (state.value.phase is Phase.Loading) job?.cancel() else engine.stop()
    }

    /** Runs a call that the model asked for, or tells it that the user would not have it. */
    fun decide(call: Int, allowed: Boolean) {
        val function = chat.openCalls.getOrNull(call)
        if (isBusy() || function == null || call in state.value.decided) return
        val result = if (allowed) resultOf(function) else declined(call)
        change { it.copy(decided = it.decided + (call to result)) }
        val decided = state.value.decided
        if (decided.size == chat.openCalls.size) answer(chat.messages + chat.openCalls.indices.map(decided::getValue))
    }

    /** Changes the conversation's settings. What was read no longer stands before another beginning. */
    fun configure(system: String, options: JsonObject, withTools: Boolean) {
        if (withTools != chat.withTools) {
            store.stateFile(chat.id).delete()
            forget(chat.id)
        }
        change { it.copy(chat = it.chat.copy(system = system, options = options, withTools = withTools)) }
        keep()
    }

    /** Deletes a conversation. */
    fun delete(id: String) {
        if (id == chat.id) create()
        store.delete(id)
        forget(id)
    }

    /** Takes a notice away. */
    fun dismiss() = change { it.copy(notice = null) }

    /** Writes down all there is, the engine's state too: the app may be ended now. */
    fun pause() {
        if (chat.messages.isNotEmpty() || chat.draft.isNotEmpty()) keep()
        if (!isBusy() && chat.messages.isNotEmpty()) quietly(EngineRequest.Save)
    }

    private fun isBusy() = job?.isActive == true

    private fun leave(next: () -> Chat?) {
        if (isBusy()) {
            engine.stop()
            job?.cancel()
            end(null)
        }
        if (chat.messages.isNotEmpty() || chat.draft.isNotEmpty()) keep()
        next()?.let { mutable.value = recovered(ChatState(it)) }
    }

    private fun answer(messages: List<JsonObject>, draft: String = chat.draft) {
        change {
            ChatState(it.chat.copy(messages = messages, draft = draft, updated = now()), Phase.Loading, last = it.last)
        }
        job = scope.launch {
            try {
                keep()
                ready()
                change { it.copy(phase = Phase.Reading(0, 0)) }
                engine.run(request()).collect(::take)
                end(null)
            } catch (error: EngineException) {
                end(error.message)
            } catch (error: EngineDied) {
                end(error.message)
            } catch (error: NotLoadable) {
                end(error.message)
            } catch (error: IOException) {
                end(error.message ?: error.toString())
            } finally {
                if (state.value.phase !is Phase.Idle && state.value.chat.messages === messages) end(null)
            }
        }
    }

    private fun request() = EngineRequest.Answer(
        chat.id, chat.prompt, if (chat.withTools) tools.schemas else emptyList(), chat.clock, chat.options,
        store.stateFile(chat.id).path,
    )

    private fun take(event: EngineEvent) {
        when (event) {
            is EngineEvent.Progress -> change { it.copy(phase = Phase.Reading(event.done, event.total)) }
            is EngineEvent.End -> change { it.copy(last = event) }
            else -> change { it.copy(phase = Phase.Writing, partial = it.partial.plus(event)) }
        }
        if (now() - saved > SAVE_MILLIS) keep()
    }

    /** The answer, as far as it came, becomes a message. */
    private fun end(notice: String?) {
        change {
            val said = if (it.partial.isEmpty) emptyList() else listOf(it.partial.message())
            val chat = it.chat.copy(messages = it.chat.messages + said, partial = null, updated = now())
            it.copy(chat = chat, phase = Phase.Idle, partial = Partial(), notice = notice)
        }
        keep()
    }

    private fun keep() {
        saved = now()
        val partial = state.value.partial
        store.save(chat.copy(partial = if (partial.isEmpty) null else partial.message()))
    }

    /** A conversation whose answer an end of the process cut off. */
    private fun recovered(state: ChatState): ChatState {
        val partial = state.chat.partial ?: return state
        val chat = state.chat.copy(messages = state.chat.messages + partial, partial = null)
        store.save(chat)
        return ChatState(chat, notice = texts.interrupted)
    }

    private fun resultOf(function: JsonObject): JsonObject {
        val name = function.text("name").orEmpty()
        val content = tools.run(name, function.objectAt("arguments") ?: objectOf())
        return objectOf("role" to "tool", "name" to name, "content" to content)
    }

    private fun declined(call: Int) =
        objectOf("role" to "tool", "name" to chat.openCalls[call].text("name"), "content" to texts.declined)

    private fun forget(id: String) = quietly(EngineRequest.Forget(id))

    /** Asks something of an engine that holds something; its process is not begun for it. */
    private fun quietly(request: EngineRequest) {
        if (engine.status.value !is EngineStatus.Ready) return
        scope.launch {
            try {
                engine.finish(request)
            } catch (_: EngineDied) {
                // Nothing is held any more, so there is nothing to do.
            } catch (error: EngineException) {
                change { it.copy(notice = error.message) }
            }
        }
    }

    private fun change(how: (ChatState) -> ChatState) {
        mutable.value = how(mutable.value)
    }
}
