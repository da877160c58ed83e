package ai.lfm.edge.app.server

import ai.lfm.edge.app.LfmApp
import ai.lfm.edge.app.R
import ai.lfm.edge.app.chat.clockText
import ai.lfm.edge.app.engine.EngineException
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.engine.load
import ai.lfm.edge.app.models.ModelChoice
import ai.lfm.edge.app.ui.Notifications
import android.app.Service
import android.content.Context
import android.content.Intent
import android.os.IBinder
import android.util.Log
import java.io.IOException
import java.time.LocalDateTime
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch

/**
 * The endpoint, in the engine's process and in the foreground: so the system leaves both alone while
 * the user works in the client.
 */
class EndpointService : Service() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private var server: Server? = null

    /** Where it listens; null while it does not. */
    val address: String? get() = server?.address

    override fun onBind(intent: Intent): IBinder? = null

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        val folder = intent?.getStringExtra(FOLDER).orEmpty()
        val text = getString(R.string.endpoint_notification, folder.substringAfterLast('/'))
        startForeground(ID, Notifications.ongoing(this, "endpoint", R.string.endpoint_channel, text).build())
        if (intent == null) stopSelf() else listen(intent, folder)
        return START_REDELIVER_INTENT
    }

    override fun onDestroy() {
        server?.close()
        scope.cancel()
        super.onDestroy()
    }

    private fun listen(intent: Intent, folder: String) {
        server?.close()
        val engine = (application as LfmApp).ownEngine
        // The same day for as long as it listens, so that prompts keep their beginning.
        val began = clockText(LocalDateTime.now())
        try {
            server = Server(engine, intent.getStringExtra(KEY).orEmpty(), intent.getIntExtra(PORT, 0)) { began }
                .apply { start() }
        } catch (error: IOException) {
            Log.e(TAG, "the endpoint cannot listen: ${error.message}")
            stopSelf()
            return
        }
        scope.launch {
            try {
                if (engine.status.value !is EngineStatus.Ready) {
                    engine.load(EngineRequest.Load(folder, intent.getIntExtra(CONTEXT, 0)))
                }
            } catch (error: EngineException) {
                Log.e(TAG, "the endpoint has no model: ${error.message}")
                stopSelf()
            }
        }
    }

    companion object {
        private const val ID = 2
        private const val TAG = "lfm-edge"
        private const val KEY = "key"
        private const val PORT = "port"
        private const val FOLDER = "folder"
        private const val CONTEXT = "context"

        /** What switches it on. */
        fun intent(context: Context, settings: EndpointSettings, model: ModelChoice): Intent =
            Intent(context, EndpointService::class.java)
                .putExtra(KEY, settings.key).putExtra(PORT, settings.port)
                .putExtra(FOLDER, model.folder).putExtra(CONTEXT, model.context)
    }
}
