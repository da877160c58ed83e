"""The forms in which a sparse feed-forward can be given to Core ML.

Each stores a layer's experts as they come, and later adds their product to a function; every
function reads the same blobs. Which form does what is told in docs/coreml.md.
"""

from __future__ import annotations

import abc

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from lfm_ops.quantized import QuantizedTensor, common_format, stack_rows

from ..architecture import Layer, Mlp, Router, SparseMoe
from ..weights import Weights
from ._coreml_blobs import INTEGERS, BlobFile
from ._coreml_ops import MAX_ROWS, Ops, Var
from ._matmul_nbits import pack

__all__ = ["FORMS", "MoeForm"]

_NORM_EPS = np.float32(1e-6)  # what the model adds to the sum of the selected scores


class MoeForm(abc.ABC):
    """How experts are stored and multiplied."""

    def __init__(self, blobs: BlobFile) -> None:
        self._blobs = blobs

    @abc.abstractmethod
    def store(self, layer: Layer, index: int, part: Mlp, weights: Weights) -> None:
        """Writes one expert; they come in order."""

    @abc.abstractmethod
    def output(self, ops: Ops, x: Var, layer: Layer, scores: Var, chosen: Var) -> Var:
        """The experts' weighed sum `[tokens, hidden]`.

        Args:
            ops: builds the function.
            x: the normed input `[tokens, hidden]`, float16.
            layer: whose feed-forward it is.
            scores: what each chosen expert weighs, `[tokens, k]`, float32.
            chosen: the experts that were chosen, `[tokens, k]`, int32.
        """

    def feed_forward(self, ops: Ops, x: Var, layer: Layer) -> Var:
        """Router, choice and experts for `x` `[1, tokens, hidden]` in float32."""
        part = layer.feed_forward
        assert isinstance(part, SparseMoe)
        _, tokens, hidden = x.shape
        x = mb.reshape(x=x, shape=[tokens, hidden])
        scores, chosen = _route(ops, x, part.router)
        out = self.output(ops, ops.half(x), layer, scores, chosen)
        return mb.reshape(x=out, shape=[1, tokens, hidden])


class Wide(MoeForm):
    """One wide MLP whose inner values are weighed by the scores, by zero where not chosen.

    It is cut into groups of experts whose gate and up rows stay within `MAX_ROWS`.
    """

    def __init__(self, blobs: BlobFile) -> None:
        super().__init__(blobs)
        self._group: list[tuple[QuantizedTensor, QuantizedTensor]] = []

    def store(self, layer: Layer, index: int, part: Mlp, weights: Weights) -> None:
        """Writes a group once it is complete."""
        self._group.append((_gate_up(part, weights), weights.matrix(part.down)))
        sizes = _group_sizes(layer)
        group = index // sizes[0]
        if len(self._group) == sizes[group]:
            gate_up, down = zip(*self._group, strict=True)
            self._blobs.add_matrix(_name(layer, f"gate_up.{group}"), stack_rows(gate_up))
            self._blobs.add_matrix(_name(layer, f"down.{group}"), _join_columns(down))
            self._group = []

    def output(self, ops: Ops, x: Var, layer: Layer, scores: Var, chosen: Var) -> Var:
        """Two products of two matrices for each group."""
        part, tokens, sizes = _experts(layer)[0], x.shape[0], _group_sizes(layer)
        shares = ops.pieces(_of_all_experts(ops, layer, scores, chosen), sizes, 1)
        outputs = []
        for group, (count, share) in enumerate(zip(sizes, shares, strict=True)):
            both = ops.product(x, ops.whole(_name(layer, f"gate_up.{group}")))
            both = mb.reshape(x=both, shape=[tokens, count, 2 * part.gate.rows])
            inner = ops.silu_product(*mb.split(x=both, num_splits=2, axis=-1))
            inner = mb.mul(x=inner, y=mb.expand_dims(x=share, axes=[-1]))
            inner = mb.reshape(x=inner, shape=[tokens, count * part.gate.rows])
            outputs.append(ops.product(inner, ops.whole(_name(layer, f"down.{group}"))))
        total = outputs[0]
        for output in outputs[1:]:
            total = mb.add(x=total, y=output)
        return total


