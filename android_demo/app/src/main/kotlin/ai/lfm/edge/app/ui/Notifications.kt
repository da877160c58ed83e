package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent

/** What is shown while the app works without a screen. */
object Notifications {
    /** A quiet notification that leads to the app. */
    fun ongoing(context: Context, channel: String, channelName: Int, text: String): Notification.Builder {
        manager(context).createNotificationChannel(
            NotificationChannel(channel, context.getString(channelName), NotificationManager.IMPORTANCE_LOW),
        )
        val open = PendingIntent.getActivity(
            context, 0, Intent(context, ChatActivity::class.java), PendingIntent.FLAG_IMMUTABLE,
        )
        return Notification.Builder(context, channel)
            .setSmallIcon(R.drawable.ic_notification)
            .setContentTitle(context.getString(R.string.app_name))
            .setContentText(text)
            .setContentIntent(open)
            .setOngoing(true)
            .setOnlyAlertOnce(true)
    }

    /** Shows it anew. */
    fun update(context: Context, id: Int, notification: Notification) = manager(context).notify(id, notification)

    private fun manager(context: Context) = context.getSystemService(NotificationManager::class.java)
}
