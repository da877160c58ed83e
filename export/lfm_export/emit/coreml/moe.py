"""The forms in which a sparse feed-forward can be given to Core ML.

Each stores a layer's experts as they come, and later adds their product to a function; every
function reads the same blobs. Which form does what is told in docs/coreml.md.
"""

from __future__ import annotations

import abc

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from lfm_ops.quantized import QuantizedTensor, stack_rows

from ...architecture import Mlp, Router, SparseMoe
from ...weights import Part, Weights
from ..matrices import join_columns, pack
from .blobs import INTEGERS, BlobFile
from .pieces import MAX_ROWS, Pieces, Var

__all__ = ["FORMS", "MoeForm"]

_NORM_EPS = np.float32(1e-6)  # what the model adds to the sum of the selected scores


class MoeForm(abc.ABC):
    """How experts are stored and multiplied."""

    def __init__(self, blobs: BlobFile) -> None:
        self._blobs = blobs

    def put(self, part: Part, weights: Weights) -> None:
        """Writes one expert; they come in order."""
        mlp, layer, index = part.description, part.layer, part.expert
        assert isinstance(mlp, Mlp)
        assert layer is not None
        assert isinstance(layer.feed_forward, SparseMoe)
        assert index is not None
        gate_up = stack_rows([weights.matrix(mlp.gate), weights.matrix(mlp.up)])
        self.store(_name(layer.index), layer.feed_forward, index, gate_up, weights.matrix(mlp.down))

    @abc.abstractmethod
    def store(
        self, name: str, moe: SparseMoe, index: int, gate_up: QuantizedTensor, down: QuantizedTensor
    ) -> None:
        """Writes expert `index` of `moe` under names that begin with `name`."""

    @abc.abstractmethod
    def output(
        self, pieces: Pieces, x: Var, name: str, moe: SparseMoe, scores: Var, chosen: Var
    ) -> Var:
        """The experts' weighed sum `[tokens, hidden]`.

        Args:
            pieces: builds the function.
            x: the normed input `[tokens, hidden]`, float16.
            name: what the names of the stored experts begin with.
            moe: whose experts they are.
            scores: what each chosen expert weighs, `[tokens, k]`, float32.
            chosen: the experts that were chosen, `[tokens, k]`, int32.
        """

    def feed_forward(self, pieces: Pieces, x: Var, layer: int, moe: SparseMoe) -> Var:
        """Router, choice and experts for `x` `[1, tokens, hidden]` in float32."""
        _, tokens, hidden = x.shape
        x = mb.reshape(x=x, shape=[tokens, hidden])
        scores, chosen = _route(pieces, x, moe.router)
        out = self.output(pieces, pieces.half(x), _name(layer), moe, scores, chosen)
        return mb.reshape(x=out, shape=[1, tokens, hidden])


class Wide(MoeForm):
    """One wide MLP whose inner values are weighed by the scores, by zero where not chosen.

    It is cut into groups of experts whose gate and up rows stay within `MAX_ROWS`.
    """

    def __init__(self, blobs: BlobFile) -> None:
        super().__init__(blobs)
        self._group: list[tuple[QuantizedTensor, QuantizedTensor]] = []

    def store(
        self, name: str, moe: SparseMoe, index: int, gate_up: QuantizedTensor, down: QuantizedTensor
    ) -> None:
        """Writes a group once it is complete."""
        self._group.append((gate_up, down))
        sizes = _group_sizes(moe)
        group = index // sizes[0]
        if len(self._group) == sizes[group]:
            gates_up, downs = zip(*self._group, strict=True)
            self._blobs.add_matrix(f"{name}/gate_up.{group}", stack_rows(gates_up))
            self._blobs.add_matrix(f"{name}/down.{group}", join_columns(downs))
            self._group = []

    def output(
        self, pieces: Pieces, x: Var, name: str, moe: SparseMoe, scores: Var, chosen: Var
    ) -> Var:
        """Two products of two matrices for each group."""
        width, tokens, sizes = moe.experts[0].gate.rows, x.shape[0], _group_sizes(moe)
        shares = pieces.pieces(_of_all_experts(pieces, moe, scores, chosen), sizes, 1)
        outputs = []
        for group, (count, share) in enumerate(zip(sizes, shares, strict=True)):
            both = pieces.product(x, pieces.whole(f"{name}/gate_up.{group}"))
            both = mb.reshape(x=both, shape=[tokens, count, 2 * width])
            inner = pieces.silu_product(*mb.split(x=both, num_splits=2, axis=-1))
            inner = mb.mul(x=inner, y=mb.expand_dims(x=share, axes=[-1]))
            inner = mb.reshape(x=inner, shape=[tokens, count * width])
            outputs.append(pieces.product(inner, pieces.whole(f"{name}/down.{group}")))
        total = outputs[0]
        for output in outputs[1:]:
            total = mb.add(x=total, y=output)
        return total


