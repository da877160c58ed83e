"""`config.json`: the shape of a tiny model, and one of the many ways to write it down.

`Dims` is what is meant. The spelling puts it where transformers looks, with decoys where it does
not: a value that loses against another name, a null, a field that the family does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .choices import ABSENT, Choices, present
from .lfm3 import as_lfm3

__all__ = ["MOST_CONTEXT", "TOO_MANY_LAYERS", "Dims", "draw_config"]

MOST_CONTEXT = 2048
TOO_MANY_LAYERS = 2_000_000_000


@dataclass(frozen=True)
class Dims:
    """The sizes from which the shapes of all tensors follow."""

    moe: bool
    vocab: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    kinds: tuple[str, ...]
    kernel: int
    conv_bias: bool
    tied: bool
    num_dense: int = 0
    experts: int = 0
    experts_per_token: int = 0
    expert_width: int = 0
    expert_bias: bool = False
    lfm3: bool = False
    attention_bias: bool = False
    sandwich: bool = False
    gated: bool = False


def draw_config(choices: Choices, vocab: int, eos: int, other: int) -> tuple[Dims, dict[str, Any]]:
    """A model of one to three layers and its `config.json`."""
    moe = choices.one(False, True)
    hidden, heads, kv_heads, head_dim, written_head_dim = _heads(choices)
    kinds, layers = _layers(choices, moe)
    width, widths = _width(choices, moe)
    tied, ties = _ties(choices)
    kernel = choices.usual(3, 2, 4, 5)
    conv_bias = choices.usual(ABSENT, True, False, percent=50)
    values = {
        "model_type": "lfm2_moe" if moe else "lfm2",
        "architectures": _architectures(choices, moe),
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": written_head_dim,
        "max_position_embeddings": MOST_CONTEXT,
        "conv_L_cache": ABSENT if kernel == 3 and choices.rarely(30) else kernel,
        "conv_bias": conv_bias,
        **layers,
        **widths,
        **ties,
        **_norms(choices),
        **_rope(choices),
        **_tokens(choices, eos, other),
        **_dtypes(choices),
        **_unread(choices),
    }
    sparse: dict[str, Any] = {}
    if moe:
        sparse, experts = _experts(choices, len(kinds))
        values |= experts
    if choices.rarely(3):
        values["max_position_embeddings"] = ABSENT
    if choices.rarely(2):
        name = choices.one(
            *(
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "conv_L_cache",
                "conv_bias",
            )
        )
        values[name] = choices.one(None, "3", 2.5, -1, [])
        choices.may_refuse(f"{name} is not a value")
    dims = Dims(
        moe=moe,
        vocab=vocab,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        kinds=kinds,
        kernel=kernel,
        conv_bias=conv_bias is True,
        tied=tied,
        **sparse,
    )
    values = present(values)
    if moe or choices.refusable or not choices.rarely(50):
        return dims, values
    changes, values = as_lfm3(choices, kinds, head_dim, width, values)
    return replace(dims, **changes), values


def _heads(choices: Choices) -> tuple[int, int, int, int, Any]:
    hidden, heads, kv_heads = choices.one(
        (64, 2, 1), (64, 4, 2), (32, 2, 2), (64, 4, 1), (96, 2, 1)
    )
    head_dim = hidden // heads
    written: Any = choices.usual(ABSENT, head_dim, percent=50)
    if choices.rarely(1):
        written = None
        choices.may_refuse("head_dim is null")
    if choices.rarely(8):
        head_dim = written = choices.one(16, 32, 64)
    if heads == 4 and choices.rarely(4):
        head_dim = written = choices.one(24, 8, 40)
        choices.may_refuse(f"head_dim {head_dim}")
    if head_dim * heads % 32:
        choices.may_refuse("attention's width is not a multiple of 32")
    return hidden, heads, kv_heads, head_dim, written


def _layers(choices: Choices, moe: bool) -> tuple[tuple[str, ...], dict[str, Any]]:
    full, conv = "full_attention", "conv"
    kinds = choices.one(
        (conv, full), (full,), (conv, full, conv), (conv,), (full, full), (full, conv)
    )
    count = len(kinds)
    indices = [index for index, kind in enumerate(kinds) if kind == full]
    decoy = [] if indices else [0]
    old = choices.rarely(10)
    types = ["attention" if old and kind == full else kind for kind in kinds]
    values: dict[str, Any] = {"num_hidden_layers": count, "layer_types": types}
    spelling = choices.usual("types", "indices", "both", "conflict", "all", percent=50)
    if moe and spelling in ("indices", "all") and not choices.rarely(5):
        spelling = "types"
    if spelling == "indices":
        values |= {"layer_types": choices.one(ABSENT, None), "full_attn_idxs": [*indices, 70]}
    if spelling == "both":
        values["full_attn_idxs"] = choices.one(indices, None)
    if spelling == "conflict":
        values["full_attn_idxs"] = decoy
    if spelling == "all":  # neither: every layer is attention
        kinds = (full,) * count
        values |= {
            "layer_types": choices.one(ABSENT, None),
            "full_attn_idxs": choices.one(ABSENT, None),
        }
    if moe and spelling in ("indices", "all"):
        choices.may_refuse("lfm2_moe without layer_types")
    if choices.rarely(1):
        values["full_attn_idxs"] = choices.one(3, "0", [0.0])
        choices.may_refuse("full_attn_idxs is no list of integers")
    if choices.rarely(1):
        values["layer_types"] = choices.one(
            ["sliding_attention"] * count, [conv] * (count + 1), conv
        )
        choices.may_refuse("layer_types of another model")
    if choices.rarely(1):
        values["num_hidden_layers"] = TOO_MANY_LAYERS
        choices.may_refuse("two billion layers")
    return kinds, values


def _width(choices: Choices, moe: bool) -> tuple[int, dict[str, Any]]:
    """The dense feed-forward's width; `block_ff_dim` wins over `intermediate_size` in lfm2."""
    given = choices.one(96, 192, 128)
    names: dict[str, Any] = {"intermediate_size": given}
    spelling = choices.usual("new", "old", "both", "conflict", percent=50)
    if moe:
        if spelling == "conflict":
            names["block_ff_dim"] = 32  # not a field of this family
        return given, names
    if spelling != "new":
        names["block_ff_dim"] = given
    if spelling == "old":
        del names["intermediate_size"]
    if spelling == "conflict":
        names["intermediate_size"] = choices.one(32, 64, 256)
    adjust = choices.one(True, False, ABSENT)
    multiplier: Any = choices.usual(ABSENT, 1.0, 1.3, 1, percent=60)
    multiple = choices.one(32, 64, ABSENT)
    names |= {
        "block_auto_adjust_ff_dim": adjust,
        "block_ffn_dim_multiplier": multiplier,
        "block_multiple_of": multiple,
        **choices.usual({}, {"block_mlp_init_scale": 1.0, "block_use_swiglu": True}),
    }
    width = given
    if adjust is not False:
        factor = 1.0 if multiplier is ABSENT else multiplier
        step = 256 if multiple is ABSENT else multiple
        width = -(-int(factor * int(2 * given / 3)) // step) * step
    if width % 32:
        choices.may_refuse("the feed-forward's width is not a multiple of 32")
    return width, names


def _ties(choices: Choices) -> tuple[bool, dict[str, Any]]:
    """`tie_embedding` wins over `tie_word_embeddings`; without either the embedding is tied."""
    tied = choices.one(True, False)
    spelling = choices.one("new", "old", "both", "conflict", "none")
    if spelling == "none":
        return True, {}
    if spelling == "new":
        return tied, {"tie_word_embeddings": tied}
    values = {"tie_embedding": tied}
    if spelling == "both":
        values["tie_word_embeddings"] = tied
    if spelling == "conflict":
        values["tie_word_embeddings"] = not tied
    return tied, values


def _norms(choices: Choices) -> dict[str, Any]:
    return choices.one(
        {"norm_eps": 1e-5},
        {},
        {"norm_eps": 0.01},
        {"norm_eps": 0.01, "block_norm_eps": 0.2},
        {"block_norm_eps": 0.2},  # transformers reads it nowhere
        {"rms_norm_eps": 0.2},
    )


def _rope(choices: Choices) -> dict[str, Any]:
    theta = choices.one(1_000_000.0, 10_000.0, 100.0)
    default = {"rope_type": "default", "rope_theta": theta}
    usual: tuple[dict[str, Any], ...] = (
        {"rope_parameters": default},
        {"rope_theta": theta},
        {"rope_theta": theta, "rope_parameters": None, "rope_scaling": None},
        {"rope_theta": 17.0, "rope_parameters": default},
        {"rope_theta": theta, "rope_parameters": {"rope_type": "default"}},
        {"rope_theta": theta, "rope_scaling": {"type": "default"}},
        {"rope_parameters": {**default, "type": "default"}},
        {"rope_parameters": {"rope_theta": theta}},
        {"rope_parameters": {"rope_theta": theta, "rope_type": "default"}, "rope_scaling": None},
        {"rope_parameters": {}, "rope_theta": theta},
        {},
        {"theta": 17.0, "rope_theta": theta},
        {"rope_theta": int(theta)},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 17.0}, "rope_scaling": default},
    )
    if not choices.rarely(12):
        return dict(choices.one(*usual))
    kind = choices.one("linear", "dynamic", "llama3", "yarn", "longrope", "proportional", "other")
    key = choices.one("type", "rope_type")
    rope: dict[str, Any] = {key: kind, "factor": choices.one(2.0, 4)}
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind in ("llama3", "yarn", "longrope"):
        rope["original_max_position_embeddings"] = 32
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
        choices.may_refuse("longrope")
    if kind == "other":
        choices.may_refuse("an unknown rule of RoPE")
    field = choices.one("rope_scaling", "rope_parameters")
    values: dict[str, Any] = {field: rope, "rope_theta": theta}
    unusual = choices.rarely(15)
    if unusual:
        choices.may_refuse("RoPE of several kinds, or of a part of a head")
    if unusual and choices.rarely(50):
        values = {"rope_parameters": {"full_attention": default, "conv": {**default, **rope}}}
    elif unusual:
        values = {"rope_parameters": default, "partial_rotary_factor": 0.5}
    return values


