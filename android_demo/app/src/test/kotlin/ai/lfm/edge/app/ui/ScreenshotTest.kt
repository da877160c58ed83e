package ai.lfm.edge.app.ui

import ai.lfm.edge.app.FakeEngine
import ai.lfm.edge.app.engine.EngineEvent
import ai.lfm.edge.app.engine.EngineEvent.Point
import ai.lfm.edge.app.json.objectOf
import ai.lfm.edge.app.json.parseObject
import android.app.Activity
import android.graphics.Bitmap
import android.graphics.Canvas
import java.io.ByteArrayOutputStream
import java.io.File
import org.junit.Assert.assertTrue
import org.junit.Test
import org.robolectric.Robolectric
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

private const val TABLE = """A short convolution sees **two tokens** back. For the 8B-A1B:

| layers | kernel | replayed |
|---|---|---|
| 18 conv | 3 | 36 tokens |
| 6 attention | - | none |

```kotlin
session.rewind(position)
```

- exact: *the same bits*
- see [the docs](https://example.org)"""

/**
 * Draws the main screens, light and dark. With `-Dapp.write=true` the pictures of the docs are written
 * (`app.images`); without, it is seen to that they can be drawn and show something.
 */
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class ScreenshotTest : ScreenTest() {
    @Test
    @Config(qualifiers = "w360dp-h720dp-notnight-xhdpi")
    fun light() = drawAll("light")

    @Test
    @Config(qualifiers = "w360dp-h720dp-night-xhdpi")
    fun dark() = drawAll("dark")

    private fun drawAll(mode: String) {
        loaded()
        app.chats.configure("", objectOf(), withTools = true)
        fake.says(
            EngineEvent.Reasoning("The user asks why rewinding needs no snapshot."), EngineEvent.Text(TABLE),
            EngineEvent.End("eos", 480, 34, 120, 12, 0.31, 4.4),
        )
        app.chats.send("How far back does a rewind read?")
        idle()
        draw(ChatActivity::class.java, "chat-$mode")
        fake.says(EngineEvent.ToolCall("calculate", objectOf("expression" to "18 * (3 - 1)")), FakeEngine.END)
        app.chats.send("And 18 * (3 - 1)?")
        idle()
        draw(ChatActivity::class.java, "tool-$mode")
        draw(ModelsActivity::class.java, "models-$mode")
        app.bench.start(app.loader.choice!!.folder, ai.lfm.edge.app.bench.BenchSettings())
        for (step in 1..90) {
            val status = if (step < 30) 0 else if (step < 60) 1 else 2
            fake.says(Point(step * 2.0, 30.0 - 9.0 * step / (step + 40) + (step * 7 % 5) / 10.0, status, 30.0))
        }
        fake.says(EngineEvent.Measured(parseObject(javaClass.getResource("/bench.json")!!.readText())))
        idle()
        draw(BenchActivity::class.java, "bench-$mode", height = 1900)
    }

    private fun <A : Activity> draw(type: Class<A>, name: String, height: Int = 1440) {
        val controller = Robolectric.buildActivity(type).setup()
        idle()
        val view = controller.get().window.decorView
        view.measure(exactly(720), exactly(height))
        view.layout(0, 0, 720, height)
        idle()
        val bitmap = Bitmap.createBitmap(720, height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        val small = Bitmap.createScaledBitmap(bitmap, 360, height / 2, true)
        val colors = (0 until small.height step 3).flatMap { y -> (0 until 360 step 3).map { x -> small.getPixel(x, y) } }.toSet()
        assertTrue("$name: ${colors.size} colours", colors.size > 10)
        val png = ByteArrayOutputStream().also { small.compress(Bitmap.CompressFormat.PNG, 100, it) }.toByteArray()
        if (System.getProperty("app.write") == "true") {
            File(System.getProperty("app.images")!!).apply { mkdirs() }.resolve("$name.png").writeBytes(png)
        }
        controller.pause().stop().destroy()
    }

    private fun exactly(size: Int) = android.view.View.MeasureSpec.makeMeasureSpec(size, android.view.View.MeasureSpec.EXACTLY)
}
