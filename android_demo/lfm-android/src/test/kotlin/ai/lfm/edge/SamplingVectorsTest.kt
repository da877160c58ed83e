package ai.lfm.edge

import kotlin.math.floor
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.double
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory

/** docs/sampling.md, as tests/vectors/sampling.json has it. */
class SamplingVectorsTest {
    private val vectors = vectors("sampling.json").jsonObject

    @Test
    fun exp() {
        for ((x, y) in vectors.getValue("exp").jsonArray.map { it.jsonArray }) {
            assertEquals(y.jsonPrimitive.double, Native.samplingExp(x.jsonPrimitive.double))
        }
    }

    @Test
    fun uniform() {
        for ((seed, index, value) in vectors.getValue("uniform").jsonArray.map { it.jsonArray }) {
            val drawn = uniform(seed.jsonPrimitive.content.toULong(), index.jsonPrimitive.long)
            assertEquals(value.jsonPrimitive.double, drawn)
        }
    }

    @TestFactory
    fun answers(): List<DynamicTest> =
        vectors.getValue("answers").jsonArray.mapIndexed { index, case ->
            dynamicTest("answer $index") {
                assertEquals(ints(case.jsonObject.getValue("tokens")).toList(), draw(case.jsonObject))
            }
        }

    @Test
    fun `options out of range are named`() {
        val wrong =
            mapOf(
                SamplingOptions(temperature = -1.0) to "temperature: got -1.0, expected a number from 0 to 1e6",
                SamplingOptions(temperature = Double.NaN) to "temperature: got NaN, expected a number from 0 to 1e6",
                SamplingOptions(topP = 0.0) to "top_p: got 0.0, expected a number above 0 and up to 1",
                SamplingOptions(minP = 2.0) to "min_p: got 2.0, expected a number from 0 to 1",
                SamplingOptions(presencePenalty = 3.0) to "presence_penalty: got 3.0, expected a number from -2 to 2",
                SamplingOptions(logitBias = mapOf(1 to 101.0)) to "logit_bias: got 101.0, expected numbers from -100 to 100",
            )
        for ((options, message) in wrong) {
            val error = assertThrows(InvalidRequestError::class.java) { Sampler(options, 300) }
            assertEquals(message, error.message)
        }
        val unknown = SamplingOptions(banned = listOf(70000))
        val error = assertThrows(UnknownTokenError::class.java) { Sampler(unknown, 65536) }
        assertEquals("banned: token 70000 is not one of the model's 65,536", error.message)
    }

    @Test
    fun `what is no logits is refused`() {
        Sampler(SamplingOptions(banned = listOf(0, 1)), 2).use { sampler ->
            assertThrows(InvalidRequestError::class.java) { sampler.sample(FloatArray(2)) }
            assertThrows(BundleError::class.java) { sampler.sample(floatArrayOf(Float.NaN, 0f)) }
            assertThrows(InvalidRequestError::class.java) { sampler.sample(FloatArray(3)) }
            assertThrows(InvalidRequestError::class.java) { sampler.sample(FloatArray(2), IntArray(2)) }
        }
    }

    @Test
    fun `closed twice, and then no sampler`() {
        val before = Lfm.openHandles
        val sampler = Sampler(SamplingOptions(), 3)
        assertEquals(before + 1, Lfm.openHandles)
        assertEquals(1, sampler.sample(floatArrayOf(0f, 2f, 1f)))
        sampler.close()
        sampler.close()
        assertEquals(before, Lfm.openHandles)
        assertThrows(InvalidRequestError::class.java) { sampler.sample(FloatArray(3)) }
    }
}

private fun uniform(seed: ULong, index: Long) = Native.samplingUniform(seed.toLong(), index)

private fun draw(case: JsonObject): List<Int> {
    val size = case.getValue("vocab_size").jsonPrimitive.int
    val logits = case.getValue("logits").jsonObject
    Sampler(optionsOf(case), size).use { sampler ->
        sampler.observe(ints(case.getValue("prompt")))
        return List(12) { step -> sampler.sample(logitsAt(logits, size, step), allowedOf(case, size)) }
    }
}

private fun optionsOf(case: JsonObject): SamplingOptions {
    val options = case.getValue("options").jsonObject
    val number = { name: String -> options.getValue(name).jsonPrimitive.double }
    return SamplingOptions(
        temperature = number("temperature"),
        topK = options.getValue("top_k").jsonPrimitive.int,
        topP = number("top_p"),
        minP = number("min_p"),
        repetitionPenalty = number("repetition_penalty"),
        frequencyPenalty = number("frequency_penalty"),
        presencePenalty = number("presence_penalty"),
        logitBias =
            case.getValue("biases").jsonObject.entries
                .associate { (id, bias) -> id.toInt() to bias.jsonPrimitive.double },
        banned = ints(case.getValue("banned")).toList(),
        seed = options.getValue("seed").jsonPrimitive.content.toULong(),
    )
}

private fun logitsAt(logits: JsonObject, size: Int, step: Int): FloatArray {
    val seed = logits.getValue("seed").jsonPrimitive.content.toULong() + step.toULong()
    val spread = logits.getValue("spread").jsonPrimitive.double
    val whole = logits.getValue("whole").jsonPrimitive.boolean
    return FloatArray(size) { token ->
        val logit = (uniform(seed, token.toLong()) - 0.5) * spread
        (if (whole) floor(logit) else logit).toFloat()
    }
}

private fun allowedOf(case: JsonObject, size: Int): IntArray? {
    val allowed = case.getValue("allowed").takeIf { it !is JsonNull } ?: return null
    val words = IntArray((size + 31) / 32)
    for (id in ints(allowed)) words[id / 32] = words[id / 32] or (1 shl id % 32)
    return words
}