class Gather(MoeForm):
    """The chosen experts' matrices are picked out of a stack for one token.

    Several tokens choose nearly all of them, so they are multiplied by all.
    """

    packed = False

    def store(
        self, name: str, moe: SparseMoe, index: int, gate_up: QuantizedTensor, down: QuantizedTensor
    ) -> None:
        """Writes the expert to its place in the stacks."""
        for stack, weight in ((f"{name}/gate_up", gate_up), (f"{name}/down", down)):
            integers = pack(weight) if self.packed and weight.format.bits == 4 else weight.values
            scales = weight.scales
            assert scales is not None
            if index == 0:
                count = len(moe.experts)
                dtype = INTEGERS[weight.format.name]
                if integers.dtype == np.uint8:
                    dtype = "uint8"
                self._blobs.reserve(stack, dtype, (count, *integers.shape))
                self._blobs.reserve(f"{stack}.scales", "float16", (count, *scales.shape))
            self._blobs.write(self._blobs.blobs[stack], index, integers[None])
            self._blobs.write(self._blobs.blobs[f"{stack}.scales"], index, scales[None])

    def output(
        self, pieces: Pieces, x: Var, name: str, moe: SparseMoe, scores: Var, chosen: Var
    ) -> Var:
        """Batched products, an expert at each place of the first axis."""
        stacks = (f"{name}/gate_up", f"{name}/down")
        if x.shape[0] == 1:
            indices = mb.reshape(x=chosen, shape=[chosen.shape[1]])
            share = mb.transpose(x=pieces.half(scores), perm=[1, 0])
            gate_up, down = (self._picked(pieces, stack, indices) for stack in stacks)
        else:
            share = mb.transpose(x=_of_all_experts(pieces, moe, scores, chosen), perm=[1, 0])
            gate_up, down = (self._all(pieces, stack, chosen) for stack in stacks)
        both = mb.matmul(x=mb.expand_dims(x=x, axes=[0]), y=gate_up, transpose_y=True)
        inner = pieces.silu_product(*mb.split(x=both, num_splits=2, axis=-1))
        inner = mb.mul(x=inner, y=mb.expand_dims(x=share, axes=[-1]))
        outputs = mb.matmul(x=inner, y=down, transpose_y=True)
        return mb.reduce_sum(x=outputs, axes=[0])

    def _picked(self, pieces: Pieces, name: str, indices: Var) -> Var:
        return mb.gather(x=pieces.whole(name), indices=indices, axis=0)

    def _all(self, pieces: Pieces, name: str, chosen: Var) -> Var:
        del chosen
        return pieces.whole(name)


class GatherQuantized(Gather):
    """The same, but integers and scales are picked and multiplied in plain arithmetic."""

    packed = True

    def _picked(self, pieces: Pieces, name: str, indices: Var) -> Var:
        return pieces.picked(name, indices)

    def _all(self, pieces: Pieces, name: str, chosen: Var) -> Var:
        """Packed integers are picked here too, by indices that only a run knows.

        Otherwise a compiler could unpack the constants for good.
        """
        count, *_ = pieces.shape(name)
        if not pieces.is_packed(name):
            return pieces.whole(name)
        first = mb.slice_by_size(x=mb.reshape(x=chosen, shape=[-1]), begin=[0], size=[1])
        zero = mb.mul(x=first, y=np.int32(0))
        every = pieces.constant(f"steps.{count}", np.arange(count, dtype=np.int32))
        return pieces.picked(name, mb.add(x=every, y=zero))


FORMS: dict[str, type[MoeForm]] = {"wide": Wide, "gather": Gather, "gatherq": GatherQuantized}


def _route(pieces: Pieces, x: Var, router: Router) -> tuple[Var, Var]:
    """Scores and indices `[tokens, k]` of the chosen experts, in float32."""
    scores = mb.sigmoid(x=pieces.product(x, pieces.vector(router.weight)))
    ranked = scores
    if router.bias is not None:
        ranked = mb.add(x=scores, y=pieces.vector(router.bias))
    _, chosen = mb.topk(x=ranked, k=router.num_experts_per_tok, axis=-1, ascending=False)
    selected = mb.gather_along_axis(x=scores, indices=chosen, axis=-1)
    if router.norm_topk_prob:
        total = mb.reduce_sum(x=selected, axes=[-1], keep_dims=True)
        selected = mb.real_div(x=selected, y=mb.add(x=total, y=_NORM_EPS))
    if router.routed_scaling_factor != 1:
        selected = mb.mul(x=selected, y=np.float32(router.routed_scaling_factor))
    return selected, chosen


def _of_all_experts(pieces: Pieces, moe: SparseMoe, scores: Var, chosen: Var) -> Var:
    """What every expert weighs, `[tokens, experts]` in float16: zero where it is not chosen."""
    count = len(moe.experts)
    places = mb.one_hot(indices=chosen, one_hot_vector_size=count, on_value=1.0, off_value=0.0)
    weighed = mb.mul(x=places, y=mb.expand_dims(x=scores, axes=[-1]))
    return pieces.half(mb.reduce_sum(x=weighed, axes=[1]))


def _group_sizes(moe: SparseMoe) -> list[int]:
    """How many experts lie in each group; all groups but the last have the same size."""
    experts = moe.experts
    size = max(1, MAX_ROWS // (2 * experts[0].gate.rows))
    return [min(size, len(experts) - first) for first in range(0, len(experts), size)]


def _name(layer: int) -> str:
    return f"layers.{layer}/moe"
