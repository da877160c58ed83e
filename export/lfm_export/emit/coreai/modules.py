"""The model for one token as torch modules, which `coreai-torch` translates into a Core AI graph.

Each module holds its weights as the walk delivers them: integers stay integers, and of a layer's
experts only the chosen ones are ever turned into floats. The state is what torch calls buffers
that change: Core AI makes states of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# Private, and so pinned: nothing public makes Core AI keep integers with their scales.
from coreai_torch._compression.custom_layers import constexpr_blockwise_shift_scale
from lfm_ops.quantized import QuantizedTensor
from lfm_ops.reference import Array
from numpy.typing import NDArray
from torch import Tensor, nn

from ...architecture import (
    Architecture,
    Attention,
    Embedding,
    Mlp,
    Norm,
    Router,
    ShortConv,
    SparseMoe,
)
from ...decoder import Operations, decode

__all__ = [
    "AttentionStep",
    "DecoderStep",
    "ExpertsStep",
    "Matrix",
    "MlpStep",
    "RmsNorm",
    "ShortConvStep",
]

Values = NDArray[Any]

_INTEGERS: dict[str, torch.dtype] = {
    "q8": torch.int8,
    "q6": torch.int8,
    "q4": vars(torch)["int4"],
    "q4_64": vars(torch)["int4"],
}
_MASKED = -1e30


class Matrix(nn.Module):
    """A weight `[rows, columns]`; integers lie in Core AI's own form of blockwise quantization."""

    def __init__(self, weight: QuantizedTensor, bias: Array | None = None) -> None:
        super().__init__()
        self._format = weight.format.name
        self.values = _constant(weight.values)
        self.scales = None if weight.scales is None else _constant(weight.scales.astype(np.float32))
        self.bias = None if bias is None else _constant(bias)

    def weight(self) -> Tensor:
        """The matrix in float32."""
        if self.scales is None:
            return self.values
        return _dequantize(self.values, self.scales, _INTEGERS[self._format])

    def forward(self, x: Tensor) -> Tensor:
        """`[columns] -> [rows]`."""
        y = _product(self.weight(), x)
        return y if self.bias is None else y + self.bias


class MatrixStack(nn.Module):
    """Weights `[count, rows, columns]` of which a step reads a few.

    Core AI gathers no 4-bit integers: two are a byte, of a group's first half in its low bits and
    of the second in its high ones.
    """

    def __init__(self, count: int, like: QuantizedTensor) -> None:
        super().__init__()
        self._format = like.format
        values = _gatherable(like)
        self.values = _constant(np.empty((count, *values.shape), values.dtype))
        self.scales = None
        if like.scales is not None:
            self.scales = _constant(np.empty((count, *like.scales.shape), np.float16))

    def put(self, index: int, weight: QuantizedTensor) -> None:
        """Stores one of them."""
        self.values[index] = torch.from_numpy(_gatherable(weight))
        if self.scales is not None and weight.scales is not None:
            self.scales[index] = torch.from_numpy(weight.scales)

    def forward(self, chosen: Tensor, x: Tensor) -> Tensor:
        """Multiplies each of `chosen` `[n]` with its `x` `[n or 1, columns]`: `[n, rows]`."""
        values = self.values[chosen]
        if self.scales is None:
            return _product(values, x)
        scales = self.scales[chosen].float()
        if self._format.bits != 4:
            return _product(_dequantize(values, scales, torch.int8), x)
        half_group = self._format.group_size // 2
        values = values.float().reshape(*scales.shape, half_group)
        high = torch.floor(values * (1 / 16))
        first, second = x.reshape(len(x), -1, 2, half_group).unbind(2)
        products = [
            _product(((half - 8) * scales[..., None]).flatten(-2), part.flatten(-2))
            for half, part in ((values - 16 * high, first), (high, second))
        ]
        return products[0] + products[1]


