package ai.lfm.edge.app.models

import ai.lfm.edge.app.engine.Engine
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.engine.load
import ai.lfm.edge.app.engine.plan
import ai.lfm.edge.app.json.int
import ai.lfm.edge.app.json.JsonException
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.json.text
import ai.lfm.edge.app.memory.Advice
import ai.lfm.edge.app.memory.DeviceMemory
import ai.lfm.edge.app.memory.advise
import java.io.File
import java.io.IOException

/** Why there is no model to answer, in a sentence for the user. */
class NotLoadable(message: String) : Exception(message)

/** The model that the user chose; context and threads 0: the default. */
data class ModelChoice(val folder: String, val context: Int = 0, val threads: Int = 0)

/**
 * Loads the chosen model, where there is memory for it.
 *
 * @param file where the choice is kept.
 * @param memory what the device has now.
 * @param noModel what the user is told who has chosen none.
 */
class ModelLoader(
    private val engine: Engine,
    private val file: File,
    private val memory: () -> DeviceMemory,
    private val noModel: String,
) {
    /** The choice; null before there is one, or where its bundle is gone. */
    var choice: ModelChoice? = read()
        private set

    /** What a bundle needs against what there is. */
    suspend fun advice(folder: String, context: Int = 0): Advice = advise(engine.plan(folder, context), freed(memory()))

    /** Chooses a model and loads it. */
    suspend fun choose(choice: ModelChoice) {
        this.choice = choice
        file.writeText(
            objectOf("folder" to choice.folder, "context" to choice.context, "threads" to choice.threads).toString(),
        )
        load(choice)
    }

    /**
     * Sees to it that the chosen model is loaded.
     *
     * @throws NotLoadable none is chosen, or there is no memory for it.
     */
    suspend fun ensure() {
        val choice = choice?.takeIf { File(it.folder).isDirectory } ?: throw NotLoadable(noModel)
        if (loadedFolder() != choice.folder) load(choice)
    }

    private suspend fun load(choice: ModelChoice) {
        when (val advice = advice(choice.folder, choice.context)) {
            is Advice.Refused -> throw NotLoadable(advice.text)
            is Advice.Smaller -> throw NotLoadable(advice.text)
            is Advice.Fits -> engine.load(EngineRequest.Load(choice.folder, advice.context, choice.threads))
        }
    }

    private fun loadedFolder() = (engine.status.value as? EngineStatus.Ready)?.model?.folder

    /** What is loaded now is given back first. */
    private suspend fun freed(now: DeviceMemory): DeviceMemory {
        val loaded = (engine.status.value as? EngineStatus.Ready)?.model ?: return now
        val need = engine.plan(loaded.folder, loaded.context)
        return now.copy(available = minOf(now.total, now.available + need.state + need.scratch))
    }

    private fun read(): ModelChoice? = try {
        val json = parseObject(file.readText())
        json.text("folder")?.let { ModelChoice(it, json.int("context") ?: 0, json.int("threads") ?: 0) }
    } catch (_: IOException) {
        null
    } catch (_: JsonException) {
        null
    }
}
