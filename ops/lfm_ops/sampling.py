"""The library's sampler: from logits to a token, the same on every device (docs/sampling.md)."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .library import library_path

__all__ = ["NONE_LEFT", "NOT_FINITE", "NO_MEMORY", "Sampler", "SamplerOptions"]

NOT_FINITE, NONE_LEFT, NO_MEMORY = -1, -2, -3


class SamplerOptions(ctypes.Structure):
    """`LfmSamplingOptions` of include/lfm_ops/sampling.h."""

    _fields_ = (
        ("seed", ctypes.c_uint64),
        ("temperature", ctypes.c_double),
        ("top_p", ctypes.c_double),
        ("min_p", ctypes.c_double),
        ("repetition_penalty", ctypes.c_float),
        ("frequency_penalty", ctypes.c_float),
        ("presence_penalty", ctypes.c_float),
        ("top_k", ctypes.c_int32),
    )


class Sampler:
    """Draws the tokens of one answer; for one thread at a time.

    Args:
        options: how to draw; the ranges are not checked.
        vocab_size: how many logits a token has.

    Raises:
        MemoryError: there is no memory for it.
        FileNotFoundError: the library was not built.
    """

    def __init__(self, options: SamplerOptions, vocab_size: int) -> None:
        self._library = library = _library()
        self._handle = library.lfm_sampler_create(ctypes.byref(options), vocab_size)
        if not self._handle:
            raise MemoryError("lfm_sampler_create")
        weakref.finalize(self, library.lfm_sampler_destroy, self._handle)
        self._words = -(-vocab_size // 32)
        self.vocab_size = vocab_size

    def bias(self, ids: Sequence[int], biases: Sequence[float]) -> None:
        """Adds to the logits of tokens, from now on; minus infinity bans them."""
        tokens, values = np.asarray(ids, np.int32), np.asarray(biases, np.float32)
        if len(tokens) != len(values):
            raise ValueError(f"{len(tokens)} ids, {len(values)} biases")
        self._done(
            self._library.lfm_sampler_bias(
                self._handle, tokens.ctypes.data, values.ctypes.data, len(tokens)
            )
        )

    def observe(self, ids: Sequence[int]) -> None:
        """Tells which tokens the prompt has; others than the vocabulary's are passed over."""
        tokens = np.asarray(ids, np.int32)
        self._done(self._library.lfm_sampler_observe(self._handle, tokens.ctypes.data, len(tokens)))

    def choose(self, logits: NDArray[np.float32], allowed: NDArray[np.uint32] | None = None) -> int:
        """The next token for `logits` [vocab_size]: nothing of the sampler changes.

        Args:
            logits: must not be used by others meanwhile; they are what they were afterwards.
            allowed: one bit a token, id % 32 of word id / 32; None allows all.

        Returns:
            The token, or `NOT_FINITE`, `NONE_LEFT` or `NO_MEMORY`.
        """
        if logits.shape != (self.vocab_size,) or logits.dtype != np.float32:
            raise ValueError(f"logits: {logits.dtype} {logits.shape}, not [{self.vocab_size}]")
        if not (logits.flags.c_contiguous and logits.flags.writeable and logits.flags.aligned):
            logits = logits.copy()
        mask = None
        if allowed is not None:
            if allowed.shape != (self._words,) or allowed.dtype != np.uint32:
                raise ValueError(f"allowed: {allowed.dtype} {allowed.shape}, not [{self._words}]")
            allowed = np.ascontiguousarray(allowed)
            mask = allowed.ctypes.data
        return int(self._library.lfm_sampler_choose(self._handle, logits.ctypes.data, mask))

    def accept(self, token: int) -> None:
        """Makes `token` the next one of the answer, chosen or not."""
        self._done(self._library.lfm_sampler_accept(self._handle, token))

    @staticmethod
    def _done(failed: int) -> None:
        if failed:
            raise MemoryError("the sampler's history")


def exp_of_negative(x: float) -> float:
    """The library's exp for x <= 0."""
    return float(_library().lfm_sampling_exp(x))


def uniform(seed: int, index: int) -> float:
    """The library's draw `index` of a seed."""
    return float(_library().lfm_sampling_uniform(seed, index))


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(str(library_path()))
    pointer, size = ctypes.c_void_p, ctypes.c_int32
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "lfm_sampler_create": (pointer, [pointer, size]),
        "lfm_sampler_destroy": (None, [pointer]),
        "lfm_sampler_bias": (size, [pointer, pointer, pointer, size]),
        "lfm_sampler_observe": (size, [pointer, pointer, size]),
        "lfm_sampler_choose": (size, [pointer, pointer, pointer]),
        "lfm_sampler_accept": (size, [pointer, size]),
        "lfm_sampling_exp": (ctypes.c_double, [ctypes.c_double]),
        "lfm_sampling_uniform": (ctypes.c_double, [ctypes.c_uint64, ctypes.c_uint64]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
