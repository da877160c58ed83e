"""A fast training module with the very parameters of transformers' `Lfm2MoeForCausalLM`.

Its state dict has the names and shapes of transformers' (experts stacked), so `load_state_dict`
works both ways. The convolution is three shifted products, and the rows of each expert are
brought together, so that every matrix product is a large one.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Lfm2MoeConfig


def demo_config() -> Lfm2MoeConfig:
    """The shapes of the demo model: both layer kinds, dense and MoE layers, all widths x 256."""
    return Lfm2MoeConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=512,
        moe_intermediate_size=256,
        num_hidden_layers=6,
        num_dense_layers=2,
        layer_types=["conv", "conv", "full_attention", "conv", "full_attention", "conv"],
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=8,
        num_experts_per_tok=2,
        use_expert_bias=True,
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
        conv_L_cache=3,
        conv_bias=False,
        norm_eps=1e-5,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=7,
    )


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last axis, then scales."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same shape, in the type of `x`."""
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


class ShortConv(nn.Module):
    """Gated causal convolution over 3 positions: `out(C * conv(B * x))`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(width, 3 * width, bias=False)
        self.conv = nn.Conv1d(width, width, 3, groups=width, bias=False)  # holds the taps
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> the same shape."""
        b, c, value = self.in_proj(x).chunk(3, dim=-1)
        gated = functional.pad(b * value, (0, 0, 2, 0))
        oldest, older, newest = self.conv.weight[:, 0].to(gated.dtype).unbind(1)
        mixed = gated[:, :-2] * oldest + gated[:, 1:-1] * older + gated[:, 2:] * newest
        return cast(Tensor, self.out_proj(c * mixed))


class Attention(nn.Module):
    """Grouped-query attention with RMSNorm on queries and keys, then rotary positions."""

    def __init__(self, config: Lfm2MoeConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        self.head = width // heads
        kv_width = config.num_key_value_heads * self.head
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv_width, bias=False)
        self.v_proj = nn.Linear(width, kv_width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.q_layernorm = RMSNorm(self.head, config.norm_eps)
        self.k_layernorm = RMSNorm(self.head, config.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, time, width] -> the same shape; `cos` and `sin` are [time, head]."""
        split = (*x.shape[:-1], -1, self.head)
        q = self.q_layernorm(self.q_proj(x).view(split)).transpose(1, 2)
        k = self.k_layernorm(self.k_proj(x).view(split)).transpose(1, 2)
        v = self.v_proj(x).view(split).transpose(1, 2)
        groups = q.shape[1] // k.shape[1]
        q, k = (rotate(part, cos, sin).to(v.dtype) for part in (q, k))
        k, v = (part.repeat_interleave(groups, dim=1) for part in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return cast(Tensor, self.out_proj(mixed.transpose(1, 2).flatten(2)))


class DenseMLP(nn.Module):
    """SwiGLU: `w2(silu(w1 x) * w3 x)`."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, inner, bias=False)
        self.w3 = nn.Linear(width, inner, bias=False)
        self.w2 = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same shape."""
        return cast(Tensor, self.w2(functional.silu(self.w1(x)) * self.w3(x)))


class Router(nn.Module):
    """Holds the router's weight [E, H]; `SparseMoE` uses it."""

    def __init__(self, experts: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, width))


class Experts(nn.Module):
    """The stacked weights: `gate_up_proj` [E, 2I, H], `down_proj` [E, H, I]."""

    def __init__(self, experts: int, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(experts, width, inner))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Rows [N, H] that lie together by expert, `counts` of them each -> [N, H]."""
        outputs = []
        for expert, part in enumerate(torch.split(rows, counts)):
            gate, up = functional.linear(part, self.gate_up_proj[expert]).chunk(2, dim=-1)
            outputs.append(functional.linear(functional.silu(gate) * up, self.down_proj[expert]))
        return torch.cat(outputs)


class SparseMoE(nn.Module):
    """Sigmoid router with a selection bias, and `top_k` experts a token."""

    expert_bias: Tensor

    def __init__(self, config: Lfm2MoeConfig) -> None:
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.gate = Router(config.num_experts, config.hidden_size)
        self.experts = Experts(config.num_experts, config.hidden_size, config.moe_intermediate_size)
        self.register_buffer("expert_bias", torch.zeros(config.num_experts))
        self.load = torch.zeros(config.num_experts)  # tokens by expert since the last update

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] -> the same shape."""
        flat = x.flatten(0, 1)
        with torch.autocast("cpu", enabled=False):
            scores = functional.linear(flat.float(), self.gate.weight).sigmoid()
            chosen = (scores.detach() + self.expert_bias).topk(self.top_k, dim=-1).indices
            weights = scores.gather(1, chosen)
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-6)
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=len(self.expert_bias))
        self.load += counts
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        rows = permuted(flat.repeat_interleave(self.top_k, dim=0), order, back)
        rows = self.experts(rows, counts.tolist())
        rows = permuted(rows, back, order).view(*weights.shape, -1)
        return (rows * weights.to(rows.dtype).unsqueeze(-1)).sum(dim=1).view(x.shape)


