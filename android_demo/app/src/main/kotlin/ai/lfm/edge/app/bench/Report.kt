package ai.lfm.edge.app.bench

import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import java.io.File
import kotlin.math.sqrt
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

/** What the engine found out on this device while it loaded the bundle. */
class EngineFacts(
    val threads: Int, val isa: String?, val prefetchBytes: Long?, val onnxruntime: String, val loadSeconds: Double,
)

/**
 * A result as `lfm-edge bench --json` writes it, so that `lfm-edge bench --compare` reads it. What
 * only a phone tells stands in `android`, which others pass over.
 */
class Report(
    private val settings: BenchSettings,
    private val timings: Timings,
    private val engine: EngineFacts,
    private val device: Device,
    private val memory: OwnMemory,
    private val bundle: JsonObject,
) {
    fun json(sustained: List<JsonObject> = emptyList()): JsonObject {
        val (prefill, decode) = series(timings.prefill) to series(timings.decode)
        val first = series(timings.firstToken)
        return JsonObject(
            mapOf(
                "bench_format" to JsonPrimitive(1),
                "prefill_tokens_per_second" to median(prefill),
                "decode_tokens_per_second" to median(decode),
                "time_to_first_token_seconds" to median(first),
                "load_seconds" to JsonPrimitive(engine.loadSeconds),
                "peak_rss_bytes" to JsonPrimitive(memory.peakRss),
                "private_bytes" to JsonPrimitive(memory.privateDirty),
                "prefill" to (prefill ?: JsonNull),
                "decode" to (decode ?: JsonNull),
                "time_to_first_token" to (first ?: JsonNull),
                "settings" to settings.resultJson(engine.threads),
                "bundle" to bundle,
                "device" to deviceJson(),
                "golden" to JsonNull,
                "android" to androidJson(sustained),
            ),
        )
    }

    private fun deviceJson() = objectOf(
        "cpu" to device.cpu, "cores" to device.cores, "memory_bytes" to device.memoryBytes, "os" to device.os,
        "onnxruntime" to engine.onnxruntime, "isa" to engine.isa, "prefetch_bytes" to engine.prefetchBytes,
    )

    private fun androidJson(sustained: List<JsonObject>) = objectOf(
        "product" to device.product, "thermal_status" to timings.thermal, "celsius" to device.celsius(),
        "battery_percent" to device.batteryPercent(), "charging" to device.charging(),
        "sustained" to sustained.ifEmpty { null },
    )

    private fun median(series: JsonObject?) = series?.get("median") ?: JsonNull

    private fun series(samples: List<Double>): JsonObject? {
        if (samples.isEmpty()) return null
        val sorted = samples.sorted()
        val middle = sorted.size / 2
        val median = if (sorted.size % 2 == 1) sorted[middle] else (sorted[middle - 1] + sorted[middle]) / 2
        val mean = samples.average()
        val spread = if (samples.size > 1) sqrt(samples.sumOf { (it - mean) * (it - mean) } / (samples.size - 1)) else 0.0
        return objectOf("median" to median, "mean" to mean, "standard_deviation" to spread, "samples" to samples)
    }
}

/** Which bundle a folder holds, as a result names it. */
fun bundleJson(folder: File): JsonObject {
    val file = File(folder, "manifest.json")
    val manifest = parseObject(file.readText())
    val sizes = manifest.objectAt("files").orEmpty().values.sumOf { (it as JsonObject)["size"].toString().toLong() }
    return objectOf(
        "model" to manifest.objectAt("model")?.text("name").orEmpty(),
        "family" to manifest.objectAt("model")?.text("family").orEmpty(),
        "target" to manifest.objectAt("graph")?.text("target").orEmpty(),
        "quantization" to manifest.objectAt("quantization")?.text("method").orEmpty(),
        "head" to manifest.objectAt("quantization")?.text("head").orEmpty(),
        "size_bytes" to sizes + file.length(),
    )
}
