package ai.lfm.edge.app

import ai.lfm.edge.app.engine.Engine
import ai.lfm.edge.app.engine.EngineDied
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineException
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.engine.MemoryNeed
import ai.lfm.edge.app.engine.ModelFacts
import java.util.concurrent.CopyOnWriteArrayList
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.flow

/** An engine that says what a test wants, when it wants it. */
class FakeEngine : Engine {
    override val status = MutableStateFlow<EngineStatus>(EngineStatus.Empty)

    /** Everything that was asked. */
    val asked = CopyOnWriteArrayList<EngineRequest>()

    /** What a bundle needs. */
    var need = MemoryNeed(4_000_000_000, 50_000_000, 100_000_000, 4096, 128_000, 12_288, true)

    /** What the next answers are; an answer waits for each event. */
    var script = Channel<EngineEvent>(Channel.UNLIMITED)

    /** What an answer fails with, once its script is read. */
    var failure: Exception? = null

    /** The answers that were asked for. */
    val answers get() = asked.filterIsInstance<EngineRequest.Answer>()

    override fun run(request: EngineRequest): Flow<EngineEvent> = flow {
        asked.add(request)
        when (request) {
            is EngineRequest.Plan -> emit(EngineEvent.Planned(planned(request.context)))
            is EngineRequest.Load -> {
                val facts = ModelFacts(request.folder, "lfm2_moe", request.context, 4, "avx2")
                status.value = EngineStatus.Ready(facts)
                emit(EngineEvent.Loaded(facts))
            }
            is EngineRequest.Answer, is EngineRequest.Bench -> for (event in script) {
                if (event is EngineEvent.End && event.reason == "fails") throw failure!!
                emit(event)
                if (event is EngineEvent.End || event is EngineEvent.Measured) return@flow
            }
            else -> Unit
        }
    }

    override fun stop() {
        script.trySend(EngineEvent.End("cancelled", processed = 5, generated = 1))
    }

    /** What comes next of an answer. */
    fun says(vararg events: EngineEvent) = events.forEach { script.trySend(it) }

    /** A whole answer. */
    fun answers(text: String) = says(EngineEvent.Text(text), END)

    /** The answer that is being given fails. */
    fun fails(with: Exception) {
        failure = with
        script.trySend(EngineEvent.End("fails"))
    }

    private fun planned(context: Int): MemoryNeed {
        val wanted = if (context > 0) context else need.context
        return need.copy(context = wanted, state = need.state + (wanted - need.context) * need.bytesPerToken)
    }

    companion object {
        val END = EngineEvent.End("eos", reused = 0, processed = 5, generated = 3, timeToFirstToken = 0.2, total = 0.4)

        fun died() = EngineDied("The engine crashed.")

        fun error(kind: String, message: String) = EngineException(kind, message)
    }
}
