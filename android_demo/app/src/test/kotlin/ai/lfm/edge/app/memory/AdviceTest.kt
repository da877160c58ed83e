package ai.lfm.edge.app.memory

import ai.lfm.edge.app.engine.MemoryNeed
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

private const val MB = 1_000_000L

class AdviceTest {
    private val need = MemoryNeed(4_800 * MB, 50 * MB, 20 * MB, 4096, 128_000, 12_288, true)

    private fun device(available: Long, total: Long = 12_000 * MB) = DeviceMemory(total, available, 200 * MB)

    @Test
    fun `what fits is loaded with what was asked for`() {
        val advice = advise(need, device(5_070 * MB)) as Advice.Fits
        assertEquals(4096, advice.context)
        assertEquals(
            "Needs 4.9 GB (weights 4.8 GB, 4096 tokens of context 50 MB, scratch 20 MB); 4.9 GB of 12.0 GB can be used now.",
            advice.text,
        )
    }

    @Test
    fun `the largest context that fits is proposed`() {
        val advice = advise(need, device(5_050 * MB)) as Advice.Smaller
        assertEquals(2304, advice.context)
        val smaller = need.copy(context = advice.context, state = need.state - (4096 - advice.context) * need.bytesPerToken)
        assertTrue(advise(smaller, device(5_050 * MB)) is Advice.Fits)
        val larger = smaller.copy(state = smaller.state + 256 * need.bytesPerToken)
        assertTrue(advise(larger, device(5_050 * MB)) !is Advice.Fits)
    }

    @Test
    fun `weights without room are refused with numbers`() {
        val now = advise(need, device(3_000 * MB)) as Advice.Refused
        assertTrue(now.text, now.text.startsWith("Needs 4.9 GB") && "2.8 GB of 12.0 GB" in now.text && "Close other apps" in now.text)
        val ever = advise(need, device(3_000 * MB, total = 4_000 * MB)) as Advice.Refused
        assertTrue(ever.text, ever.text.endsWith("This device is too small for it; take a smaller model."))
    }
}
