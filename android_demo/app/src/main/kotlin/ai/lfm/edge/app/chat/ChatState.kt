package ai.lfm.edge.app.chat

import ai.lfm.edge.app.engine.EngineEvent
import kotlinx.serialization.json.JsonObject

/** What the chat screen shows. */
data class ChatState(
    val chat: Chat,
    val phase: Phase = Phase.Idle,
    val partial: Partial = Partial(),
    val decided: Map<Int, JsonObject> = emptyMap(),
    val notice: String? = null,
    val last: EngineEvent.End? = null,
) {
    /** The calls that the user is asked about, by their place among those of the last message. */
    val asked: List<IndexedValue<JsonObject>>
        get() = if (phase is Phase.Idle) chat.openCalls.withIndex().filter { it.index !in decided } else emptyList()
}

/** What is being done. */
sealed interface Phase {
    data object Idle : Phase
    data object Loading : Phase

    /** A prompt is read: tokens done of all. */
    data class Reading(val done: Long, val total: Long) : Phase
    data object Writing : Phase
}
