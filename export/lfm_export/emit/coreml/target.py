"""The target `coreml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lfm_edge.targets import COREML
from lfm_ops import reference as ops

from ...reference import Numerics
from ..target import Job, Option, Store, Target

__all__ = ["CoreML"]

_FLOAT16_ROUNDING = 2.0**-11
_FLOAT16_DISTURBANCE = 2 * _FLOAT16_ROUNDING  # a part rounds several times


class CoreML(Target):
    """A stateful program with the functions `decode` and `prefill`."""

    name = COREML
    summary = "a Core ML package for iOS 18 and macOS 15"
    options = (
        Option("moe", ("wide", "gather", "gatherq"), "how experts are multiplied"),
        Option("conv-state", ("io", "state"), "conv state as inputs and outputs, or as a state"),
    )
    methods = ("q8", "q6", "q4", "q4_64")
    usual_context = 4096  # the whole cache is allocated at once

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """Weights, activations, cache and logits are float16."""
        del options
        return Numerics(ops.matmul_float32, "f16", _FLOAT16_DISTURBANCE, _FLOAT16_ROUNDING)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        """The package; its weight file is written while the weights come."""
        # Imported here: no other target needs coremltools.
        from .store import open_store  # noqa: PLC0415

        with open_store(job) as store:
            yield store
