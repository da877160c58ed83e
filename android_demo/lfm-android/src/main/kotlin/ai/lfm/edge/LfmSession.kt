package ai.lfm.edge

import java.io.Closeable
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlinx.serialization.json.jsonObject

/**
 * What the model has read so far, and room for more; made by [LfmModel.session].
 *
 * A session is used by one coroutine at a time. Several sessions of one model may run at once. It can
 * go back to any position, exactly, at the cost of a few tokens in the next run.
 */
public class LfmSession internal constructor(
    internal val handle: Long,
    private val vocabSize: Int,
) : Closeable {
    private val logits by lazy {
        ByteBuffer.allocateDirect(vocabSize * Float.SIZE_BYTES).order(ByteOrder.nativeOrder())
    }

    /** The most tokens that it can hold. */
    public val capacity: Int get() = info("capacity")

    /** How many tokens it holds. */
    public val position: Int get() = info("position")

    /** How many of these the next run reads again, because the session went back. */
    public val toReplay: Int get() = info("to_replay")

    /** The tokens that it holds, in order. */
    public val ids: IntArray get() = Native.sessionIds(handle)

    /**
     * Appends tokens, at least one, and returns the last one's logits.
     *
     * @throws UnknownTokenError an id lies outside the vocabulary; nothing was appended.
     * @throws ContextFullError the capacity does not hold them all; nothing was appended.
     * @throws BundleError the graph failed to run; the session is then empty.
     */
    public suspend fun prefill(ids: IntArray): FloatArray =
        computing {
            Native.sessionPrefill(handle, ids, logits)
            FloatArray(vocabSize).also { logits.asFloatBuffer().get(it) }
        }

    /** Appends one token and returns its logits; see [prefill]. */
    public suspend fun decode(token: Int): FloatArray = prefill(intArrayOf(token))

    /**
     * Forgets the tokens from [position] on.
     *
     * @throws InvalidRequestError the session does not hold so many.
     */
    public fun rewind(position: Int): Unit = Native.sessionRewind(handle, position.toLong())

    /**
     * Goes to the longest beginning of [ids] that it holds, and returns what is left to read, which
     * is the last token at least.
     *
     * @throws InvalidRequestError [ids] is empty.
     * @throws UnknownTokenError an id lies outside the vocabulary.
     */
    public fun resume(ids: IntArray): IntArray =
        ids.copyOfRange(Native.sessionResume(handle, ids).toInt(), ids.size)

    /** A session of its own that holds the same, with the same room. */
    public suspend fun fork(): LfmSession =
        opening { LfmSession(Native.sessionFork(handle), vocabSize) }

    /**
     * Writes what it holds to a file that [open], and Python's `Session.open`, read. The file takes
     * its name when it is whole; an earlier one is replaced.
     *
     * @throws SessionFileError the file cannot be written; nothing is left of it.
     */
    public suspend fun save(file: File): Unit =
        computing { Native.sessionSave(handle, line(file.path)) }

    /** Gives it back; may be called twice. */
    override fun close(): Unit = Native.close(handle)

    private fun info(name: String) = parsed(Native.sessionInfo(handle)).jsonObject.int(name)

    public companion object {
        /**
         * A session with what [save], or Python's `Session.save`, wrote.
         *
         * @param context the session's capacity; by default that of the saved one.
         * @throws SessionFileError the file is missing, damaged or of another bundle.
         * @throws ContextFullError [context] does not hold the saved tokens.
         */
        public suspend fun open(model: LfmModel, file: File, context: Int? = null): LfmSession =
            opening {
                val capacity = capacity(context, model.info)
                val handle = Native.sessionLoad(model.handle, line(file.path), capacity)
                LfmSession(handle, model.info.vocabSize)
            }
    }
}