class Gather(MoeForm):
    """The chosen experts' matrices are picked out of a stack for one token.

    Several tokens choose nearly all of them, so they are multiplied by all.
    """

    packed = False

    def store(self, layer: Layer, index: int, part: Mlp, weights: Weights) -> None:
        """Writes the expert to its place in the stacks."""
        for name, weight in (
            (_name(layer, "gate_up"), _gate_up(part, weights)),
            (_name(layer, "down"), weights.matrix(part.down)),
        ):
            integers = pack(weight) if self.packed and weight.format.name == "q4" else weight.values
            scales = weight.scales
            assert scales is not None
            if index == 0:
                count = len(_experts(layer))
                dtype = INTEGERS[weight.format.name]
                if integers.dtype == np.uint8:
                    dtype = "uint8"
                self._blobs.reserve(name, dtype, (count, *integers.shape))
                self._blobs.reserve(f"{name}.scales", "float16", (count, *scales.shape))
            self._blobs.write(self._blobs.blobs[name], index, integers[None])
            self._blobs.write(self._blobs.blobs[f"{name}.scales"], index, scales[None])

    def output(self, ops: Ops, x: Var, layer: Layer, scores: Var, chosen: Var) -> Var:
        """Batched products, an expert at each place of the first axis."""
        if x.shape[0] == 1:
            indices = mb.reshape(x=chosen, shape=[chosen.shape[1]])
            share = mb.transpose(x=ops.half(scores), perm=[1, 0])
            gate_up, down = (
                self._picked(ops, _name(layer, name), indices) for name in ("gate_up", "down")
            )
        else:
            share = mb.transpose(x=_of_all_experts(ops, layer, scores, chosen), perm=[1, 0])
            gate_up, down = (
                self._all(ops, _name(layer, name), chosen) for name in ("gate_up", "down")
            )
        both = mb.matmul(x=mb.expand_dims(x=x, axes=[0]), y=gate_up, transpose_y=True)
        inner = ops.silu_product(*mb.split(x=both, num_splits=2, axis=-1))
        inner = mb.mul(x=inner, y=mb.expand_dims(x=share, axes=[-1]))
        outputs = mb.matmul(x=inner, y=down, transpose_y=True)
        return mb.reduce_sum(x=outputs, axes=[0])

    def _picked(self, ops: Ops, name: str, indices: Var) -> Var:
        return mb.gather(x=ops.whole(name), indices=indices, axis=0)

    def _all(self, ops: Ops, name: str, chosen: Var) -> Var:
        del chosen
        return ops.whole(name)


class GatherQuantized(Gather):
    """The same, but integers and scales are picked and multiplied in plain arithmetic."""

    packed = True

    def _picked(self, ops: Ops, name: str, indices: Var) -> Var:
        return ops.picked(name, indices)

    def _all(self, ops: Ops, name: str, chosen: Var) -> Var:
        """Packed integers are picked here too, by indices that only a run knows.

        Otherwise a compiler could unpack the constants for good.
        """
        count, *_ = ops.shape(name)
        if not ops.is_packed(name):
            return ops.whole(name)
        first = mb.slice_by_size(x=mb.reshape(x=chosen, shape=[-1]), begin=[0], size=[1])
        zero = mb.mul(x=first, y=np.int32(0))
        every = ops.constant(f"steps.{count}", np.arange(count, dtype=np.int32))
        return ops.picked(name, mb.add(x=every, y=zero))


FORMS: dict[str, type[MoeForm]] = {"wide": Wide, "gather": Gather, "gatherq": GatherQuantized}


def _route(ops: Ops, x: Var, router: Router) -> tuple[Var, Var]:
    """Scores and indices `[tokens, k]` of the chosen experts, in float32."""
    scores = mb.sigmoid(x=ops.product(x, ops.vector(router.weight)))
    ranked = scores
    if router.bias is not None:
        ranked = mb.add(x=scores, y=ops.vector(router.bias))
    _, chosen = mb.topk(x=ranked, k=router.num_experts_per_tok, axis=-1, ascending=False)
    selected = mb.gather_along_axis(x=scores, indices=chosen, axis=-1)
    if router.norm_topk_prob:
        total = mb.reduce_sum(x=selected, axes=[-1], keep_dims=True)
        selected = mb.real_div(x=selected, y=mb.add(x=total, y=_NORM_EPS))
    if router.routed_scaling_factor != 1:
        selected = mb.mul(x=selected, y=np.float32(router.routed_scaling_factor))
    return selected, chosen


def _of_all_experts(ops: Ops, layer: Layer, scores: Var, chosen: Var) -> Var:
    """What every expert weighs, `[tokens, experts]` in float16: zero where it is not chosen."""
    count = len(_experts(layer))
    places = mb.one_hot(indices=chosen, one_hot_vector_size=count, on_value=1.0, off_value=0.0)
    weighed = mb.mul(x=places, y=mb.expand_dims(x=scores, axes=[-1]))
    return ops.half(mb.reduce_sum(x=weighed, axes=[1]))


def _experts(layer: Layer) -> tuple[Mlp, ...]:
    assert isinstance(layer.feed_forward, SparseMoe)
    return layer.feed_forward.experts


def _group_sizes(layer: Layer) -> list[int]:
    """How many experts lie in each group; all groups but the last have the same size."""
    experts = _experts(layer)
    size = max(1, MAX_ROWS // (2 * experts[0].gate.rows))
    return [min(size, len(experts) - first) for first in range(0, len(experts), size)]


def _gate_up(part: Mlp, weights: Weights) -> QuantizedTensor:
    """Rows of gate, then of up."""
    return stack_rows([weights.matrix(part.gate), weights.matrix(part.up)])


def _join_columns(parts: tuple[QuantizedTensor, ...]) -> QuantizedTensor:
    """One matrix with the inputs of several, whose outputs are added."""
    return QuantizedTensor(
        common_format(parts),
        np.concatenate([part.values for part in parts], axis=1),
        np.concatenate([part.scales for part in parts if part.scales is not None], axis=1),
    )


def _name(layer: Layer, name: str) -> str:
    return f"layers.{layer.index}/moe/{name}"
