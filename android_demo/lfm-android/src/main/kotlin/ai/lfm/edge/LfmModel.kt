package ai.lfm.edge

import java.io.Closeable
import java.io.File
import java.time.LocalDateTime
import java.time.format.DateTimeFormatter
import java.util.Locale
import kotlinx.coroutines.flow.Flow
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.longOrNull

/**
 * One turn of a chat, as templates take it: `role`, `content`, and what else the template reads;
 * [userMessage] and [toolMessage] make the common ones.
 */
public typealias Message = JsonObject

/**
 * What a model is.
 *
 * @property folder the bundle's folder.
 * @property digest a short name of its content.
 * @property family the model's family, such as "lfm2_moe".
 * @property target what the bundle was exported for, such as "onnx".
 * @property vocabSize how many tokens it knows.
 * @property maxContext the most tokens that a session can hold.
 * @property defaultContext how many one holds that was not asked for another number.
 * @property threads how many threads it computes with.
 * @property isa the instruction set that our operators use, such as "neon_dotprod"; null where the
 *   target has none of them.
 * @property prefetchBytes bytes that they fetch ahead, or null.
 * @property onnxruntime the version of ONNX Runtime.
 * @property eosTokenIds the tokens that end an answer.
 * @property sampling the bundle's defaults for answers.
 * @property withoutText null, or why the bundle has no usable tokenizer.
 * @property withoutChat null, or why it takes no chat; it then completes texts.
 */
public data class ModelInfo(
    val folder: String,
    val digest: String,
    val family: String,
    val target: String,
    val vocabSize: Int,
    val maxContext: Int,
    val defaultContext: Int,
    val threads: Int,
    val isa: String?,
    val prefetchBytes: Long?,
    val onnxruntime: String,
    val eosTokenIds: List<Int>,
    val sampling: JsonObject,
    val withoutText: String?,
    val withoutChat: String?,
)

/**
 * An opened bundle that is ready to run; safe to share between threads.
 *
 * What was made of it (sessions, conversations, answers) may outlive its [close]: the memory goes
 * when the last of them is closed.
 */
public class LfmModel private constructor(internal val handle: Long) : Closeable {
    /** What it is. */
    public val info: ModelInfo = infoOf(parsed(Native.modelInfo(handle)).jsonObject)

    /**
     * An empty session of [context] tokens; by default [ModelInfo.defaultContext].
     *
     * @throws InvalidRequestError [context] is out of range.
     * @throws BundleError there is no memory for it.
     */
    public suspend fun session(context: Int? = null): LfmSession =
        opening { LfmSession(Native.sessionOpen(handle, capacity(context, info)), info.vocabSize) }

    /**
     * A chat that remembers what was said, and reads nothing twice that it need not.
     *
     * @param system instructions that stand before the conversation.
     * @param tools JSON Schemas of the functions that the model may call, in OpenAI's form.
     * @param templateOptions further variables of the template, such as `preserve_thinking`.
     * @param context as of [session].
     * @param messages what was said before, the system message included; [system] is then null.
     * @param clock the time that the template sees.
     * @throws TemplateError the bundle takes no chat.
     * @throws InvalidRequestError a tool is malformed or [context] is out of range.
     */
    public suspend fun conversation(
        system: String? = null,
        tools: List<JsonObject>? = null,
        templateOptions: JsonObject? = null,
        context: Int? = null,
        messages: List<Message>? = null,
        clock: LocalDateTime = LocalDateTime.now(),
    ): LfmConversation {
        val said = messages ?: system?.let { listOf(jsonOf("role" to "system", "content" to it)) }
        val setting =
            jsonOf(
                "messages" to said,
                "tools" to tools,
                "template_options" to templateOptions,
                "context" to context,
                "clock" to written(clock),
            )
        return opening {
            LfmConversation(Native.conversationOpen(handle, utf8(setting)), info.vocabSize)
        }
    }

    /**
     * Continues [prompt] in [session], from the longest beginning of it that the session holds.
     *
     * Cold: nothing happens before it is collected, and each collection is an answer of its own.
     * Where the collecting coroutine is cancelled, it stops at the next token; the session can be
     * used again once the coroutine has ended. Events: [Event.Progress], [Event.Text], [Event.End].
     *
     * The flow throws [InvalidRequestError] (empty prompt, option out of range), [ContextFullError],
     * [BundleError].
     */
    public fun generate(
        session: LfmSession,
        prompt: String,
        options: AnswerOptions = AnswerOptions(),
    ): Flow<Event> = generate(session, "text" to prompt, options)

