package ai.lfm.edge.app.engine

import ai.lfm.edge.app.LfmApp
import ai.lfm.edge.app.json.JsonException
import ai.lfm.edge.app.json.parseObject
import android.app.Service
import android.content.Intent
import android.os.Bundle
import android.os.Handler
import android.os.IBinder
import android.os.Looper
import android.os.Message
import android.os.Messenger
import android.os.RemoteException
import java.io.File
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.serialization.json.JsonObject

/** Serves the engine to the app's own process; it runs in `:engine`. */
class EngineService : Service() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val jobs = ConcurrentHashMap<Long, Job>()
    private val messenger by lazy { Messenger(Inbox()) }
    private val engine get() = (application as LfmApp).ownEngine

    override fun onBind(intent: Intent): IBinder = messenger.binder

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private inner class Inbox : Handler(Looper.getMainLooper()) {
        override fun handleMessage(message: Message) {
            val id = message.data.getLong(Wire.ID)
            when (message.what) {
                Wire.HELLO -> tellStatus(message.replyTo)
                Wire.ASK -> serve(id, message.data, message.replyTo)
                Wire.CANCEL -> jobs.remove(id)?.cancel()
                Wire.STOP -> engine.stop()
            }
        }
    }

    private fun tellStatus(to: Messenger) {
        scope.launch {
            engine.status.collect { status ->
                val model = (status as? EngineStatus.Ready)?.model
                if (!reply(to, Wire.STATUS, 0) { putString(Wire.TEXT, model?.json?.toString()) }) cancel()
            }
        }
    }

    private fun serve(id: Long, data: Bundle, to: Messenger) {
        val job = scope.launch(start = CoroutineStart.LAZY) {
            try {
                val request = EngineRequest.of(requestJson(data)) ?: throw EngineException("Failed", "unknown request")
                val batch = Batch(this) { events ->
                    reply(to, Wire.EVENTS, id) { putString(Wire.TEXT, events) }
                }
                engine.run(request).collect(batch::add)
                batch.flush()
                reply(to, Wire.END, id) {}
            } catch (error: CancellationException) {
                throw error
            } catch (error: Exception) {
                reply(to, Wire.FAILED, id) {
                    putString(Wire.KIND, (error as? EngineException)?.kind ?: "Failed")
                    putString(Wire.TEXT, error.message ?: error.toString())
                }
            } finally {
                jobs.remove(id)
            }
        }
        jobs[id] = job
        job.start()
    }

    /** What is too long for a message of the system lies in a file. */
    private fun requestJson(data: Bundle): JsonObject = try {
        val file = data.getString(Wire.FILE)?.let(::File)
        val text = file?.readText()?.also { file.delete() } ?: data.getString(Wire.TEXT).orEmpty()
        parseObject(text)
    } catch (error: JsonException) {
        throw EngineException("Failed", error.message.orEmpty())
    }

    private fun reply(to: Messenger, what: Int, id: Long, fill: Bundle.() -> Unit): Boolean {
        val message = Message.obtain(null, what)
        message.data = Bundle().apply { putLong(Wire.ID, id); fill() }
        return try {
            to.send(message)
            true
        } catch (_: RemoteException) {
            jobs.remove(id)?.cancel() // nobody is left to read it
            false
        }
    }
}
