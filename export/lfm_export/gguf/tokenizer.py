"""A byte-level BPE behind the pre-tokenizer of Llama 3: as GGUF keys, and as tokenizer.json.

That is what LFM checkpoints have; llama.cpp calls it `lfm2`. A GGUF file says of each token whether
it is an ordinary, a control or a user's one; what else a tokenizer.json says of them is lost there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CONTROL",
    "NORMAL",
    "UNUSED",
    "USER_DEFINED",
    "GgufTokens",
    "tokenizer_json",
    "tokens_of",
]

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # llama.cpp's token types
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {"Regex": _LLAMA3},
            "behavior": "Isolated",
            "invert": False,
        },
        {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
    ],
}
_DECODER = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}


@dataclass(frozen=True)
class GgufTokens:
    """The tokenizer as GGUF keeps it: each id's text and type, and the merges by rank."""

    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]


def tokenizer_json(stored: GgufTokens, bos: int | None) -> str:
    """The `tokenizer.json` that behaves as the one that was converted.

    Args:
        stored: what the file holds; ids of unused tokens get no text.
        bos: the token that begins every text, or None.

    Raises:
        ValueError: a merge that is no two tokens, or a text that stands for two ids.
    """
    vocab: dict[str, int] = {}
    added = []
    for index, (text, kind) in enumerate(zip(stored.tokens, stored.types, strict=True)):
        if kind == UNUSED:
            continue
        if text in vocab:
            raise ValueError(f"{text[:60]!r} is token {vocab[text]} and {index}")
        vocab[text] = index
        if kind != NORMAL:
            special = kind != USER_DEFINED
            added.append(_added(index, text, special))
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _PRE_TOKENIZER,
        "post_processor": None if bos is None else _begins_with(stored.tokens[bos], bos),
        "decoder": _DECODER,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": vocab,
            "merges": [_pair(merge) for merge in stored.merges],
        },
    }
    return json.dumps(description, ensure_ascii=False)


def _added(index: int, text: str, special: bool) -> dict[str, Any]:
    return {
        "id": index,
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": not special,
        "special": special,
    }


def _begins_with(text: str, bos: int) -> dict[str, Any]:
    first = {"SpecialToken": {"id": text, "type_id": 0}}
    one, other = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [first, one],
        "pair": [first, one, other],
        "special_tokens": {text: {"id": text, "ids": [bos], "tokens": [text]}},
    }


def _pair(merge: str) -> list[str]:
    cut = merge.find(" ", 1)  # a token never holds a space: it is spelled with another letter
    first, second = merge[: max(cut, 0)], merge[cut + 1 :]
    if not first or not second or " " in second:
        raise ValueError(f"merge {merge[:60]!r} is no two tokens")
    return [first, second]


def tokens_of(description: Mapping[str, Any], vocab_size: int) -> GgufTokens:
    """What GGUF keeps of a `tokenizer.json`; ids without a text become unused tokens.

    Raises:
        ValueError: a tokenizer that llama.cpp does not know; says what is another.
    """
    model = description["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("unk_token"):
        raise ValueError(f"its model is {model['type']}, expected a byte-level BPE")
    if description.get("normalizer") is not None:
        raise ValueError(f"it has a normalizer ({description['normalizer'].get('type')})")
    if description.get("pre_tokenizer") != _PRE_TOKENIZER:
        raise ValueError("its pre-tokenizer is not that of Llama 3")
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [UNUSED] * vocab_size
    for text, index in model["vocab"].items():
        tokens[index], types[index] = text, NORMAL
    for added in description["added_tokens"]:
        index, special = added["id"], added["special"]
        tokens[index], types[index] = added["content"], CONTROL if special else USER_DEFINED
    if len(set(tokens)) != vocab_size:
        raise ValueError("two ids have the same text")
    merges = model["merges"]
    return GgufTokens(
        tokens, types, [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    )
