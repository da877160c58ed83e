package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.engine.EngineEvent
import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.graphics.Path
import android.util.TypedValue
import android.view.View

private const val LEFT = 44
private const val BOTTOM = 24
private const val TOP = 12

/** Tokens a second against time; behind it, darker where the device was warmer. */
class CurveView(context: Context) : View(context) {
    private var points = emptyList<EngineEvent.Point>()
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeWidth = context.dp(2).toFloat()
        color = context.color(R.color.accent)
    }
    private val axis = Paint().apply { color = context.color(R.color.text_soft) }
    private val heat = Paint().apply { color = context.color(R.color.on_warning) }
    private val text = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = context.color(R.color.text_soft)
        textSize = TypedValue.applyDimension(TypedValue.COMPLEX_UNIT_SP, 12f, resources.displayMetrics)
    }

    init {
        show(emptyList())
    }

    /** Shows a run as far as it has come. */
    fun show(points: List<EngineEvent.Point>) {
        this.points = points
        val last = points.lastOrNull()
        contentDescription = if (last == null) context.getString(R.string.curve_empty) else {
            context.getString(R.string.curve_description, last.tokensPerSecond, last.seconds)
        }
        shown(points.isNotEmpty())
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        if (points.isEmpty()) return
        val (left, top) = context.dp(LEFT).toFloat() to context.dp(TOP).toFloat()
        val (right, bottom) = width.toFloat() to height - context.dp(BOTTOM).toFloat()
        val seconds = points.last().seconds
        val most = points.maxOf { it.tokensPerSecond } * 1.1
        val x = { point: EngineEvent.Point -> left + ((right - left) * point.seconds / seconds).toFloat() }
        val y = { rate: Double -> bottom - ((bottom - top) * rate / most).toFloat() }
        drawHeat(canvas, left, top, bottom, x)
        drawAxes(canvas, left, right, bottom, most, seconds, y)
        val path = Path()
        points.forEachIndexed { index, point ->
            if (index == 0) path.moveTo(x(point), y(point.tokensPerSecond)) else path.lineTo(x(point), y(point.tokensPerSecond))
        }
        canvas.drawPath(path, line)
    }

    private fun drawHeat(canvas: Canvas, left: Float, top: Float, bottom: Float, x: (EngineEvent.Point) -> Float) {
        var start = left
        for (point in points) {
            heat.alpha = minOf(point.thermalStatus ?: 0, 4) * 35
            canvas.drawRect(start, top, x(point), bottom, heat)
            start = x(point)
        }
    }

    private fun drawAxes(
        canvas: Canvas, left: Float, right: Float, bottom: Float, most: Double, seconds: Double, y: (Double) -> Float,
    ) {
        canvas.drawLine(left, bottom, right, bottom, axis)
        for (rate in listOf(most / 1.1, most / 2.2)) {
            canvas.drawLine(left, y(rate), right, y(rate), axis.apply { alpha = 60 })
            canvas.drawText("%.1f".format(rate), 0f, y(rate) + text.textSize / 3, text)
        }
        axis.alpha = 255
        val label = "%.0f s".format(seconds)
        canvas.drawText(label, right - text.measureText(label), height - text.textSize / 3, text)
    }
}
