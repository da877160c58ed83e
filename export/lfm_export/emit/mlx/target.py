"""The target `mlx`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from lfm_edge.targets import MLX
from lfm_ops import reference as ops

from ...architecture import Architecture, ShortConv
from ...quantize import Scheme
from ...reference import Numerics
from ..plain_models import check_plain, refusal
from ..target import SUM_DISTURBANCE, Job, Option, Store, Target
from .store import open_store

__all__ = ["Mlx"]

_FLOAT16_ROUNDING = 2.0**-11
_FLOAT16_DISTURBANCE = 2 * _FLOAT16_ROUNDING  # a part rounds several times


class Mlx(Target):
    """Affine groups of 32 and 64 hold our integers and scales exactly."""

    name = MLX
    summary = "a folder for mlx-lm on Macs"
    holds_as: ClassVar[Mapping[str, str]] = {}
    options = (Option("activations", ("f32", "f16"), "exact, or half the memory and faster"),)

    def check(self, architecture: Architecture, scheme: Scheme) -> None:
        """Refuses what mlx-lm's models cannot do."""
        del scheme
        check_plain(architecture, self.name)
        if not any(isinstance(layer.operator, ShortConv) for layer in architecture.layers):
            raise refusal(self.name, "the model has no convolution")
        if architecture.embedding.head is not None:
            raise refusal(self.name, "the model's LM head is not its embedding")

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """Weights are dequantized; what is not an integer has the type of the activations."""
        if options["activations"] == "f32":
            return Numerics(ops.matmul_float32, "f32", SUM_DISTURBANCE)
        return Numerics(ops.matmul_float32, "f16", _FLOAT16_DISTURBANCE, _FLOAT16_ROUNDING)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        """The folder's weights, which have their places before the first comes, and its config."""
        with open_store(job) as store:
            yield store
