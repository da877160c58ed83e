package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.chat.Partial
import ai.lfm.edge.app.chat.role
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objects
import ai.lfm.edge.app.json.text
import android.content.ClipData
import android.content.ClipboardManager
import android.content.Context
import android.view.Gravity
import android.view.View
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import kotlinx.serialization.json.JsonObject

/** Makes the view of one message. */
class MessageViews(private val context: Context, private val onEdit: (place: Int) -> Unit) {
    /** The message that stands at `place` of its conversation. */
    fun of(message: JsonObject, place: Int): View = when (message.role) {
        "user" -> user(message.text("content").orEmpty(), place)
        "tool" -> tool(message)
        else -> AnswerView(context).apply {
            show(message.text("thinking").orEmpty(), message.text("content").orEmpty())
            message.objects("tool_calls").orEmpty().mapNotNull { it.objectAt("function") }.forEach(::addCall)
        }
    }

    private fun user(text: String, place: Int): View = context.column {
        gravity = Gravity.END
        val bubble = context.label(text).apply {
            setTextIsSelectable(true)
            setBackgroundResource(R.drawable.bubble)
            padding(14, 10)
        }
        addView(bubble, margins(start = 48, width = WRAP_CONTENT))
        addView(context.textButton(context.getString(R.string.edit)) { onEdit(place) }, margins(width = WRAP_CONTENT))
    }

    private fun tool(message: JsonObject): View = context.column {
        setBackgroundResource(R.drawable.surface)
        padding(12, 8)
        addView(context.label(context.getString(R.string.tool_result, message.text("name").orEmpty()), 14f, soft = true))
        addView(context.monospaced(message.text("content").orEmpty()))
    }

    /** The question whether a call may run; [decide] hears the answer. */
    fun question(function: JsonObject, decide: (Boolean) -> Unit): View = context.column {
        setBackgroundResource(R.drawable.warning)
        padding(12, 8)
        val title = context.getString(R.string.tool_asked, function.text("name").orEmpty())
        addView(context.label(title).apply { setTextColor(context.color(R.color.on_warning)) })
        addView(context.monospaced(function.objectAt("arguments").toString()))
        addView(
            context.row {
                addView(context.textButton(context.getString(R.string.allow)) { decide(true) })
                addView(context.textButton(context.getString(R.string.decline)) { decide(false) })
            },
        )
    }
}

/** An answer of the model: its reasoning, folded, and its text. */
class AnswerView(context: Context) : LinearLayout(context) {
    private val fold: Button = context.textButton("") { toggle() }
    private val reasoning: TextView = context.label("", 14f, soft = true).apply {
        id = R.id.reasoning
        setTextIsSelectable(true)
        setBackgroundResource(R.drawable.surface)
        padding(12, 8)
        visibility = View.GONE
    }
    private val body = MarkdownView(context)
    private var text = ""

    init {
        orientation = VERTICAL
        addView(fold, margins(width = WRAP_CONTENT))
        addView(reasoning)
        addView(body)
        toggleText()
    }

    /** Shows an answer as far as it has come. */
    fun show(thinking: String, content: String) {
        fold.shown(thinking.isNotBlank())
        if (reasoning.text.toString() != thinking.trim()) reasoning.text = thinking.trim()
        if (thinking.isBlank()) reasoning.visibility = View.GONE
        text = content
        body.show(content.trim())
    }

    /** Shows an answer that is being written. */
    fun show(partial: Partial) = show(partial.reasoning, partial.text)

    /** Shows a call that the model asked for. */
    fun addCall(function: JsonObject) {
        val call = "${function.text("name")} ${function.objectAt("arguments") ?: ""}"
        addView(context.label(context.getString(R.string.tool_called, call), 14f, soft = true), margins(top = 4))
    }

    /** Puts the text, as the model wrote it, on the clipboard. */
    fun copy() = context.getSystemService(ClipboardManager::class.java)
        .setPrimaryClip(ClipData.newPlainText(context.getString(R.string.app_name), text))

    private fun toggle() {
        reasoning.shown(reasoning.visibility != View.VISIBLE)
        toggleText()
    }

    private fun toggleText() {
        val isOpen = reasoning.visibility == View.VISIBLE
        fold.setText(if (isOpen) R.string.reasoning_hide else R.string.reasoning_show)
    }
}
