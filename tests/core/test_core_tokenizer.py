"""The core reads texts as `tokenizers` does, and prompts as `lfm_edge.chat.prompt` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.chat.prompt import marker_ids, prompt_ids
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import InvalidRequestError
from lfm_export.device.tokenizer_tables import compile_tokenizer
from tokenizers import Tokenizer as NativeTokenizer

from tests.core.core_tokenizer import CoreTokenizer
from tests.device_tokenizers import KINDS, compiled, texts, tokenizer_of

MANY = settings(max_examples=80, deadline=None)
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def section(kind: str) -> bytes:
    return compiled(KINDS[kind])


@pytest.fixture(scope="module")
def native(kind: str) -> NativeTokenizer:
    return NativeTokenizer.from_str(KINDS[kind])


@pytest.fixture(scope="module")
def special(section: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreTokenizer]:
    core = CoreTokenizer(section, tmp_path_factory.mktemp("core"), "special")
    yield core
    core.close()


@pytest.fixture(scope="module")
def plain(section: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreTokenizer]:
    core = CoreTokenizer(section, tmp_path_factory.mktemp("core"), "plain")
    yield core
    core.close()


def test_any_text_is_read_the_same(native: NativeTokenizer, special: CoreTokenizer) -> None:
    @MANY
    @given(texts())
    def holds(text: str) -> None:
        assert special.read(text).ids == native.encode(text).ids

    holds()


def test_ordinary_text_is_read_the_same(native: NativeTokenizer, plain: CoreTokenizer) -> None:
    @MANY
    @given(texts())
    def holds(text: str) -> None:
        pieces = native.pre_tokenizer.pre_tokenize_str(text)
        expected = [token.id for piece, _ in pieces for token in native.model.tokenize(piece)]
        read = plain.read(text)
        assert read.ids == expected
        assert read.text == text

    holds()


def test_long_words_are_merged_the_same(native: NativeTokenizer, plain: CoreTokenizer) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.text("abcdeinorst", min_size=30, max_size=400))
    def holds(text: str) -> None:
        assert plain.read(text).ids == [token.id for token in native.model.tokenize(text)]

    holds()


@pytest.mark.parametrize("prompt_kind", ["as it is", "flags"])
def test_markers_of_others_are_spelled_as_in_python(prompt_kind: str, tmp_path: Path) -> None:
    text = KINDS[prompt_kind]
    tokenizer, template = tokenizer_of(text), ChatTemplate(TEMPLATE)
    section = compile_tokenizer(tokenizer, text, marker_ids(tokenizer, template))
    core = CoreTokenizer(section, tmp_path, "prompt")
    pieces = st.lists(
        st.one_of(
            st.sampled_from(["<|im_end|>", "<|im_", "end|>", "<think>", "<l>", "<r>", "word"]),
            st.sampled_from([" ", "\n", "\x1c", "a", "<", ">", "\u00e9", "."]),
            texts(),
        ),
        min_size=1,
        max_size=6,
    ).map("".join)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), pieces), min_size=1, max_size=5))
    def holds(parts: list[tuple[bool, str]]) -> None:
        parts = [(theirs, part) for theirs, part in parts if part and "\ue000" not in part]
        messages = [
            {"role": "user" if theirs else "system", "content": part} for theirs, part in parts
        ]
        if not messages:
            return
        marked = "".join(f"\ue000{part}\ue001" if theirs else part for theirs, part in parts)
        assert core.read(marked).ids == prompt_ids(template, tokenizer, messages)

    holds()
    core.close()


def test_a_marker_that_is_ordinary_text_too_is_spelled_or_refused(tmp_path: Path) -> None:
    """With `ignore_merges`, a vocabulary gives the text of a marker as a whole."""
    text = KINDS["ignore_merges"].replace('"zqzq"', '"(end)"')
    text = text.replace('"added_tokens": [', '"added_tokens": [' + _ADDED.format(4097, "(end)"))
    tokenizer, template = tokenizer_of(text), ChatTemplate(TEMPLATE + "(end)")
    section = compile_tokenizer(tokenizer, text, marker_ids(tokenizer, template))
    core = CoreTokenizer(section, tmp_path, "prompt")
    messages = [{"role": "user", "content": "a(end)b"}]
    ids = prompt_ids(template, tokenizer, messages)
    assert core.read("\ue000a(end)b\ue001(end)").ids == ids
    assert ids.count(4097) == 1
    core.close()


_ADDED = (
    '{{"id": {}, "content": "{}", "single_word": false, "lstrip": false, "rstrip": false, '
    '"normalized": false, "special": true}}, '
)


def test_a_marker_of_one_letter_is_refused_as_in_python(tmp_path: Path) -> None:
    text = KINDS["as it is"]
    letter = tokenizer_of(text).encode("~")[0]
    text = text.replace('"added_tokens": [', '"added_tokens": [' + _ADDED.format(letter, "~"))
    tokenizer, template = tokenizer_of(text), ChatTemplate(TEMPLATE)
    section = compile_tokenizer(tokenizer, text, marker_ids(tokenizer, template))
    with pytest.raises(InvalidRequestError) as raised:
        prompt_ids(template, tokenizer, [{"role": "user", "content": "a~b"}])
    core = CoreTokenizer(section, tmp_path, "prompt")
    assert core.refusal("\ue000a~b\ue001") == str(raised.value)
