"""The target `coreai`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from lfm_edge.targets import COREAI
from lfm_ops import reference as ops
from lfm_ops.quantized import BLOCK_SIZE

from ...architecture import Architecture
from ...errors import ExportError
from ...quantize import Scheme
from ...reference import Numerics
from ...weights import methods
from ..target import SUM_DISTURBANCE, Job, Store, Target, kv_option

__all__ = ["CoreAI"]

_FAMILIES = ("lfm2", "lfm2_moe")
_MOST_BYTES = 2_000_000_000
_SCALE = 4 / BLOCK_SIZE  # bytes, a weight's part of it
_BYTES = {
    "f32": 4.0,
    "q8": 1 + _SCALE,
    "q6": 1 + _SCALE,
    "q4": 0.5 + _SCALE,
    "q4_64": 0.5 + _SCALE / 2,
}


class CoreAI(Target):
    """Apple's newer format, written and run by its own beta packages, which need torch."""

    name = COREAI
    summary = "experimental: Apple's newer format, up to 2 GB of weights"
    options = (kv_option(("f16", "f32")),)
    usual_context = 4096  # the whole cache is allocated at once

    def check(self, architecture: Architecture, scheme: Scheme) -> None:
        """Refuses what its modules cannot do, and what would not fit in an ordinary computer.

        The whole model is in memory, as a torch module and again as Core AI's program.

        Raises:
            ExportError: the family is another, or its weights take too many bytes.
        """
        if architecture.family not in _FAMILIES:
            raise ExportError(
                f"--target {self.name}: the model's family is {architecture.family}, expected "
                f"{' or '.join(_FAMILIES)}; --target coreml takes it"
            )
        method = methods(architecture, scheme)
        shapes = architecture.tensors().items()
        size = sum(math.prod(shape) * _BYTES[method.get(name, "f32")] for name, shape in shapes)
        if size > _MOST_BYTES:
            raise ExportError(
                f"--target {self.name}: the weights take {size / 1e9:.1f} GB, and Core AI's "
                "converter holds them in memory four times; expected at most "
                f"{_MOST_BYTES / 1e9:.1f} GB, so take fewer bits or a smaller model"
            )

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """Weights are dequantized to float32, and activations stay that."""
        return Numerics(ops.matmul_float32, cast(ops.KvType, options["kv"]), SUM_DISTURBANCE)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        """The program, built when all weights have come."""
        with warnings.catch_warnings():
            # Of a torch that it takes for a newer one, when it is the very one, built for CPUs.
            warnings.filterwarnings("ignore", "coreai-torch has only been validated")
            # Imported here: no other target needs torch.
            from .store import CoreAIStore  # noqa: PLC0415

        yield CoreAIStore(job)
