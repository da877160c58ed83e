"""The target `gguf`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from lfm_edge.targets import GGUF
from lfm_ops import reference as ops

from ...architecture import Architecture, ShortConv, SparseMoe
from ...quantize import Scheme
from ...reference import Numerics
from ..plain_models import check_plain, refusal
from ..target import SUM_DISTURBANCE, Job, Store, Target

__all__ = ["Gguf"]


class Gguf(Target):
    """Q8_0 and Q4_0 are our integers and scales, also of 6 bits and of groups of 64."""

    name = GGUF
    holds_as: ClassVar[Mapping[str, str]] = {"q6": "q8", "q4_64": "q4"}
    summary = "a GGUF file for llama.cpp, of Q4_0 and Q8_0"

    def check(self, architecture: Architecture, scheme: Scheme) -> None:
        """Refuses what llama.cpp's models cannot do."""
        del scheme
        check_plain(architecture, self.name)
        for layer in architecture.layers:
            operator, feed_forward = layer.operator, layer.feed_forward
            if isinstance(operator, ShortConv) and operator.bias is not None:
                raise refusal(self.name, "the model's convolutions have biases")
            if isinstance(feed_forward, SparseMoe):
                router = feed_forward.router
                if not router.norm_topk_prob:
                    raise refusal(self.name, "norm_topk_prob is false")
                if router.routed_scaling_factor != 1.0:
                    raise refusal(
                        self.name, f"routed_scaling_factor is {router.routed_scaling_factor}"
                    )

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """Activations are rounded to int8 where weights are integers; the cache is float16."""
        del options
        return Numerics(ops.matmul_int8, "f16", SUM_DISTURBANCE)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        """The file, whose tensors have their places before the first weight comes."""
        # Imported here: no other target needs the gguf package.
        from .store import open_store  # noqa: PLC0415

        with open_store(job) as store:
            yield store
