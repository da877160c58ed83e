"""The `config.json` that mlx-lm reads: the Hub's fields, and how the weights are quantized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfm_ops.formats import Format, format_named

from ...architecture import Architecture, Attention, Mlp, ShortConv, SparseMoe
from ..target import Job

__all__ = ["config_of"]

_USUAL_WIDTH = 32  # of no layer


def config_of(job: Job, formats: Mapping[str, str]) -> dict[str, Any]:
    """The whole config.

    Args:
        job: what is exported.
        formats: of each quantized module, by its name in mlx-lm.
    """
    config = _sizes(job.architecture) | {
        "max_position_embeddings": job.context,
        "bos_token_id": job.architecture.bos_token_id,
        "eos_token_id": list(job.companions.eos_token_ids),
        "pad_token_id": job.companions.pad_token_id,
    }
    integers = {name: format_named(format) for name, format in formats.items()}
    integers = {name: format for name, format in integers.items() if format.group_size}
    if integers:  # modules of float weights have no scales in the file, and none here
        usual = format_named(job.scheme.linear)
        usual = usual if usual.group_size else next(iter(integers.values()))
        others = {name: _settings(f) for name, f in integers.items() if f != usual}
        config["quantization"] = {**_settings(usual), "mode": "affine", **others}
    return config


def _settings(format: Format) -> dict[str, Any]:
    return {"group_size": format.group_size, "bits": format.bits}


def _sizes(architecture: Architecture) -> dict[str, Any]:
    operators = [layer.operator for layer in architecture.layers]
    attention = next(part for part in operators if isinstance(part, Attention))
    conv = next(part for part in operators if isinstance(part, ShortConv))
    forwards = [layer.feed_forward for layer in architecture.layers]
    dense = [part for part in forwards if isinstance(part, Mlp)]
    sparse = [part for part in forwards if isinstance(part, SparseMoe)]
    config = {
        "model_type": "lfm2_moe" if sparse else "lfm2",
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": len(operators),
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads,
        "layer_types": [
            "full_attention" if isinstance(part, Attention) else "conv" for part in operators
        ],
        "conv_L_cache": conv.kernel_size,
        "conv_bias": conv.bias is not None,
        "norm_eps": architecture.final_norm.eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": attention.rope.theta},
        "rope_theta": attention.rope.theta,
        "tie_word_embeddings": True,
        "intermediate_size": dense[0].gate.rows if dense else _USUAL_WIDTH,
    }
    return config | (_experts(sparse, len(dense)) if sparse else _dense(architecture))


def _dense(architecture: Architecture) -> dict[str, Any]:
    """The width stands above, adjusted already."""
    return {
        "architectures": ["Lfm2ForCausalLM"],
        "block_dim": architecture.hidden_size,
        "block_auto_adjust_ff_dim": False,
        "block_ffn_dim_multiplier": 1.0,
        "block_multiple_of": 256,
    }


def _experts(sparse: list[SparseMoe], num_dense_layers: int) -> dict[str, Any]:
    router = sparse[0].router
    return {
        "architectures": ["Lfm2MoeForCausalLM"],
        "moe_intermediate_size": sparse[0].experts[0].gate.rows,
        "num_dense_layers": num_dense_layers,
        "num_experts": router.num_experts,
        "num_experts_per_tok": router.num_experts_per_tok,
        "use_expert_bias": router.bias is not None,
        "norm_topk_prob": router.norm_topk_prob,
        "routed_scaling_factor": router.routed_scaling_factor,
    }
