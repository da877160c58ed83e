package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import android.graphics.Bitmap
import android.graphics.Canvas
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.GraphicsMode

@RunWith(RobolectricTestRunner::class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class FirstTest {
    @Test
    fun resources() {
        val a = Robolectric.buildActivity(ChatActivity::class.java).setup().get()
        assertEquals("LFM Edge", a.getString(R.string.app_name))
        val v = a.window.decorView
        v.measure(400, 800)
        val b = Bitmap.createBitmap(400, 300, Bitmap.Config.ARGB_8888)
        v.draw(Canvas(b))
        java.io.FileOutputStream("/tmp/appscratch/x.png").use { b.compress(Bitmap.CompressFormat.PNG, 90, it) }
    }
}
