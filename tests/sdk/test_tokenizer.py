"""Text comes out whole: streamed pieces add up to the tokenizer's own decoding."""

from __future__ import annotations

import json
from collections.abc import Callable

import lfm_edge
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge import BundleError, ContextFullError, InvalidRequestError
from lfm_edge.tokenizer import Detokenizer, Tokenizer

from tests.sdk.toy import BOS, EOS, IM_START, byte_level_tokenizer

TRUTH = byte_level_tokenizer()
KNOWN = TRUTH.get_vocab_size()


@pytest.fixture(scope="module")
def tokenizer(model: lfm_edge.Model) -> Tokenizer:
    return model.tokenizer


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [*map(detokenizer.push, ids), detokenizer.finish()]


@given(ids=st.lists(st.integers(0, KNOWN - 1), max_size=40))
def test_any_ids_add_up_to_the_tokenizers_decoding(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(stream(tokenizer, ids)) == TRUTH.decode(ids, skip_special_tokens=False)
    assert tokenizer.decode(ids) == TRUTH.decode(ids, skip_special_tokens=False)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_text_survives_and_no_piece_breaks_a_character(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids == TRUTH.encode(text, add_special_tokens=False).ids
    pieces = stream(tokenizer, ids)
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_comes_with_its_last_byte(tokenizer: Tokenizer) -> None:
    pieces = stream(tokenizer, TRUTH.encode("日本").ids)
    assert [piece for piece in pieces if piece] == ["日", "本"]
    assert "" in pieces[:-1]


def test_an_unfinished_character_shows_at_the_end(tokenizer: Tokenizer) -> None:
    ids = TRUTH.encode("日").ids
    assert stream(tokenizer, ids[:-1])[-1] == "\ufffd"
    assert stream(tokenizer, [*ids[:-1], IM_START])[-2:] == ["\ufffd<|im_start|>", ""]


def test_unknown_ids_print_as_numbers(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([KNOWN + 3, *TRUTH.encode("a").ids, 299]) == f"<|{KNOWN + 3}|>a<|299|>"


def test_special_tokens_are_read_and_skipped_on_demand(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<|startoftext|>the<|im_end|>")
    assert (ids[0], ids[-1]) == (BOS, EOS)
    assert tokenizer.decode(ids, skip={BOS, EOS}) == "the"


def test_half_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match=r"not valid Unicode.* at character 1"):
        tokenizer.encode("a\udcff")


def test_without_a_tokenizer_only_text_fails(make_model: Callable[..., lfm_edge.Model]) -> None:
    model = make_model(files={"tokenizer.json": None})
    assert model.session().prefill([1, 2]).any()
    with pytest.raises(BundleError, match=r"no tokenizer\.json"):
        model.generate("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "EOF"),
        ("[]", "tokenizer.json"),
        (json.dumps(json.loads(TRUTH.to_str()) | {"decoder": None}), "decoder NoneType"),
        (json.dumps(json.loads(TRUTH.to_str()) | {"model": {"type": "?"}}), "tokenizer.json"),
    ],
)
def test_a_malformed_tokenizer_is_named(
    make_model: Callable[..., lfm_edge.Model], text: str, message: str
) -> None:
    model = make_model(files={"tokenizer.json": text})
    with pytest.raises(BundleError, match=message) as caught:
        model.generate("a")
    assert "\n" not in str(caught.value)


@given(text=st.text(st.sampled_from("aé日 \n<|im_end|>"), max_size=40), copies=st.integers(1, 2000))
def test_a_limit_refuses_no_text_that_fits(tokenizer: Tokenizer, text: str, copies: int) -> None:
    """Long texts are read another way, which lets other threads run."""
    text *= copies
    ids = TRUTH.encode(text, add_special_tokens=False).ids
    assert tokenizer.fewest(text) <= len(ids)
    assert tokenizer.encode(text, most=len(ids)) == ids
    if ids:
        with pytest.raises(ContextFullError, match=f"holds {len(ids) - 1:,}"):
            tokenizer.encode(text, most=len(ids) - 1)


def test_what_no_limit_allows_is_not_read(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "_read", None)
    with pytest.raises(ContextFullError, match="at least"):
        tokenizer.encode("a" * 1_000_000, most=100)
