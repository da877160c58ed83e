package ai.lfm.edge.app.ui

import ai.lfm.edge.app.FakeEngine
import ai.lfm.edge.app.R
import ai.lfm.edge.app.chat.Phase
import ai.lfm.edge.app.chat.role
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineRequest
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.text
import android.app.AlertDialog
import android.content.res.Configuration
import android.os.Bundle
import android.view.View
import android.widget.EditText
import android.widget.ImageButton
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import org.robolectric.Robolectric
import org.robolectric.android.controller.ActivityController

class ChatScreenTest : ScreenTest() {
    private var controller: ActivityController<ChatActivity> = Robolectric.buildActivity(ChatActivity::class.java)
    private val activity get() = controller.get()

    private fun open() {
        loaded()
        controller.setup()
        idle()
    }

    private fun send(text: String) {
        type(activity, R.id.message, text)
        sendButton().performClick()
        idle()
    }

    private fun sendButton() = activity.findViewById<ImageButton>(R.id.send_button)

    private fun typed() = activity.findViewById<EditText>(R.id.message).text.toString()

    private fun says(vararg events: EngineEvent) {
        fake.says(*events)
        idle()
    }

    private fun kept() = app.store.list().single().messages.map { it.role to it.text("content") }

    @Test
    fun `what is sent is answered piece by piece`() {
        open()
        assertTrue(activity.getString(R.string.empty_chat) in texts(activity))
        send("Hi **you**")
        assertEquals("", typed())
        assertEquals(listOf("user" to "Hi **you**"), fake.answers.single().messages.map { it.role to it.text("content") })
        assertTrue("Hi **you**" in texts(activity))
        says(EngineEvent.Progress("prefill", 512, 600))
        assertTrue("Reading 512 of 600 tokens…" in texts(activity))
        says(EngineEvent.Reasoning("Hm."), EngineEvent.Text("Hello **th"))
        assertTrue(texts(activity).toString(), "Hello **th" in texts(activity))
        assertFalse("Hm." in texts(activity))
        assertEquals(activity.getString(R.string.stop), sendButton().contentDescription)
        says(EngineEvent.Text("ere**\n\n- one"), FakeEngine.END)
        val shown = texts(activity)
        assertTrue("$shown", "Hello there" in shown && "•  one" in shown && "tiny, 4096 tokens of context" in shown)
        assertTrue("3 tokens, 10.0 tokens/s, first after 0.20 s, 0 of 5 prompt tokens kept" in shown)
        assertEquals(activity.getString(R.string.send), sendButton().contentDescription)
        assertEquals(listOf("user" to "Hi **you**", "assistant" to "Hello **there**\n\n- one"), kept())
        click(activity, R.string.reasoning_show)
        assertTrue("Hm." in texts(activity))
    }

    @Test
    fun `a stopped answer keeps what has come`() {
        open()
        send("Hi")
        says(EngineEvent.Text("Once upon"))
        sendButton().performClick()
        idle()
        assertEquals(Phase.Idle, app.chats.state.value.phase)
        assertEquals(listOf("user" to "Hi", "assistant" to "Once upon"), kept())
        assertEquals(activity.getString(R.string.send), sendButton().contentDescription)
    }

    @Test
    fun `an answer can be had anew`() {
        open()
        fake.answers("first")
        send("Hi")
        fake.answers("second")
        click(activity, R.string.regenerate)
        assertEquals(listOf("user"), fake.answers.last().messages.map { it.role })
        assertEquals(listOf("user" to "Hi", "assistant" to "second"), kept())
        assertFalse("first" in texts(activity))
    }

    @Test
    fun `an earlier message can be edited and what followed is forgotten`() {
        open()
        fake.answers("one")
        send("First")
        fake.answers("two")
        send("Second")
        fake.answers("three")
        click(activity, R.string.edit, index = 0)
        val field = dialog().findViewById<EditText>(R.id.edit_field)
        assertEquals("First", field.text.toString())
        field.setText("Other")
        answer(AlertDialog.BUTTON_POSITIVE)
        assertEquals(listOf("user" to "Other"), fake.answers.last().messages.map { it.role to it.text("content") })
        assertEquals(listOf("user" to "Other", "assistant" to "three"), kept())
        val shown = texts(activity)
        assertTrue("$shown", "Other" in shown && "three" in shown && "Second" !in shown && "two" !in shown)
    }

    @Test
    fun `a turned phone keeps what was typed and streamed`() {
        open()
        send("Hi")
        says(EngineEvent.Text("Once "))
        type(activity, R.id.message, "half a th")
        val landscape = Configuration(activity.resources.configuration).apply { orientation = Configuration.ORIENTATION_LANDSCAPE }
        val before = activity
        controller.configurationChange(landscape)
        idle()
        assertTrue(before !== activity)
        assertEquals("half a th", typed())
        assertTrue(texts(activity).toString(), "Once" in texts(activity))
        says(EngineEvent.Text("upon"), FakeEngine.END)
        assertTrue("Once upon" in texts(activity))
        assertEquals(1, fake.answers.size)
    }

    @Test
    fun `a turned phone keeps an edit that is being typed`() {
        open()
        fake.answers("one")
        send("First")
        click(activity, R.string.edit)
        dialog().findViewById<EditText>(R.id.edit_field).setText("Fir")
        controller.recreate()
        idle()
        assertEquals("Fir", dialog().findViewById<EditText>(R.id.edit_field).text.toString())
    }

