"""The parts of a layer, as the fields of `config.json` give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .config import Config
from .parts import (
    Attention,
    Linear,
    Mlp,
    Norm,
    Rope,
    Router,
    ShortConv,
    SparseMoe,
    Vector,
)

__all__ = [
    "FULL",
    "SLIDING",
    "AttentionLayers",
    "attention",
    "head_sizes",
    "linear",
    "mlp",
    "norm",
    "short_conv",
    "sparse_moe",
]

FULL, SLIDING = "full_attention", "sliding_attention"
WIDEST_HEAD = 1 << 16


def linear(name: str, rows: int, columns: int, bias: bool = False) -> Linear:
    """A linear layer."""
    return Linear(
        f"{name}.weight", rows, columns, Vector(f"{name}.bias", (rows,)) if bias else None
    )


def norm(config: Config, name: str, size: int) -> Norm:
    """An RMS norm."""
    return Norm(Vector(f"{name}.weight", (size,)), config.number("norm_eps"))


@dataclass(frozen=True)
class AttentionLayers:
    """What all attention layers of a model share, and how its checkpoints name their tensors."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    ropes: Mapping[str, Rope]
    """By the kind of layer."""
    window: int = 0
    """Keys that a token of a sliding layer sees."""
    gated: bool = False
    bias: bool = False
    out_proj: str = "out_proj"
    q_norm: str = "q_layernorm"
    k_norm: str = "k_layernorm"


def head_sizes(config: Config) -> tuple[int, int, int]:
    """Heads, key-value heads, and their width."""
    heads = config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads")
    if heads % kv_heads:
        raise config.error("num_attention_heads", f"a multiple of {kv_heads} key-value heads")
    derived = {"head_dim": config.integer("hidden_size") // heads}
    head_dim = Config({**derived, **config.values}).integer("head_dim", most=WIDEST_HEAD)
    return heads, kv_heads, head_dim


def attention(config: Config, layer: str, kind: str, layers: AttentionLayers) -> Attention:
    """The attention of one layer."""
    hidden, prefix = config.integer("hidden_size"), f"{layer}.self_attn"
    size, bias = layers.head_dim, layers.bias
    queries, keys = layers.num_heads * size, layers.num_kv_heads * size
    gate_proj = linear(f"{prefix}.gate_proj", layers.num_heads, hidden) if layers.gated else None
    return Attention(
        q_proj=linear(f"{prefix}.q_proj", queries, hidden, bias),
        k_proj=linear(f"{prefix}.k_proj", keys, hidden, bias),
        v_proj=linear(f"{prefix}.v_proj", keys, hidden, bias),
        gate_proj=gate_proj,
        out_proj=linear(f"{prefix}.{layers.out_proj}", hidden, queries, bias),
        q_norm=norm(config, f"{prefix}.{layers.q_norm}", size),
        k_norm=norm(config, f"{prefix}.{layers.k_norm}", size),
        num_heads=layers.num_heads,
        num_kv_heads=layers.num_kv_heads,
        head_dim=size,
        rope=layers.ropes[kind],
        window=layers.window if kind == SLIDING else 0,
    )


def short_conv(config: Config, layer: str) -> ShortConv:
    """The gated short convolution of one layer."""
    hidden, bias = config.integer("hidden_size"), config.flag("conv_bias")
    kernel = config.integer("conv_L_cache", least=2)
    prefix = f"{layer}.conv"
    return ShortConv(
        in_proj=linear(f"{prefix}.in_proj", 3 * hidden, hidden, bias),
        taps=Vector(f"{prefix}.conv.weight", (hidden, 1, kernel)),
        bias=Vector(f"{prefix}.conv.bias", (hidden,)) if bias else None,
        out_proj=linear(f"{prefix}.out_proj", hidden, hidden, bias),
        hidden_size=hidden,
        kernel_size=kernel,
    )


def mlp(config: Config, prefix: str, width: int) -> Mlp:
    """A dense feed-forward of so many columns, or an expert."""
    hidden = config.integer("hidden_size")
    return Mlp(
        gate=linear(f"{prefix}.w1", width, hidden),
        up=linear(f"{prefix}.w3", width, hidden),
        down=linear(f"{prefix}.w2", hidden, width),
    )


def sparse_moe(config: Config, prefix: str) -> SparseMoe:
    """The sparse feed-forward of one layer."""
    hidden, experts = config.integer("hidden_size"), config.integer("num_experts")
    per_token = config.integer("num_experts_per_tok")
    if per_token > experts:
        raise config.error("num_experts_per_tok", f"at most the {experts} experts of num_experts")
    biased = config.flag("use_expert_bias")
    router = Router(
        weight=Vector(f"{prefix}.gate.weight", (experts, hidden)),
        bias=Vector(f"{prefix}.expert_bias", (experts,)) if biased else None,
        num_experts=experts,
        num_experts_per_tok=per_token,
        norm_topk_prob=config.flag("norm_topk_prob"),
        routed_scaling_factor=config.number("routed_scaling_factor"),
    )
    width = config.integer("moe_intermediate_size")
    return SparseMoe(
        router, tuple(mlp(config, f"{prefix}.experts.{e}", width) for e in range(experts))
    )