def _tokens(choices: Choices, eos: int, other: int) -> dict[str, Any]:
    """Ids as the config has them; the pad id must lie in the embedding."""
    ends = choices.usual(eos, [eos, other], [other], ABSENT, None, percent=50)
    return {
        "bos_token_id": choices.usual(1, ABSENT, None),
        "eos_token_id": ends,
        "pad_token_id": choices.usual(0, ABSENT, None),
    }


def _dtypes(choices: Choices) -> dict[str, Any]:
    kinds = ("bfloat16", "float16", "float32")
    return {
        "dtype": choices.usual(ABSENT, *kinds, None),
        "torch_dtype": choices.usual(ABSENT, *kinds, None, percent=60),
    }


def _architectures(choices: Choices, moe: bool) -> Any:
    family = "Lfm2Moe" if moe else "Lfm2"
    usual = [f"{family}ForCausalLM"]
    if choices.rarely(2):
        choices.may_refuse("architectures of another kind of model")
        return [choices.one("Lfm2BidirectionalModel", f"{family}ForSequenceClassification")]
    return choices.usual(usual, ABSENT, None, [f"{family}Model"])


def _unread(choices: Choices) -> dict[str, Any]:
    """Fields of other models, of training runs and of libraries that wrote the file."""
    extras = (
        {"transformers_version": "4.55.0", "use_cache": choices.one(True, False)},
        {"initializer_range": 0.5, "conv_dim": 7, "conv_dim_out": 7, "conv_use_xavier_init": True},
        {"hidden_act": "gelu", "attention_bias": True, "mlp_bias": True, "sliding_window": 4},
        {"num_heads": 3, "use_pos_enc": True, "attention_dropout": 0.1, "hidden_dropout": 0.1},
        {"temperature": 0.4, "top_k": 3, "do_sample": True},  # of old files; see generation
        {"unsloth_fixed": True, "_name_or_path": "/somewhere", "auto_map": {}},
        {"n_layer": 1, "vocab": None, "num_local_experts": 2, "is_causal": choices.one(True, None)},
        {"id2label": {"0": "no"}, "label2id": {"no": 0}, "problem_type": None},
    )
    found: dict[str, Any] = {}
    if choices.rarely(0.5):
        choices.may_refuse("a model that attends both ways")
        found["is_causal"] = False
    for extra in choices.several(extras, 0, 2):
        found |= extra
    return found


def _experts(choices: Choices, layers: int) -> tuple[dict[str, Any], dict[str, Any]]:
    experts, chosen = choices.one((4, 2), (4, 1), (2, 2), (3, 2))
    num_dense: Any = choices.usual(0, 1, layers, percent=40)
    if choices.rarely(5):
        num_dense = ABSENT
    biased = choices.one(True, False, ABSENT)
    width = choices.one(32, 64)
    factor = choices.usual(ABSENT, 1.0, 2.5, 1, percent=50)
    dims = {
        "num_dense": 2 if num_dense is ABSENT else num_dense,
        "experts": experts,
        "experts_per_token": chosen,
        "expert_width": width,
        "expert_bias": biased is not False,
    }
    return dims, {
        "num_dense_layers": num_dense,
        "num_experts": experts,
        "num_experts_per_tok": chosen,
        "moe_intermediate_size": width,
        "use_expert_bias": biased,
        "norm_topk_prob": choices.one(True, False, ABSENT),
        "routed_scaling_factor": factor,
    }
