package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.chat.Chat
import android.app.Activity
import android.app.AlertDialog
import android.os.Bundle
import android.text.format.DateUtils
import android.view.Gravity
import android.widget.LinearLayout

/** All conversations of this device. */
class ConversationsActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        show()
    }

    private fun show() = page {
        addView(textButton(getString(R.string.new_chat)) { app.chats.create(); finish() })
        val all = app.store.list()
        if (all.isEmpty()) addView(label(getString(R.string.no_conversations), soft = true), margins(top = 16))
        for (chat in all) addView(line(chat), margins(top = 4))
    }

    private fun titleOf(chat: Chat) = chat.title ?: chat.draft.lineSequence().first().take(60)
        .ifBlank { getString(R.string.untitled) }

    private fun line(chat: Chat): LinearLayout = row {
        gravity = Gravity.CENTER_VERTICAL
        val text = column {
            minimumHeight = dp(TOUCH)
            setOnClickListener { app.chats.open(chat.id); finish() }
            addView(label(titleOf(chat)))
            addView(label(DateUtils.getRelativeTimeSpanString(chat.updated), 13f, soft = true))
        }
        addView(text, weighted())
        addView(
            textButton(getString(R.string.delete)) { askToDelete(chat) }
                .apply { contentDescription = getString(R.string.delete_chat, titleOf(chat)) },
        )
    }

    private fun askToDelete(chat: Chat) {
        AlertDialog.Builder(this)
            .setMessage(getString(R.string.delete_chat, titleOf(chat)))
            .setPositiveButton(R.string.delete) { _, _ -> app.chats.delete(chat.id); show() }
            .setNegativeButton(R.string.cancel, null)
            .show()
    }
}
