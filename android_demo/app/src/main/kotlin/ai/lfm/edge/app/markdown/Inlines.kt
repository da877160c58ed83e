package ai.lfm.edge.app.markdown

private val LINK = Regex("""\[([^\[\]]*)]\(<?([^\s()<>]+)>?(?:\s+"[^"]*")?\)""")
private val BARE_LINK = Regex("""https?://[^\s<>()\[\]"'`]*[^\s<>()\[\]"'`.,;:!?*_]""")
private const val PUNCTUATION = "\\`*_{}[]()#+-.!|~<>"

/** Which links are followed: what a model writes opens a page and nothing else. */
private fun isSafe(link: String) =
    link.startsWith("https://", ignoreCase = true) || link.startsWith("http://", ignoreCase = true)

/** Reads emphasis, code, and links of a line; what is not closed is text. */
fun parseInlines(text: String): List<Inline> = InlineReader(text).read()

private class InlineReader(private val text: String) {
    private val out = ArrayList<Inline>()
    private val plain = StringBuilder()
    private var at = 0
    private var bold = false
    private var italic = false
    private var struck = false

    fun read(): List<Inline> {
        while (at < text.length) step()
        flush()
        return out
    }

    private fun step() {
        when (val char = text[at]) {
            '\\' -> escaped()
            '`' -> code()
            '*', '_' -> emphasis(char)
            '~' -> strike()
            '[' -> if (!link()) plainChar()
            'h' -> if (!bareLink()) plainChar()
            else -> plainChar()
        }
    }

    private fun plainChar() {
        plain.append(text[at++])
    }

    private fun escaped() {
        if (at + 1 < text.length && text[at + 1] in PUNCTUATION) at++
        plainChar()
    }

    private fun code() {
        val ticks = text.substring(at).takeWhile { it == '`' }
        val end = text.indexOf(ticks, at + ticks.length)
        if (end < 0) {
            plain.append(ticks)
            at += ticks.length
            return
        }
        add(text.substring(at + ticks.length, end).trim(), code = true)
        at = end + ticks.length
    }

    private fun emphasis(char: Char) {
        val double = text.startsWith("$char$char", at)
        val marker = if (double) "$char$char" else "$char"
        val isOn = if (double) bold else italic
        if (if (isOn) closes(marker) else opens(marker)) {
            flush()
            if (double) bold = !bold else italic = !italic
        } else {
            plain.append(marker)
        }
        at += marker.length
    }

    private fun strike() {
        val isMarker = text.startsWith("~~", at)
        if (isMarker && (struck || text.indexOf("~~", at + 2) > 0)) {
            flush()
            struck = !struck
        } else {
            plain.append(if (isMarker) "~~" else "~")
        }
        at += if (isMarker) 2 else 1
    }

    private fun opens(marker: String): Boolean {
        val next = text.getOrNull(at + marker.length)
        if (next == null || next.isWhitespace()) return false
        val before = text.getOrNull(at - 1)
        // snake_case and 2*3*4 are no emphasis.
        if (before != null && (if (marker[0] == '_') before.isLetterOrDigit() else before.isDigit())) return false
        return findClosing(marker) > 0
    }

    private fun findClosing(marker: String): Int {
        var end = text.indexOf(marker, at + marker.length + 1)
        while (end > 0) {
            val alone = marker.length == 2 || (text.getOrNull(end + 1) != marker[0] && text[end - 1] != marker[0])
            if (alone && !text[end - 1].isWhitespace() && endsWord(marker, end)) return end
            end = text.indexOf(marker, end + 1)
        }
        return -1
    }

    private fun endsWord(marker: String, end: Int) =
        marker[0] != '_' || text.getOrNull(end + marker.length)?.isLetterOrDigit() != true

    private fun closes(marker: String) =
        text.getOrNull(at - 1)?.isWhitespace() != true && endsWord(marker, at)

    private fun link(): Boolean {
        val match = LINK.matchAt(text, at) ?: return false
        val (label, target) = match.destructured
        if (!isSafe(target)) return false
        add(label.ifEmpty { target }, link = target)
        at += match.value.length
        return true
    }

    private fun bareLink(): Boolean {
        if (text.getOrNull(at - 1)?.isLetterOrDigit() == true) return false
        val match = BARE_LINK.matchAt(text, at) ?: return false
        add(match.value, link = match.value)
        at += match.value.length
        return true
    }

    private fun add(text: String, code: Boolean = false, link: String? = null) {
        flush()
        out.add(Inline(text, bold, italic, struck, code, link))
    }

    private fun flush() {
        if (plain.isNotEmpty()) out.add(Inline(plain.toString(), bold, italic, struck))
        plain.clear()
    }
}
