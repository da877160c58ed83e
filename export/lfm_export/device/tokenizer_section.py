"""The tokenizer of a bundle for device.bin: compiled, and proved before anybody relies on it."""

from __future__ import annotations

from lfm_edge.bundle import Bundle
from lfm_edge.chat.prompt import marker_ids
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import TemplateError
from lfm_edge.file_names import TOKENIZER
from lfm_edge.tokenizer import Tokenizer
from tokenizers import Tokenizer as NativeTokenizer

from ..notes import Note
from .proof_texts import proof_texts
from .table_reader import TableReader
from .tokenizer_tables import InexpressibleError, compile_tokenizer

__all__ = ["difference", "tokenizer_section"]


def tokenizer_section(bundle: Bundle, note: Note) -> bytes | None:
    """The tables of the bundle's tokenizer, or None if it has none or they cannot express it.

    Args:
        bundle: whose it is.
        note: hears why there is none.
    """
    text = bundle.read_text(TOKENIZER)
    if text is None:
        return None
    tokenizer = Tokenizer(bundle)
    try:
        section = compile_tokenizer(tokenizer, text, _markers(tokenizer, bundle))
        wrong = difference(TableReader(section), NativeTokenizer.from_str(text))
        if wrong is not None:
            raise InexpressibleError(f"tables read {wrong[:40]!r} differently")
    except InexpressibleError as reason:
        note(f"{TOKENIZER} has no tables for phones, which read no text with it: {reason}")
        return None
    return section


def difference(tables: TableReader, native: NativeTokenizer) -> str | None:
    """The first of many texts that `tables` read differently, or None."""
    native.no_truncation()
    native.no_padding()
    vocabulary = [text for _, text in sorted(_texts(native).items())]
    added = [token.content for _, token in sorted(native.get_added_tokens_decoder().items())]
    for text in proof_texts(vocabulary, added):
        ordinary = [
            token.id
            for piece, _ in native.pre_tokenizer.pre_tokenize_str(text)
            for token in native.model.tokenize(piece)
        ]
        ids = tables.encode(text)
        if (
            tables.ordinary(text) != ordinary
            or ids != native.encode(text, add_special_tokens=False).ids
            or tables.around(ids) != native.encode(text).ids
        ):
            return text
    return None


def _texts(native: NativeTokenizer) -> dict[int, str]:
    """What the tokens of the vocabulary read."""
    decode = native.decoder.decode
    return {index: decode([name]) for name, index in native.get_vocab(False).items()}


def _markers(tokenizer: Tokenizer, bundle: Bundle) -> set[int]:
    """Those of any of its templates; the special tokens alone where it has none."""
    added = tokenizer.added_tokens().items()
    markers = {token for token, (_, special) in added if special}
    try:
        template = ChatTemplate.of_bundle(bundle)
        markers |= marker_ids(tokenizer, template)
        markers |= marker_ids(tokenizer, template, tools=[])
    except TemplateError:
        pass  # such a bundle takes no chat
    return markers
