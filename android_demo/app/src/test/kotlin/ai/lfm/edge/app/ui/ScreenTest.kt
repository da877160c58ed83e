package ai.lfm.edge.app.ui

import ai.lfm.edge.app.FakeEngine
import ai.lfm.edge.app.LfmApp
import ai.lfm.edge.app.chat.ChatController
import ai.lfm.edge.app.importing.TestBundle
import ai.lfm.edge.app.models.ModelChoice
import android.app.Activity
import android.app.ActivityManager
import android.app.AlertDialog
import android.content.Context
import android.os.Looper
import android.view.View
import android.view.ViewGroup
import android.widget.EditText
import android.widget.TextView
import java.io.File
import kotlinx.coroutines.runBlocking
import org.junit.Assert.assertNotNull
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowDialog

/** The app with an engine that a test plays. */
class TestApp : LfmApp() {
    val fake = FakeEngine()
    override val engine get() = fake
    override val ownEngine get() = fake

    private var current: ChatController? = null
    override val chats: ChatController get() = current ?: newChats().also { current = it }

    /** What a process that begins anew has: what was written down. */
    fun restart() {
        current = null
    }
}

/** What the tests of screens share. */
@RunWith(RobolectricTestRunner::class)
@Config(application = TestApp::class)
abstract class ScreenTest {
    protected val app get() = RuntimeEnvironment.getApplication() as TestApp
    protected val fake get() = app.fake

    /** Runs what the main thread has to do. */
    protected fun idle() = shadowOf(Looper.getMainLooper()).idle()

    /** Waits for what other threads do. */
    protected fun until(condition: () -> Boolean) {
        idle()
        while (!condition()) {
            Thread.sleep(5)
            idle()
        }
    }

    /** What the device says of its memory. */
    protected fun memory(available: Long, total: Long = 12_000_000_000, threshold: Long = 200_000_000) {
        val info = ActivityManager.MemoryInfo()
        info.totalMem = total
        info.availMem = available
        info.threshold = threshold
        shadowOf(app.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).setMemoryInfo(info)
    }

    /** A bundle that was imported. */
    protected fun installed(name: String = "tiny"): File = TestBundle().write(File(app.models.imported, name).apply { mkdirs() })

    /** The same, loaded. */
    protected fun loaded() {
        memory(available = 8_000_000_000)
        val folder = installed()
        runBlocking { app.loader.choose(ModelChoice(folder.path)) }
    }

    protected fun views(root: View): Sequence<View> = sequence {
        if (root.visibility != View.VISIBLE) return@sequence
        yield(root)
        if (root is ViewGroup) for (index in 0 until root.childCount) yieldAll(views(root.getChildAt(index)))
    }

    /** Everything that is shown, one text a line. */
    protected fun texts(activity: Activity): List<String> =
        views(activity.window.decorView).filterIsInstance<TextView>().map { it.text.toString() }.filter { it.isNotEmpty() }.toList()

    protected fun click(root: View, text: String, index: Int = 0) {
        val all = views(root).filterIsInstance<TextView>().filter { it.text.toString() == text }.toList()
        all[index].performClick()
        idle()
    }

    protected fun click(activity: Activity, text: Int, index: Int = 0) =
        click(activity.window.decorView, activity.getString(text), index)

    protected fun type(activity: Activity, id: Int, text: String) = activity.findViewById<EditText>(id).setText(text)

    protected fun dialog(): AlertDialog = (ShadowDialog.getLatestDialog() as AlertDialog?).also(::assertNotNull)!!

    protected fun answer(which: Int) {
        dialog().getButton(which).performClick()
        idle()
    }

    protected fun message(): String = shadowOf(dialog()).message.toString()
}
