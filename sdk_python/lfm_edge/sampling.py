"""From logits to a token: penalties, biases, temperature, top-k, top-p and min-p.

The filters, their order and their edge cases are those of transformers' logits processors; the
arithmetic and the random numbers are specified in docs/sampling.md, for every language.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np
from lfm_ops import sampling as native
from numpy.typing import NDArray

from .errors import BundleError, InvalidRequestError, UnknownTokenError

__all__ = ["Sampler", "SamplingOptions"]

_LARGEST_TOP_K = 2**31 - 1


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is drawn.

    Raises:
        InvalidRequestError: a value is out of its range; the message names the option.
    """

    temperature: float = 0.0
    """Divides the logits; 0 always takes the most likely token."""
    top_k: int = 0
    """Keeps the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keeps the fewest tokens whose probabilities add up to p; 1 keeps all."""
    min_p: float = 0.0
    """Keeps tokens at least this likely, as a fraction of the most likely one's probability."""
    repetition_penalty: float = 1.0
    """Makes tokens of the prompt and the answer less likely (above 1) or more likely (below)."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit for each time that the answer has it."""
    presence_penalty: float = 0.0
    """Taken from a token's logit once the answer has it."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of tokens."""
    banned: Collection[int] = ()
    """Tokens that are never drawn."""
    seed: int | None = None
    """The same seed gives the same tokens; None draws a fresh one."""

    def __post_init__(self) -> None:
        real, whole = (Real,), (int, np.integer)
        _check("temperature", self.temperature, real, 0, 1e6, "a number from 0 to 1e6")
        _check("top_k", self.top_k, whole, 0, math.inf, "an integer of 0 (off) or more")
        _check("top_p", self.top_p, real, 5e-324, 1, "a number above 0 and up to 1")
        _check("min_p", self.min_p, real, 0, 1, "a number from 0 to 1")
        _check(
            "repetition_penalty",
            self.repetition_penalty,
            real,
            1e-6,
            1e6,
            "a number above 0, from 1e-6 to 1e6",
        )
        for name in ("frequency_penalty", "presence_penalty"):
            _check(name, getattr(self, name), real, -2, 2, "a number from -2 to 2")
        if not isinstance(self.logit_bias, Mapping):
            raise InvalidRequestError(f"logit_bias: got {self.logit_bias!r}, expected a mapping")
        for token, bias in self.logit_bias.items():
            _check("logit_bias", token, whole, 0, math.inf, "token ids of 0 or more")
            _check("logit_bias", bias, real, -100, 100, "numbers from -100 to 100")
        if not isinstance(self.banned, Collection) or isinstance(self.banned, (str, bytes)):
            raise InvalidRequestError(f"banned: got {self.banned!r}, expected token ids")
        for token in self.banned:
            _check("banned", token, whole, 0, math.inf, "token ids of 0 or more")
        if self.seed is not None:
            _check("seed", self.seed, whole, 0, 2**64 - 1, "an integer from 0 to 2^64 - 1")


class Sampler:
    """Draws the tokens of one answer; for one thread at a time.

    Args:
        options: how to draw.
        vocab_size: how many logits a token has.

    Raises:
        UnknownTokenError: `logit_bias` or `banned` names a token outside the vocabulary.
    """

    def __init__(self, options: SamplingOptions, vocab_size: int) -> None:
        self.options = options
        """How it draws."""
        biases = {**options.logit_bias, **dict.fromkeys(options.banned, -math.inf)}
        for token in biases:
            if token >= vocab_size:
                name = "banned" if token in options.banned else "logit_bias"
                raise UnknownTokenError(
                    f"{name}: token {token} is not one of the model's {vocab_size:,}"
                )
        self._native = native.Sampler(_native_options(options), vocab_size)
        self._native.bias(list(biases), list(biases.values()))
        self._forced: deque[int] = deque()

    def observe(self, ids: Sequence[int]) -> None:
        """Tells which tokens the prompt has (`ids`), for the repetition penalty."""
        self._native.observe(ids)

    def force(self, ids: Iterable[int]) -> None:
        """Makes `ids` the next tokens of the answer, whatever the logits say."""
        self._forced.extend(ids)

    def sample(self, logits: NDArray[np.float32], allowed: NDArray[np.uint32] | None = None) -> int:
        """The next token of the answer for `logits` [vocab].

        Args:
            logits: changed while this runs, and what they were afterwards.
            allowed: one bit a token, id % 32 of word id / 32 (see `Constraint.mask`); None
                allows all. Forced tokens do not ask.

        Raises:
            BundleError: the logits hold NaN or infinity, or nothing finite.
            InvalidRequestError: every token is banned or not allowed.
        """
        token = self._forced.popleft() if self._forced else self._choose(logits, allowed)
        self._native.accept(token)
        return token

    def _choose(self, logits: NDArray[np.float32], allowed: NDArray[np.uint32] | None) -> int:
        token = self._native.choose(logits, allowed)
        if token == native.NOT_FINITE:
            raise BundleError(
                "the graph gave logits that are not finite numbers; verify the bundle"
            )
        if token == native.NONE_LEFT:
            raise InvalidRequestError(
                "no token is left to draw: ban fewer of those that the answer needs"
            )
        if token == native.NO_MEMORY:
            raise MemoryError("sampling")
        return token


def _native_options(options: SamplingOptions) -> native.SamplerOptions:
    return native.SamplerOptions(
        seed=secrets.randbits(64) if options.seed is None else int(options.seed),
        temperature=options.temperature,
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        frequency_penalty=options.frequency_penalty,
        presence_penalty=options.presence_penalty,
        top_k=min(int(options.top_k), _LARGEST_TOP_K),
    )


def _check(
    name: str, value: object, kinds: tuple[type, ...], low: float, high: float, expected: str
) -> None:
    right_kind = isinstance(value, kinds) and not isinstance(value, bool)
    # NaN fails both comparisons.
    if not (right_kind and low <= value <= high):  # type: ignore[operator]
        raise InvalidRequestError(f"{name}: got {value!r}, expected {expected}")
