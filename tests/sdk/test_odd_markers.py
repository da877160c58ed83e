"""Markers that a normalizer makes of other text, and those of a single character."""

from __future__ import annotations

import contextlib
from pathlib import Path

import lfm_edge
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge.chat.prompt import prompt_ids
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.tokenizer import Tokenizer
from tokenizers import AddedToken, normalizers

from tests.sdk.test_prompt import Pair, tokenizer_with, user
from tests.sdk.toy import byte_level_tokenizer

NORMALIZERS = {
    "lowercase": normalizers.Lowercase(),
    "compatible": normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
    "composed": normalizers.NFC(),
    "accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    "word": normalizers.Replace("foo", "<web>"),
    "letter": normalizers.Replace("o", "<web>"),
    "space": normalizers.Replace(" ", "<"),
    "nothing": normalizers.Replace("-", ""),
    "bert": normalizers.BertNormalizer(),
}
ODD_PIECES = [
    "<WEB>",
    "<web>",
    "\uff1cweb>",
    "<w\u00e9b>",
    "<\u0338web>",
    "\u2100>",
    "foo",
    "<we-b>",
]
ODD_TEMPLATES = {
    "plain": ChatTemplate("U\n{{ messages[0].content }}\n<web>"),
    "trimmed": ChatTemplate("<web>\n{{ messages[0].content|trim }}{{ messages[0].content[:3] }}"),
    "looks": ChatTemplate(
        "{{ ('A' if messages[0].content.startswith('<') else 'B') ~ messages[0].content }}\n<web>"
    ),
}


@given(
    normalizer=st.sampled_from(sorted(NORMALIZERS)),
    template=st.sampled_from(sorted(ODD_TEMPLATES)),
    token=st.builds(
        AddedToken,
        st.just("<web>"),
        lstrip=st.booleans(),
        normalized=st.booleans(),
        special=st.booleans(),
    ),
    pieces=st.lists(st.sampled_from([*ODD_PIECES, "web>", "<", "a", " ", "O"]), max_size=5),
)
def test_a_normalizer_makes_no_marker_of_what_others_wrote(
    normalizer: str, template: str, token: AddedToken, pieces: list[str]
) -> None:
    others = (AddedToken(text, normalized=True, special=True) for text in ("/c>", "\u226eweb>"))
    tokenizer = Tokenizer.__new__(Tokenizer)
    tokenizer._path = Path(normalizer)
    tokenizer._native = type(byte_level_tokenizer()).from_str(
        tokenizer_with([token, *others], NORMALIZERS[normalizer])
    )
    made, markers = ODD_TEMPLATES[template], tokenizer.added_tokens()
    harmless = prompt_ids(made, tokenizer, user("z"))
    makes_words = normalizer in ("word", "letter", "space")  # of what the template needs to see
    may_refuse = [lfm_edge.TemplateError] if template == "looks" or makes_words else []
    ids = harmless
    with contextlib.suppress(*may_refuse):
        ids = prompt_ids(made, tokenizer, user("".join(pieces)))
    assert [i for i in ids if i in markers] == [i for i in harmless if i in markers]


@pytest.mark.parametrize("text", ["<WEB>", "\uff1cweb>", "<web>"])
def test_a_normalized_marker_is_spelled_in_its_own_letters(tmp_path: Path, text: str) -> None:
    files = {
        "tokenizer.json": tokenizer_with(
            [AddedToken("<web>", normalized=True)], NORMALIZERS["compatible"]
        ),
        "chat_template.jinja": "{{ messages[0].content }}<web>",
    }
    pair = Pair(tmp_path, files)
    web = pair.model.tokenizer.encode("<web>")[0]
    assert pair.theirs(user(text)).count(web) == 2
    ids = pair.ours(user(text))
    assert ids.count(web) == 1
    assert pair.model.tokenizer.decode(ids) == "<web><web>"


@pytest.mark.parametrize("text", ["<", "a < b"])
def test_a_marker_of_one_character_that_is_a_letter_too_is_refused(
    tmp_path: Path, text: str
) -> None:
    files = {
        "tokenizer.json": tokenizer_with([AddedToken("<", special=True)]),
        "chat_template.jinja": "{{ messages[0].content }}<|im_end|>",
    }
    pair = Pair(tmp_path, files)
    with pytest.raises(
        lfm_edge.InvalidRequestError, match="'<', a marker that the tokenizer makes"
    ):
        pair.ours(user(text))
    with pytest.raises(ValueError, match="Can't sanitize"):
        pair.theirs(user(text), sanitize_control_tokens=True)
    assert pair.ours(user(text), trust_markers=True) == pair.theirs(user(text))


def test_a_marker_of_one_character_that_has_bytes_is_spelled(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": tokenizer_with([AddedToken("\u2192", special=True)]),
        "chat_template.jinja": "{{ messages[0].content }}<|im_end|>",
    }
    pair = Pair(tmp_path, files)
    ids = pair.ours(user("a \u2192 b"))
    assert ids == pair.theirs(user("a \u2192 b"), sanitize_control_tokens=True)
