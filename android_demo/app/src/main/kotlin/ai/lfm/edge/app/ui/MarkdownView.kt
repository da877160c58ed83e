package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.markdown.Block
import ai.lfm.edge.app.markdown.Inline
import ai.lfm.edge.app.markdown.parseMarkdown
import ai.lfm.edge.app.markdown.tableText
import android.content.Context
import android.graphics.Typeface
import android.os.Build
import android.text.SpannableStringBuilder
import android.text.Spanned
import android.text.method.LinkMovementMethod
import android.text.style.BackgroundColorSpan
import android.text.style.StrikethroughSpan
import android.text.style.StyleSpan
import android.text.style.TypefaceSpan
import android.text.style.URLSpan
import android.util.TypedValue
import android.view.View
import android.widget.HorizontalScrollView
import android.widget.LinearLayout
import android.widget.TextView

private val HEADING_SIZES = listOf(24f, 21f, 19f, 17f, 16f, 16f)

/** A text in Markdown that may grow: only what differs from before is laid out anew. */
class MarkdownView(context: Context) : LinearLayout(context) {
    private var blocks = emptyList<Block>()

    init {
        orientation = VERTICAL
    }

    /** Shows a text. */
    fun show(markdown: String) {
        val next = parseMarkdown(markdown)
        var same = blocks.zip(next).takeWhile { (old, new) -> old == new }.size
        // What is being written is mostly the last paragraph: its view stays, so a selection does too.
        if (same < minOf(blocks.size, next.size) && blocks[same] is Block.Paragraph && next[same] is Block.Paragraph) {
            (getChildAt(same) as TextView).text = spans((next[same] as Block.Paragraph).inlines)
            same++
        }
        while (childCount > same) removeViewAt(childCount - 1)
        next.drop(same).forEach { addView(viewOf(it), margins(top = if (childCount == 0) 0 else 8)) }
        blocks = next
    }

    private fun viewOf(block: Block): View = when (block) {
        is Block.Paragraph -> text(spans(block.inlines))
        is Block.Heading -> heading(block)
        is Block.Code -> wide(block.text)
        is Block.Table -> wide(tableText(block))
        is Block.Item -> item(block)
        is Block.Quote -> quote(block)
        Block.Rule -> View(context).apply {
            setBackgroundColor(context.color(R.color.text_soft))
            minimumHeight = context.dp(1)
        }
    }

    private fun text(text: CharSequence): TextView = context.label(text).apply {
        setTextIsSelectable(true)
        movementMethod = LinkMovementMethod.getInstance()
        setLinkTextColor(context.color(R.color.accent))
    }

    private fun heading(block: Block.Heading) = text(spans(block.inlines)).apply {
        setTextSize(TypedValue.COMPLEX_UNIT_SP, HEADING_SIZES[block.level - 1])
        typeface = Typeface.DEFAULT_BOLD
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.P) isAccessibilityHeading = true
    }

    private fun item(block: Block.Item) = text(
        SpannableStringBuilder(block.marker).append("  ").append(spans(block.inlines)),
    ).apply { setPaddingRelative(context.dp(8 + 16 * block.depth), 0, 0, 0) }

    private fun quote(block: Block.Quote) = context.column {
        setBackgroundResource(R.drawable.surface)
        padding(12, 8)
        block.blocks.forEach { addView(viewOf(it), margins(top = 4)) }
    }

    private fun wide(text: String) = HorizontalScrollView(context).apply {
        setBackgroundResource(R.drawable.code)
        addView(context.monospaced(text).apply { padding(12, 10) })
    }

    private fun spans(inlines: List<Inline>): CharSequence {
        val out = SpannableStringBuilder()
        for (inline in inlines) {
            val start = out.length
            out.append(inline.text)
            for (span in spansOf(inline)) out.setSpan(span, start, out.length, Spanned.SPAN_EXCLUSIVE_EXCLUSIVE)
        }
        return out
    }

    private fun spansOf(inline: Inline): List<Any> = listOfNotNull(
        StyleSpan(Typeface.BOLD).takeIf { inline.bold },
        StyleSpan(Typeface.ITALIC).takeIf { inline.italic },
        StrikethroughSpan().takeIf { inline.struck },
        TypefaceSpan("monospace").takeIf { inline.code },
        BackgroundColorSpan(context.color(R.color.code)).takeIf { inline.code },
        inline.link?.let(::URLSpan),
    )
}
