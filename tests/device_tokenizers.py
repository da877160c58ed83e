"""Tokenizers of every kind that a device.bin holds, made of the shipped one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from hypothesis import strategies as st
from lfm_edge.bundle import Bundle
from lfm_edge.tokenizer import Tokenizer
from lfm_export.device.proof_texts import SCRIPTS
from lfm_export.device.tokenizer_tables import compile_tokenizer

from .support import DEMO_MODEL

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def shipped(**changes: Any) -> str:
    """The shipped tokenizer.json, with other values at its top."""
    return json.dumps(json.loads((DEMO_MODEL / "tokenizer.json").read_text("utf-8")) | changes)


def with_model(**changes: Any) -> str:
    """The shipped tokenizer.json, with other values of its model."""
    return shipped(model=json.loads(shipped())["model"] | changes)


def with_split(pattern: str) -> str:
    """The shipped tokenizer.json, split by another regular expression."""
    pre_tokenizer = json.loads(shipped())["pre_tokenizer"]
    pre_tokenizer["pretokenizers"][0]["pattern"] = {"Regex": pattern}
    return shipped(pre_tokenizer=pre_tokenizer)


def split_pattern() -> str:
    """The regular expression that the shipped tokenizer splits by."""
    pattern = json.loads(shipped())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    return cast(str, pattern)


def with_added(*tokens: dict[str, Any]) -> str:
    """The shipped tokenizer.json with further added tokens."""
    whole = json.loads(shipped())
    for index, token in enumerate(tokens, 4096):
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
        whole["added_tokens"].append({"id": index, **flags, **token})
    return json.dumps(whole)


def without_byte(name: str) -> str:
    """A vocabulary that lacks a byte, and what is merged of it."""
    model = json.loads(shipped())["model"]
    left = {token: index for token, index in model["vocab"].items() if token != name}
    merges = [pair for pair in model["merges"] if name not in "".join(pair)]
    return with_model(vocab=left, merges=merges)


def ignoring_merges() -> str:
    """A vocabulary with a word that its merges do not make, which is read as a whole."""
    model = json.loads(shipped())["model"]
    model["vocab"] |= {"\u0120unmerged": 4096, "zqzq": 4097}
    return with_model(ignore_merges=True, vocab=model["vocab"])


KINDS: dict[str, str] = {
    "as it is": shipped(),
    "one digit": with_split(split_pattern().replace("{1,3}", "")),
    "GPT-2": shipped(pre_tokenizer=GPT2),
    "ignore_merges": ignoring_merges(),
    "flags": with_added(
        {"content": "<l>", "lstrip": True},
        {"content": "<r>", "rstrip": True, "special": True},
        {"content": "<b>", "lstrip": True, "rstrip": True, "normalized": True},
        {"content": "word", "single_word": True},
        {"content": "wordy", "single_word": True, "normalized": True},
        {"content": "<l><r>"},
        {"content": "<l", "normalized": True},
    ),
    "suffix": shipped(
        post_processor={
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<|startoftext|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {
                name: {"id": name, "ids": ids, "tokens": [name] * len(ids)}
                for name, ids in (("<|startoftext|>", [1]), ("<|im_end|>", [7, 2]))
            },
        }
    ),
    "no post-processor": shipped(post_processor=None),
}
"""By name."""


class _Files:
    """As much of a bundle as a tokenizer needs."""

    folder = Path("bundle")

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, name: str) -> str:
        assert name == "tokenizer.json"
        return self._text


def tokenizer_of(text: str) -> Tokenizer:
    """The SDK's tokenizer of a tokenizer.json."""
    return Tokenizer(cast(Bundle, _Files(text)))


def compiled(text: str) -> bytes:
    """The section of a tokenizer.json, its special tokens being markers."""
    tokenizer = tokenizer_of(text)
    markers = {token for token, (_, special) in tokenizer.added_tokens().items() if special}
    return compile_tokenizer(tokenizer, text, markers)


def texts() -> st.SearchStrategy[str]:
    """Texts in which letters, spaces, line ends, quotes and markers of all kinds meet."""
    odd = ("'s", "'LL", "'\u017f", "\r\n", "\n", "  ", "\u3000", "\x85", "\u0301", "\u200d", "1234")
    added = ("<|im_end|>", "<|im_", "end|>", "<think>", "<l>", "<r>", "<b>", "word", "wordy", "<l")
    scripts = [
        st.characters(min_codepoint=first, max_codepoint=last) for first, last in SCRIPTS.values()
    ]
    pieces = st.one_of(
        st.sampled_from(odd + added),
        st.sampled_from(" \t\nab'Z09!?_"),
        st.characters(exclude_categories=["Cs"]),
        st.one_of(scripts),
        st.binary(max_size=6).map(lambda data: data.decode("utf-8", "replace")),
    )
    return st.lists(pieces, max_size=30).map("".join)
