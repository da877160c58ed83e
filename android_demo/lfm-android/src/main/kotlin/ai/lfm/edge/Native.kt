package ai.lfm.edge

import java.nio.ByteBuffer

/**
 * The functions of `lfm_core.h`, one by one, and those of `lfm_ops/sampling.h`.
 *
 * Texts and JSON are UTF-8 without a zero byte, since the strings of JNI are not UTF-8. A status other
 * than LFM_OK is thrown as [errorOf] says. Implemented in `src/main/cpp`, in files of the same groups.
 */
internal object Native {
    /** What [next] gives behind the last event. */
    const val END = -1

    init {
        System.loadLibrary("lfm_android")
    }

    /** The error that C++ throws for a status. */
    @JvmStatic
    fun errorOf(status: Int, message: ByteArray): RuntimeException {
        val text = message.decodeToString()
        return when (status) {
            10 -> BundleError(text)
            11 -> UnsupportedBundleError(text)
            12 -> IntegrityError(text)
            13 -> InvalidRequestError(text)
            14 -> UnknownTokenError(text)
            15 -> ContextFullError(text)
            16 -> SessionFileError(text)
            17 -> SessionTakenError(text)
            18 -> TemplateError(text)
            19 -> NoMemoryError(text)
            else -> IllegalStateException("lfm_core, status $status: $text")
        }
    }

    // library.cpp
    external fun version(): ByteArray

    external fun openHandles(): Long

    external fun useOnnxRuntime(path: ByteArray)

    external fun close(handle: Long)

    // bundle.cpp
    external fun bundlePlan(folder: ByteArray, context: Long): ByteArray

    external fun bundleCheck(folder: ByteArray): Long

    // model.cpp
    external fun modelOpen(folder: ByteArray, options: ByteArray?): Long

    external fun modelInfo(model: Long): ByteArray

    external fun modelVerify(model: Long): Long

    // tokens.cpp
    external fun encode(model: Long, text: ByteArray, special: Boolean): IntArray

    external fun decode(model: Long, ids: IntArray): ByteArray

    external fun prompt(model: Long, request: ByteArray): IntArray

    external fun parseToolCalls(text: ByteArray, tools: ByteArray?): ByteArray

    external fun splitEvents(answer: ByteArray): ByteArray

    // session.cpp
    external fun sessionOpen(model: Long, context: Long): Long

    external fun sessionInfo(session: Long): ByteArray

    external fun sessionIds(session: Long): IntArray

    /** [logits]: direct, as many floats as the vocabulary has. */
    external fun sessionPrefill(session: Long, ids: IntArray, logits: ByteBuffer)

    external fun sessionRewind(session: Long, position: Long)

    external fun sessionResume(session: Long, ids: IntArray): Long

    external fun sessionFork(session: Long): Long

    external fun sessionSave(session: Long, path: ByteArray)

    external fun sessionLoad(model: Long, path: ByteArray, context: Long): Long

    // answers.cpp
    external fun generate(session: Long, request: ByteArray): Long

    /**
     * The next event, written to [buffer], which is direct: its length, or [END], or, negative and
     * below [END], the room that it takes; nothing has happened then.
     */
    external fun next(events: Long, buffer: ByteBuffer): Int

    /** Says nothing of events that are closed already. */
    external fun stop(events: Long)

    // conversation.cpp
    external fun conversationOpen(model: Long, setting: ByteArray?): Long

    external fun conversationSend(conversation: Long, message: ByteArray, options: ByteArray?): Long

    external fun conversationRegenerate(conversation: Long, options: ByteArray?): Long

    external fun conversationEdit(
        conversation: Long,
        turn: Long,
        text: ByteArray,
        options: ByteArray?,
    ): Long

    external fun conversationCheck(conversation: Long, options: ByteArray?)

    external fun conversationWarm(conversation: Long): Long

    external fun conversationFork(conversation: Long): Long

    external fun conversationMessages(conversation: Long): ByteArray

    external fun conversationSetMessages(conversation: Long, messages: ByteArray)

    external fun conversationSession(conversation: Long): Long

    external fun conversationSave(conversation: Long, path: ByteArray)

    external fun conversationLoad(model: Long, path: ByteArray, context: Long): Long

    // sampler.cpp
    external fun samplerCreate(
        seed: Long,
        temperature: Double,
        topP: Double,
        minP: Double,
        repetitionPenalty: Float,
        frequencyPenalty: Float,
        presencePenalty: Float,
        topK: Int,
        vocabSize: Int,
    ): Long

    external fun samplerDestroy(sampler: Long)

    external fun samplerBias(sampler: Long, ids: IntArray, biases: FloatArray)

    external fun samplerObserve(sampler: Long, ids: IntArray)

    external fun samplerChoose(sampler: Long, logits: FloatArray, allowed: IntArray?): Int

    external fun samplerAccept(sampler: Long, token: Int)

    external fun samplingExp(x: Double): Double

    external fun samplingUniform(seed: Long, index: Long): Double
}
