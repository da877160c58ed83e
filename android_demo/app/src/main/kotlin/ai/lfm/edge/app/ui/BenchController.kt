package ai.lfm.edge.app.ui

import ai.lfm.edge.app.bench.BenchSettings
import ai.lfm.edge.app.engine.Engine
import ai.lfm.edge.app.engine.EngineDied
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineException
import ai.lfm.edge.app.engine.EngineRequest
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.launch
import kotlinx.serialization.json.JsonObject

/** What the benchmark screen shows. */
data class BenchState(
    val running: Boolean = false,
    val progress: EngineEvent.Progress? = null,
    val points: List<EngineEvent.Point> = emptyList(),
    val result: JsonObject? = null,
    val problem: String? = null,
)

/** A measurement, whatever screen is shown. */
class BenchController(private val engine: Engine, private val scope: CoroutineScope) {
    private val mutable = MutableStateFlow(BenchState())
    private var job: Job? = null

    val state: StateFlow<BenchState> = mutable

    /** Measures the bundle of a folder. */
    fun start(folder: String, settings: BenchSettings) {
        if (state.value.running) return
        mutable.value = BenchState(running = true)
        job = scope.launch {
            try {
                engine.run(EngineRequest.Bench(folder, settings.json)).collect(::take)
            } catch (error: EngineException) {
                end(error.message)
            } catch (error: EngineDied) {
                end(error.message)
            } catch (error: CancellationException) {
                end(null)
                throw error
            }
            end(state.value.problem)
        }
    }

    fun cancel() {
        job?.cancel()
    }

    private fun take(event: EngineEvent) {
        val state = mutable.value
        mutable.value = when (event) {
            is EngineEvent.Progress -> state.copy(progress = event)
            is EngineEvent.Point -> state.copy(points = state.points + event)
            is EngineEvent.Measured -> state.copy(result = event.result)
            else -> state
        }
    }

    private fun end(problem: String?) {
        mutable.value = mutable.value.copy(running = false, problem = problem)
    }
}
