"""The released models' shapes: what their config.json says, in the newest names of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SHAPES"]


def _layer_types(layers: int, attention: tuple[int, ...]) -> list[str]:
    return ["full_attention" if i in attention else "conv" for i in range(layers)]


def _rope(theta: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta}


_COMMON = {
    "bos_token_id": 1,
    "eos_token_id": 7,
    "pad_token_id": 0,
    "dtype": "bfloat16",
    "tie_word_embeddings": True,
    "max_position_embeddings": 128000,
    "norm_eps": 1e-5,
    "conv_bias": False,
    "conv_L_cache": 3,
    "num_key_value_heads": 8,
    "vocab_size": 65536,
    "rope_parameters": _rope(1e6),
}


def _dense(hidden: int, width: int, **changes: Any) -> dict[str, Any]:
    """A dense model; the width is before `block_auto_adjust_ff_dim` takes two thirds of it."""
    return {
        **_COMMON,
        "architectures": ["Lfm2ForCausalLM"],
        "model_type": "lfm2",
        "hidden_size": hidden,
        "num_attention_heads": hidden // 64,
        "intermediate_size": width,
        "layer_types": _layer_types(16, (2, 5, 8, 10, 12, 14)),
        "block_auto_adjust_ff_dim": True,
        "block_ffn_dim_multiplier": 1.0,
        "block_multiple_of": 256,
        **changes,
    }


def _moe(
    dense_width: int, experts: int, width: int, kinds: list[str], **changes: Any
) -> dict[str, Any]:
    """A mixture of experts; its first two layers are dense."""
    return {
        **_COMMON,
        "architectures": ["Lfm2MoeForCausalLM"],
        "model_type": "lfm2_moe",
        "hidden_size": 2048,
        "num_attention_heads": 32,
        "intermediate_size": dense_width,
        "moe_intermediate_size": width,
        "layer_types": kinds,
        "num_dense_layers": 2,
        "num_experts": experts,
        "num_experts_per_tok": 4,
        "use_expert_bias": True,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        **changes,
    }


def _lfm3() -> dict[str, Any]:
    """The ids of special tokens are those of the tokenizer that synthetic weights come with."""
    return {
        **_COMMON,
        "architectures": ["Lfm3ForCausalLM"],
        "model_type": "lfm3",
        "hidden_size": 2048,
        "intermediate_size": 7680,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 128000,
        "conv_L_cache": 7,
        "sliding_window": 256,
        "use_sandwich_norm": True,
        "use_attention_gate": True,
        "attention_bias": False,
        "layer_types": [
            "conv" if i % 2 or not i else "full_attention" if i % 4 else "sliding_attention"
            for i in range(24)
        ],
        "rope_parameters": {
            "sliding_attention": _rope(1e4),
            "full_attention": {
                "rope_type": "proportional",
                "rope_theta": 1e6,
                "partial_rotary_factor": 0.5,
            },
        },
    }


_LAYERS_8B = _layer_types(24, (2, 6, 10, 14, 18, 21))
_LAYERS_24B = _layer_types(40, (2, 6, 10, 14, 18, 22, 26, 30, 34, 38))
_LAYERS_2_6B = _layer_types(30, (2, 5, 9, 13, 17, 21, 24, 27))

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "lfm2-350m": _dense(1024, 6656),
    "lfm2-700m": _dense(1536, 10240),
    "lfm2-1.2b": _dense(2048, 12288),
    "lfm2-2.6b": _dense(2048, 10752, layer_types=_LAYERS_2_6B, block_auto_adjust_ff_dim=False),
    "lfm2-8b-a1b": _moe(7168, 32, 1792, _LAYERS_8B),
    "lfm2-24b-a2b": _moe(11776, 64, 1536, _LAYERS_24B),
    "lfm2.5-350m": _dense(1024, 6656),
    "lfm2.5-1.2b": _dense(2048, 12288),
    "lfm2.5-8b-a1b": _moe(
        7168, 32, 1792, _LAYERS_8B, vocab_size=128000, rope_parameters=_rope(5e6)
    ),
    "lfm3-1.7b": _lfm3(),
}
"""The config.json of every shape that has a name."""
