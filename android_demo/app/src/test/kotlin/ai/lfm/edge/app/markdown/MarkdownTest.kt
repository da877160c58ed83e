package ai.lfm.edge.app.markdown

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class MarkdownTest {
    private fun only(text: String) = parseMarkdown(text).single()

    @Test
    fun `paragraphs end at empty lines`() {
        assertEquals(
            listOf(Block.Paragraph(listOf(Inline("one\ntwo"))), Block.Paragraph(listOf(Inline("three")))),
            parseMarkdown("one\ntwo\n\n\nthree"),
        )
    }

    @Test
    fun `headings have a level`() {
        assertEquals(Block.Heading(3, listOf(Inline("A "), Inline("b", code = true))), only("### A `b` ##"))
        assertEquals(Block.Paragraph(listOf(Inline("#tag"))), only("#tag"))
    }

    @Test
    fun `a fence that is not closed yet goes on to the end`() {
        assertEquals(Block.Code("py", "a = 1\n\n# no heading"), only("```py\na = 1\n\n# no heading"))
        assertEquals(Block.Code("", "```\nx"), only("````\n```\nx\n````"))
    }

    @Test
    fun `lists keep depth and numbers`() {
        assertEquals(
            listOf(
                Block.Item("•", 0, listOf(Inline("a\nmore"))),
                Block.Item("•", 1, listOf(Inline("b"))),
                Block.Item("2.", 0, listOf(Inline("c"))),
            ),
            parseMarkdown("- a\n  more\n  * b\n2) c"),
        )
    }

    @Test
    fun `emphasis that is closed is set and the rest is text`() {
        assertEquals(
            listOf(Inline("a "), Inline("b", bold = true), Inline(" "), Inline("c", italic = true), Inline(" 2*3*4 snake_case_name **d")),
            parseInlines("a **b** *c* 2*3*4 snake_case_name **d").let(::joined),
        )
        assertEquals(listOf(Inline("x", struck = true), Inline(" ~y")), parseInlines("~~x~~ ~y"))
        assertEquals(listOf(Inline("*a*")), parseInlines("\\*a\\*"))
    }

    @Test
    fun `code holds no emphasis`() {
        assertEquals(listOf(Inline("*a* `b", code = true), Inline(" `c")), parseInlines("``*a* `b`` `c"))
    }

    @Test
    fun `links lead to pages and to nothing else`() {
        assertEquals(listOf(Inline("page", link = "https://a.example/x_y")), parseInlines("[page](https://a.example/x_y)"))
        assertEquals(
            listOf(Inline("see "), Inline("https://a.example/b", link = "https://a.example/b"), Inline(".")),
            parseInlines("see https://a.example/b."),
        )
        for (target in listOf("javascript:alert(1)", "file:///etc/passwd", "intent://x", "content://y")) {
            assertEquals(emptyList<String>(), parseInlines("[x]($target)").mapNotNull { it.link })
        }
    }

    @Test
    fun `tables become columns`() {
        val table = only("| a | bb |\n|---|:-:|\n| ccc | **d** |\n| e |") as Block.Table
        assertEquals("a    bb\n---  --\nccc  d\ne", tableText(table))
    }

    @Test
    fun `quotes nest and rules are lines`() {
        assertEquals(
            listOf(Block.Quote(listOf(Block.Paragraph(listOf(Inline("a"))), Block.Quote(listOf(Block.Paragraph(listOf(Inline("b"))))))), Block.Rule),
            parseMarkdown("> a\n>> b\n\n---"),
        )
    }

    @Test
    fun `every beginning of a text can be read`() {
        val text = "# T\n\n- *a* **b `c`\n\n```kt\nx\n```\n| a | b |\n|--|--|\n| 1 | [l](https://x.example) |\n> q\n\n***\n1. ~~z~~ __u__"
        for (end in 0..text.length) {
            val shown = parseMarkdown(text.take(end))
            assertEquals(end == 0, shown.isEmpty())
        }
    }

    @Test
    fun `hostile texts overflow nothing`() {
        for (part in listOf("*", "**a ", "`", "[", "> ", ">", "_a", "~~", "|-", "- ", "[a](", "#", "\\", "1. ", "* ", "`a", "h")) {
            val inlines = parseMarkdown("x | y\n" + part.repeat(5_000)) + parseMarkdown(part.repeat(5_000))
            assertTrue(inlines.isNotEmpty())
        }
    }

    private fun joined(inlines: List<Inline>) = inlines.fold(listOf<Inline>()) { all, next ->
        val last = all.lastOrNull()
        if (last != null && last.copy(text = "") == next.copy(text = "")) all.dropLast(1) + last.copy(text = last.text + next.text) else all + next
    }
}
