package ai.lfm.edge.app.engine

import ai.lfm.edge.AnswerOptions
import ai.lfm.edge.ContextFullError
import ai.lfm.edge.Event
import ai.lfm.edge.InvalidRequestError
import ai.lfm.edge.LfmConversation
import ai.lfm.edge.LfmModel
import ai.lfm.edge.SessionFileError
import ai.lfm.edge.app.json.double
import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.long
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.text
import ai.lfm.edge.app.json.texts
import java.io.File
import java.time.LocalDateTime
import java.time.format.DateTimeParseException
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.flow
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.doubleOrNull

/**
 * The one conversation whose state is in memory. Another one takes its place, and its own goes to its
 * file; a phone has no room for two.
 */
internal class OpenChat {
    private var name: String? = null
    private var setting: Any? = null
    private var stateFile: File? = null

    @Volatile
    private var conversation: LfmConversation? = null

    /** The answer to a request; what is read already is not read again. */
    fun answer(model: LfmModel, context: Int, request: EngineRequest.Answer): Flow<Event> = flow {
        val options = optionsOf(request.options)
        if (model.info.withoutChat != null) {
            model.session(context).use { session -> emitAll(model.generate(session, promptOf(request), options)) }
            return@flow
        }
        val open = openFor(model, context, request)
        open.messages = request.messages
        emitAll(open.regenerate(options))
    }

    fun stop() {
        conversation?.stop()
    }

    suspend fun save() {
        val file = stateFile ?: return
        file.parentFile?.mkdirs()
        conversation?.save(file)
    }

    fun forget(chat: String) {
        if (chat == name) drop()
    }

    suspend fun close() {
        save()
        drop()
    }

    private suspend fun openFor(model: LfmModel, context: Int, request: EngineRequest.Answer): LfmConversation {
        val asked = listOf(request.tools, request.templateOptions, request.clock)
        conversation?.takeIf { name == request.chat && setting == asked }?.let { return it }
        val another = name != request.chat
        if (another) save()
        drop()
        val file = request.stateFile?.let(::File)
        val open = (if (another && file?.isFile == true) reopened(model, file, context) else null) ?: model.conversation(
            tools = request.tools.ifEmpty { null },
            templateOptions = request.templateOptions,
            context = context,
            clock = clockOf(request.clock),
        )
        conversation = open
        name = request.chat
        setting = asked
        stateFile = file
        return open
    }

    /** The saved conversation; null where it is another model's, damaged, or too long for the context. */
    private suspend fun reopened(model: LfmModel, file: File, context: Int): LfmConversation? = try {
        LfmConversation.open(model, file, context)
    } catch (_: SessionFileError) {
        file.delete()
        null
    } catch (_: ContextFullError) {
        null
    }

    private fun drop() {
        conversation?.close()
        conversation = null
        name = null
        stateFile = null
    }

    /** What a model without a chat format goes on from: the texts, one after the other. */
    private fun promptOf(request: EngineRequest.Answer) =
        request.messages.joinToString("") { it.text("content").orEmpty() }

    private fun clockOf(text: String): LocalDateTime = try {
        LocalDateTime.parse(text)
    } catch (_: DateTimeParseException) {
        throw InvalidRequestError("clock: got '$text', expected YYYY-MM-DDTHH:MM:SS")
    }
}

private fun optionsOf(json: JsonObject) = AnswerOptions(
    maxTokens = json.int("max_tokens"),
    temperature = json.double("temperature"),
    topK = json.int("top_k"),
    topP = json.double("top_p"),
    minP = json.double("min_p"),
    repetitionPenalty = json.double("repetition_penalty"),
    frequencyPenalty = json.double("frequency_penalty"),
    presencePenalty = json.double("presence_penalty"),
    logitBias = json.objectAt("logit_bias")?.let(::biasOf),
    seed = json.long("seed")?.toULong(),
    stop = json.texts("stop"),
    thinkingBudget = json.int("thinking_budget"),
)

private fun biasOf(json: JsonObject): Map<Int, Double> = json.entries.associate { (id, bias) ->
    val number = (bias as? JsonPrimitive)?.doubleOrNull
    val token = id.toIntOrNull()
    if (token == null || number == null) throw InvalidRequestError("logit_bias: expected numbers by token id")
    token to number
}
