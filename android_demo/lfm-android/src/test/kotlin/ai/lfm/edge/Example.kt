package ai.lfm.edge.example

import ai.lfm.edge.AnswerOptions
import ai.lfm.edge.Event
import ai.lfm.edge.LfmBundle
import ai.lfm.edge.LfmModel
import java.io.File

suspend fun ask(dir: File, free: Long, question: String, show: (String) -> Unit) {
    val plan = LfmBundle.plan(dir, context = 4096)
    require(plan.total < free) { "the model needs ${plan.total} bytes, but $free are free" }
    LfmModel.load(dir).use { model ->
        model.conversation(system = "You are brief.", context = 4096).use { chat ->
            chat.send(question, AnswerOptions(maxTokens = 300, thinkingBudget = 100)).collect { event ->
                when (event) {
                    is Event.Progress -> show("reading: ${event.done} of ${event.total} tokens")
                    is Event.Reasoning -> show("(${event.text})")
                    is Event.Text -> show(event.text)
                    is Event.ToolCall -> show("wants ${event.name}${event.arguments}")
                    is Event.InvalidToolCall -> show("no call: ${event.error}")
                    is Event.End -> show("${event.usage.generated} tokens, ${event.reason}")
                }
            }
        }
    }
}
