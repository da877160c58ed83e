"""What the fields of `config.json` mean in each family; see docs/checkpoints.md for the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ArchitectureError
from ..notes import Note, listed, unheard
from .config import Config, quoted
from .parts import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Linear,
    Mlp,
    Norm,
    Rope,
    Router,
    ShortConv,
    SparseMoe,
    Vector,
)
from .rope import rope
from .scope import check_scope

__all__ = ["describe"]

MOST_LAYERS = 1024
MOST_EXPERTS = 4096
MOST_EXPERTS_IN_ALL = 1 << 17
WIDEST_HEAD = 1 << 16
MOST_COLUMNS = 1 << 31
MOST_POSITIONS = 1 << 20  # of a session: a bundle holds RoPE's table for all of them

# What transformers takes for a field that is not there.
_COMMON: Mapping[str, Any] = {
    "vocab_size": 65536,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 128_000,
    "norm_eps": 1e-5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "tie_word_embeddings": True,
    "conv_bias": False,
    "conv_L_cache": 3,
    "layer_types": None,
}
_LFM2: Mapping[str, Any] = {
    **_COMMON,
    "hidden_size": 2560,
    "intermediate_size": 12288,
    "block_multiple_of": 256,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True,
    "full_attn_idxs": None,
}
_LFM2_MOE: Mapping[str, Any] = {
    **_COMMON,
    "hidden_size": 2048,
    "intermediate_size": 7168,
    "moe_intermediate_size": 1792,
    "num_dense_layers": 2,
    "num_experts": 32,
    "num_experts_per_tok": 4,
    "use_expert_bias": True,
    "routed_scaling_factor": 1.0,
    "norm_topk_prob": True,
}


def describe(config: Mapping[str, Any], note: Note = unheard) -> Architecture:
    """The description of a model from its `config.json`.

    Args:
        config: the file's object.
        note: hears in a line what is passed over or changed.

    Raises:
        ArchitectureError: an unknown family, a missing or impossible value; the message names it.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ArchitectureError(f"config.json: unknown model_type {quoted(family)}; known: {known}")
    defaults, build = _FAMILIES[family]
    values = Config(config, defaults)
    check_scope(values, family, note)
    return build(values, family, note)


def _lfm2(config: Config, family: str, note: Note) -> Architecture:
    width = _dense_width(config)
    kinds = _attention_layers(config)
    return _assemble(
        config,
        family,
        kinds,
        lambda layer: _mlp(config, f"{_prefix(layer)}.feed_forward", width),
        note,
    )


