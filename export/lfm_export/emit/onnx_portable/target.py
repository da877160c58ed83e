"""The target `onnx-portable`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lfm_edge.bundle import Graph
from lfm_edge.targets import ONNX_PORTABLE
from lfm_ops import reference as ops
from lfm_ops.quantized import QuantizedTensor

from ...architecture import Architecture, SparseMoe
from ...errors import ExportError
from ...quantize import Scheme
from ...reference import Numerics
from ...weights import methods
from ..onnx_graph.external_data import ExternalData
from ..onnx_graph.initializers import Initializers
from ..onnx_graph.limits import check_onnx
from ..onnx_graph.signature import WEIGHTS_FILE
from ..onnx_graph.store import GraphStore
from ..target import SUM_DISTURBANCE, Job, Store, Target, kv_option
from .genai import write_genai_config
from .operations import MICROSOFT, PortableOperations
from .weights import PortableWeights

__all__ = ["OnnxPortable"]


class OnnxPortable(Target):
    """Operators of ONNX Runtime itself; ONNX Runtime GenAI runs the bundle as it is."""

    name = ONNX_PORTABLE
    summary = "operators of ONNX and com.microsoft only; ONNX Runtime GenAI runs it too"
    on_devices = True
    options = (kv_option(("f32",)),)

    def check(self, architecture: Architecture, scheme: Scheme) -> None:
        """Refuses heads, kernels and experts of two formats, which the operators do not take."""
        check_onnx(architecture, self.name)
        method = methods(architecture, scheme)
        for layer in architecture.layers:
            if isinstance(layer.feed_forward, SparseMoe):
                expert = layer.feed_forward.experts[0]
                up, down = method[expert.up.name], method[expert.down.name]
                if up != down:
                    raise ExportError(
                        f"--target {self.name}: experts of layer {layer.index} are {up} in w1 and "
                        f"w3 and {down} in w2, but its operators take one format for all three; "
                        "--target onnx takes both"
                    )

    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """Activations are rounded to int8 where weights are integers; the cache is float32."""
        del options
        return Numerics(_matmul, "f32", SUM_DISTURBANCE)

    @contextmanager
    def open(self, job: Job) -> Iterator[Store]:
        """The graph, its weights, and the config that ONNX Runtime GenAI reads."""
        with ExternalData(job.folder / WEIGHTS_FILE) as data:
            initializers = Initializers(data)
            weights = PortableWeights(initializers)
            yield _WithGenaiConfig(
                job,
                (MICROSOFT,),
                initializers,
                weights.put,
                lambda graph, signature: PortableOperations(graph, signature, weights),
            )


class _WithGenaiConfig(GraphStore):
    def finish(self) -> Graph:
        graph = super().finish()
        write_genai_config(self.job, graph)
        return graph


def _matmul(x: ops.Array, weight: QuantizedTensor) -> ops.Array:
    """As `MatMulNBits` does it: activations are rounded in groups as large as the weight's."""
    size = weight.format.group_size
    return ops.matmul_float32(ops.round_to_int8(x, size) if size else x, weight)
