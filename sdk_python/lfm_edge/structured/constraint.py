"""Which tokens may come next: a grammar walked along the answer, thinking left free."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from ..errors import InvalidRequestError
from ..tokenizer import Tokenizer

__all__ = ["Constraint", "Thinking", "Vocabulary"]


class Vocabulary:
    """A model's tokens as grammars see them; costs about a second at 128,000 tokens, so keep it.

    Added tokens, such as `<|im_end|>` and `</think>`, are never part of a text: a grammar names
    them by id, as `<[10]>`, or not at all.

    Args:
        tokenizer: the bundle's.
        size: how many logits a token has; more than the tokenizer's ids is fine.
        eos_ids: tokens that end an answer.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, eos_ids: Collection[int]) -> None:
        self.size = size
        """How many logits a token has."""
        self.eos_ids = frozenset(eos_ids)
        """Tokens that end an answer."""
        wrapped = TokenizerWrapper(_Tokens(tokenizer, size, min(self.eos_ids)))
        self.native = LLTokenizer(wrapped, n_vocab=size, eos_token=sorted(self.eos_ids))
        """The same for llguidance."""


class _Tokens:
    """What llguidance reads of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, size: int, eos_id: int) -> None:
        known = min(tokenizer.size, size)
        self.tokens = [tokenizer.token_bytes(token) for token in range(known)]
        self.tokens += [b""] * (size - known)  # never drawn
        self.special_token_ids: Sequence[int] = sorted(tokenizer.added_ids)
        self.eos_token_id, self.bos_token_id = eos_id, None
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        if isinstance(text, bytes):  # how llguidance asks whether bytes are welcome
            raise TypeError("bytes")
        return self._tokenizer.encode(text)


@dataclass(frozen=True)
class Thinking:
    """The tokens around a model's reasoning, which no grammar binds."""

    open: int
    """`<think>`: the answer may begin with it."""
    close: int
    """`</think>`: the grammar's first token follows it."""
    begun: bool = False
    """The prompt ends in `<think>` already."""


class Constraint:
    """Walks a grammar along one answer: ask `mask`, draw a token, tell it to `advance`.

    Args:
        vocabulary: the model's tokens.
        grammar: what a function of this package made.
        thinking: where the model reasons first; None binds the answer from its first token.

    Raises:
        InvalidRequestError: the grammar is not one, allows nothing, or is too large.
    """

    def __init__(
        self, vocabulary: Vocabulary, grammar: str, thinking: Thinking | None = None
    ) -> None:
        self._vocabulary, self._thinking = vocabulary, thinking
        self._matcher = LLMatcher(vocabulary.native, grammar, log_level=0)
        self._check("the grammar is not accepted")
        self._mask = np.zeros(-(-vocabulary.size // 32), np.uint32)
        self._free = _all_but(vocabulary)
        self.start()

    def start(self) -> None:
        """Goes back to the beginning of the answer."""
        self._matcher.reset()
        self._in_thought = self._thinking is not None and self._thinking.begun
        self._may_think = self._thinking is not None and not self._thinking.begun
        self._ended = False

    def mask(self) -> NDArray[np.uint32]:
        """The tokens that may come next: bit id % 32 of word id / 32; holds until the next call.

        Raises:
            InvalidRequestError: the grammar is too complex to go on.
        """
        if self._in_thought:
            return self._free
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        self._check("the grammar cannot be followed further")
        if self._may_think and self._thinking is not None:
            self._mask[self._thinking.open // 32] |= np.uint32(1 << self._thinking.open % 32)
        return self._mask

    def advance(self, token: int) -> None:
        """Takes the next token of the answer, drawn or forced.

        Args:
            token: its id.

        Raises:
            InvalidRequestError: the grammar does not allow it there.
        """
        thinking = self._thinking
        if thinking is not None and self._in_thought:
            self._in_thought = token != thinking.close
        elif thinking is not None and self._may_think and token == thinking.open:
            self._in_thought, self._may_think = True, False
        else:
            self._may_think = False
            self._matcher.consume_token(token)
            self._check(f"the grammar does not allow token {token}")
            self._ended = token in self._vocabulary.eos_ids

    @property
    def may_end(self) -> bool:
        """Whether the answer so far is complete: the grammar allows the end here."""
        return not self._in_thought and (self._ended or self._matcher.is_accepting())

    def _check(self, what: str) -> None:
        if self._matcher.is_error():
            reason = " ".join(self._matcher.get_error().split())
            raise InvalidRequestError(f"{what}: {reason[:_LONGEST_REASON]}")


_LONGEST_REASON = 300


def _all_but(vocabulary: Vocabulary) -> NDArray[np.uint32]:
    """A mask of all tokens but those that end an answer."""
    mask = np.full(-(-vocabulary.size // 32), 0xFFFFFFFF, np.uint32)
    for token in vocabulary.eos_ids:
        mask[token // 32] &= ~np.uint32(1 << token % 32)
    return mask
