package ai.lfm.edge.app.engine

import ai.lfm.edge.app.json.parseObject
import android.content.ComponentName
import android.content.Context
import android.content.Intent
import android.content.ServiceConnection
import android.os.Bundle
import android.os.Handler
import android.os.IBinder
import android.os.Looper
import android.os.Message
import android.os.Messenger
import android.os.RemoteException
import java.io.File
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicLong
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.SendChannel
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.withContext
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject

/**
 * The engine in its own process, asked by messages. It is bound at the first request, and anew at the
 * first one after it died.
 *
 * @param howItDied asks the system why the process ended.
 */
class EngineClient(
    private val context: Context,
    private val service: Class<*> = EngineService::class.java,
    private val howItDied: () -> String,
) : Engine {
    override val status = MutableStateFlow<EngineStatus>(EngineStatus.Empty)
    private val ids = AtomicLong()
    private val open = ConcurrentHashMap<Long, SendChannel<EngineEvent>>()
    private val inbox = Messenger(Inbox())
    private var link: Link? = null

    override fun run(request: EngineRequest): Flow<EngineEvent> = callbackFlow {
        val id = ids.incrementAndGet()
        open[id] = this
        var remote: Messenger? = null
        try {
            remote = withContext(Dispatchers.Main.immediate) { connected() }
            send(remote, Wire.ASK, id) { putRequest(id, request) }
            awaitClose()
        } finally {
            if (open.remove(id) != null && remote != null) send(remote, Wire.CANCEL, id) {}
        }
    }.buffer(Channel.UNLIMITED)

    @OptIn(ExperimentalCoroutinesApi::class)
    override fun stop() {
        link?.remote?.takeIf { it.isCompleted }?.let { send(it.getCompleted(), Wire.STOP, 0) {} }
    }

    private fun Bundle.putRequest(id: Long, request: EngineRequest) {
        val text = request.json.toString()
        if (text.length <= Wire.MOST_CHARACTERS) return putString(Wire.TEXT, text)
        val file = File(context.cacheDir, "request-$id.json")
        file.writeText(text)
        putString(Wire.FILE, file.path)
    }

    private suspend fun connected(): Messenger {
        val existing = link ?: Link().also {
            link = it
            if (!context.bindService(Intent(context, service), it, Context.BIND_AUTO_CREATE)) {
                link = null
                throw EngineDied("The engine's process cannot be started.")
            }
        }
        return existing.remote.await()
    }

    private inner class Link : ServiceConnection {
        val remote = CompletableDeferred<Messenger>()

        override fun onServiceConnected(name: ComponentName, binder: IBinder) {
            val messenger = Messenger(binder)
            remote.complete(messenger)
            send(messenger, Wire.HELLO, 0) {}
        }

        override fun onServiceDisconnected(name: ComponentName) = died(this)

        override fun onBindingDied(name: ComponentName) = died(this)

        override fun onNullBinding(name: ComponentName) = died(this)
    }

    private fun died(of: Link) {
        if (link !== of) return
        link = null
        context.unbindService(of)
        val how = howItDied()
        status.value = EngineStatus.Dead(how)
        of.remote.completeExceptionally(EngineDied(how))
        for (id in open.keys.toList()) open.remove(id)?.close(EngineDied(how))
    }

    private inner class Inbox : Handler(Looper.getMainLooper()) {
        override fun handleMessage(message: Message) {
            val id = message.data.getLong(Wire.ID)
            val text = message.data.getString(Wire.TEXT)
            when (message.what) {
                Wire.STATUS -> status.value =
                    text?.let { EngineStatus.Ready(ModelFacts.of(parseObject(it))) } ?: EngineStatus.Empty
                Wire.EVENTS -> open[id]?.let { to -> eventsOf(text.orEmpty()).forEach { to.trySend(it) } }
                Wire.END -> open.remove(id)?.close()
                Wire.FAILED -> open.remove(id)
                    ?.close(EngineException(message.data.getString(Wire.KIND).orEmpty(), text.orEmpty()))
            }
        }
    }

    private fun eventsOf(text: String): List<EngineEvent> =
        Json.parseToJsonElement(text).jsonArray.mapNotNull { EngineEvent.of(it.jsonObject) }

    private fun send(to: Messenger, what: Int, id: Long, fill: Bundle.() -> Unit) {
        val message = Message.obtain(null, what)
        message.replyTo = inbox
        message.data = Bundle().apply { putLong(Wire.ID, id); fill() }
        try {
            to.send(message)
        } catch (_: RemoteException) {
            // It died; onServiceDisconnected follows.
        }
    }
}
