"""Tensors' names in GGUF and on the Hub: one table, read both ways.

Source: llama.cpp, `conversion/lfm2.py` and `src/models/lfm2.cpp`. Queries and keys are not permuted
in these families. The experts of a layer are one tensor, `[experts, rows, columns]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FINAL_NORMS", "StoredName", "gguf_name", "hub_name"]

FINAL_NORMS = ("token_embd_norm.weight", "output_norm.weight")
"""What the norm before the head is called: by llama.cpp, and by some converters."""

_MODEL = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.embedding_norm.weight": FINAL_NORMS[0],
    "lm_head.weight": "output.weight",
}
_LAYER = {
    "operator_norm.weight": "attn_norm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.out_proj.weight": "attn_output.weight",
    "self_attn.q_layernorm.weight": "attn_q_norm.weight",
    "self_attn.k_layernorm.weight": "attn_k_norm.weight",
    "conv.conv.weight": "shortconv.conv.weight",
    "conv.in_proj.weight": "shortconv.in_proj.weight",
    "conv.out_proj.weight": "shortconv.out_proj.weight",
    "feed_forward.w1.weight": "ffn_gate.weight",
    "feed_forward.w3.weight": "ffn_up.weight",
    "feed_forward.w2.weight": "ffn_down.weight",
    "feed_forward.gate.weight": "ffn_gate_inp.weight",
    "feed_forward.expert_bias": "exp_probs_b.bias",
}
_EXPERT = {
    "w1.weight": "ffn_gate_exps.weight",
    "w3.weight": "ffn_up_exps.weight",
    "w2.weight": "ffn_down_exps.weight",
}
_HUB_LAYER = re.compile(r"model\.layers\.(\d+)\.(?:feed_forward\.experts\.(\d+)\.)?(.+)", re.ASCII)
_GGUF_LAYER = re.compile(r"blk\.(0|[1-9]\d{0,5})\.(.+)", re.ASCII)
_TO_HUB = {stored: name for name, stored in _LAYER.items()}
_EXPERT_TO_HUB = {stored: name for name, stored in _EXPERT.items()}


@dataclass(frozen=True)
class StoredName:
    """Where GGUF keeps a tensor: under `name`, and there as one `expert` of a stack."""

    name: str
    expert: int | None = None


def gguf_name(name: str) -> StoredName:
    """Where GGUF keeps a tensor of the Hub.

    Raises:
        KeyError: it knows no such tensor.
    """
    layer = _HUB_LAYER.fullmatch(name)
    if layer is None:
        return StoredName(_MODEL[name])
    index, expert, kind = layer.groups()
    if expert is None:
        return StoredName(f"blk.{index}.{_LAYER[kind]}")
    return StoredName(f"blk.{index}.{_EXPERT[kind]}", int(expert))


def hub_name(stored: str) -> str | None:
    """What the Hub calls a tensor, or None for one that these models do not have.

    The name of a stack of experts has `{}` for the expert's number.
    """
    if stored in FINAL_NORMS:
        return "model.embedding_norm.weight"
    layer = _GGUF_LAYER.fullmatch(stored)
    if layer is None:
        return next((name for name, other in _MODEL.items() if other == stored), None)
    prefix, kind = f"model.layers.{layer[1]}", layer[2]
    if kind in _EXPERT_TO_HUB:
        return f"{prefix}.feed_forward.experts.{{}}.{_EXPERT_TO_HUB[kind]}"
    return f"{prefix}.{_TO_HUB[kind]}" if kind in _TO_HUB else None
