package ai.lfm.edge.app.engine

import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.objects
import ai.lfm.edge.app.json.text
import kotlinx.serialization.json.JsonObject

/** What an engine can be asked; each has a form in JSON, which passes between processes. */
sealed interface EngineRequest {
    val json: JsonObject

    /** What the bundle in [folder] needs for [context] tokens. */
    data class Plan(val folder: String, val context: Int) : EngineRequest {
        override val json get() = objectOf("op" to "plan", "folder" to folder, "context" to context)
    }

    /** Loads a bundle; [threads] 0: as many as are good. */
    data class Load(val folder: String, val context: Int, val threads: Int = 0) : EngineRequest {
        override val json
            get() = objectOf("op" to "load", "folder" to folder, "context" to context, "threads" to threads)
    }

    /** Gives the model back, its conversation saved. */
    data object Unload : EngineRequest {
        override val json get() = objectOf("op" to "unload")
    }

    /** Hashes every file of a bundle. */
    data class Check(val folder: String) : EngineRequest {
        override val json get() = objectOf("op" to "check", "folder" to folder)
    }

    /** Replays the golden vectors of the loaded model. */
    data object Verify : EngineRequest {
        override val json get() = objectOf("op" to "verify")
    }

    /**
     * Answers the last of [messages].
     *
     * @property chat which conversation this is, so that what was read of it is not read again.
     * @property messages all of it, in OpenAI's form.
     * @property tools what may be called.
     * @property clock the time that the template sees, `YYYY-MM-DDTHH:MM:SS`.
     * @property options as the fields of the SDK's `AnswerOptions`.
     * @property stateFile where the conversation's state is kept between two of them; null: nowhere.
     */
    data class Answer(
        val chat: String,
        val messages: List<JsonObject>,
        val tools: List<JsonObject> = emptyList(),
        val clock: String,
        val options: JsonObject = objectOf(),
        val stateFile: String? = null,
        val templateOptions: JsonObject = objectOf(),
    ) : EngineRequest {
        override val json
            get() = objectOf(
                "op" to "answer", "chat" to chat, "messages" to messages, "tools" to tools, "clock" to clock,
                "options" to options, "state_file" to stateFile, "template_options" to templateOptions,
            )
    }

    /** Writes the state of the conversation that was answered last to its file. */
    data object Save : EngineRequest {
        override val json get() = objectOf("op" to "save")
    }

    /** Drops what is held of a conversation, unsaved. */
    data class Forget(val chat: String) : EngineRequest {
        override val json get() = objectOf("op" to "forget", "chat" to chat)
    }

    /** Measures a bundle; [settings] as `BenchSettings.json`. */
    data class Bench(val folder: String, val settings: JsonObject) : EngineRequest {
        override val json get() = objectOf("op" to "bench", "folder" to folder, "settings" to settings)
    }

    companion object {
        /** Reads what [json] gives; null for what is none. */
        fun of(json: JsonObject): EngineRequest? = when (json.text("op")) {
            "plan" -> Plan(json.text("folder").orEmpty(), json.int("context") ?: 0)
            "load" -> Load(json.text("folder").orEmpty(), json.int("context") ?: 0, json.int("threads") ?: 0)
            "unload" -> Unload
            "check" -> Check(json.text("folder").orEmpty())
            "verify" -> Verify
            "answer" -> Answer(
                json.text("chat").orEmpty(), json.objects("messages").orEmpty(), json.objects("tools").orEmpty(),
                json.text("clock").orEmpty(), json.objectAt("options") ?: objectOf(), json.text("state_file"),
                json.objectAt("template_options") ?: objectOf(),
            )
            "save" -> Save
            "forget" -> Forget(json.text("chat").orEmpty())
            "bench" -> Bench(json.text("folder").orEmpty(), json.objectAt("settings") ?: objectOf())
            else -> null
        }
    }
}
