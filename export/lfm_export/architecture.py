"""From `config.json` to a neutral description of the model: a list of layers.

A layer is an operator (attention or gated short convolution) and a feed-forward (dense or sparse).
Every part names its own tensors, so that readers, quantizers, references and emitters all walk
the same description and none of them knows a family. A new family is one more function in
`_FAMILIES` and, at most, one more kind of part.

Source of the rules: `transformers`, models `lfm2` and `lfm2_moe`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .config import Config
from .errors import ArchitectureError

__all__ = [
    "Architecture",
    "Attention",
    "Embedding",
    "Layer",
    "Linear",
    "Mlp",
    "Norm",
    "Router",
    "ShortConv",
    "SparseMoe",
    "Vector",
    "describe",
]


@dataclass(frozen=True)
class Vector:
    """A small float32 tensor that is never quantized: a norm, a bias, convolution taps."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """A weight matrix `[rows, columns]`, `y = x W^T + bias`."""

    name: str
    rows: int
    columns: int
    bias: Vector | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return (self.rows, self.columns)


@dataclass(frozen=True)
class Norm:
    """RMS norm over the last axis, computed in fp32."""

    weight: Vector
    eps: float


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention; q and k are normed per head before rotate-half RoPE."""

    q_proj: Linear
    k_proj: Linear
    v_proj: Linear
    out_proj: Linear
    q_norm: Norm
    k_norm: Norm
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float


@dataclass(frozen=True)
class ShortConv:
    """`B, C, x = in_proj(h)`; `out_proj(C * conv(B * x))`, conv causal and depthwise."""

    in_proj: Linear
    taps: Vector
    """`[hidden, 1, kernel]`; the last tap meets the current token."""
    bias: Vector | None
    out_proj: Linear
    hidden_size: int
    kernel_size: int


@dataclass(frozen=True)
class Mlp:
    """SwiGLU: `down(silu(gate(h)) * up(h))`; a dense feed-forward, or one expert."""

    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True)
class Router:
    """`s = sigmoid(h W^T)` in fp32; the top k of `s + bias` are selected and weighed by `s`."""

    weight: Vector
    bias: Vector | None
    num_experts: int
    num_experts_per_tok: int
    norm_topk_prob: bool
    routed_scaling_factor: float


@dataclass(frozen=True)
class SparseMoe:
    """A router and its experts."""

    router: Router
    experts: tuple[Mlp, ...]


@dataclass(frozen=True)
class Layer:
    """`h += operator(operator_norm(h)); h += feed_forward(ffn_norm(h))`."""

    index: int
    operator_norm: Norm
    operator: Attention | ShortConv
    ffn_norm: Norm
    feed_forward: Mlp | SparseMoe


@dataclass(frozen=True)
class Embedding:
    """The token embedding `[vocab, hidden]`, and the LM head's own matrix where it is not tied."""

    tokens: Linear
    head: Linear | None


@dataclass(frozen=True)
class Architecture:
    """A whole model."""

    family: str
    hidden_size: int
    vocab_size: int
    max_context: int
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    pad_token_id: int | None
    embedding: Embedding
    layers: tuple[Layer, ...]
    final_norm: Norm

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that the checkpoint must hold, with its shape."""
        return dict(_tensors(self))

    def num_parameters(self) -> int:
        """The number of weights."""
        total = 0
        for shape in self.tensors().values():
            count = 1
            for size in shape:
                count *= size
            total += count
        return total


def _tensors(part: object) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Walks a description in order; every part is a dataclass or a tuple of parts."""
    if isinstance(part, Vector | Linear):
        yield part.name, part.shape
    if isinstance(part, tuple):
        for item in part:
            yield from _tensors(item)
    elif hasattr(part, "__dataclass_fields__"):
        for field in part.__dataclass_fields__:
            yield from _tensors(getattr(part, field))


