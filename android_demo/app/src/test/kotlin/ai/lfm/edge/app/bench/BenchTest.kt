package ai.lfm.edge.app.bench

import ai.lfm.edge.app.importing.TestBundle
import ai.lfm.edge.app.json.double
import ai.lfm.edge.app.json.objectAt
import ai.lfm.edge.app.json.objectOf
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** A device that is hot for a while. */
class FakeDevice(private val statuses: MutableList<Int> = mutableListOf()) : Device {
    override val cpu = "Maker Chip"
    override val cores = 8
    override val memoryBytes = 12L shl 30
    override val os = "Android 14 (API 34) arm64-v8a"
    override val product = "Maker Phone"

    override fun thermalStatus(): Int? = if (statuses.size > 1) statuses.removeAt(0) else statuses.firstOrNull()

    override fun celsius(): Double? = 31.5

    override fun batteryPercent(): Int? = 80

    override fun charging(): Boolean? = false
}

/** A session whose time is a test's: a millisecond a token read alone, a tenth in a prompt. */
private class FakeTarget : BenchTarget {
    var nanos = 0L
    val runs = ArrayList<String>()
    val prompts = ArrayList<IntArray>()

    override suspend fun reset() {
        runs.add("reset")
    }

    override suspend fun prefill(ids: IntArray): FloatArray {
        runs.add("prefill ${ids.size}")
        prompts.add(ids)
        nanos += ids.size * 100_000L
        return floatArrayOf(0f, 1f)
    }

    override suspend fun decode(id: Int) {
        runs.add("decode")
        nanos += 1_000_000
    }
}

class BenchTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val target = FakeTarget()

    private fun timing(settings: BenchSettings) = Timing(target, settings, 100) { target.nanos }

    @Test
    fun `each repetition starts fresh behind its depth and the first is dropped`() = runBlocking {
        val settings = BenchSettings(promptTokens = 4, generatedTokens = 2, repetitions = 2, depth = 3)
        val progress = ArrayList<Int>()
        val timings = timing(settings).repetitions({ 0 }) { progress.add(it) }
        val once = listOf("reset", "prefill 3", "prefill 4", "reset", "prefill 3", "decode", "decode")
        assertEquals(once + once + once, target.runs)
        assertEquals(listOf(1, 2, 3), progress)
        assertEquals(listOf(10_000.0, 10_000.0), timings.prefill)
        assertEquals(listOf(1_000.0, 1_000.0), timings.decode)
        assertEquals(2, timings.firstToken.size)
        assertEquals(listOf<Int?>(0, 0), timings.thermal)
        assertArrayEquals(target.prompts[1], target.prompts[4])
    }

    @Test
    fun `a sustained run gives points of two seconds and ends in time`() = runBlocking {
        val points = ArrayList<SpeedPoint>()
        timing(BenchSettings(promptTokens = 0, generatedTokens = 900, depth = 10)).sustained(7, points::add)
        assertEquals(4, points.size)
        for (point in points) assertEquals(1_000.0, point.tokensPerSecond, 1e-6)
        assertEquals(7.0, points.last().seconds, 0.01)
    }

    @Test
    fun `a hot device is waited for and five minutes at most`() = runBlocking {
        var waited = 0L
        assertEquals(1, awaitReady(FakeDevice(mutableListOf(3, 2, 2, 1, 1))) { waited += it })
        assertEquals(6_000L, waited)
        waited = 0
        assertEquals(3, awaitReady(FakeDevice(mutableListOf(3))) { waited += it })
        assertEquals(300_000L, waited)
        assertNull(awaitReady(FakeDevice()) { waited += it })
    }

    @Test
    fun `settings out of range are said`() {
        assertNull(BenchSettings().problem())
        val bad = listOf(
            BenchSettings(promptTokens = -1), BenchSettings(promptTokens = 0, generatedTokens = 0),
            BenchSettings(repetitions = 0), BenchSettings(generatedTokens = 0, sustainedSeconds = 60),
            BenchSettings(promptTokens = Int.MAX_VALUE),
        )
        for (settings in bad) assertNotNull("$settings", settings.problem())
        assertEquals(BenchSettings(1, 2, 3, 4, 5, 6), BenchSettings.of(BenchSettings(1, 2, 3, 4, 5, 6).json))
    }

    @Test
    fun `memory is what Linux tells`() {
        val memory = OwnMemory.read()
        assertTrue("$memory", memory.peakRss > 10_000_000 && memory.privateDirty in 1..memory.peakRss)
    }

    /** `tests/core/test_android_bench.py` reads the same file with `lfm-edge bench --compare`. */
    @Test
    fun `a result has the form of lfm-edge bench`() = runBlocking {
        val settings = BenchSettings(promptTokens = 4, generatedTokens = 2, repetitions = 3)
        val timings = timing(settings).repetitions({ 1 }) {}
        timings.decode[0] = 400.0
        timings.decode[1] = 700.0
        val facts = EngineFacts(4, "neon_dotprod", 256, "1.29.0", 0.5)
        val bundle = bundleJson(TestBundle().write(temporary.root))
        val report = Report(settings, timings, facts, FakeDevice(), OwnMemory(2_000_000, 1_000_000), bundle)
        val json = report.json(listOf(objectOf("seconds" to 2.0, "tokens_per_second" to 30.0, "thermal_status" to 0)))
        assertEquals(700.0, json.double("decode_tokens_per_second")!!, 0.0)
        assertEquals(300.0, json.objectAt("decode")!!.double("standard_deviation")!!, 1e-9)
        val alone = Report(settings.copy(generatedTokens = 0), Timings(), facts, FakeDevice(), OwnMemory(1, 0), bundle)
        assertEquals("null", alone.json()["decode"].toString())
        assertEquals(javaClass.getResource("/bench.json")!!.readText(), Json { prettyPrint = true }.encodeToString<JsonObject>(json) + "\n")
    }
}