    /** As above, of the ids of a prompt; the flow throws [UnknownTokenError] as well. */
    public fun generate(
        session: LfmSession,
        prompt: IntArray,
        options: AnswerOptions = AnswerOptions(),
    ): Flow<Event> = generate(session, "ids" to prompt, options)

    /**
     * The ids of a text.
     *
     * @param special whether the text of a special token is that token, and what the tokenizer puts
     *     before a text is put before it.
     * @throws InvalidRequestError the text holds half of a surrogate pair, which is no character.
     * @throws BundleError the bundle has no usable tokenizer.
     */
    public fun encode(text: String, special: Boolean = false): IntArray =
        Native.encode(handle, utf8(text), special)

    /**
     * The text of ids, special tokens included; bytes that are no UTF-8 become U+FFFD.
     *
     * @throws UnknownTokenError an id lies outside the vocabulary.
     */
    public fun decode(ids: IntArray): String = Native.decode(handle, ids).decodeToString()

    /**
     * The tokens that the template makes of [messages], up to where the answer begins.
     *
     * @param trustMarkers whether the text of a control token (`<|im_end|>`) in what a user or a tool
     *     wrote is that token. By default it is ordinary text.
     * @throws TemplateError the bundle takes no chat, or its template refuses the messages.
     */
    public fun prompt(
        messages: List<Message>,
        tools: List<JsonObject>? = null,
        templateOptions: JsonObject? = null,
        clock: LocalDateTime = LocalDateTime.now(),
        trustMarkers: Boolean = false,
    ): IntArray {
        val request =
            jsonOf(
                "messages" to messages,
                "tools" to tools,
                "template_options" to templateOptions,
                "clock" to written(clock),
                "trust_markers" to trustMarkers,
            )
        return Native.prompt(handle, utf8(request))
    }

    /**
     * Replays the golden vectors: [Event.Progress] in positions, and [Proof.Golden] last.
     *
     * The flow throws [IntegrityError] where the graph misses one.
     */
    public fun verify(): Flow<Proof> = eventsOf({ Native.modelVerify(handle) }, ::proofOf)

    /** Gives it back; may be called twice. */
    override fun close(): Unit = Native.close(handle)

    private fun generate(session: LfmSession, prompt: Pair<String, Any>, options: AnswerOptions) =
        eventsOf({
            Native.generate(session.handle, utf8(JsonObject(options.json() + jsonOf(prompt))))
        }, ::eventOf)

    public companion object {
        /**
         * Opens a bundle and makes it ready to run.
         *
         * @param dir the bundle's folder.
         * @param threads threads to compute with; by default one per core that is not of the slowest
         *     kind.
         * @throws BundleError the bundle is missing, malformed or damaged, or does not load.
         * @throws UnsupportedBundleError its format or target is not one that this version runs.
         * @throws InvalidRequestError [threads] is below 1.
         */
        public suspend fun load(dir: File, threads: Int? = null): LfmModel =
            opening {
                OnnxRuntime.settle()
                val options = threads?.let { utf8(jsonOf("threads" to it)) }
                LfmModel(Native.modelOpen(line(dir.path), options))
            }
    }
}

/** A context as the core takes it, where 0 is the default and no number of anyone's. */
internal fun capacity(context: Int?, model: ModelInfo): Long = capacity(context) { model.maxContext }

internal fun capacity(context: Int?, most: () -> Int): Long {
    if (context == 0) {
        val held = "%,d".format(Locale.ROOT, most())
        throw InvalidRequestError("context: got 0, expected 1 to $held, the most this bundle holds")
    }
    return context?.toLong() ?: 0
}

private fun written(clock: LocalDateTime) =
    clock.format(DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss"))

private fun infoOf(info: JsonObject) =
    ModelInfo(
        folder = info.text("folder"),
        digest = info.text("digest"),
        family = info.text("family"),
        target = info.text("target"),
        vocabSize = info.int("vocab_size"),
        maxContext = info.int("max_context"),
        defaultContext = info.int("default_context"),
        threads = info.int("threads"),
        isa = info.textOrNull("isa"),
        prefetchBytes = info.getValue("prefetch_bytes").jsonPrimitive.longOrNull,
        onnxruntime = info.text("onnxruntime"),
        eosTokenIds = info.getValue("eos_token_ids").jsonArray.map { it.jsonPrimitive.int },
        sampling = info.getValue("sampling").jsonObject,
        withoutText = info.textOrNull("text"),
        withoutChat = info.textOrNull("chat"),
    )