class RmsNorm(nn.Module):
    """Over the last axis."""

    def __init__(self, weight: Array, eps: float) -> None:
        super().__init__()
        self.weight = _constant(weight)
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`x / sqrt(mean(x^2) + eps) * weight`."""
        variance = (x * x).mean(-1, keepdim=True)
        return x * torch.rsqrt(variance + self._eps) * self.weight


class AttentionStep(nn.Module):
    """Attention over a cache of fixed size, its states `key` and `value`."""

    def __init__(
        self,
        part: Attention,
        projections: Sequence[Matrix],
        norms: Sequence[RmsNorm],
        context: int,
        cache: torch.dtype,
    ) -> None:
        """`projections` are q, k, v and out; `norms` those of q and k."""
        super().__init__()
        self._part, self._context = part, context
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = projections
        self.q_norm, self.k_norm = norms
        shape = (1, part.num_kv_heads, context, part.head_dim)
        self.register_buffer("key", torch.zeros(shape, dtype=cache))
        self.register_buffer("value", torch.zeros(shape, dtype=cache))
        self.key: Tensor
        self.value: Tensor

    def forward(self, x: Tensor, position: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`[hidden] -> [hidden]`; `cos`, `sin` `[head_dim / 2]` are those of `position` `[1]`."""
        heads, size = self._part.num_kv_heads, self._part.head_dim
        q = _rotate(self.q_norm(self.q_proj(x).reshape(-1, size)), cos, sin)
        k = _rotate(self.k_norm(self.k_proj(x).reshape(heads, size)), cos, sin)
        v = self.v_proj(x).reshape(heads, size)
        places = torch.arange(self._context, dtype=torch.int32)
        here = (places == position)[:, None]
        self.key.copy_(torch.where(here, k[:, None].to(self.key.dtype), self.key))
        self.value.copy_(torch.where(here, v[:, None].to(self.value.dtype), self.value))
        grouped = q.reshape(heads, -1, size) * size**-0.5
        scores = grouped @ self.key[0].float().transpose(1, 2)  # [kv heads, group, context]
        chances = torch.softmax(torch.where(places <= position, scores, _MASKED), -1)
        mixed: Tensor = self.out_proj((chances @ self.value[0].float()).flatten())
        return mixed


class ShortConvStep(nn.Module):
    """A gated short convolution, its state `conv` the inputs that its taps still meet."""

    def __init__(
        self,
        part: ShortConv,
        in_proj: Matrix,
        taps: Array,
        bias: Array | None,
        out_proj: Matrix,
    ) -> None:
        super().__init__()
        self.in_proj, self.out_proj = in_proj, out_proj
        self.taps = _constant(taps[:, 0])
        self.bias = None if bias is None else _constant(bias)
        self.register_buffer("conv", torch.zeros(1, part.hidden_size, part.kernel_size - 1))
        self.conv: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`[hidden] -> [hidden]`."""
        before, after, values = self.in_proj(x).chunk(3)
        window = torch.cat([self.conv[0], (before * values)[:, None]], -1)
        self.conv.copy_(window[None, :, 1:])
        y = (window * self.taps).sum(-1)
        y = y if self.bias is None else y + self.bias
        mixed: Tensor = self.out_proj(after * y)
        return mixed


class MlpStep(nn.Module):
    """The dense SwiGLU feed-forward."""

    def __init__(self, gate: Matrix, up: Matrix, down: Matrix) -> None:
        super().__init__()
        self.gate, self.up, self.down = gate, up, down

    def forward(self, x: Tensor) -> Tensor:
        """`[hidden] -> [hidden]`."""
        y: Tensor = self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return y


class ExpertsStep(nn.Module):
    """The sparse feed-forward: the router's choice is gathered, and nothing else is read."""

    def __init__(self, router: Router, weight: Array, bias: Array | None) -> None:
        super().__init__()
        self._router = router
        self.weight = _constant(weight)
        self.bias = None if bias is None else _constant(bias)
        self.gate: MatrixStack
        self.up: MatrixStack
        self.down: MatrixStack

    def put(self, index: int, gate_up_down: Sequence[QuantizedTensor]) -> None:
        """Stores one expert; the first sets the shapes."""
        for name, weight in zip(("gate", "up", "down"), gate_up_down, strict=True):
            if not hasattr(self, name):
                self.add_module(name, MatrixStack(self._router.num_experts, weight))
            getattr(self, name).put(index, weight)

    def forward(self, x: Tensor) -> Tensor:
        """`[hidden] -> [hidden]`."""
        router = self._router
        scores = torch.sigmoid(_product(self.weight, x))
        ranked = scores if self.bias is None else scores + self.bias
        chosen = torch.topk(ranked, router.num_experts_per_tok).indices
        shares = scores[chosen]
        if router.norm_topk_prob:
            shares = shares / (shares.sum() + 1e-6)
        shares = shares * router.routed_scaling_factor
        hidden = nn.functional.silu(self.gate(chosen, x[None])) * self.up(chosen, x[None])
        outputs = self.down(chosen, hidden)  # [chosen, hidden]
        return _product(outputs.transpose(0, 1), shares)


