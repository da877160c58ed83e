"""Blocks that hold packed weights, for modules of one's own; each can be taken from transformers.

`of` reads the modules of `Lfm2ForCausalLM` and `Lfm2MoeForCausalLM` by their attributes, so that
this file needs no transformers.
"""

from __future__ import annotations

from typing import Any

import torch

from .operators import cached_attention, gated_short_conv, sparse_moe
from .packed import pack, pack_gate_up

__all__ = ["CachedAttention", "GatedShortConv", "SparseMoe"]

Tensor = torch.Tensor


class _Weights(torch.nn.Module):
    """A module whose weights are buffers: they are packed, so nothing trains them."""

    def hold(self, **tensors: Tensor | None) -> None:
        """Keeps tensors under their names."""
        for name, tensor in tensors.items():
            self.register_buffer(name, None if tensor is None else tensor.detach().clone())


class GatedShortConv(_Weights):
    """`torch.ops.lfm.gated_short_conv` with its weights."""

    def __init__(
        self,
        in_proj: Tensor,
        taps: Tensor,
        out_proj: Tensor,
        in_bias: Tensor | None = None,
        conv_bias: Tensor | None = None,
        out_bias: Tensor | None = None,
    ) -> None:
        """`in_proj` is `[3H, H]`, `taps` `[H, 1, K]`, `out_proj` `[H, H]`, all float32."""
        super().__init__()
        self.hold(in_proj=pack(in_proj), taps=taps, out_proj=pack(out_proj))
        self.hold(in_bias=in_bias, conv_bias=conv_bias, out_bias=out_bias)

    @classmethod
    def of(cls, conv: Any) -> GatedShortConv:
        """From transformers' `Lfm2ShortConv`."""
        matrices = conv.in_proj.weight, conv.conv.weight, conv.out_proj.weight
        return cls(*matrices, conv.in_proj.bias, conv.conv.bias, conv.out_proj.bias)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Output and new state; see `gated_short_conv`."""
        found: tuple[Tensor, Tensor] = gated_short_conv(
            x,
            *(self.in_proj, self.in_bias, self.taps, self.conv_bias),
            *(self.out_proj, self.out_bias),
            past,
        )
        return found


class SparseMoe(_Weights):
    """`torch.ops.lfm.sparse_moe` with its weights."""

    def __init__(
        self,
        router: Tensor,
        expert_bias: Tensor | None,
        experts: list[tuple[Tensor, Tensor, Tensor]],
        num_experts_per_tok: int,
        norm_topk_prob: bool = True,
        routed_scaling_factor: float = 1.0,
    ) -> None:
        """`router` is `[E, H]`, `experts` have gate and up `[I, H]` and down `[H, I]` each."""
        super().__init__()
        gate_up = torch.stack([pack_gate_up(gate, up) for gate, up, _ in experts])
        down = torch.stack([pack(matrix) for _, _, matrix in experts])
        self.hold(router=router, expert_bias=expert_bias, gate_up=gate_up, down=down)
        self.intermediate_size = experts[0][0].shape[0]
        self.num_experts_per_tok = num_experts_per_tok
        self.norm_topk_prob, self.routed_scaling_factor = norm_topk_prob, routed_scaling_factor

    @classmethod
    def of(cls, block: Any, config: Any) -> SparseMoe:
        """From transformers' `Lfm2MoeSparseMoeBlock` and the model's config."""
        halves = [both.chunk(2) for both in block.experts.gate_up_proj]
        experts = [
            (gate, up, down)
            for (gate, up), down in zip(halves, block.experts.down_proj, strict=True)
        ]
        return cls(
            block.gate.weight,
            block.expert_bias if config.use_expert_bias else None,
            experts,
            config.num_experts_per_tok,
            config.norm_topk_prob,
            config.routed_scaling_factor,
        )

    def forward(self, x: Tensor) -> Tensor:
        """See `sparse_moe`."""
        found: Tensor = sparse_moe(
            *(x, self.router, self.expert_bias, self.gate_up, self.down),
            *(self.intermediate_size, self.num_experts_per_tok),
            *(self.norm_topk_prob, self.routed_scaling_factor),
        )
        return found


class CachedAttention(_Weights):
    """`torch.ops.lfm.cached_attention` between its projections, which are plain torch."""

    qkv_proj: Tensor
    out_proj: Tensor
    q_norm: Tensor
    k_norm: Tensor

    def __init__(
        self,
        qkv_proj: Tensor,
        out_proj: Tensor,
        q_norm: Tensor,
        k_norm: Tensor,
        num_heads: int,
        epsilon: float,
        window: int = 0,
    ) -> None:
        """`qkv_proj` is `[(N + 2M) D, H]`, `out_proj` `[H, N D]`, the norms `[D]`."""
        super().__init__()
        self.hold(qkv_proj=qkv_proj, out_proj=out_proj, q_norm=q_norm, k_norm=k_norm)
        self.num_heads, self.epsilon, self.window = num_heads, epsilon, window

    @classmethod
    def of(cls, attention: Any) -> CachedAttention:
        """From transformers' `Lfm2Attention`."""
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        return cls(
            torch.cat([projection.weight for projection in projections]),
            attention.out_proj.weight,
            attention.q_layernorm.weight,
            attention.k_layernorm.weight,
            attention.config.num_attention_heads,
            attention.config.norm_eps,
        )

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        attention_mask: Tensor,
        past_key: Tensor,
        past_value: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Output, key and value; see `cached_attention`."""
        qkv = torch.nn.functional.linear(x, self.qkv_proj)
        scale = self.q_norm.shape[0] ** -0.5
        out, key, value = cached_attention(
            *(qkv, self.q_norm, self.k_norm, *rope, attention_mask, past_key, past_value),
            *(self.num_heads, self.window, scale, self.epsilon),
        )
        return torch.nn.functional.linear(out, self.out_proj), key, value
