"""Every operation over all sequences and lanes before the next one begins."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lfm_ops import reference as ops
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..architecture import (
    Architecture,
    Attention,
    Embedding,
    Linear,
    Mlp,
    Norm,
    ShortConv,
    SparseMoe,
    Vector,
    tensors_of,
)
from ..decoder import Operations, decode
from ..reference import Numerics
from ..workers import Threads, Workers
from .folder import WalkFolder
from .part import Array, LaneWeights, Part, read_part
from .sequences import Sequences

__all__ = ["Routes", "Value", "Walk", "size_of"]

Value = tuple[Array, ...]
"""Of every lane, `[tokens, width]`."""
Routes = tuple[tuple[NDArray[np.int64], Array], ...]
"""Of every lane, each token's experts and their shares; see `lfm_ops.reference.route`."""

_ROWS_AT_ONCE = 4096  # tokens, where an operation takes each apart


class Walk(Operations[None, Value], abc.ABC):
    """A model's operations over all tokens; whoever walks says where the weights come from.

    The stream lies in the folder, so operations hand nothing on for it. Operations that an earlier
    process has finished do nothing and give empty values.
    """

    def __init__(
        self,
        architecture: Architecture,
        sequences: Sequences,
        folder: WalkFolder,
        numerics: Sequence[Numerics],
        progress: Callable[[int], None],
        workers: Workers | None = None,
    ) -> None:
        """`numerics` says how each lane computes; `progress` receives numbers of weights.

        Threads of this process share the work if nobody else does.
        """
        self.architecture, self.sequences, self.folder = architecture, sequences, folder
        self.numerics, self._progress = tuple(numerics), progress
        self.workers: Workers = workers or Threads()
        self._operations = 0
        self._weights = folder.weights

    def run(self) -> Value:
        """Walks from where the folder stands to the end; returns the final norm's outputs."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite shows in the end
            return decode(self.architecture, self)

    @property
    def lanes(self) -> range:
        """Their numbers."""
        return range(len(self.numerics))

    @abc.abstractmethod
    def table(self, lane: int, linear: Linear, start: int, stop: int) -> QuantizedTensor:
        """Some rows of the token embedding or LM head, of one lane."""

    @abc.abstractmethod
    def vector(self, lane: int, vector: Vector) -> Array:
        """A small tensor of one lane."""

    @abc.abstractmethod
    def part(self, part: Part, x: Value) -> Iterable[LaneWeights]:
        """The weights of one part for every lane, whose inputs are `x`."""

    @abc.abstractmethod
    def experts(self, part: SparseMoe, x: Value, routes: Routes) -> Iterator[Sequence[LaneWeights]]:
        """The weights of each expert for every lane; tokens were sent where `routes` says."""

    def embed(self, part: Embedding) -> None:
        """Looks the tokens up."""
        if self._done():
            return
        ids, where = np.unique(np.concatenate(self.sequences.ids), return_inverse=True)
        for lane in self.lanes:
            rows = [self.table(lane, part.tokens, i, i + 1).dequantize() for i in ids.tolist()]
            known, stream = np.concatenate(rows), self.folder.next_stream(lane)
            for some in self._blocks():
                stream[some] = known[where[some]]
        self._finish(len(self.lanes) * part.tokens.rows * part.tokens.columns)

    def norm(self, stream: None, part: Norm) -> Value:
        """The norm of every token."""
        del stream
        if self._done():
            return ()
        out = []
        for lane in self.lanes:
            weight = self.vector(lane, part.weight)
            stream_of_lane, normed = self.folder.stream(lane), self.folder.scratch(f"norm.{lane}")
            for some in self._blocks():
                normed[some] = ops.rms_norm(stream_of_lane[some], weight, part.eps)
            out.append(normed)
        return tuple(out)

    def attention(self, x: Value, layer: int, part: Attention) -> Value:
        """Each sequence apart, from an empty cache."""
        del layer
        return self._by_sequence(x, part)

    def short_conv(self, x: Value, layer: int, part: ShortConv) -> Value:
        """Each sequence apart, from an empty state."""
        del layer
        return self._by_sequence(x, part)

    def mlp(self, x: Value, layer: int, part: Mlp) -> Value:
        """Gate, up and down."""
        del layer
        return self._by_sequence(x, part)

    def sparse_moe(self, x: Value, layer: int, part: SparseMoe) -> Value:
        """One expert after the other, over all tokens."""
        del layer
        if self._done():
            return ()
        routes = tuple(self._route(lane, x[lane], part) for lane in self.lanes)
        out = self._branch()
        for branch in out:
            branch[:] = 0
        experts = zip(part.experts, self.experts(part, x, routes), strict=True)
        for index, (expert, lanes) in enumerate(experts):
            for lane, weights in enumerate(lanes):
                gate, up, down = (weights.matrix(m) for m in (expert.gate, expert.up, expert.down))
                tokens, slots = np.nonzero(routes[lane][0] == index)
                matmul = self.numerics[lane].matmul
                shares = routes[lane][1][tokens, slots, None]
                for start in range(0, len(tokens), _ROWS_AT_ONCE):
                    some = tokens[start : start + _ROWS_AT_ONCE]
                    made = ops.gated_mlp(x[lane][some], gate, up, down, matmul)
                    out[lane][some] += shares[start : start + _ROWS_AT_ONCE] * made
            self._advance(len(self.lanes) * size_of(expert))
        return out

    def norm_branch(self, branch: Value, part: Norm) -> Value:
        """The norm of every token, in place: a walk that is killed here makes the branch anew."""
        if self._done():
            return ()
        for lane, rows in enumerate(branch):
            weight = self.vector(lane, part.weight)
            for some in self._blocks():
                rows[some] = ops.rms_norm(rows[some], weight, part.eps)
        return branch

    def add(self, stream: None, branch: Value) -> None:
        """The sum, in files of its own: a walk that is killed here goes on from the terms."""
        del stream
        if self._done():
            return
        for lane in self.lanes:
            before, after = self.folder.stream(lane), self.folder.next_stream(lane)
            for some in self._blocks():
                after[some] = before[some] + branch[lane][some]
        self._finish(0)

    def last_token(self, stream: None) -> None:
        """All tokens count."""
        return stream

    def lm_head(self, x: Value, part: Embedding) -> Value:
        """The inputs of the LM head: whoever walks decides what becomes of them."""
        del part
        return x

    @property
    def is_next_done(self) -> bool:
        """Whether the operation that comes next was finished by an earlier process."""
        return self._operations < self.folder.operations

    def _by_sequence(self, x: Value, part: Part) -> Value:
        if self._done():
            return ()
        out = self._branch()
        for lane, weights in enumerate(self.part(part, x)):
            reading = _Reading(part, weights, self.numerics[lane])
            some = ((ids, x[lane][place]) for ids, place in self.sequences.places())
            made = self.workers.run(_read, reading, some)
            for (_, place), rows in zip(self.sequences.places(), made, strict=True):
                out[lane][place] = rows
        self._advance(len(self.lanes) * size_of(part))
        return out

    def _route(self, lane: int, x: Array, part: SparseMoe) -> tuple[NDArray[np.int64], Array]:
        """As the model routes, its bias included."""
        router = part.router
        weight = self.vector(lane, router.weight)
        bias = None if router.bias is None else self.vector(lane, router.bias)
        parts = [
            ops.route(
                x[some],
                weight,
                bias,
                router.num_experts_per_tok,
                router.norm_topk_prob,
                router.routed_scaling_factor,
            )
            for some in self._blocks()
        ]
        experts, shares = zip(*parts, strict=True)
        return np.concatenate(experts), np.concatenate(shares)

    def _branch(self) -> Value:
        return tuple(self.folder.scratch(f"branch.{lane}") for lane in self.lanes)

    def _blocks(self) -> list[slice]:
        starts = range(0, self.sequences.tokens, _ROWS_AT_ONCE)
        return [slice(start, min(start + _ROWS_AT_ONCE, self.sequences.tokens)) for start in starts]

    def _done(self) -> bool:
        """Whether the operation that begins was finished by an earlier process."""
        self._operations += 1
        return self._operations <= self.folder.operations

    def _advance(self, weights: int) -> None:
        self._weights += weights
        if weights:
            self._progress(weights)

    def _finish(self, weights: int) -> None:
        """Ends an operation behind which a walk can go on."""
        self._advance(weights)
        self.folder.advance(self._operations, self._weights, len(self.lanes))


@dataclass(frozen=True)
class _Reading:
    """A part of one lane."""

    part: Part
    weights: LaneWeights
    numerics: Numerics


def _read(reading: _Reading, sequence: tuple[NDArray[np.int64], Array]) -> Array:
    return read_part(reading.part, reading.weights, reading.numerics, *sequence)


def size_of(part: object) -> int:
    """The number of weights in the matrices of a part."""
    tensors = tensors_of(part)
    return sum(tensor.rows * tensor.columns for tensor in tensors if isinstance(tensor, Linear))
