package ai.lfm.edge.app.ui

import ai.lfm.edge.app.LfmApp
import ai.lfm.edge.app.R
import android.app.Activity
import android.content.Context
import android.graphics.Typeface
import android.text.InputType
import android.util.TypedValue
import android.view.View
import android.view.ViewGroup
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView

/** The smallest side of what is touched, in dp: what accessibility asks for. */
const val TOUCH = 48

internal val Activity.app: LfmApp get() = application as LfmApp

internal fun Context.dp(value: Int): Int = (value * resources.displayMetrics.density + 0.5f).toInt()

internal fun Context.color(id: Int): Int = getColor(id)

internal fun Context.column(build: LinearLayout.() -> Unit = {}): LinearLayout =
    LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }.apply(build)

internal fun Context.row(build: LinearLayout.() -> Unit = {}): LinearLayout =
    LinearLayout(this).apply { orientation = LinearLayout.HORIZONTAL }.apply(build)

internal fun Context.label(text: CharSequence, size: Float = 16f, soft: Boolean = false): TextView =
    TextView(this).apply {
        this.text = text
        setTextSize(TypedValue.COMPLEX_UNIT_SP, size)
        setTextColor(color(if (soft) R.color.text_soft else R.color.text))
    }

internal fun Context.monospaced(text: CharSequence): TextView = label(text, 14f).apply {
    typeface = Typeface.MONOSPACE
    setTextIsSelectable(true)
}

internal fun Context.textButton(text: CharSequence, onClick: () -> Unit): Button =
    Button(this, null, android.R.attr.borderlessButtonStyle).apply {
        this.text = text
        isAllCaps = false
        setTextColor(color(R.color.accent))
        minHeight = dp(TOUCH)
        minWidth = dp(TOUCH)
        setOnClickListener { onClick() }
    }

/** A field with its label above it; reads as one for accessibility. */
internal fun LinearLayout.field(name: Int, value: String, type: Int = InputType.TYPE_CLASS_TEXT): EditText {
    val label = context.label(context.getString(name), 14f, soft = true)
    val field = EditText(context).apply {
        id = View.generateViewId()
        setText(value)
        inputType = type
        minHeight = context.dp(TOUCH)
        setTextColor(context.color(R.color.text))
    }
    label.labelFor = field.id
    addView(label, margins(top = 12))
    addView(field)
    return field
}

internal fun View.margins(start: Int = 0, top: Int = 0, end: Int = 0, bottom: Int = 0, width: Int = MATCH_PARENT) =
    LinearLayout.LayoutParams(width, WRAP_CONTENT).apply {
        setMargins(0, context.dp(top), 0, context.dp(bottom))
        marginStart = context.dp(start)
        marginEnd = context.dp(end)
    }

internal fun weighted() = LinearLayout.LayoutParams(0, WRAP_CONTENT, 1f)

internal fun View.padding(horizontal: Int, vertical: Int) =
    setPadding(context.dp(horizontal), context.dp(vertical), context.dp(horizontal), context.dp(vertical))

/** A page that scrolls. */
internal fun Activity.page(build: LinearLayout.() -> Unit) {
    val column = column { padding(16, 12) }.apply(build)
    setContentView(ScrollView(this).apply { isFillViewport = true; addView(column, ViewGroup.LayoutParams(MATCH_PARENT, WRAP_CONTENT)) })
}

internal fun View.shown(isShown: Boolean) {
    visibility = if (isShown) View.VISIBLE else View.GONE
}
