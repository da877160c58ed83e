package ai.lfm.edge.app.markdown

/** A block of a Markdown text. */
sealed interface Block {
    data class Paragraph(val inlines: List<Inline>) : Block
    data class Heading(val level: Int, val inlines: List<Inline>) : Block
    data class Code(val language: String, val text: String) : Block
    data class Quote(val blocks: List<Block>) : Block
    data class Item(val marker: String, val depth: Int, val inlines: List<Inline>) : Block
    data class Table(val rows: List<List<String>>) : Block
    data object Rule : Block
}

/** A piece of a line, and how it is set. */
data class Inline(
    val text: String,
    val bold: Boolean = false,
    val italic: Boolean = false,
    val struck: Boolean = false,
    val code: Boolean = false,
    val link: String? = null,
)

private val FENCE = Regex("^ {0,3}(`{3,}|~{3,})\\s*([A-Za-z0-9+#._-]*).*$")
private val HEADING = Regex("^ {0,3}(#{1,6})\\s+(.*?)\\s*#*\\s*$")
private val ITEM = Regex("^(\\s*)([-*+]|[0-9]{1,9}[.)])\\s+(.*)$")
private val QUOTE = Regex("^ {0,3}>\\s?(.*)$")
private val TABLE_DASHES = Regex(":?-+:?")
private const val MAX_QUOTES = 8

/**
 * Reads as much of Markdown as models write: paragraphs, headings, lists, fenced code, quotes, tables.
 *
 * A text that is still being written is read like a whole one: a fence that is not closed goes on to
 * the end, an emphasis that is not closed is text.
 */
fun parseMarkdown(text: String): List<Block> = BlockReader(text.split('\n'), 0).read()

private class BlockReader(private val lines: List<String>, private val quotes: Int) {
    private var at = 0
    private val blocks = ArrayList<Block>()
    private val paragraph = ArrayList<String>()

    fun read(): List<Block> {
        while (at < lines.size) {
            val line = lines[at]
            if (line.isBlank()) {
                endParagraph()
                at++
            } else if (!startsBlock(line)) {
                paragraph.add(line.trim())
                at++
            }
        }
        endParagraph()
        return blocks
    }

    private fun startsBlock(line: String): Boolean {
        val fence = FENCE.find(line)
        val heading = HEADING.find(line)
        val item = ITEM.find(line)
        when {
            fence != null -> begin { code(fence.groupValues[1], fence.groupValues[2]) }
            heading != null -> begin {
                blocks.add(Block.Heading(heading.groupValues[1].length, parseInlines(heading.groupValues[2])))
                at++
            }
            isRule(line) -> begin { blocks.add(Block.Rule); at++ }
            quotes < MAX_QUOTES && QUOTE.matches(line) -> begin { quote() }
            item != null -> begin { item(item) }
            paragraph.isEmpty() && isTable() -> table()
            else -> return false
        }
        return true
    }

    private fun begin(read: () -> Unit) {
        endParagraph()
        read()
    }

    private fun endParagraph() {
        if (paragraph.isNotEmpty()) blocks.add(Block.Paragraph(parseInlines(paragraph.joinToString("\n"))))
        paragraph.clear()
    }

    private fun code(fence: String, language: String) {
        val body = ArrayList<String>()
        at++
        while (at < lines.size && !closes(lines[at], fence)) body.add(lines[at++])
        at++
        blocks.add(Block.Code(language, body.joinToString("\n")))
    }

    private fun closes(line: String, fence: String): Boolean =
        line.trim().let { it.length >= fence.length && it.all { char -> char == fence[0] } }

    private fun quote() {
        val inner = ArrayList<String>()
        while (at < lines.size) {
            val match = QUOTE.find(lines[at]) ?: break
            inner.add(match.groupValues[1])
            at++
        }
        blocks.add(Block.Quote(BlockReader(inner, quotes + 1).read()))
    }

    private fun item(match: MatchResult) {
        val (indent, marker, first) = match.destructured
        val parts = arrayListOf(first)
        at++
        while (at < lines.size && continuesItem(lines[at])) parts.add(lines[at++].trim())
        val depth = indent.replace("\t", "    ").length / 2
        val bullet = if (marker[0].isDigit()) marker.replace(')', '.') else "•"
        blocks.add(Block.Item(bullet, minOf(depth, 6), parseInlines(parts.joinToString("\n"))))
    }

    private fun continuesItem(line: String) = line.startsWith(" ") && line.isNotBlank() &&
        !ITEM.matches(line) && !FENCE.matches(line)

    private fun isTable() = at + 1 < lines.size && '|' in lines[at] && '|' in lines[at + 1] &&
        splitCells(lines[at + 1]).all(TABLE_DASHES::matches)

    private fun table() {
        val rows = arrayListOf(cells(lines[at]))
        at += 2
        while (at < lines.size && '|' in lines[at]) rows.add(cells(lines[at++]))
        blocks.add(Block.Table(rows))
    }

    private fun cells(line: String): List<String> =
        splitCells(line).map { cell -> parseInlines(cell).joinToString("") { it.text } }

    private fun splitCells(line: String) =
        line.trim().removePrefix("|").removeSuffix("|").split('|').map(String::trim)

    private fun isRule(line: String): Boolean {
        val marks = line.filterNot(Char::isWhitespace)
        return marks.length >= 3 && marks[0] in "-*_" && marks.all { it == marks[0] }
    }
}

/** A table as text in columns of one width each, for a monospaced font. */
fun tableText(table: Block.Table): String {
    val columns = table.rows.maxOf { it.size }
    val widths = (0 until columns).map { column -> table.rows.maxOf { it.getOrElse(column) { "" }.length } }
    val lines = table.rows.map { row ->
        widths.indices.joinToString("  ") { row.getOrElse(it) { "" }.padEnd(widths[it]) }.trimEnd()
    }
    return (lines.take(1) + widths.joinToString("  ") { "-".repeat(it) } + lines.drop(1)).joinToString("\n")
}
