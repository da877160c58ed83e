"""Synthetic weights in the shape of a released model: for speed, memory and size, not for sense.

A weight depends on nothing but the seed, its tensor's name and shape, and its place in the tensor:
neither the order of reading nor the rows asked for change it. Every value is exact in bfloat16.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from lfm_edge.tokenizer import no_panics
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..architecture import describe
from ..errors import CheckpointError
from .base import Checkpoint, companions, quoted
from .shapes import SHAPES

__all__ = ["PREFIX", "SyntheticCheckpoint", "open_synthetic"]

PREFIX = "synthetic:"
_TOKENIZER = Path(__file__).parent.parent / "demo_model"
_BLOCK = 1 << 16  # weights drawn at once: their indices stay in the processor's cache
_QUANTILES = 1 << 16  # of the normal distribution: 16 random bits choose one
_PER_DRAW = 4  # of them in one draw of 64 bits


class SyntheticCheckpoint(Checkpoint):
    """Random weights for a config, drawn when they are read."""

    def __init__(
        self, name: str, config: Mapping[str, Any], seed: int, tokenizer: Path = _TOKENIZER
    ) -> None:
        """Describes the tensors of `config`.

        Raises:
            ArchitectureError: the config is unknown or contradicts itself.
        """
        self.name, self.config, self.files = name, config, companions(tokenizer)
        self.shapes = describe(config).tensors()
        self._layers = int(config["num_hidden_layers"])
        self._seed = seed

    def _read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        shape = self.shapes[name]
        width = math.prod(shape[1:])
        values = np.empty((stop - start, *shape[1:]), np.float32)
        self._draw(name, start * width, values.reshape(-1))
        return values

    def _draw(self, name: str, first: int, out: NDArray[np.float32]) -> None:
        """Fills `out` with the weights from `first` on, counted through the whole tensor."""
        digest = hashlib.blake2b(f"{self._seed}:{name}".encode(), digest_size=16).digest()
        bits = np.random.PCG64(int.from_bytes(digest, "little"))
        bits.advance(first // _PER_DRAW)
        table = _table(*_mean_and_deviation(name, self.shapes[name], self._layers))
        skipped = first % _PER_DRAW
        for begin in range(-skipped, out.size, _BLOCK):
            end = min(begin + _BLOCK, out.size)
            draws = bits.random_raw(-(-(end - begin) // _PER_DRAW)).view(np.uint16)
            chosen = draws[max(begin, 0) - begin : end - begin]
            np.take(table, chosen, out=out[max(begin, 0) : end], mode="clip")


def open_synthetic(source: str, seed: int, tokenizer: Path | None = None) -> SyntheticCheckpoint:
    """Opens `synthetic:SHAPE[:LAYERS]`; LAYERS takes the first layers only.

    Raises:
        CheckpointError: an unknown shape, an impossible number of layers, or a tokenizer that is
            none or has more tokens than the shape.
    """
    shape, colon, count = source.removeprefix(PREFIX).partition(":")
    if shape not in SHAPES:
        raise CheckpointError(f"{quoted(source)}: unknown shape; known: {', '.join(SHAPES)}")
    kinds = SHAPES[shape]["layer_types"]
    layers = len(kinds)
    if colon:
        layers = int(count) if count.isascii() and count.isdigit() and len(count) < 9 else 0
        if not 1 <= layers <= len(kinds):
            raise CheckpointError(
                f"{quoted(source)}: {quoted(count)} layers, expected 1 to {len(kinds)}"
            )
    config = {**SHAPES[shape], "layer_types": kinds[:layers], "num_hidden_layers": layers}
    if tokenizer is None:
        return SyntheticCheckpoint(source, config, seed)
    _check_tokenizer(tokenizer / "tokenizer.json", config["vocab_size"])
    return SyntheticCheckpoint(source, config, seed, tokenizer)


def _check_tokenizer(path: Path, vocab_size: int) -> None:
    if path.exists() and not path.is_file():
        raise CheckpointError(f"--tokenizer: {path}: is not a file")
    try:
        with no_panics():
            tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"--tokenizer: {path}: {str(error).splitlines()[0]}") from None
    size = tokenizer.get_vocab_size()
    if size > vocab_size:
        raise CheckpointError(
            f"--tokenizer: {path}: {size:,} tokens, but the shape has {vocab_size:,}"
        )


_EMBEDDING = 2.0  # times the deviation of other matrices, so that tied logits are near 2


def _mean_and_deviation(name: str, shape: tuple[int, ...], layers: int) -> tuple[float, float]:
    """Keeps activations near 1 and tied logits near 2.

    All branches together add as much to the residual stream as the embedding began it with:
    with more, random weights are chaotic and a rounding error grows from layer to layer.
    """
    if name.endswith(("post_operator_norm.weight", "post_ffn_norm.weight")):
        branch = _EMBEDDING / math.sqrt(shape[0]) / math.sqrt(2 * layers)
        return branch, 0.1 * branch
    if "norm" in name:
        return 1.0, 0.1
    if name.endswith("bias"):
        return 0.0, 0.05
    deviation = 1 / math.sqrt(math.prod(shape[1:]))
    if name.endswith(("embed_tokens.weight", "lm_head.weight")):
        return 0.0, _EMBEDDING * deviation
    if name.endswith(("out_proj.weight", "o_proj.weight", "w2.weight")):
        hidden = shape[0]
        return 0.0, deviation * _EMBEDDING / math.sqrt(hidden) / math.sqrt(2 * layers)
    return 0.0, deviation


@cache
def _table(mean: float, deviation: float) -> NDArray[np.float32]:
    """The quantiles of a normal distribution, rounded to bfloat16."""
    exact = (mean + deviation * _standard_quantiles()).astype(np.float32)
    bits = exact.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


@cache
def _standard_quantiles() -> NDArray[np.float64]:
    inverse = NormalDist().inv_cdf
    half = np.array([inverse((i + 0.5) / _QUANTILES) for i in range(_QUANTILES // 2)])
    return np.concatenate([half, -half[::-1]])
