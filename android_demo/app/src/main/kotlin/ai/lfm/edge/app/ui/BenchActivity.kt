package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.bench.BenchSettings
import ai.lfm.edge.app.bench.ResultProvider
import ai.lfm.edge.app.importing.sizeText
import ai.lfm.edge.app.json.double
import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.long
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.text
import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.text.InputType
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.WindowManager
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.serialization.json.JsonObject

/** How fast the chosen model is on this device. */
class BenchActivity : Activity() {
    private lateinit var fields: List<EditText>
    private lateinit var measure: Button
    private lateinit var share: Button
    private lateinit var status: TextView
    private lateinit var result: TextView
    private lateinit var curve: CurveView
    private var scope = MainScope()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        page {
            fields = LABELS.map { (label, value) -> field(label, value, InputType.TYPE_CLASS_NUMBER) }
            measure = textButton("", ::startOrCancel)
            share = textButton(getString(R.string.share), ::shareResult)
            addView(row { addView(measure); addView(share) })
            status = label("", 14f, soft = true).apply {
                id = R.id.bench_status
                accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
            }
            addView(status)
            result = monospaced("")
            addView(result, margins(top = 8))
            curve = CurveView(this@BenchActivity).apply { id = R.id.curve }
            addView(curve, LinearLayout.LayoutParams(MATCH_PARENT, dp(220)).apply { topMargin = dp(12) })
        }
    }

    override fun onStart() {
        super.onStart()
        scope = MainScope()
        scope.launch { app.bench.state.collect(::show) }
    }

    override fun onStop() {
        scope.cancel()
        super.onStop()
    }

    private fun startOrCancel() {
        if (app.bench.state.value.running) return app.bench.cancel()
        val (prompt, generated, depth, repetitions, threads, minutes) = fields.map { it.text.toString().toIntOrNull() ?: -1 }
        val settings = BenchSettings(prompt, generated, repetitions, depth, threads, if (minutes < 0) -1 else minutes * 60)
        val folder = app.loader.choice?.folder
        val problem = settings.problem() ?: if (folder == null) getString(R.string.no_model) else null
        if (problem != null || folder == null) status.text = problem else app.bench.start(folder, settings)
    }

    private fun show(state: BenchState) {
        measure.setText(if (state.running) R.string.cancel else R.string.measure)
        share.shown(state.result != null)
        status.text = statusText(state)
        result.text = state.result?.let(::resultText).orEmpty()
        curve.show(state.points)
    }

    private fun statusText(state: BenchState): String {
        val point = state.points.lastOrNull()
        val progress = state.progress
        return when {
            state.problem != null -> state.problem
            !state.running -> if (state.result != null) getString(R.string.bench_done) else if (progress != null) getString(R.string.bench_cancelled) else ""
            point != null -> getString(R.string.bench_sustained, point.seconds, point.tokensPerSecond)
            progress?.what == "measure" -> getString(R.string.bench_running, progress.done, progress.total)
            else -> getString(R.string.bench_waiting)
        }
    }

    private fun resultText(json: JsonObject): String {
        val android = json.objectAt("android") ?: JsonObject(emptyMap())
        return getString(
            R.string.bench_result, seriesText(json, "prefill", R.string.series), seriesText(json, "decode", R.string.series),
            seriesText(json, "time_to_first_token", R.string.series_seconds),
            sizeText(json.long("peak_rss_bytes") ?: 0), sizeText(json.long("private_bytes") ?: 0),
            json.objectAt("settings")?.int("threads") ?: 0, json.objectAt("device")?.text("isa").orEmpty(),
            android["thermal_status"].toString(),
            "${android["battery_percent"] ?: "?"} %, ${android["celsius"] ?: "?"} °C",
        )
    }

    private fun seriesText(json: JsonObject, name: String, format: Int): String {
        val series = json.objectAt(name) ?: return getString(R.string.not_measured)
        return getString(format, series.double("mean") ?: 0.0, series.double("standard_deviation") ?: 0.0)
    }

    private fun shareResult() {
        val json = app.bench.state.value.result ?: return
        val uri = ResultProvider.put(this, "lfm-edge-bench.json", "$json\n")
        val intent = Intent(Intent.ACTION_SEND).setType("application/json").putExtra(Intent.EXTRA_STREAM, uri)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        intent.clipData = android.content.ClipData.newRawUri("", uri)
        startActivity(Intent.createChooser(intent, getString(R.string.share)))
    }

    private companion object {
        val LABELS = listOf(
            R.string.prompt_tokens to "512", R.string.generated_tokens to "128", R.string.depth to "0",
            R.string.repetitions to "5", R.string.threads to "0", R.string.sustained_minutes to "0",
        )
    }
}

private operator fun <T> List<T>.component6(): T = get(5)
