"""A limit to how long a model thinks before it answers."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InvalidRequestError, is_whole

__all__ = ["ThinkingBudget"]


class ThinkingBudget:
    """Says when reasoning must be closed, and with which tokens.

    It counts over the whole answer: a model that opens `<think>` again goes on where it stopped.

    Args:
        max_tokens: most tokens of reasoning; those that close it are not counted.
        closing: the tokens that close it, such as those of `</think>` and an empty line.

    Raises:
        InvalidRequestError: the limit is negative, or nothing would close the reasoning.
    """

    def __init__(self, max_tokens: int, closing: Sequence[int]) -> None:
        if not is_whole(max_tokens) or max_tokens < 0 or not closing:
            raise InvalidRequestError(
                f"thinking budget: got {max_tokens!r} tokens and {len(closing)} to close with, "
                "expected 0 or more and at least 1"
            )
        self._left, self._closing = max_tokens, tuple(closing)

    def forced(self, in_reasoning: bool) -> tuple[int, ...]:
        """The tokens that must come next, or none; to be asked once before each drawn token.

        Args:
            in_reasoning: whether the next token would be reasoning.
        """
        if not in_reasoning:
            return ()
        if self._left == 0:
            return self._closing
        self._left -= 1
        return ()
