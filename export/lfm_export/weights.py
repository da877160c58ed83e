"""The one walk over a model's weights: read, quantize once, hand each part to every consumer.

Parts come in the order of the architecture, an expert at a time; while the consumers work on one,
the next is read and quantized. Nothing here or in a consumer holds the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .architecture import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Linear,
    Mlp,
    Norm,
    Router,
    ShortConv,
    SparseMoe,
    Vector,
)
from .checkpoint import Checkpoint
from .quantize import METHODS, Scheme, UnfitWeightError, check_fit

__all__ = ["Consumer", "Weights", "walk"]

Array = NDArray[np.float32]
Operator = Attention | ShortConv

_ROWS_BYTES = 64 << 20  # float32 bytes of a large tensor that are in memory at once
_AHEAD = 3  # parts that are read while one is being consumed


@dataclass(frozen=True)
class Weights:
    """The tensors of one part, by name."""

    matrices: Mapping[str, QuantizedTensor]
    vectors: Mapping[str, Array]

    @property
    def size(self) -> int:
        """The number of weights."""
        matrices = sum(matrix.values.size for matrix in self.matrices.values())
        return matrices + sum(vector.size for vector in self.vectors.values())

    def matrix(self, linear: Linear) -> QuantizedTensor:
        """A linear layer's weight, quantized."""
        return self.matrices[linear.name]

    def vector(self, vector: Vector) -> Array:
        """A small tensor in float32."""
        return self.vectors[vector.name]

    def optional(self, vector: Vector | None) -> Array | None:
        """The same for one that the model may not have."""
        return None if vector is None else self.vectors[vector.name]


class Consumer(Protocol):
    """What meets every part, once, in this order; experts in theirs, between router and end."""

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """The token embedding and, where it is not tied, the LM head."""

    def operator(self, layer: Layer, weights: Weights) -> None:
        """A layer's operator with its norm."""

    def mlp(self, layer: Layer, part: Mlp, weights: Weights) -> None:
        """A layer's dense feed-forward with its norm."""

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """A layer's router with its norm; its experts follow."""

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """One expert of the layer whose router came last."""

    def end_of_experts(self) -> None:
        """The last expert of a layer has come."""

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """The norm before the LM head; nothing follows."""


Deliver = Callable[[Consumer, Weights], None]


@dataclass(frozen=True)
class _Step:
    """One part: what to read for it, and how a consumer receives it."""

    linears: tuple[tuple[Linear, str], ...]
    vectors: tuple[Vector, ...]
    deliver: Deliver


def walk(
    architecture: Architecture,
    checkpoint: Checkpoint,
    scheme: Scheme,
    consumers: Iterable[Consumer],
    progress: Callable[[int], None],
) -> None:
    """Takes every weight through quantization to all consumers.

    `progress` receives the number of weights that were consumed since its last call.

    Raises:
        CheckpointError: a tensor cannot be read, or holds no finite numbers.
    """
    consumers = tuple(consumers)
    # One thread for NumPy's products: two quantize beside them, and sums keep their order.
    with threadpool_limits(1, "blas"):
        for step, weights in _read_ahead(_steps(architecture, scheme), checkpoint):
            for consumer in consumers:
                step.deliver(consumer, weights)
            progress(weights.size)


def _steps(architecture: Architecture, scheme: Scheme) -> Iterator[_Step]:
    embedding = architecture.embedding
    tables = (embedding.tokens,) if embedding.head is None else (embedding.tokens, embedding.head)
    yield _Step(
        tuple((table, scheme.head) for table in tables),
        (),
        lambda consumer, weights: consumer.embedding(embedding, weights),
    )
    for layer in architecture.layers:
        yield _operator_step(layer, scheme)
        if isinstance(layer.feed_forward, Mlp):
            yield _mlp_step(layer, layer.feed_forward, scheme)
        else:
            yield from _moe_steps(layer, layer.feed_forward, scheme)
    norm = architecture.final_norm
    yield _Step((), (norm.weight,), lambda consumer, weights: consumer.final_norm(norm, weights))


