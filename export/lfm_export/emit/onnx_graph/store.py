"""What takes an ONNX target's weights, and builds its graph when they have come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir
from lfm_edge.bundle import Graph

from ...decoder import Operations, decode
from ...weights import Part, Weights
from ..target import Job
from .builder import GraphBuilder
from .initializers import Initializers
from .residual import Residual
from .signature import GRAPH_FILE, Signature

__all__ = ["GraphStore"]

MakeOperations = Callable[[GraphBuilder, Signature], Operations[Residual, ir.Value]]


class GraphStore:
    """Hands parts to `put`, then has the model built by the operations of the target."""

    def __init__(
        self,
        job: Job,
        domains: Sequence[str],
        initializers: Initializers,
        put: Callable[[Part, Weights], None],
        make_operations: MakeOperations,
    ) -> None:
        """`put` stores a part's tensors in `initializers`."""
        self.job, self._domains = job, domains
        self._initializers, self.put = initializers, put
        self._make_operations = make_operations

    def finish(self) -> Graph:
        """Writes `model.onnx` and says how it is called."""
        job, graph = self.job, GraphBuilder(self._initializers, self._domains)
        signature = Signature(graph, job.architecture, job.context)
        logits = decode(job.architecture, self._make_operations(graph, signature))
        signature.logits(logits, job.architecture.vocab_size)
        graph.save(job.folder / GRAPH_FILE, job.producer, job.context)
        return signature.describe(job.target)
