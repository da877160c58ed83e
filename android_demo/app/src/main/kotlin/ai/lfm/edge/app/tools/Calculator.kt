package ai.lfm.edge.app.tools

import java.math.BigDecimal
import java.math.MathContext

private const val MAX_LENGTH = 500
private const val MAX_POWER = 999
private const val MAX_DIGITS = 2000

/**
 * The value of an arithmetic expression.
 *
 * @throws IllegalArgumentException it is none, divides by zero, or is too large.
 */
fun calculate(text: String): BigDecimal {
    require(text.length <= MAX_LENGTH) { "the expression is longer than $MAX_LENGTH characters" }
    return Calculator(text.replace("**", "^").filterNot { it.isWhitespace() }).whole()
}

private class Calculator(private val text: String) {
    private var at = 0

    fun whole(): BigDecimal {
        val value = sum()
        require(at == text.length) { "unexpected '${text[at]}'" }
        return value.stripTrailingZeros()
    }

    private fun sum(): BigDecimal {
        var value = product()
        while (true) {
            value = when {
                take('+') -> value.add(product(), MathContext.DECIMAL128)
                take('-') -> value.subtract(product(), MathContext.DECIMAL128)
                else -> return value
            }
        }
    }

    private fun product(): BigDecimal {
        var value = signed()
        while (true) {
            value = when {
                take('*') || take('×') -> value.multiply(signed(), MathContext.DECIMAL128)
                take('/') || take('÷') -> value.divide(divisor(), MathContext.DECIMAL128)
                take('%') -> value.remainder(divisor())
                else -> return value
            }
        }
    }

    private fun divisor() = signed().also { require(it.signum() != 0) { "division by zero" } }

    private fun signed(): BigDecimal = if (take('-')) signed().negate() else power()

    private fun power(): BigDecimal {
        val base = atom()
        if (!take('^')) return base
        val exponent = signed()
        require(exponent.abs() <= BigDecimal(MAX_POWER) && exponent.stripTrailingZeros().scale() <= 0) {
            "expected a whole power of at most $MAX_POWER"
        }
        require(exponent.signum() >= 0 || base.signum() != 0) { "division by zero" }
        return base.pow(exponent.toInt(), MathContext.DECIMAL128).also {
            require(kotlin.math.abs(it.precision().toLong() - it.scale()) < MAX_DIGITS) { "the result is too large" }
        }
    }

    private fun atom(): BigDecimal {
        if (take('(')) return sum().also { require(take(')')) { "expected ')'" } }
        val start = at
        while (at < text.length && (text[at].isDigit() || text[at] == '.')) at++
        return text.substring(start, at).toBigDecimalOrNull()
            ?: throw IllegalArgumentException("expected a number at '${text.substring(start).take(10)}'")
    }

    private fun take(char: Char): Boolean = (text.getOrNull(at) == char).also { if (it) at++ }
}
