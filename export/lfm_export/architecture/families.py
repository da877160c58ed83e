"""What the fields of `config.json` mean in each family; see docs/checkpoints.md for the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ArchitectureError
from ..notes import Note, listed, unheard
from .config import Config, quoted
from .layers import (
    FULL,
    SLIDING,
    AttentionLayers,
    attention,
    head_sizes,
    linear,
    mlp,
    norm,
    short_conv,
    sparse_moe,
)
from .parts import Architecture, Embedding, Layer, Mlp, SparseMoe
from .rope import layer_ropes, rope
from .scope import check_scope

__all__ = ["describe"]

MOST_LAYERS = 1024
MOST_EXPERTS = 4096
MOST_EXPERTS_IN_ALL = 1 << 17
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
_LFM3: Mapping[str, Any] = {
    **_COMMON,
    "vocab_size": 128_000,
    "hidden_size": 2048,
    "intermediate_size": 7680,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "pad_token_id": 124_893,
    "bos_token_id": 124_894,
    "conv_L_cache": 7,
    "sliding_window": 256,
    "use_sandwich_norm": True,
    "use_attention_gate": True,
    "attention_bias": False,
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
        _lfm2_attention(config, note),
        lambda layer: mlp(config, f"{_prefix(layer)}.feed_forward", width),
        note,
    )


def _lfm2_attention(config: Config, note: Note) -> AttentionLayers:
    heads, kv_heads, head_dim = head_sizes(config)
    return AttentionLayers(heads, kv_heads, head_dim, {FULL: rope(config, head_dim, note)})


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
            mlp(config, prefix, width) if layer < num_dense_layers else sparse_moe(config, prefix)
        )

    kinds = _layer_types(config)
    return _assemble(config, family, kinds, _lfm2_attention(config, note), feed_forward, note)


def _lfm3(config: Config, family: str, note: Note) -> Architecture:
    config = _lfm3_names(config)
    width = config.integer("intermediate_size")
    kinds = _lfm3_layers(config)
    if SLIDING in kinds and config.values.get("is_causal", True) is None:
        raise config.error("is_causal", "true: with null sliding layers attend both ways")
    heads, kv_heads, head_dim = head_sizes(config)
    window = min(config.integer("sliding_window"), MOST_POSITIONS) if SLIDING in kinds else 0
    layers = AttentionLayers(
        heads,
        kv_heads,
        head_dim,
        layer_ropes(config, [kind for kind in (FULL, SLIDING) if kind in kinds], head_dim, note),
        window=window,
        gated=config.flag("use_attention_gate"),
        bias=config.flag("attention_bias"),
        out_proj="o_proj",
        q_norm="q_norm",
        k_norm="k_norm",
    )
    return _assemble(
        config,
        family,
        kinds,
        layers,
        lambda layer: mlp(config, f"{_prefix(layer)}.feed_forward", width),
        note,
        sandwich=config.flag("use_sandwich_norm"),
    )


def _lfm3_names(config: Config) -> Config:
    """`rms_norm_eps` is another name of `norm_eps`, which wins; `tie_embedding` means nothing."""
    values = {name: value for name, value in config.values.items() if name != "tie_embedding"}
    return Config({**values, "norm_eps": values.get("rms_norm_eps", values["norm_eps"])})


def _lfm3_layers(config: Config) -> list[str]:
    """By kind, or by default every fourth layer of either kind of attention."""
    if config.values["layer_types"] is not None:
        return _layer_types(config, (FULL, SLIDING))
    pattern = (SLIDING, "conv", FULL, "conv")
    count = config.integer("num_hidden_layers", most=MOST_LAYERS)
    return ["conv", *(pattern[i % len(pattern)] for i in range(1, count))]


_Family = Callable[[Config, str, Note], Architecture]
_FAMILIES: Mapping[str, tuple[Mapping[str, Any], _Family]] = {
    "lfm2": (_LFM2, _lfm2),
    "lfm2_moe": (_LFM2_MOE, _lfm2_moe),
    "lfm3": (_LFM3, _lfm3),
}


def _prefix(layer: int) -> str:
    return f"model.layers.{layer}"


def _assemble(
    config: Config,
    family: str,
    kinds: list[str],
    attention_layers: AttentionLayers,
    feed_forward: Callable[[int], Mlp | SparseMoe],
    note: Note,
    sandwich: bool = False,
) -> Architecture:
    hidden, vocab = config.integer("hidden_size"), config.integer("vocab_size")
    # As transformers does, whether a layer needs them or not.
    config.flag("conv_bias")
    config.integer("conv_L_cache", least=2)
    layers = tuple(
        Layer(
            index,
            norm(config, f"{_prefix(index)}.operator_norm", hidden),
            short_conv(config, _prefix(index))
            if kind == "conv"
            else attention(config, _prefix(index), kind, attention_layers),
            norm(config, f"{_prefix(index)}.post_operator_norm", hidden) if sandwich else None,
            norm(config, f"{_prefix(index)}.ffn_norm", hidden),
            feed_forward(index),
            norm(config, f"{_prefix(index)}.post_ffn_norm", hidden) if sandwich else None,
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
            linear("model.embed_tokens", vocab, hidden),
            None if tied else linear("lm_head", vocab, hidden),
        ),
        layers=layers,
        final_norm=norm(config, "model.embedding_norm", hidden),
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
    attending = range(count) if chosen is None else set(chosen)
    return [FULL if i in attending else "conv" for i in range(count)]


def _layer_types(config: Config, attending: tuple[str, ...] = (FULL,)) -> list[str]:
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
        if kind not in ("conv", "attention", *attending):
            known = " or ".join(("conv", *attending))
            raise ArchitectureError(
                f"config.json: layer_types holds {quoted(kind)}, expected {known}"
            )
    return [FULL if kind == "attention" else kind for kind in kinds]


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
