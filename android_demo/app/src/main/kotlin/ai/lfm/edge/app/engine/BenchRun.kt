package ai.lfm.edge.app.engine

import ai.lfm.edge.LfmModel
import ai.lfm.edge.LfmSession
import ai.lfm.edge.app.bench.BenchSettings
import ai.lfm.edge.app.bench.BenchTarget
import ai.lfm.edge.app.bench.Device
import ai.lfm.edge.app.bench.EngineFacts
import ai.lfm.edge.app.bench.OwnMemory
import ai.lfm.edge.app.bench.Report
import ai.lfm.edge.app.bench.Timing
import ai.lfm.edge.app.bench.awaitReady
import ai.lfm.edge.app.bench.bundleJson
import java.io.File
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.serialization.json.JsonObject

/** Loads a bundle, measures it, and gives it back. */
internal class BenchRun(private val folder: File, settings: JsonObject, private val device: Device) {
    private val settings = BenchSettings.of(settings)

    suspend fun run(out: FlowCollector<EngineEvent>) {
        settings.problem()?.let { throw EngineException("InvalidRequestError", it) }
        out.emit(EngineEvent.Progress("load", 0, 1))
        val start = System.nanoTime()
        LfmModel.load(folder, settings.threads.takeIf { it > 0 }).use { model ->
            val seconds = (System.nanoTime() - start) / 1e9
            model.session(settings.capacity).use { measure(model, it, seconds, out) }
        }
    }

    private suspend fun measure(
        model: LfmModel, session: LfmSession, loadSeconds: Double, out: FlowCollector<EngineEvent>,
    ) {
        val timing = Timing(SessionTarget(session), settings, model.info.vocabSize)
        val total = settings.repetitions + 1L
        val timings = timing.repetitions({ awaitReady(device, ::delay) }) {
            out.emit(EngineEvent.Progress("measure", it.toLong(), total))
        }
        val points = ArrayList<JsonObject>()
        if (settings.sustainedSeconds > 0) {
            timing.sustained(settings.sustainedSeconds) {
                val point = EngineEvent.Point(it.seconds, it.tokensPerSecond, device.thermalStatus(), device.celsius())
                points.add(JsonObject(point.json - "type"))
                out.emit(point)
            }
        }
        val info = model.info
        val facts = EngineFacts(info.threads, info.isa, info.prefetchBytes, info.onnxruntime, loadSeconds)
        val report = Report(settings, timings, facts, device, OwnMemory.read(), bundleJson(folder))
        out.emit(EngineEvent.Measured(report.json(points)))
    }
}

private class SessionTarget(private val session: LfmSession) : BenchTarget {
    override suspend fun reset() = session.rewind(0)

    override suspend fun prefill(ids: IntArray): FloatArray = session.prefill(ids)

    override suspend fun decode(id: Int) {
        session.decode(id)
    }
}
