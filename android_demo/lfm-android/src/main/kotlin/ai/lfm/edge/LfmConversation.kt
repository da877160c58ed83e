package ai.lfm.edge

import java.io.Closeable
import java.io.File
import java.util.concurrent.atomic.AtomicLong
import kotlinx.coroutines.flow.Flow
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject

/**
 * A chat that goes on: its messages, and a session that has read most of them already; made by
 * [LfmModel.conversation], or by [open] from a file.
 *
 * The flows of answers are cold: nothing is said before they are collected, and each collection says
 * it once. They compute in threads of the library's own. A turn counts once its [Event.End] has come:
 *
 * - [stop] ends it at the next token, as "cancelled"; what the model had said stays in [messages].
 * - Where the collecting coroutine is cancelled it ends at the next token as well and leaves no trace
 *   in [messages]. The conversation can be used again once that coroutine has ended.
 *
 * A conversation answers one turn at a time.
 */
public class LfmConversation internal constructor(
    private val handle: Long,
    private val vocabSize: Int,
) : Closeable {
    /** All that was said, as templates take it; may be replaced between turns. */
    public var messages: List<Message>
        get() = parsed(Native.conversationMessages(handle)).jsonArray.map { it.jsonObject }
        set(value) = Native.conversationSetMessages(handle, utf8(JsonArray(value)))

    private val current = AtomicLong() // answer

    /**
     * Says [text] and gives the events of the answer: [Event.Progress] while a long prompt is read,
     * then [Event.Reasoning], [Event.Text], [Event.ToolCall], [Event.InvalidToolCall], and [Event.End].
     *
     * The flow throws [InvalidRequestError] (an option is out of range), [TemplateError] (the template
     * refuses the messages), [ContextFullError], [BundleError].
     */
    public fun send(text: String, options: AnswerOptions = AnswerOptions()): Flow<Event> =
        send(JsonPrimitive(text), options)

    /** Says whole messages, such as the results of tools ([toolMessage]); see the other [send]. */
    public fun send(messages: List<Message>, options: AnswerOptions = AnswerOptions()): Flow<Event> =
        send(JsonArray(messages), options)

    /** Answers the last message anew; the flow throws [InvalidRequestError] where there is none. */
    public fun regenerate(options: AnswerOptions = AnswerOptions()): Flow<Event> =
        answer { Native.conversationRegenerate(handle, utf8(options.json())) }

    /**
     * Says [text] instead in one of the user's turns, and forgets what followed.
     *
     * @param turn which of them, from 0; negative numbers count from the last. The flow throws
     *     [InvalidRequestError] where there is no such turn.
     */
    public fun edit(turn: Int, text: String, options: AnswerOptions = AnswerOptions()): Flow<Event> =
        answer {
            Native.conversationEdit(handle, turn.toLong(), line(text), utf8(options.json()))
        }

    /**
     * Throws what [send] would throw for these options, whatever is said.
     *
     * @throws InvalidRequestError one is out of range.
     */
    public fun check(options: AnswerOptions): Unit =
        Native.conversationCheck(handle, utf8(options.json()))

    /**
     * Reads now what every next turn begins with, such as the system prompt and the tools, and returns
     * how many tokens that took: 0 where the session held them. What [save] writes then has read it
     * already.
     *
     * @throws TemplateError the template refuses the messages.
     * @throws ContextFullError the session does not hold them.
     */
    public suspend fun warm(): Int = computing { Native.conversationWarm(handle).toInt() }

    /** One that goes on by itself from here; see [LfmSession.fork]. */
    public suspend fun fork(): LfmConversation =
        opening { LfmConversation(Native.conversationFork(handle), vocabSize) }

    /** Ends the answer that is being given, if one is, at its next token; from any thread. */
    public fun stop(): Unit = Native.stop(current.get())

    /** The session that has read the messages; to be closed as well. */
    public fun session(): LfmSession = LfmSession(Native.conversationSession(handle), vocabSize)

    /**
     * Writes it, with what its session holds, to a file that [open], and Python's
     * `Conversation.open`, read.
     *
     * @throws SessionFileError the file cannot be written; nothing is left of it.
     */
    public suspend fun save(file: File): Unit =
        computing { Native.conversationSave(handle, line(file.path)) }

    /** Gives it back; may be called twice. An answer that is being given ends at its next token. */
    override fun close() {
        stop()
        Native.close(handle)
    }

    private fun send(message: JsonElement, options: AnswerOptions) =
        answer { Native.conversationSend(handle, utf8(message), utf8(options.json())) }

    private fun answer(begin: () -> Long) = eventsOf({ begin().also(current::set) }, ::eventOf)

    public companion object {
        /**
         * What [save] wrote; it reads nothing again.
         *
         * @param context the session's capacity; by default that of the saved one.
         * @throws SessionFileError the file is missing, damaged, of another bundle, or holds a session
         *     but no conversation.
         */
        public suspend fun open(model: LfmModel, file: File, context: Int? = null): LfmConversation =
            opening {
                val capacity = capacity(context, model.info)
                val handle = Native.conversationLoad(model.handle, line(file.path), capacity)
                LfmConversation(handle, model.info.vocabSize)
            }
    }
}
