package ai.lfm.edge.app.engine

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.mapNotNull

/**
 * What the screens ask of a model. In the app it is another process ([EngineClient]), which the
 * library runs in ([LfmEngine]); so a crash there, or the system's want of memory, ends an answer and
 * not the app.
 *
 * Requests are served one after the other, in the order in which they came.
 */
interface Engine {
    /** Whether it is there, and which model it has loaded. */
    val status: StateFlow<EngineStatus>

    /**
     * Serves a request; cold. The flow ends when it is done. Cancelling its collection ends the work
     * at the next step.
     *
     * The flow throws [EngineException] for what cannot be, [EngineDied] if the process is gone.
     */
    fun run(request: EngineRequest): Flow<EngineEvent>

    /** Ends the answer that is being given at its next token, as "cancelled". */
    fun stop()
}

/** Whether there is a model. */
sealed interface EngineStatus {
    data object Empty : EngineStatus
    data class Ready(val model: ModelFacts) : EngineStatus

    /** The process ended by itself: [how] is for the user. */
    data class Dead(val how: String) : EngineStatus
}

/** A request that cannot be: [kind] is the name of the SDK's error, the message its text. */
class EngineException(val kind: String, message: String) : Exception(message)

/** The engine's process ended while it worked. */
class EngineDied(message: String) : Exception(message)

/** Reads what a bundle needs for a context; 0 stands for the default. */
suspend fun Engine.plan(folder: String, context: Int = 0): MemoryNeed =
    run(EngineRequest.Plan(folder, context)).mapNotNull { (it as? EngineEvent.Planned)?.need }.first()

/** Loads a bundle instead of what was loaded before. */
suspend fun Engine.load(request: EngineRequest.Load): ModelFacts =
    run(request).mapNotNull { (it as? EngineEvent.Loaded)?.model }.first()

/** Runs a request that tells nothing. */
suspend fun Engine.finish(request: EngineRequest) = run(request).map { }.collect { }
