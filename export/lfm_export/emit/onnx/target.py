"""The target `onnx`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, cast

from lfm_edge.targets import ONNX
from lfm_ops import reference as ops
from lfm_ops.layout import LAYOUT_VERSION

from ...architecture import Architecture
from ...quantize import Scheme
from ...reference import Numerics
from ..onnx_graph.external_data import ExternalData
from ..onnx_graph.initializers import Initializers
from ..onnx_graph.limits import check_onnx
from ..onnx_graph.signature import WEIGHTS_FILE, StateType
from ..onnx_graph.store import GraphStore
from ..target import SUM_DISTURBANCE, Job, Store, Target, kv_option
from .operations import DOMAIN, OnnxOperations
from .weights import PackedWeights

__all__ = ["Onnx"]

_KV_TYPES: dict[str, StateType] = {"f16": "float16", "f32": "float32", "int8": "int8"}


class Onnx(Target):
    """Our operators, fastest; they need their library, which the SDKs register."""

    name = ONNX
    summary = "our operators (domain ai.lfm), fastest"
    on_devices = True
    options = (kv_option(("f16", "f32", "int8")),)
    holds_as: ClassVar[Mapping[str, str]] = {}
    layout_version = LAYOUT_VERSION

    def check(self, architecture: Architecture, scheme: Scheme) -> None:
        """Refuses heads and kernels that the operators do not take."""
        del scheme
        check_onnx(architecture, self.name)

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """Activations are rounded to int8 where weights are integers."""
        return Numerics(ops.matmul_int8, cast(ops.KvType, options["kv"]), SUM_DISTURBANCE)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        """The graph, and beside it the packed weights."""
        with ExternalData(job.folder / WEIGHTS_FILE) as data:
            initializers = Initializers(data)
            weights = PackedWeights(initializers)
            kv = _KV_TYPES[job.options["kv"]]
            yield GraphStore(
                job,
                (DOMAIN,),
                initializers,
                weights.put,
                lambda graph, signature: OnnxOperations(graph, signature, weights, kv),
            )