def describe(config: Mapping[str, Any]) -> Architecture:
    """The description of a model from its `config.json`.

    Raises:
        ArchitectureError: an unknown family, a missing or impossible value; the message names it.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        known = ", ".join(sorted(_FAMILIES))
        raise ArchitectureError(f"config.json: unknown model_type {family!r}; known: {known}")
    return _FAMILIES[family](Config(config, family))


def _lfm2(config: Config) -> Architecture:
    width = config.integer("block_ff_dim", "intermediate_size")
    if config.flag("block_auto_adjust_ff_dim", default=True):
        width = int(2 * width / 3)
        width = int(config.number("block_ffn_dim_multiplier", default=1.0) * width)
        multiple = config.integer("block_multiple_of", default=256)
        width = -(-width // multiple) * multiple
    return _assemble(config, lambda layer: _mlp(config, f"{_prefix(layer)}.feed_forward", width))


def _lfm2_moe(config: Config) -> Architecture:
    num_dense_layers = config.integer("num_dense_layers", least=0)

    def feed_forward(layer: int) -> Mlp | SparseMoe:
        prefix = f"{_prefix(layer)}.feed_forward"
        if layer < num_dense_layers:
            return _mlp(config, prefix, config.integer("intermediate_size"))
        return _sparse_moe(config, prefix)

    return _assemble(config, feed_forward)


_FAMILIES: dict[str, Callable[[Config], Architecture]] = {"lfm2": _lfm2, "lfm2_moe": _lfm2_moe}


def _prefix(layer: int) -> str:
    return f"model.layers.{layer}"


def _assemble(config: Config, feed_forward: Callable[[int], Mlp | SparseMoe]) -> Architecture:
    hidden, vocab = config.integer("hidden_size"), config.integer("vocab_size")
    layers = []
    for index, kind in enumerate(_layer_types(config)):
        prefix = _prefix(index)
        operator = _attention(config, prefix) if kind == "full_attention" else _conv(config, prefix)
        layers.append(
            Layer(
                index,
                _norm(config, f"{prefix}.operator_norm", hidden),
                operator,
                _norm(config, f"{prefix}.ffn_norm", hidden),
                feed_forward(index),
            )
        )
    tied = config.flag("tie_embedding", "tie_word_embeddings", default=True)
    head = None if tied else _linear("lm_head", vocab, hidden)
    return Architecture(
        family=config.family,
        hidden_size=hidden,
        vocab_size=vocab,
        max_context=config.integer("max_position_embeddings"),
        bos_token_id=config.token("bos_token_id"),
        eos_token_ids=config.tokens("eos_token_id"),
        pad_token_id=config.token("pad_token_id"),
        embedding=Embedding(_linear("model.embed_tokens", vocab, hidden), head),
        layers=tuple(layers),
        final_norm=_norm(config, "model.embedding_norm", hidden),
    )


def _layer_types(config: Config) -> list[str]:
    count = config.integer("num_hidden_layers")
    kinds = config.values.get("layer_types")
    if kinds is None:
        attention = config.values.get("full_attn_idxs")
        chosen = range(count) if attention is None else attention
        kinds = ["full_attention" if i in chosen else "conv" for i in range(count)]
    if not isinstance(kinds, list) or len(kinds) != count:
        raise ArchitectureError(f"config.json: layer_types does not name {count} layers")
    for kind in kinds:
        if kind not in ("conv", "full_attention"):
            raise ArchitectureError(
                f"config.json: layer_types holds {kind!r}, expected conv or full_attention"
            )
    return kinds


def _linear(name: str, rows: int, columns: int, bias: bool = False) -> Linear:
    return Linear(
        f"{name}.weight", rows, columns, Vector(f"{name}.bias", (rows,)) if bias else None
    )


def _norm(config: Config, name: str, size: int) -> Norm:
    eps = config.number("norm_eps", "block_norm_eps", default=1e-5)
    return Norm(Vector(f"{name}.weight", (size,)), eps)


def _attention(config: Config, layer: str) -> Attention:
    hidden = config.integer("hidden_size")
    heads = config.integer("num_attention_heads")
    kv_heads = config.integer("num_key_value_heads")
    head_dim = config.integer("head_dim", default=hidden // heads or 1)
    if heads % kv_heads or head_dim % 2:
        raise ArchitectureError(
            f"config.json: {heads} attention heads of {head_dim} over {kv_heads} key-value heads; "
            "expected a multiple, and an even head_dim"
        )
    prefix = f"{layer}.self_attn"
    return Attention(
        q_proj=_linear(f"{prefix}.q_proj", heads * head_dim, hidden),
        k_proj=_linear(f"{prefix}.k_proj", kv_heads * head_dim, hidden),
        v_proj=_linear(f"{prefix}.v_proj", kv_heads * head_dim, hidden),
        out_proj=_linear(f"{prefix}.out_proj", hidden, heads * head_dim),
        q_norm=_norm(config, f"{prefix}.q_layernorm", head_dim),
        k_norm=_norm(config, f"{prefix}.k_layernorm", head_dim),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        rope_theta=_rope_theta(config),
    )


def _rope_theta(config: Config) -> float:
    rope = config.values.get("rope_parameters") or config.values.get("rope_scaling") or {}
    if not isinstance(rope, Mapping) or rope.get("rope_type", "default") != "default":
        raise ArchitectureError(
            f"config.json: rope_parameters {rope!r}, expected rope_type default"
        )
    return Config({**config.values, **rope}, config.family).number("rope_theta", default=1e6)


def _conv(config: Config, layer: str) -> ShortConv:
    hidden = config.integer("hidden_size")
    kernel = config.integer("conv_L_cache", default=3, least=2)
    bias = config.flag("conv_bias", default=False)
    prefix = f"{layer}.conv"
    return ShortConv(
        in_proj=_linear(f"{prefix}.in_proj", 3 * hidden, hidden, bias),
        taps=Vector(f"{prefix}.conv.weight", (hidden, 1, kernel)),
        bias=Vector(f"{prefix}.conv.bias", (hidden,)) if bias else None,
        out_proj=_linear(f"{prefix}.out_proj", hidden, hidden, bias),
        hidden_size=hidden,
        kernel_size=kernel,
    )


def _mlp(config: Config, prefix: str, width: int) -> Mlp:
    hidden = config.integer("hidden_size")
    return Mlp(
        gate=_linear(f"{prefix}.w1", width, hidden),
        up=_linear(f"{prefix}.w3", width, hidden),
        down=_linear(f"{prefix}.w2", hidden, width),
    )


def _sparse_moe(config: Config, prefix: str) -> SparseMoe:
    hidden, experts = config.integer("hidden_size"), config.integer("num_experts")
    per_token = config.integer("num_experts_per_tok")
    if per_token > experts:
        raise ArchitectureError(
            f"config.json: num_experts_per_tok is {per_token}, but there are {experts} experts"
        )
    biased = config.flag("use_expert_bias", default=True)
    router = Router(
        weight=Vector(f"{prefix}.gate.weight", (experts, hidden)),
        bias=Vector(f"{prefix}.expert_bias", (experts,)) if biased else None,
        num_experts=experts,
        num_experts_per_tok=per_token,
        norm_topk_prob=config.flag("norm_topk_prob", default=True),
        routed_scaling_factor=config.number("routed_scaling_factor", default=1.0),
    )
    width = config.integer("moe_intermediate_size")
    return SparseMoe(
        router, tuple(_mlp(config, f"{prefix}.experts.{e}", width) for e in range(experts))
    )