    @Test
    fun `an app that was ended goes on where it was`() {
        open()
        send("Hi")
        says(EngineEvent.Reasoning("Hm."), EngineEvent.Text("Once upon"))
        type(activity, R.id.message, "half a th")
        val saved = Bundle()
        controller.pause().saveInstanceState(saved).stop().destroy()
        app.restart()
        controller = Robolectric.buildActivity(ChatActivity::class.java).setup(saved)
        idle()
        assertEquals("half a th", typed())
        val shown = texts(activity)
        assertTrue("$shown", "Once upon" in shown && activity.getString(R.string.interrupted) in shown)
        assertEquals(listOf("user" to "Hi", "assistant" to "Once upon"), kept())
    }

    @Test
    fun `an app that was closed for good keeps its conversations and drafts`() {
        open()
        fake.answers("one")
        send("First")
        type(activity, R.id.message, "draft")
        controller.pause().stop().destroy()
        app.restart()
        controller = Robolectric.buildActivity(ChatActivity::class.java).setup()
        idle()
        assertEquals("draft", typed())
        assertTrue("one" in texts(activity))
        assertTrue(fake.asked.any { it is EngineRequest.Save })
        assertEquals(app.store.stateFile(app.chats.state.value.chat.id).path, fake.answers.single().stateFile)
    }

    @Test
    fun `the engine's death is told and not shared`() {
        open()
        send("Hi")
        says(EngineEvent.Text("Once"))
        fake.fails(FakeEngine.died())
        idle()
        assertTrue("The engine crashed." in texts(activity))
        assertEquals(listOf("user" to "Hi", "assistant" to "Once"), kept())
        fake.script = kotlinx.coroutines.channels.Channel(kotlinx.coroutines.channels.Channel.UNLIMITED)
        fake.answers("Again")
        send("Go on")
        assertTrue("Again" in texts(activity) && "The engine crashed." !in texts(activity))
    }

    @Test
    fun `a tool runs once the user has said so`() {
        open()
        app.chats.configure("", objectOf(), withTools = true)
        fake.says(EngineEvent.ToolCall("calculate", objectOf("expression" to "6*7")), FakeEngine.END)
        send("What is 6*7?")
        assertTrue("The model asks for calculate" in texts(activity))
        assertEquals(1, fake.answers.size)
        assertEquals(3, fake.answers.single().tools.size)
        fake.answers("42.")
        click(activity, R.string.allow)
        assertEquals(listOf("user", "assistant", "tool"), fake.answers.last().messages.map { it.role })
        assertEquals("42", fake.answers.last().messages.last().text("content"))
        assertTrue("Result of calculate" in texts(activity) && "42." in texts(activity))
    }

    @Test
    fun `a tool does not run when the user declines`() {
        open()
        app.chats.configure("", objectOf(), withTools = true)
        fake.says(
            EngineEvent.ToolCall("get_time", objectOf()), EngineEvent.ToolCall("calculate", objectOf("expression" to "1")),
            FakeEngine.END,
        )
        send("Time?")
        fake.answers("Well.")
        click(activity, R.string.decline)
        assertEquals(1, fake.answers.size)
        click(activity, R.string.allow)
        assertEquals(
            listOf(activity.getString(R.string.declined), "1"), fake.answers.last().messages.takeLast(2).map { it.text("content") },
        )
    }

    @Test
    fun `too little memory is refused with numbers`() {
        open()
        fake.status.value = ai.lfm.edge.app.engine.EngineStatus.Empty
        memory(available = 1_000_000_000)
        send("Hi")
        val notice = texts(activity).single { "Needs" in it }
        assertTrue(notice, "Needs 4.2 GB" in notice && "800 MB of 12.0 GB can be used now" in notice)
        assertTrue(fake.answers.isEmpty())
        assertEquals(listOf("user" to "Hi"), kept())
        memory(available = 8_000_000_000)
        fake.answers("Now.")
        click(activity, R.string.regenerate)
        assertTrue("Now." in texts(activity))
    }

    @Test
    fun `another conversation can be opened while one is answered`() {
        open()
        send("First chat")
        says(EngineEvent.Text("Once"))
        val first = app.chats.state.value.chat.id
        activity.onOptionsItemSelected(org.robolectric.fakes.RoboMenuItem(R.string.new_chat))
        idle()
        assertFalse("Once" in texts(activity))
        fake.script = kotlinx.coroutines.channels.Channel(kotlinx.coroutines.channels.Channel.UNLIMITED)
        fake.answers("Other")
        send("Second chat")
        val list = Robolectric.buildActivity(ConversationsActivity::class.java).setup().get()
        assertTrue(texts(list).containsAll(listOf("First chat", "Second chat")))
        app.chats.open(first)
        idle()
        assertTrue("Once" in texts(activity) && "Other" !in texts(activity))
    }

    @Test
    fun `what is touched is large enough and has a name`() {
        open()
        fake.answers("one")
        send("First")
        val touched = views(activity.window.decorView).filter { it.isClickable && it !is EditText && it.id != android.R.id.content }.toList()
        val density = activity.resources.displayMetrics.density
        for (view in touched.filter { it.javaClass.name.startsWith("android.widget") && it.isShown }) {
            val name = view.contentDescription ?: (view as? android.widget.TextView)?.text
            if (view is android.widget.TextView && view.isTextSelectable) continue
            assertTrue("$view", !name.isNullOrEmpty())
            assertTrue("$view", view.minimumHeight >= 47 * density || view.layoutParams.height >= 47 * density || view.height == 0 || view.height >= 47 * density)
        }
        assertTrue(touched.size >= 4)
        assertEquals(View.ACCESSIBILITY_LIVE_REGION_POLITE, activity.findViewById<View>(R.id.status).accessibilityLiveRegion)
    }
}
