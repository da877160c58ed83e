package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.json.objectOf
import android.app.Activity
import android.os.Bundle
import android.text.InputType
import android.widget.EditText
import android.widget.Switch

private const val WHOLE = InputType.TYPE_CLASS_NUMBER
private const val DECIMAL = InputType.TYPE_CLASS_NUMBER or InputType.TYPE_NUMBER_FLAG_DECIMAL

/** System prompt, tools and sampling of the conversation on the screen. */
class SettingsActivity : Activity() {
    private class Option(val name: String, val label: Int, val type: Int)

    private val fields = LinkedHashMap<Option, EditText>()
    private lateinit var system: EditText
    private lateinit var tools: Switch

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val chat = app.chats.state.value.chat
        page {
            system = field(
                R.string.system_prompt, chat.system,
                InputType.TYPE_CLASS_TEXT or InputType.TYPE_TEXT_FLAG_MULTI_LINE,
            ).apply { id = R.id.system_prompt; minLines = 2 }
            tools = Switch(this@SettingsActivity).apply {
                setText(R.string.tools_allowed)
                isChecked = chat.withTools
                minHeight = dp(TOUCH)
            }
            addView(tools, margins(top = 8))
            addView(label(getString(R.string.sampling_note), 14f, soft = true), margins(top = 12))
            for (option in OPTIONS) {
                fields[option] = field(option.label, chat.options[option.name]?.toString().orEmpty(), option.type)
            }
            addView(textButton(getString(R.string.save), ::save), margins(top = 12))
        }
    }

    private fun save() {
        val options = fields.map { (option, field) ->
            val text = field.text.toString().trim()
            val number: Number? = if (option.type == WHOLE) text.toLongOrNull() else text.toDoubleOrNull()
            if (text.isNotEmpty() && number == null) {
                field.error = getString(R.string.not_a_number)
                field.requestFocus()
                return
            }
            option.name to number
        }
        app.chats.configure(system.text.toString().trim(), objectOf(*options.toTypedArray()), tools.isChecked)
        finish()
    }

    private companion object {
        val OPTIONS = listOf(
            Option("temperature", R.string.temperature, DECIMAL),
            Option("top_k", R.string.top_k, WHOLE),
            Option("top_p", R.string.top_p, DECIMAL),
            Option("min_p", R.string.min_p, DECIMAL),
            Option("repetition_penalty", R.string.repetition_penalty, DECIMAL),
            Option("max_tokens", R.string.max_tokens, WHOLE),
            Option("thinking_budget", R.string.thinking_budget, WHOLE),
            Option("seed", R.string.seed, WHOLE),
        )
    }
}
