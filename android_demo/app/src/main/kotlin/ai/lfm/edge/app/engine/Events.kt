package ai.lfm.edge.app.engine

import ai.lfm.edge.app.json.boolean
import ai.lfm.edge.app.json.double
import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.long
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.text
import kotlinx.serialization.json.JsonObject

/** What an engine tells while it serves a request; each has a form in JSON, as `lfm_core.h` has. */
sealed interface EngineEvent {
    val json: JsonObject

    data class Progress(val what: String, val done: Long, val total: Long) : EngineEvent {
        override val json get() = objectOf("type" to "progress", "what" to what, "done" to done, "total" to total)
    }

    data class Reasoning(val text: String) : EngineEvent {
        override val json get() = objectOf("type" to "reasoning", "text" to text)
    }

    data class Text(val text: String) : EngineEvent {
        override val json get() = objectOf("type" to "text", "text" to text)
    }

    data class ToolCall(val name: String, val arguments: JsonObject) : EngineEvent {
        override val json get() = objectOf("type" to "tool_call", "name" to name, "arguments" to arguments)
    }

    data class InvalidToolCall(val text: String, val message: String) : EngineEvent {
        override val json get() = objectOf("type" to "invalid_tool_call", "text" to text, "message" to message)
    }

    /** The end of an answer; counts in tokens, times in seconds. */
    data class End(
        val reason: String,
        val reused: Int = 0,
        val processed: Int = 0,
        val generated: Int = 0,
        val reasoning: Int = 0,
        val timeToFirstToken: Double = 0.0,
        val total: Double = 0.0,
    ) : EngineEvent {
        override val json
            get() = objectOf(
                "type" to "end", "reason" to reason, "reused" to reused, "processed" to processed,
                "generated" to generated, "reasoning" to reasoning,
                "time_to_first_token" to timeToFirstToken, "total" to total,
            )
    }

    data class Planned(val need: MemoryNeed) : EngineEvent {
        override val json get() = objectOf("type" to "planned", "need" to need.json)
    }

    data class Loaded(val model: ModelFacts) : EngineEvent {
        override val json get() = objectOf("type" to "loaded", "model" to model.json)
    }

    data class Golden(val worst: Double, val tolerance: Double) : EngineEvent {
        override val json get() = objectOf("type" to "golden", "worst" to worst, "tolerance" to tolerance)
    }

    /** A point of a sustained run. */
    data class Point(
        val seconds: Double, val tokensPerSecond: Double, val thermalStatus: Int?, val celsius: Double?,
    ) : EngineEvent {
        override val json
            get() = objectOf(
                "type" to "point", "seconds" to seconds, "tokens_per_second" to tokensPerSecond,
                "thermal_status" to thermalStatus, "celsius" to celsius,
            )
    }

    /** What `lfm-edge bench --json` would have written. */
    data class Measured(val result: JsonObject) : EngineEvent {
        override val json get() = objectOf("type" to "measured", "result" to result)
    }

    companion object {
        /** Reads what [json] gives; null for what is none. */
        fun of(json: JsonObject): EngineEvent? = when (json.text("type")) {
            "progress" -> Progress(json.text("what").orEmpty(), json.long("done") ?: 0, json.long("total") ?: 0)
            "reasoning" -> Reasoning(json.text("text").orEmpty())
            "text" -> Text(json.text("text").orEmpty())
            "tool_call" -> ToolCall(json.text("name").orEmpty(), json.objectAt("arguments") ?: objectOf())
            "invalid_tool_call" -> InvalidToolCall(json.text("text").orEmpty(), json.text("message").orEmpty())
            "end" -> endOf(json)
            "planned" -> json.objectAt("need")?.let { Planned(MemoryNeed.of(it)) }
            "loaded" -> json.objectAt("model")?.let { Loaded(ModelFacts.of(it)) }
            "golden" -> Golden(json.double("worst") ?: 0.0, json.double("tolerance") ?: 0.0)
            "point" -> Point(
                json.double("seconds") ?: 0.0, json.double("tokens_per_second") ?: 0.0,
                json.int("thermal_status"), json.double("celsius"),
            )
            "measured" -> json.objectAt("result")?.let(::Measured)
            else -> null
        }

        private fun endOf(json: JsonObject) = End(
            json.text("reason").orEmpty(), json.int("reused") ?: 0, json.int("processed") ?: 0,
            json.int("generated") ?: 0, json.int("reasoning") ?: 0,
            json.double("time_to_first_token") ?: 0.0, json.double("total") ?: 0.0,
        )
    }
}

/** What a bundle needs for a context of so many tokens, in bytes. */
data class MemoryNeed(
    val weights: Long,
    val state: Long,
    val scratch: Long,
    val context: Int,
    val maxContext: Int,
    val bytesPerToken: Long,
    val chat: Boolean,
) {
    val total: Long get() = weights + state + scratch

    val json: JsonObject
        get() = objectOf(
            "weights" to weights, "state" to state, "scratch" to scratch, "context" to context,
            "max_context" to maxContext, "bytes_per_token" to bytesPerToken, "chat" to chat,
        )

    companion object {
        fun of(json: JsonObject) = MemoryNeed(
            json.long("weights") ?: 0, json.long("state") ?: 0, json.long("scratch") ?: 0,
            json.int("context") ?: 0, json.int("max_context") ?: 0, json.long("bytes_per_token") ?: 0,
            json.boolean("chat") ?: false,
        )
    }
}

/** A loaded model, as the screens show it. */
data class ModelFacts(
    val folder: String,
    val family: String,
    val context: Int,
    val threads: Int,
    val isa: String,
    val sampling: JsonObject = objectOf(),
    val withoutChat: String? = null,
) {
    /** The folder's own name. */
    val name: String get() = folder.trimEnd('/').substringAfterLast('/')

    val json: JsonObject
        get() = objectOf(
            "folder" to folder, "family" to family, "context" to context, "threads" to threads, "isa" to isa,
            "sampling" to sampling, "without_chat" to withoutChat,
        )

    companion object {
        fun of(json: JsonObject) = ModelFacts(
            json.text("folder").orEmpty(), json.text("family").orEmpty(), json.int("context") ?: 0,
            json.int("threads") ?: 0, json.text("isa").orEmpty(), json.objectAt("sampling") ?: objectOf(),
            json.text("without_chat"),
        )
    }
}
