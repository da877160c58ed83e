"""How a tokenizer cuts a text into the pieces that it merges: the kinds that have tables."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["GPT2", "LLAMA3", "Splitting", "splitting_of"]

LLAMA3, GPT2 = 1, 2

_CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
_LLAMA3 = (
    f"(?i:{_CONTRACTIONS})|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|\\p{{N}}DIGITS"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
_GPT2 = f"{_CONTRACTIONS}| ?\\p{{L}}+| ?\\p{{N}}+| ?[^\\s\\p{{L}}\\p{{N}}]+|\\s+(?!\\S)|\\s+"


class Splitting(NamedTuple):
    """The pieces of a text.

    Attributes:
        kind: `LLAMA3` or `GPT2`.
        most_digits: of one piece; 0 is no bound.
    """

    kind: int
    most_digits: int


_GPT2_SPLITTING = Splitting(GPT2, 0)
_PATTERNS = {
    _LLAMA3.replace("DIGITS", "{1,3}"): Splitting(LLAMA3, 3),
    _LLAMA3.replace("DIGITS", ""): Splitting(LLAMA3, 1),
    _GPT2: _GPT2_SPLITTING,
}


def splitting_of(pre_tokenizer: dict[str, Any] | None) -> Splitting | None:
    """What the pre-tokenizer of a tokenizer.json does; None if it has no tables."""
    steps = _steps(pre_tokenizer)
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    own_pattern = steps[-1].get("use_regex", True)
    if len(steps) == 1 and own_pattern:
        return _GPT2_SPLITTING
    if len(steps) == 2 and not own_pattern:
        return _split(steps[0])
    return None


def _split(step: dict[str, Any]) -> Splitting | None:
    whole = {"type": "Split", "behavior": "Isolated", "invert": False}
    if {name: step.get(name) for name in whole} != whole:
        return None
    return _PATTERNS.get(step["pattern"].get("Regex"))


def _steps(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pre_tokenizer is None:
        return []
    if pre_tokenizer.get("type") == "Sequence":
        return [step for part in pre_tokenizer["pretokenizers"] for step in _steps(part)]
    return [pre_tokenizer]
