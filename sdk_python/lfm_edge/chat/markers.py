"""The markers by which an LFM model structures its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = [
    "CALL_END",
    "CALL_ENDS",
    "CALL_START",
    "THINK_END",
    "THINK_START",
    "XML_CALL_END",
    "XML_CALL_START",
    "Markers",
]

THINK_START, THINK_END = "<think>", "</think>"
CALL_START, CALL_END = "<|tool_call_start|>", "<|tool_call_end|>"
XML_CALL_START, XML_CALL_END = "<tool_call>", "</tool_call>"
CALL_ENDS = {CALL_START: CALL_END, XML_CALL_START: XML_CALL_END}
"""The marker behind a block of calls, by the one before it: of LFM2 and LFM2.5, and of LFM3."""
_THINK = (THINK_START, THINK_END)
_ALL = (*_THINK, *CALL_ENDS.keys(), *CALL_ENDS.values())


@dataclass(frozen=True)
class Markers:
    """How the markers appear in a stream of tokens.

    A marker that the tokenizer has as a special token is that token and nothing else: its text,
    spelled by other tokens, is text (an answer may speak of markers, or quote a tool that wrote
    some). A marker that it lacks, as with some fine-tunes, is found in the text; but where it has
    those of calls of one model family, those of the other are text.

    Attributes:
        by_id: the markers that are special tokens.
    """

    by_id: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, token_id: Callable[[str], int | None]) -> Markers:
        """The markers of a tokenizer.

        Args:
            token_id: the id of the special token with this text, or None if there is none.
        """
        ids = {marker: token_id(marker) for marker in _ALL}
        return cls({token: marker for marker, token in ids.items() if token is not None})

    @property
    def in_text(self) -> frozenset[str]:
        """The markers that are found in the text."""
        tokens = frozenset(self.by_id.values())
        pairs = [pair for pair in CALL_ENDS.items() if tokens.issuperset(pair)]
        calls = [marker for pair in pairs or CALL_ENDS.items() for marker in pair]
        return frozenset((*_THINK, *calls)) - tokens

    @staticmethod
    def opens_reasoning(prompt: str) -> bool:
        """Whether a `prompt` ends in `<think>`, so that the answer starts in reasoning."""
        return prompt.rstrip().endswith(THINK_START)
