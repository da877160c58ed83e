package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.chat.ChatState
import ai.lfm.edge.app.chat.Phase
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.json.text
import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.os.Bundle
import android.view.Gravity
import android.view.Menu
import android.view.MenuItem
import android.view.View
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.widget.EditText
import android.widget.ImageButton
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.launch

private const val EDITED_TURN = "edited_turn"
private const val EDITED_TEXT = "edited_text"

/** The conversation. */
class ChatActivity : Activity() {
    private lateinit var model: TextView
    private lateinit var scroll: ScrollView
    private lateinit var empty: TextView
    private lateinit var status: TextView
    private lateinit var notice: LinearLayout
    private lateinit var noticeText: TextView
    private lateinit var input: EditText
    private lateinit var send: ImageButton
    private lateinit var list: MessageList
    private var scope = MainScope()
    private var shownChat: String? = null
    private var editor: Pair<Int, EditText>? = null

    private val chats get() = app.chats

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        build()
        savedInstanceState?.getString(EDITED_TEXT)?.let { edit(savedInstanceState.getInt(EDITED_TURN), it) }
    }

    override fun onStart() {
        super.onStart()
        scope = MainScope()
        scope.launch { combine(chats.state, app.engine.status, ::Pair).collect { (state, engine) -> show(state, engine) } }
    }

    override fun onPause() {
        chats.draft(input.text.toString())
        chats.pause()
        super.onPause()
    }

    override fun onStop() {
        scope.cancel()
        super.onStop()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        editor?.let { (turn, field) ->
            outState.putInt(EDITED_TURN, turn)
            outState.putString(EDITED_TEXT, field.text.toString())
        }
    }

    override fun onCreateOptionsMenu(menu: Menu): Boolean {
        for ((index, title) in MENU.withIndex()) menu.add(0, title, index, title)
        menu.findItem(R.string.new_chat).setShowAsAction(MenuItem.SHOW_AS_ACTION_IF_ROOM)
        return true
    }

    override fun onOptionsItemSelected(item: MenuItem): Boolean {
        when (item.itemId) {
            R.string.new_chat -> newChat()
            R.string.conversations -> startActivity(Intent(this, ConversationsActivity::class.java))
            R.string.settings -> startActivity(Intent(this, SettingsActivity::class.java))
            R.string.models -> startActivity(Intent(this, ModelsActivity::class.java))
            R.string.benchmark -> startActivity(Intent(this, BenchActivity::class.java))
            R.string.endpoint -> startActivity(Intent(this, EndpointActivity::class.java))
            else -> return super.onOptionsItemSelected(item)
        }
        return true
    }

    private fun newChat() {
        chats.draft(input.text.toString())
        chats.create()
    }

    private fun build() {
        val messages = column { id = R.id.messages; padding(16, 8) }
        list = MessageList(messages, MessageViews(this, ::beginEdit), chats::decide, chats::regenerate)
        empty = label(getString(R.string.empty_chat), soft = true).apply { gravity = Gravity.CENTER; padding(24, 48) }
        scroll = ScrollView(this).apply {
            id = R.id.scroll
            addView(column { addView(empty); addView(messages) })
        }
        setContentView(
            column {
                addView(modelLine())
                addView(scroll, LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f))
                addView(noticeLine(), margins(12, 4, 12, 4))
                addView(statusLine())
                addView(inputLine(), margins(12, 4, 12, 8))
            },
        )
    }

    private fun modelLine() = label("", 14f, soft = true).apply {
        id = R.id.model
        minHeight = dp(TOUCH)
        gravity = Gravity.CENTER_VERTICAL
        padding(16, 0)
        setOnClickListener { startActivity(Intent(this@ChatActivity, ModelsActivity::class.java)) }
    }.also { model = it }

    private fun statusLine() = label("", 13f, soft = true).apply {
        id = R.id.status
        accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
        padding(16, 2)
    }.also { status = it }

    private fun noticeLine() = row {
        id = R.id.notice
        setBackgroundResource(R.drawable.warning)
        padding(12, 4)
        gravity = Gravity.CENTER_VERTICAL
        accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_ASSERTIVE
        noticeText = label("", 14f).apply { setTextColor(color(R.color.on_warning)) }
        addView(noticeText, weighted())
        addView(textButton(getString(R.string.dismiss), chats::dismiss))
    }.also { notice = it }

    private fun inputLine() = row {
        gravity = Gravity.BOTTOM
        input = EditText(this@ChatActivity).apply {
            id = R.id.message
            hint = getString(R.string.message_hint)
            maxLines = 6
            inputType = TEXT_INPUT
            setTextColor(color(R.color.text))
        }
        send = ImageButton(this@ChatActivity).apply {
            id = R.id.send_button
            setBackgroundResource(R.drawable.round)
            setOnClickListener { sendOrStop() }
        }
        addView(input, weighted())
        addView(send, LinearLayout.LayoutParams(dp(TOUCH), dp(TOUCH)).apply { marginStart = dp(8) })
    }

    private fun sendOrStop() {
        if (chats.state.value.phase !is Phase.Idle) return chats.stop()
        val text = input.text.toString()
        if (text.isBlank()) return
        input.text.clear()
        chats.send(text)
    }

    private fun show(state: ChatState, engine: EngineStatus) {
        val atEnd = !scroll.canScrollVertically(1)
        if (state.chat.id != shownChat) {
            // What the system restored was typed last; else what the conversation kept.
            if (shownChat != null || input.text.isEmpty()) input.setText(state.chat.draft)
            shownChat = state.chat.id
        }
        model.text = when (engine) {
            is EngineStatus.Ready -> getString(R.string.model_loaded, engine.model.name, engine.model.context)
            else -> getString(R.string.model_none)
        }
        empty.shown(state.chat.messages.isEmpty())
        list.show(state)
        showPhase(state)
        notice.shown(state.notice != null)
        noticeText.text = state.notice.orEmpty()
        if (atEnd) scroll.post { scroll.scrollTo(0, scroll.getChildAt(0).height) }
    }

    private fun showPhase(state: ChatState) {
        val isBusy = state.phase !is Phase.Idle
        send.setImageResource(if (isBusy) R.drawable.ic_stop else R.drawable.ic_send)
        send.contentDescription = getString(if (isBusy) R.string.stop else R.string.send)
        val text = when (val phase = state.phase) {
            Phase.Idle -> ""
            Phase.Loading -> getString(R.string.loading_model)
            Phase.Writing -> getString(R.string.writing)
            is Phase.Reading ->
                if (phase.total == 0L) getString(R.string.reading)
                else getString(R.string.reading_progress, phase.done, phase.total)
        }
        if (status.text.toString() != text) status.text = text
        status.shown(isBusy)
    }

    private fun beginEdit(place: Int) {
        val chat = chats.state.value.chat
        edit(chat.userTurns.indexOf(place), chat.messages[place].text("content").orEmpty())
    }

    private fun edit(turn: Int, text: String) {
        val field = EditText(this).apply { id = R.id.edit_field; setText(text); inputType = TEXT_INPUT; setSelection(text.length) }
        editor = turn to field
        AlertDialog.Builder(this)
            .setTitle(R.string.edit_title)
            .setMessage(R.string.edit_text)
            .setView(column { padding(20, 0); addView(field) })
            .setPositiveButton(R.string.send) { _, _ -> chats.edit(turn, field.text.toString()) }
            .setNegativeButton(R.string.cancel, null)
            .setOnDismissListener { if (!isChangingConfigurations) editor = null }
            .show()
    }

    private companion object {
        const val TEXT_INPUT = android.text.InputType.TYPE_CLASS_TEXT or
            android.text.InputType.TYPE_TEXT_FLAG_MULTI_LINE or android.text.InputType.TYPE_TEXT_FLAG_CAP_SENTENCES
        val MENU = listOf(
            R.string.new_chat, R.string.conversations, R.string.settings, R.string.models, R.string.benchmark,
            R.string.endpoint,
        )
    }
}