def permuted(rows: Tensor, order: Tensor, back: Tensor) -> Tensor:
    """Rows [N, H] in another order; `back` is the inverse of `order`."""
    return cast(Tensor, _Permute.apply(rows, order, back))


class _Permute(torch.autograd.Function):
    """Rows in another order; unlike indexing, its gradient is a plain permutation too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """Row `order[i]` of `rows` [N, H] becomes row i; `back` is the inverse of `order`."""
        ctx.save_for_backward(back)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Brings the gradient's rows back."""
        (back,) = ctx.saved_tensors
        return gradients[0].index_select(0, back), None, None


class Layer(nn.Module):
    """Convolution or attention, then an MLP or experts, each added to its normed input."""

    def __init__(self, config: Lfm2MoeConfig, index: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.is_attention = (config.layer_types or [])[index] == "full_attention"
        if self.is_attention:
            self.self_attn = Attention(config)
        else:
            self.conv = ShortConv(width)
        is_dense = index < config.num_dense_layers
        self.feed_forward = (
            DenseMLP(width, config.intermediate_size) if is_dense else SparseMoE(config)
        )
        self.operator_norm = RMSNorm(width, config.norm_eps)
        self.ffn_norm = RMSNorm(width, config.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[batch, time, width] -> the same shape."""
        normed = self.operator_norm(x)
        x = x + (self.self_attn(normed, cos, sin) if self.is_attention else self.conv(normed))
        return x + cast(Tensor, self.feed_forward(self.ffn_norm(x)))


class Body(nn.Module):
    """Embedding, layers and last norm, under the names they have in transformers."""

    def __init__(self, config: Lfm2MoeConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Layer(config, index) for index in range(config.num_hidden_layers)
        )
        self.embedding_norm = RMSNorm(config.hidden_size, config.norm_eps)


class DemoModel(nn.Module):
    """The whole model; the head shares the embedding's weight."""

    def __init__(self, config: Lfm2MoeConfig) -> None:
        super().__init__()
        self.model = Body(config)
        head = config.hidden_size // config.num_attention_heads
        theta = (config.rope_parameters or {})["rope_theta"]
        self.frequencies = theta ** (-torch.arange(0, head, 2).float() / head)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids [batch, time] -> logits [batch, time, vocabulary]."""
        return functional.linear(self.hidden(tokens), self.head)

    @property
    def head(self) -> Tensor:
        """The matrix [vocabulary, width] of the head."""
        return self.model.embed_tokens.weight

    def hidden(self, tokens: Tensor) -> Tensor:
        """Token ids [batch, time] -> what the head reads, [batch, time, width]."""
        angles = torch.arange(tokens.shape[1])[:, None] * self.frequencies
        cos, sin = (wave.repeat(1, 2) for wave in (angles.cos(), angles.sin()))
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return cast(Tensor, self.model.embedding_norm(x))

    def moe_blocks(self) -> list[SparseMoE]:
        """The MoE layers, first to last."""
        return [module for module in self.modules() if isinstance(module, SparseMoE)]

    def update_expert_bias(self, rate: float) -> None:
        """Moves each expert's selection bias towards an equal load, after a training step."""
        for block in self.moe_blocks():
            block.expert_bias += rate * torch.sign(block.load.mean() - block.load)
            block.load.zero_()

    def initialise(self, seed: int, std: float = 0.02) -> None:
        """Normal weights from a fixed seed; what writes into the residual starts smaller."""
        generator = torch.Generator().manual_seed(seed)
        branches = 2 * len(self.model.layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue  # norms start at one
            writes = name.endswith(("out_proj.weight", "w2.weight", "down_proj"))
            scale = std / branches**0.5 if writes else std
            if name.endswith("conv.conv.weight"):
                scale = 0.5
            nn.init.normal_(parameter, std=scale, generator=generator)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, in halves: `x` is [batch, heads, time, head]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
