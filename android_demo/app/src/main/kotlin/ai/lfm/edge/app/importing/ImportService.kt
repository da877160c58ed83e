package ai.lfm.edge.app.importing

import ai.lfm.edge.app.LfmApp
import ai.lfm.edge.app.R
import ai.lfm.edge.app.ui.Notifications
import android.app.Service
import android.content.Intent
import android.os.IBinder
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.launch

/** Keeps the app alive while a bundle comes in, and shows how far it is. */
class ImportService : Service() {
    private val scope = MainScope()

    override fun onBind(intent: Intent): IBinder? = null

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        startForeground(ID, notification(0, 0))
        val imports = (application as LfmApp).imports
        scope.launch {
            var percent = 0L
            imports.state.takeWhile { it is ImportState.Running }.collect { state ->
                val running = state as ImportState.Running
                val now = if (running.total > 0) running.done * 100 / running.total else 0
                if (now != percent) Notifications.update(this@ImportService, ID, notification(now.toInt(), 100))
                percent = now
            }
            stopSelf()
        }
        return START_NOT_STICKY
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private fun notification(done: Int, total: Int) =
        Notifications.ongoing(this, "import", R.string.import_channel, getString(R.string.import_channel))
            .setProgress(total, done, total == 0).build()

    private companion object {
        const val ID = 1
    }
}
