package ai.lfm.edge.app.engine

import ai.lfm.edge.app.FakeEngine
import ai.lfm.edge.app.chat.messageOf
import ai.lfm.edge.app.json.text
import ai.lfm.edge.app.ui.ScreenTest
import android.content.ComponentName
import android.content.Intent
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.robolectric.Robolectric
import org.robolectric.Shadows.shadowOf

/** The messages between the two processes; here both ends live in one. */
class EngineClientTest : ScreenTest() {
    private val service = Robolectric.buildService(EngineService::class.java).create()
    private val client by lazy { EngineClient(app) { "The engine crashed." } }
    private val scope = CoroutineScope(Dispatchers.Main)
    private val events = ArrayList<EngineEvent>()
    private var error: Throwable? = null
    private val name by lazy { ComponentName(app, EngineService::class.java) }

    @Before
    fun bind() {
        shadowOf(app).setComponentNameAndServiceForBindService(name, service.get().onBind(Intent()))
    }

    @After
    fun destroy() {
        service.destroy()
    }

    private fun ask(request: EngineRequest): Job = scope.launch {
        try {
            client.run(request).collect(events::add)
        } catch (failure: Exception) {
            error = failure
        }
    }

    private fun answer(text: String = "Hi") = EngineRequest.Answer("c", listOf(messageOf("user", text)), clock = "2026-11-27T12:00:00")

    @Test
    fun `events come in order and the flow ends`() {
        val texts = List(300) { EngineEvent.Text("$it") }
        fake.says(*texts.toTypedArray(), FakeEngine.END)
        val job = ask(answer())
        until { job.isCompleted }
        assertEquals(texts + FakeEngine.END, events)
        assertEquals(null, error)
    }

    @Test
    fun `which model is loaded is known on both sides`() {
        ask(EngineRequest.Load("/models/tiny", 2048))
        until { client.status.value is EngineStatus.Ready }
        assertEquals(2048, (client.status.value as EngineStatus.Ready).model.context)
    }

    @Test
    fun `errors keep their kind and text`() {
        fake.fails(FakeEngine.error("ContextFullError", "the context is full"))
        val job = ask(answer())
        until { job.isCompleted }
        val failure = error as EngineException
        assertEquals("ContextFullError" to "the context is full", failure.kind to failure.message)
    }

    @Test
    fun `what is longer than a message passes as a file that does not stay`() {
        val long = "ü".repeat(1_500_000)
        fake.answers("ok")
        val job = ask(answer(long))
        until { job.isCompleted }
        assertEquals(long, fake.answers.single().messages.single().text("content"))
        assertTrue(app.cacheDir.listFiles().orEmpty().none { it.name.startsWith("request-") })
    }

    @Test
    fun `an answer stops as cancelled`() {
        fake.says(EngineEvent.Text("Once"))
        val job = ask(answer())
        until { events.isNotEmpty() }
        client.stop()
        until { job.isCompleted }
        assertEquals("cancelled", (events.last() as EngineEvent.End).reason)
    }

    @Test
    fun `death ends what was asked and the next request binds anew`() {
        fake.says(EngineEvent.Text("Once"))
        val job = ask(answer())
        until { events.isNotEmpty() }
        shadowOf(app).boundServiceConnections.single().onServiceDisconnected(name)
        until { job.isCompleted }
        assertEquals("The engine crashed.", (error as EngineDied).message)
        assertEquals(EngineStatus.Dead("The engine crashed."), client.status.value)
        fake.says(FakeEngine.END)
        val next = ask(EngineRequest.Plan("/models/tiny", 1024))
        until { next.isCompleted }
        assertEquals(1024, (events.last() as EngineEvent.Planned).need.context)
    }
}