class DecoderStep(nn.Module):
    """The whole model: a token in, the logits of the next one out."""

    def __init__(self, architecture: Architecture, rope: Sequence[Array]) -> None:
        """`rope` are the cosines and sines `[context, head_dim / 2]`."""
        super().__init__()
        self._architecture = architecture
        self.tokens: Matrix
        self.head: Matrix
        self.cos, self.sin = map(_constant, rope)
        self.norms = nn.ModuleDict()
        """By the names of their weights, without dots."""
        self.operators = nn.ModuleList()
        self.feed_forwards = nn.ModuleList()

    def add_norm(self, part: Norm, weight: Array) -> None:
        """Keeps one of the norms of the residual stream."""
        self.norms[_key(part)] = RmsNorm(weight, part.eps)

    def forward(self, input_ids: Tensor, position: Tensor) -> Tensor:
        """`input_ids` int32 `[1, 1]` at `position` int32 `[1]`; returns `[1, vocab]`."""
        return decode(self._architecture, _Step(self, input_ids, position))[None]


class _Step(Operations[Tensor, Tensor]):
    """One token's way through the modules."""

    def __init__(self, model: DecoderStep, input_ids: Tensor, position: Tensor) -> None:
        self._model, self._input_ids, self._position = model, input_ids, position
        self._rope = model.cos[position][0], model.sin[position][0]

    def embed(self, part: Embedding) -> Tensor:
        """`[hidden]`."""
        del part
        return self._model.tokens.weight()[self._input_ids[0]][0]

    def norm(self, stream: Tensor, part: Norm) -> Tensor:
        """`[hidden]`."""
        normed: Tensor = self._model.norms[_key(part)](stream)
        return normed

    def norm_branch(self, branch: Tensor, part: Norm) -> Tensor:
        """`[hidden]`."""
        return self.norm(branch, part)

    def attention(self, x: Tensor, layer: int, part: Attention) -> Tensor:
        """`[hidden] -> [hidden]`."""
        del part
        mixed: Tensor = self._model.operators[layer](x, self._position, *self._rope)
        return mixed

    def short_conv(self, x: Tensor, layer: int, part: ShortConv) -> Tensor:
        """`[hidden] -> [hidden]`."""
        del part
        mixed: Tensor = self._model.operators[layer](x)
        return mixed

    def mlp(self, x: Tensor, layer: int, part: Mlp | SparseMoe) -> Tensor:
        """`[hidden] -> [hidden]`."""
        del part
        out: Tensor = self._model.feed_forwards[layer](x)
        return out

    def sparse_moe(self, x: Tensor, layer: int, part: SparseMoe) -> Tensor:
        """`[hidden] -> [hidden]`."""
        return self.mlp(x, layer, part)

    def add(self, stream: Tensor, branch: Tensor) -> Tensor:
        """`[hidden]`."""
        return stream + branch

    def last_token(self, stream: Tensor) -> Tensor:
        """The only one."""
        return stream

    def lm_head(self, x: Tensor, part: Embedding) -> Tensor:
        """`[vocab]`."""
        del part
        logits: Tensor = self._model.head(x)
        return logits


def _key(norm: Norm) -> str:
    return norm.weight.name.replace(".", "/")


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate-half RoPE of `[heads, head_dim]`."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    """`[..., rows, columns]` times `[..., columns]`."""
    return (matrix @ vector[..., None])[..., 0]


def _dequantize(values: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """Integers times the scales of their groups, in the one form that Core AI knows as such."""
    weight: Tensor = constexpr_blockwise_shift_scale(values, scales, None, None, dtype, None)
    return weight


def _gatherable(weight: QuantizedTensor) -> Values:
    """The values as a stack holds them: 4-bit ones packed in bytes `[rows, columns / 2]`."""
    if weight.format.bits != 4:
        return weight.values
    rows, columns = weight.shape
    unsigned = (weight.values + np.int8(8)).view(np.uint8)
    halves = unsigned.reshape(rows, -1, 2, weight.format.group_size // 2)
    packed: Values = halves[:, :, 0] | halves[:, :, 1] << np.uint8(4)
    return packed.reshape(rows, columns // 2)


def _constant(values: Values) -> nn.Parameter:
    """A weight, without a copy."""
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(values)), requires_grad=False)
