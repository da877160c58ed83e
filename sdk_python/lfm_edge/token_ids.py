"""Lists of token ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidRequestError, UnknownTokenError

__all__ = ["common", "require_ids"]


def common(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    pairs = enumerate(zip(held, wanted, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(held), len(wanted)))


def require_ids(ids: Sequence[int] | NDArray[np.integer], vocab_size: int) -> NDArray[np.int64]:
    """Token ids as an array [n].

    Raises:
        InvalidRequestError: there are none, or they are no integers.
        UnknownTokenError: one lies outside the vocabulary.
    """
    tokens = np.asarray(ids)
    if tokens.size == 0:
        raise InvalidRequestError("no tokens to read: got an empty list, expected at least one")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise InvalidRequestError(
            f"token ids: got {tokens.dtype} of shape {list(tokens.shape)}, expected a flat "
            "list of integers"
        )
    unknown = tokens[(tokens < 0) | (tokens >= vocab_size)]
    if unknown.size:
        raise UnknownTokenError(
            f"token id {unknown[0]}: outside the vocabulary, expected 0 to {vocab_size - 1}"
        )
    return np.ascontiguousarray(tokens, np.int64)
