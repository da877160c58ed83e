package ai.lfm.edge

import java.io.File
import kotlinx.coroutines.flow.Flow
import kotlinx.serialization.json.jsonObject

/**
 * What a bundle needs, before anything of it is loaded.
 *
 * @property weights bytes of the weights, which are mapped from their file.
 * @property state bytes of a session's keys, values and conv states.
 * @property scratch bytes that a run needs besides.
 * @property total all of them.
 * @property context the tokens of the session that this is for.
 * @property maxContext the most that the model can hold.
 * @property bytesPerToken bytes of [state] that a further token of context takes.
 * @property family the model's family, such as "lfm2_moe".
 * @property target what the bundle was exported for, such as "onnx".
 * @property withoutChat null, or why it takes no chat; it then completes texts.
 */
public data class MemoryPlan(
    val weights: Long,
    val state: Long,
    val scratch: Long,
    val total: Long,
    val context: Int,
    val maxContext: Int,
    val bytesPerToken: Long,
    val family: String,
    val target: String,
    val withoutChat: String?,
) {
    /** Whether it takes chats. */
    val chat: Boolean get() = withoutChat == null
}

/** A bundle's folder, as long as it is not loaded. */
public object LfmBundle {
    /**
     * What a session of [context] tokens needs (null: the default), read from the manifest alone.
     *
     * @throws BundleError the bundle is missing or malformed.
     * @throws InvalidRequestError [context] is out of range.
     */
    public suspend fun plan(dir: File, context: Int? = null): MemoryPlan =
        computing { planOf(dir, capacity(context) { planOf(dir, 0).maxContext }) }

    /**
     * Hashes every file of a bundle, and tells how far it is in bytes.
     *
     * The flow throws [IntegrityError] for a file that differs from the manifest, and [BundleError]
     * for one that is missing.
     */
    public fun check(dir: File): Flow<Event.Progress> =
        eventsOf({ Native.bundleCheck(line(dir.path)) }) { eventOf(it) as Event.Progress }
}

private fun planOf(dir: File, context: Long): MemoryPlan {
    val plan = parsed(Native.bundlePlan(line(dir.path), context)).jsonObject
    return MemoryPlan(
        weights = plan.long("weights"),
        state = plan.long("state"),
        scratch = plan.long("scratch"),
        total = plan.long("total"),
        context = plan.int("context"),
        maxContext = plan.int("max_context"),
        bytesPerToken = plan.long("bytes_per_token"),
        family = plan.text("family"),
        target = plan.text("target"),
        withoutChat = plan.textOrNull("chat"),
    )
}