def _operator_step(layer: Layer, scheme: Scheme) -> _Step:
    operator = layer.operator
    linears: tuple[Linear, ...]
    vectors: tuple[Vector, ...]
    if isinstance(operator, Attention):
        linears = (operator.q_proj, operator.k_proj, operator.v_proj, operator.out_proj)
        vectors = (operator.q_norm.weight, operator.k_norm.weight)
    else:
        linears = (operator.in_proj, operator.out_proj)
        vectors = (operator.taps, *([operator.bias] if operator.bias else []))
    biases = tuple(linear.bias for linear in linears if linear.bias)
    return _Step(
        tuple((linear, scheme.linear) for linear in linears),
        (layer.operator_norm.weight, *vectors, *biases),
        lambda consumer, weights: consumer.operator(layer, weights),
    )


def _mlp_step(layer: Layer, part: Mlp, scheme: Scheme) -> _Step:
    return _Step(
        _linears(part, scheme),
        (layer.ffn_norm.weight,),
        lambda consumer, weights: consumer.mlp(layer, part, weights),
    )


def _linears(part: Mlp, scheme: Scheme) -> tuple[tuple[Linear, str], ...]:
    return tuple((linear, scheme.linear) for linear in (part.gate, part.up, part.down))


def _moe_steps(layer: Layer, moe: SparseMoe, scheme: Scheme) -> Iterator[_Step]:
    router: Router = moe.router
    vectors = (layer.ffn_norm.weight, router.weight, *([router.bias] if router.bias else []))
    yield _Step((), vectors, lambda consumer, weights: consumer.router(layer, moe, weights))
    last = len(moe.experts) - 1
    for index, expert in enumerate(moe.experts):
        yield _Step(_linears(expert, scheme), (), _expert_delivery(index, expert, index == last))


def _expert_delivery(index: int, expert: Mlp, last: bool) -> Deliver:
    def deliver(consumer: Consumer, weights: Weights) -> None:
        consumer.expert(index, expert, weights)
        if last:
            consumer.end_of_experts()

    return deliver


def _read_ahead(steps: Iterator[_Step], checkpoint: Checkpoint) -> Iterator[tuple[_Step, Weights]]:
    """Yields each step with its weights; two threads work on the steps to come."""
    pending: deque[tuple[_Step, Future[Weights]]] = deque()
    pool = ThreadPoolExecutor(max_workers=2)
    try:
        for step in steps:
            pending.append((step, pool.submit(_read, step, checkpoint)))
            if len(pending) > _AHEAD:
                ready, future = pending.popleft()
                yield ready, future.result()
        while pending:
            ready, future = pending.popleft()
            yield ready, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(step: _Step, checkpoint: Checkpoint) -> Weights:
    return Weights(
        {linear.name: _quantize(linear, method, checkpoint) for linear, method in step.linears},
        {vector.name: _vector(vector, checkpoint) for vector in step.vectors},
    )


def _vector(vector: Vector, checkpoint: Checkpoint) -> Array:
    values = checkpoint.read(vector.name)
    try:
        check_fit(values)
    except UnfitWeightError as error:
        raise checkpoint.unfit(vector.name, error.row, error.value) from None
    return values


def _quantize(linear: Linear, method: str, checkpoint: Checkpoint) -> QuantizedTensor:
    """A few rows at a time, so that a large tensor is whole only as integers."""
    rows = max(1, _ROWS_BYTES // (4 * linear.columns))
    parts = []
    for start in range(0, linear.rows, rows):
        values = checkpoint.read(linear.name, start, min(start + rows, linear.rows))
        try:
            parts.append(METHODS[method](values))
        except UnfitWeightError as error:
            raise checkpoint.unfit(linear.name, start + error.row, error.value) from None
    first = parts[0]
    if len(parts) == 1:
        return first
    scales = (
        None
        if first.scales is None
        else np.concatenate([p.scales for p in parts if p.scales is not None])
    )
    return QuantizedTensor(first.bits, np.concatenate([p.values for p in parts]), scales)
