package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.server.EndpointService
import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.Switch
import android.widget.TextView
import java.io.IOException
import java.net.HttpURLConnection
import java.net.URL
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.isActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

private const val POLL_MILLIS = 2_000L

/** Switches the endpoint on, and shows how a client reaches it. */
class EndpointActivity : Activity() {
    private lateinit var switch: Switch
    private lateinit var key: TextView
    private lateinit var status: TextView
    private var scope = MainScope()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        page {
            addView(label(getString(R.string.endpoint_text)))
            switch = Switch(this@EndpointActivity).apply {
                id = R.id.endpoint_switch
                setText(R.string.endpoint_on)
                minHeight = dp(TOUCH)
                setOnClickListener { if (isChecked) start() else stop() }
            }
            addView(switch, margins(top = 12))
            status = label("", 14f, soft = true)
            addView(status)
            addView(label(getString(R.string.endpoint_address), 14f, soft = true), margins(top = 12))
            addView(monospaced("http://127.0.0.1:${app.endpoint.port}/v1"))
            addView(label(getString(R.string.endpoint_key), 14f, soft = true), margins(top = 12))
            key = monospaced(app.endpoint.key)
            addView(key)
            addView(textButton(getString(R.string.endpoint_new_key), ::renewKey))
        }
    }

    override fun onStart() {
        super.onStart()
        scope = MainScope()
        scope.launch {
            while (isActive) {
                val isOn = withContext(Dispatchers.IO) { listens() }
                switch.isChecked = isOn
                status.setText(if (isOn) R.string.endpoint_running else R.string.endpoint_stopped)
                delay(POLL_MILLIS)
            }
        }
    }

    override fun onStop() {
        scope.cancel()
        super.onStop()
    }

    private fun start() {
        val choice = app.loader.choice
        if (choice == null) {
            switch.isChecked = false
            return status.setText(R.string.endpoint_needs_model)
        }
        startForegroundService(EndpointService.intent(this, app.endpoint, choice))
    }

    private fun stop() {
        stopService(Intent(this, EndpointService::class.java))
    }

    private fun renewKey() {
        key.text = app.endpoint.renew()
        if (switch.isChecked) start()
    }

    /** Whether it answers: it runs in another process, which alone knows. */
    private fun listens(): Boolean = try {
        val connection = URL("http://127.0.0.1:${app.endpoint.port}/health").openConnection() as HttpURLConnection
        connection.connectTimeout = 1_000
        connection.readTimeout = 1_000
        connection.responseCode == 200
    } catch (_: IOException) {
        false
    }
}