def _dense_width(config: Config) -> int:
    """The MLP's width, after the adjustment that older configs leave to the model."""
    name = "block_ff_dim" if "block_ff_dim" in config.values else "intermediate_size"
    width = config.integer(name)
    if not config.flag("block_auto_adjust_ff_dim"):
        return width
    adjusted = config.number("block_ffn_dim_multiplier") * int(2 * width / 3)
    multiple = config.integer("block_multiple_of")
    if not 1 <= adjusted < MOST_COLUMNS:
        raise config.error(
            "block_ffn_dim_multiplier", f"one that takes {name} to 1 or more columns"
        )
    return -(-int(adjusted) // multiple) * multiple


def _lfm2_moe(config: Config, family: str, note: Note) -> Architecture:
    num_dense_layers, width = (
        config.integer("num_dense_layers", least=0),
        config.integer("intermediate_size"),
    )
    layers = config.integer("num_hidden_layers", most=MOST_LAYERS)
    experts = config.integer("num_experts", most=MOST_EXPERTS)
    if layers * experts > MOST_EXPERTS_IN_ALL:
        raise config.error("num_experts", f"at most {MOST_EXPERTS_IN_ALL} in all {layers} layers")

    def feed_forward(layer: int) -> Mlp | SparseMoe:
        prefix = f"{_prefix(layer)}.feed_forward"
        return (
            _mlp(config, prefix, width) if layer < num_dense_layers else _sparse_moe(config, prefix)
        )

    return _assemble(config, family, _layer_types(config), feed_forward, note)


_Family = Callable[[Config, str, Note], Architecture]
_FAMILIES: Mapping[str, tuple[Mapping[str, Any], _Family]] = {
    "lfm2": (_LFM2, _lfm2),
    "lfm2_moe": (_LFM2_MOE, _lfm2_moe),
}


def _prefix(layer: int) -> str:
    return f"model.layers.{layer}"


def _assemble(
    config: Config,
    family: str,
    kinds: list[str],
    feed_forward: Callable[[int], Mlp | SparseMoe],
    note: Note,
) -> Architecture:
    hidden, vocab = config.integer("hidden_size"), config.integer("vocab_size")
    heads = _Heads.of(config, note)
    # As transformers does, whether a layer needs them or not.
    config.flag("conv_bias")
    config.integer("conv_L_cache", least=2)
    layers = tuple(
        Layer(
            index,
            _norm(config, f"{_prefix(index)}.operator_norm", hidden),
            _attention(config, _prefix(index), heads)
            if kind == "full_attention"
            else _conv(config, _prefix(index)),
            _norm(config, f"{_prefix(index)}.ffn_norm", hidden),
            feed_forward(index),
        )
        for index, kind in enumerate(kinds)
    )
    old_name = "tie_embedding" in config.values
    tied = config.flag("tie_embedding" if old_name else "tie_word_embeddings")
    return Architecture(
        family=family,
        hidden_size=hidden,
        vocab_size=vocab,
        max_context=_max_context(config, note),
        bos_token_id=_special_token(config, "bos_token_id", note),
        eos_token_ids=_end_tokens(config, note),
        pad_token_id=_special_token(config, "pad_token_id", note),
        embedding=Embedding(
            _linear("model.embed_tokens", vocab, hidden),
            None if tied else _linear("lm_head", vocab, hidden),
        ),
        layers=layers,
        final_norm=_norm(config, "model.embedding_norm", hidden),
    )


def _attention_layers(config: Config) -> list[str]:
    """Which layers of a dense model attend: by kind, by older configs' indices, or all."""
    count = config.integer("num_hidden_layers", most=MOST_LAYERS)
    chosen = config.values["full_attn_idxs"]
    if chosen is not None and not (
        isinstance(chosen, list) and all(type(index) is int for index in chosen)
    ):
        raise config.error("full_attn_idxs", "a list of layers")
    if config.values["layer_types"] is not None:
        return _layer_types(config)
    attention = range(count) if chosen is None else set(chosen)
    return ["full_attention" if i in attention else "conv" for i in range(count)]


def _layer_types(config: Config) -> list[str]:
    count = config.integer("num_hidden_layers", most=MOST_LAYERS)
    kinds = config.values["layer_types"]
    if not isinstance(kinds, list) or len(kinds) != count:
        what = (
            "null"
            if kinds is None
            else f"a list of {len(kinds)}"
            if isinstance(kinds, list)
            else quoted(kinds)
        )
        raise ArchitectureError(
            f"config.json: layer_types is {what}, expected the kinds of all {count} layers "
            "(num_hidden_layers)"
        )
    for kind in kinds:
        if kind not in ("conv", "full_attention", "attention"):
            raise ArchitectureError(
                f"config.json: layer_types holds {quoted(kind)}, expected conv or full_attention"
            )
    return ["conv" if kind == "conv" else "full_attention" for kind in kinds]


def _max_context(config: Config, note: Note) -> int:
    positions = config.integer("max_position_embeddings")
    if positions > MOST_POSITIONS:
        note(
            f"config.json: max_position_embeddings is {positions}; "
            f"a session holds {MOST_POSITIONS} tokens at most"
        )
    return min(positions, MOST_POSITIONS)


def _special_token(config: Config, name: str, note: Note) -> int | None:
    token = config.token(name)
    known = () if token is None else _known_tokens(config, name, (token,), note)
    return next(iter(known), None)


def _end_tokens(config: Config, note: Note) -> tuple[int, ...]:
    return _known_tokens(config, "eos_token_id", config.tokens("eos_token_id"), note)


def _known_tokens(
    config: Config, name: str, tokens: tuple[int, ...], note: Note
) -> tuple[int, ...]:
    """Without those that no row of the embedding stands for: the model never reads or says them."""
    vocab = config.integer("vocab_size")
    if unknown := [token for token in tokens if not 0 <= token < vocab]:
        note(f"config.json: {name} {listed(unknown)} is passed over; there are {vocab} tokens")
    return tuple(token for token in tokens if 0 <= token < vocab)


def _linear(name: str, rows: int, columns: int, bias: bool = False) -> Linear:
    return Linear(
        f"{name}.weight", rows, columns, Vector(f"{name}.bias", (rows,)) if bias else None
    )


def _norm(config: Config, name: str, size: int) -> Norm:
    return Norm(Vector(f"{name}.weight", (size,)), config.number("norm_eps"))


@dataclass(frozen=True)
class _Heads:
    """What all attention layers share."""

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope: Rope

    @classmethod
    def of(cls, config: Config, note: Note) -> _Heads:
        heads = config.integer("num_attention_heads")
        kv_heads = config.integer("num_key_value_heads")
        if heads % kv_heads:
            raise config.error("num_attention_heads", f"a multiple of {kv_heads} key-value heads")
        derived = {"head_dim": config.integer("hidden_size") // heads}
        head_dim = Config({**derived, **config.values}).integer("head_dim", most=WIDEST_HEAD)
        return cls(heads, kv_heads, head_dim, rope(config, head_dim, note))


def _attention(config: Config, layer: str, heads: _Heads) -> Attention:
    hidden, prefix = config.integer("hidden_size"), f"{layer}.self_attn"
    queries, keys = heads.num_heads * heads.head_dim, heads.num_kv_heads * heads.head_dim
    return Attention(
        q_proj=_linear(f"{prefix}.q_proj", queries, hidden),
        k_proj=_linear(f"{prefix}.k_proj", keys, hidden),
        v_proj=_linear(f"{prefix}.v_proj", keys, hidden),
        out_proj=_linear(f"{prefix}.out_proj", hidden, queries),
        q_norm=_norm(config, f"{prefix}.q_layernorm", heads.head_dim),
        k_norm=_norm(config, f"{prefix}.k_layernorm", heads.head_dim),
        num_heads=heads.num_heads,
        num_kv_heads=heads.num_kv_heads,
        head_dim=heads.head_dim,
        rope=heads.rope,
    )


def _conv(config: Config, layer: str) -> ShortConv:
    hidden, bias = config.integer("hidden_size"), config.flag("conv_bias")
    kernel = config.integer("conv_L_cache", least=2)
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
        router, tuple(_mlp(config, f"{prefix}.experts.{e}", width) for e in range(experts))
    )
