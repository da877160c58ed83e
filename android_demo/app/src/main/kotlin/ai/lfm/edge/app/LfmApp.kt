package ai.lfm.edge.app

import ai.lfm.edge.app.bench.AndroidDevice
import ai.lfm.edge.app.chat.ChatController
import ai.lfm.edge.app.chat.ChatStore
import ai.lfm.edge.app.engine.Engine
import ai.lfm.edge.app.engine.EngineClient
import ai.lfm.edge.app.engine.LfmEngine
import ai.lfm.edge.app.engine.exitReason
import ai.lfm.edge.app.importing.ImportCenter
import ai.lfm.edge.app.memory.DeviceMemory
import ai.lfm.edge.app.models.ModelLoader
import ai.lfm.edge.app.models.ModelStore
import ai.lfm.edge.app.server.EndpointSettings
import ai.lfm.edge.app.tools.ToolBox
import ai.lfm.edge.app.tools.batteryTool
import ai.lfm.edge.app.tools.calculatorTool
import ai.lfm.edge.app.tools.timeTool
import ai.lfm.edge.app.ui.BenchController
import android.app.ActivityManager
import android.app.Application
import java.io.File
import java.time.ZonedDateTime
import kotlinx.coroutines.MainScope

/** What the screens share, each made when it is first asked for: most of it in the app's own process. */
open class LfmApp : Application() {
    private val scope = MainScope()
    private val device by lazy { AndroidDevice(this) }

    /** The engine itself; asked by what runs in its process alone. */
    open val ownEngine: Engine by lazy { LfmEngine(device) }

    /** The engine as the app's process sees it. */
    open val engine: Engine by lazy { EngineClient(this) { exitReason(this) } }

    val store by lazy { ChatStore(File(filesDir, "chats")) }
    val models by lazy {
        ModelStore(File(filesDir, "models"), getExternalFilesDir("models"), File(filesDir, "checked"))
    }
    val imports by lazy { ImportCenter(this, scope) }
    val endpoint by lazy { EndpointSettings(File(filesDir, "endpoint.json")) }
    val bench by lazy { BenchController(engine, scope) }
    val loader by lazy {
        ModelLoader(engine, File(filesDir, "choice.json"), ::memory, getString(R.string.no_model))
    }
    open val chats by lazy(::newChats)

    protected fun newChats(): ChatController {
        val texts = ChatController.Texts(getString(R.string.interrupted), getString(R.string.declined))
        return ChatController(engine, store, tools(), scope, loader::ensure, texts)
    }

    private fun tools() = ToolBox(
        listOf(timeTool(ZonedDateTime::now), batteryTool(device::batteryPercent, device::charging), calculatorTool()),
    )

    private fun memory(): DeviceMemory {
        val info = ActivityManager.MemoryInfo()
        getSystemService(ActivityManager::class.java).getMemoryInfo(info)
        return DeviceMemory(info.totalMem, info.availMem, info.threshold)
    }
}
