package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.parseObject
import ai.lfm.edge.app.server.EndpointService
import android.content.Intent
import android.net.Uri
import android.widget.EditText
import android.widget.Switch
import android.widget.TextView
import java.net.HttpURLConnection
import java.net.URL
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.robolectric.Robolectric
import org.robolectric.Shadows.shadowOf

class OtherScreensTest : ScreenTest() {
    private val result by lazy { parseObject(javaClass.getResource("/bench.json")!!.readText()) }

    @Test
    fun `settings are those of the conversation`() {
        loaded()
        val activity = Robolectric.buildActivity(SettingsActivity::class.java).setup().get()
        type(activity, R.id.system_prompt, "Be brief.")
        val fields = views(activity.window.decorView).filterIsInstance<EditText>().toList()
        fields[1].setText("0.5")
        fields[2].setText("x")
        views(activity.window.decorView).filterIsInstance<Switch>().single().isChecked = true
        click(activity, R.string.save)
        assertFalse(activity.isFinishing)
        assertEquals(activity.getString(R.string.not_a_number), fields[2].error)
        fields[2].setText("40")
        click(activity, R.string.save)
        assertTrue(activity.isFinishing)
        fake.answers("ok")
        app.chats.send("Hi")
        idle()
        val asked = fake.answers.single()
        assertEquals(objectOf("temperature" to 0.5, "top_k" to 40L), asked.options)
        assertEquals("Be brief.", asked.messages.first()["content"].toString().trim('"'))
        assertEquals(3, asked.tools.size)
    }

    @Test
    fun `a measurement is shown and shared`() {
        loaded()
        val activity = Robolectric.buildActivity(BenchActivity::class.java).setup().get()
        click(activity, R.string.measure)
        assertEquals(512, (fake.asked.last() as EngineRequest.Bench).settings["prompt_tokens"].toString().toInt())
        assertTrue(activity.getString(R.string.cancel) in texts(activity))
        fake.says(EngineEvent.Progress("measure", 2, 6))
        idle()
        assertTrue("2 of 6 runs" in texts(activity))
        fake.says(EngineEvent.Point(2.0, 30.0, 0, 30.0), EngineEvent.Point(4.0, 25.0, 2, 33.0))
        idle()
        val curve = activity.findViewById<CurveView>(R.id.curve)
        assertEquals("Tokens a second against time, with the thermal status. Last: 25.0 tokens/s after 4 s.", curve.contentDescription)
        fake.says(EngineEvent.Measured(result))
        idle()
        val shown = texts(activity).single { it.startsWith("Prompt:") }
        assertTrue(shown, "Writing: 700.0 ± 300.0 tokens/s" in shown && "Threads: 4, neon_dotprod" in shown)
        click(activity, R.string.share)
        val send = shadowOf(activity).nextStartedActivity.getParcelableExtra(Intent.EXTRA_INTENT, Intent::class.java)!!
        val uri = send.getParcelableExtra(Intent.EXTRA_STREAM, Uri::class.java)!!
        assertEquals("content://ai.lfm.edge.app.results/lfm-edge-bench.json", uri.toString())
        val provider = Robolectric.setupContentProvider(ai.lfm.edge.app.bench.ResultProvider::class.java)
        val text = android.os.ParcelFileDescriptor.AutoCloseInputStream(provider.openFile(uri, "r")).use { it.readBytes().decodeToString() }
        assertEquals(result, parseObject(text))
        for (bad in listOf("../choice.json", "nothing.json", ".hidden")) {
            val outside = Uri.Builder().scheme("content").authority("ai.lfm.edge.app.results").appendPath(bad).build()
            org.junit.Assert.assertThrows(java.io.FileNotFoundException::class.java) { provider.openFile(outside, "r") }
        }
    }

    @Test
    fun `settings of a measurement that make no sense are said`() {
        loaded()
        val activity = Robolectric.buildActivity(BenchActivity::class.java).setup().get()
        val fields = views(activity.window.decorView).filterIsInstance<EditText>().toList()
        fields[0].setText("0")
        fields[1].setText("0")
        click(activity, R.string.measure)
        assertTrue(activity.findViewById<TextView>(R.id.bench_status).text.startsWith("Nothing to measure"))
        assertTrue(fake.asked.none { it is EngineRequest.Bench })
    }

    @Test
    fun `the endpoint is switched on with its key`() {
        loaded()
        val activity = Robolectric.buildActivity(EndpointActivity::class.java).create().get()
        val key = app.endpoint.key
        assertTrue(key in texts(activity) && key.length > 40)
        val switch = activity.findViewById<Switch>(R.id.endpoint_switch)
        switch.performClick()
        val intent = shadowOf(app).nextStartedService
        assertEquals(EndpointService::class.java.name, intent.component!!.className)
        assertEquals(key, intent.getStringExtra("key"))
        click(activity, R.string.endpoint_new_key)
        assertNotEquals(key, app.endpoint.key)
        assertTrue(app.endpoint.key in texts(activity))
    }

    @Test
    fun `the endpoint answers while its service runs`() {
        loaded()
        val intent = EndpointService.intent(app, app.endpoint, app.loader.choice!!).putExtra("port", 0)
        val service = Robolectric.buildService(EndpointService::class.java, intent).create().startCommand(0, 1)
        val shadow = shadowOf(service.get())
        assertTrue(shadow.isLastForegroundNotificationAttached)
        val address = service.get().address!!
        val connection = URL("$address/models").openConnection() as HttpURLConnection
        connection.setRequestProperty("Authorization", "Bearer ${app.endpoint.key}")
        assertEquals(200, connection.responseCode)
        assertTrue("\"tiny\"" in connection.inputStream.readBytes().decodeToString())
        service.destroy()
        org.junit.Assert.assertThrows(java.io.IOException::class.java) { (URL("$address/models").openConnection() as HttpURLConnection).responseCode }
    }
}
