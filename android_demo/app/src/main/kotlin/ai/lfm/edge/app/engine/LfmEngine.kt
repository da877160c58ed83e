package ai.lfm.edge.app.engine

import ai.lfm.edge.BundleError
import ai.lfm.edge.ContextFullError
import ai.lfm.edge.Event
import ai.lfm.edge.IntegrityError
import ai.lfm.edge.InvalidRequestError
import ai.lfm.edge.LfmBundle
import ai.lfm.edge.LfmError
import ai.lfm.edge.LfmModel
import ai.lfm.edge.NoMemoryError
import ai.lfm.edge.Proof
import ai.lfm.edge.SessionFileError
import ai.lfm.edge.SessionTakenError
import ai.lfm.edge.TemplateError
import ai.lfm.edge.UnknownTokenError
import ai.lfm.edge.UnsupportedBundleError
import ai.lfm.edge.app.bench.Device
import java.io.File
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/** The engine itself: the library, one model, and what was read of one conversation. */
class LfmEngine(private val device: Device) : Engine {
    override val status = MutableStateFlow<EngineStatus>(EngineStatus.Empty)
    private val turn = Mutex()
    private var model: LfmModel? = null
    private var context = 0
    private val chat = OpenChat()

    override fun run(request: EngineRequest): Flow<EngineEvent> = flow {
        when (request) {
            is EngineRequest.Plan -> emit(EngineEvent.Planned(needOf(request)))
            is EngineRequest.Check -> LfmBundle.check(File(request.folder)).collect { emit(eventOf(it)) }
            else -> turn.withLock { serve(request) }
        }
    }.catch { throw inWords(it) }

    override fun stop() = chat.stop()

    private suspend fun FlowCollector<EngineEvent>.serve(request: EngineRequest) {
        when (request) {
            is EngineRequest.Load -> emit(EngineEvent.Loaded(load(request)))
            is EngineRequest.Unload -> unload()
            is EngineRequest.Verify -> loaded().verify().collect { emit(eventOfProof(it)) }
            is EngineRequest.Answer -> chat.answer(loaded(), context, request).collect { emit(eventOf(it)) }
            is EngineRequest.Save -> chat.save()
            is EngineRequest.Forget -> chat.forget(request.chat)
            is EngineRequest.Bench -> bench(request)
            is EngineRequest.Plan, is EngineRequest.Check -> error("served beside the others")
        }
    }

    private suspend fun needOf(request: EngineRequest.Plan): MemoryNeed {
        val plan = LfmBundle.plan(File(request.folder), request.context.takeIf { it > 0 })
        return MemoryNeed(
            plan.weights, plan.state, plan.scratch, plan.context, plan.maxContext, plan.bytesPerToken, plan.chat,
        )
    }

    private suspend fun load(request: EngineRequest.Load): ModelFacts {
        unload()
        val opened = LfmModel.load(File(request.folder), request.threads.takeIf { it > 0 })
        model = opened
        context = request.context.takeIf { it > 0 } ?: opened.info.defaultContext
        val info = opened.info
        val facts = ModelFacts(
            info.folder, info.family, context, info.threads, info.isa.orEmpty(), info.sampling,
            info.withoutText ?: info.withoutChat,
        )
        status.value = EngineStatus.Ready(facts)
        return facts
    }

    private suspend fun unload() {
        chat.close()
        model?.close()
        model = null
        status.value = EngineStatus.Empty
    }

    private fun loaded() = model ?: throw EngineException("InvalidRequestError", "no model is loaded; load one first")

    private suspend fun FlowCollector<EngineEvent>.bench(request: EngineRequest.Bench) {
        unload()
        BenchRun(File(request.folder), request.settings, device).run(this)
    }
}

private fun eventOf(event: Event): EngineEvent = when (event) {
    is Event.Progress -> EngineEvent.Progress(event.what, event.done, event.total)
    is Event.Reasoning -> EngineEvent.Reasoning(event.text)
    is Event.Text -> EngineEvent.Text(event.text)
    is Event.ToolCall -> EngineEvent.ToolCall(event.name, event.arguments)
    is Event.InvalidToolCall -> EngineEvent.InvalidToolCall(event.text, event.error)
    is Event.End -> EngineEvent.End(
        event.reason, event.usage.reused, event.usage.processed, event.usage.generated, event.usage.reasoning,
        event.timings.timeToFirstToken, event.timings.total,
    )
}

private fun eventOfProof(proof: Proof): EngineEvent = when (proof) {
    is Event.Progress -> EngineEvent.Progress(proof.what, proof.done, proof.total)
    is Proof.Golden -> EngineEvent.Golden(proof.worst, proof.tolerance)
}

/** An error by its name, which passes between processes; names by reflection would not survive R8. */
private fun inWords(error: Throwable): Throwable {
    if (error !is LfmError) return error
    val kind = when (error) {
        is UnsupportedBundleError -> "UnsupportedBundleError"
        is IntegrityError -> "IntegrityError"
        is BundleError -> "BundleError"
        is UnknownTokenError -> "UnknownTokenError"
        is InvalidRequestError -> "InvalidRequestError"
        is ContextFullError -> "ContextFullError"
        is SessionFileError -> "SessionFileError"
        is SessionTakenError -> "SessionTakenError"
        is TemplateError -> "TemplateError"
        is NoMemoryError -> "NoMemoryError"
    }
    return EngineException(kind, error.message.orEmpty())
}
