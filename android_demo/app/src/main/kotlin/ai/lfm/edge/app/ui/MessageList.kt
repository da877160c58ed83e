package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.chat.ChatState
import ai.lfm.edge.app.chat.Phase
import ai.lfm.edge.app.engine.EngineEvent
import android.view.View
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.LinearLayout
import kotlinx.serialization.json.JsonObject

private const val MOST_SHOWN = 100

/** The messages of a conversation in a column; a change touches the views that it changes. */
class MessageList(
    private val column: LinearLayout,
    private val views: MessageViews,
    private val onDecide: (call: Int, allowed: Boolean) -> Unit,
    private val onRegenerate: () -> Unit,
) {
    private val context = column.context
    private var chat = ""
    private var first = 0
    private var shown = emptyList<JsonObject>()
    private var partial: AnswerView? = null
    private var tail = 0

    /** Shows a state. */
    fun show(state: ChatState) {
        dropTail()
        if (state.chat.id != chat) begin(state)
        showMessages(state.chat.messages)
        showPartial(state)
        if (state.phase is Phase.Idle) showEnd(state)
    }

    private fun begin(state: ChatState) {
        column.removeAllViews()
        chat = state.chat.id
        shown = emptyList()
        partial = null
        first = maxOf(0, state.chat.messages.size - MOST_SHOWN)
    }

    private fun showMessages(messages: List<JsonObject>) {
        if (first > messages.size) first = 0
        val wanted = messages.drop(first)
        val same = shown.zip(wanted).takeWhile { (old, new) -> old === new || old == new }.size
        val head = if (column.findViewWithTag<View>(EARLIER) == null) 0 else 1
        if (same < shown.size || same < wanted.size) {
            // An answer that became a message keeps its view out of sight for no moment.
            dropPartial()
            while (column.childCount > head + same) column.removeViewAt(column.childCount - 1)
            for (index in same until wanted.size) {
                column.addView(views.of(wanted[index], first + index), column.margins(top = 12))
            }
            shown = wanted
        }
        if (first > 0 && head == 0) column.addView(earlier(messages), 0)
    }

    private fun earlier(messages: List<JsonObject>) = context.textButton(context.getString(R.string.earlier)) {
        first = maxOf(0, first - MOST_SHOWN)
        dropTail()
        column.removeAllViews()
        shown = emptyList()
        partial = null
        showMessages(messages)
    }.apply { tag = EARLIER }

    private fun showPartial(state: ChatState) {
        if (state.partial.isEmpty) return dropPartial()
        val view = partial ?: AnswerView(context).also {
            partial = it
            column.addView(it, column.margins(top = 12))
        }
        view.show(state.partial)
    }

    private fun dropPartial() {
        partial?.let(column::removeView)
        partial = null
    }

    /** What stands below the last message while nothing is being done. */
    private fun showEnd(state: ChatState) {
        val messages = state.chat.messages
        for ((index, function) in state.asked) addTail(views.question(function) { onDecide(index, it) })
        if (messages.isEmpty() || state.asked.isNotEmpty()) return
        val answer = column.getChildAt(column.childCount - 1) as? AnswerView
        state.last?.let { end -> if (answer != null) addTail(context.label(statsText(end), 12f, soft = true)) }
        addTail(
            context.row {
                addView(context.textButton(context.getString(R.string.regenerate), onRegenerate))
                if (answer != null) addView(context.textButton(context.getString(R.string.copy), answer::copy))
            },
        )
    }

    private fun statsText(end: EngineEvent.End): String {
        val writing = end.total - end.timeToFirstToken
        val rate = if (writing > 0 && end.generated > 1) (end.generated - 1) / writing else 0.0
        return context.getString(
            R.string.answer_stats, end.generated, rate, end.timeToFirstToken, end.reused, end.reused + end.processed,
        )
    }

    private fun addTail(view: View) {
        tail++
        column.addView(view, column.margins(top = 8, width = WRAP_CONTENT))
    }

    private fun dropTail() {
        repeat(tail) { column.removeViewAt(column.childCount - 1) }
        tail = 0
    }

    private companion object {
        const val EARLIER = "earlier"
    }
}
