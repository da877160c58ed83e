"""How `torch.onnx.export` writes our torch operators: each as one node of the domain `ai.lfm`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnxscript import FLOAT, INT64, UINT8
from onnxscript.values import Op, Opset

from . import operators  # noqa: F401 (defines torch.ops.lfm)

__all__ = ["TRANSLATIONS"]

_OPSET = Opset("ai.lfm", 1)


def _op(name: str, inputs: str, outputs: str, attributes: str) -> Op:
    """One of our operators by its schema; a `?` marks what may be absent.

    Args:
        name: the operator.
        inputs: name and type of each, `x:float`.
        outputs: as `inputs`.
        attributes: names, each with the letter of its type: `i`, `f` or `s`.
    """
    schema = onnx.defs.OpSchema
    kinds = {"i": schema.AttrType.INT, "f": schema.AttrType.FLOAT, "s": schema.AttrType.STRING}

    def parameter(text: str) -> onnx.defs.OpSchema.FormalParameter:
        called, type_ = text.rstrip("?").split(":")
        option = schema.FormalParameterOption
        kind = option.Optional if text.endswith("?") else option.Single
        return schema.FormalParameter(called, f"tensor({type_})", param_option=kind)

    found = schema(
        name,
        _OPSET.domain,
        _OPSET.version,
        inputs=[parameter(text) for text in inputs.split()],
        outputs=[parameter(text) for text in outputs.split()],
        attributes=[
            schema.Attribute(called, kinds[letter], required=True)
            for called, letter in (text.split(":") for text in attributes.split())
        ],
    )
    return Op(_OPSET, name, found)


_SHORT_CONV = _op(
    "GatedShortConv",
    "x:float in_proj:uint8 in_bias:float? taps:float conv_bias:float? out_proj:uint8 "
    "out_bias:float? past:float",
    "y:float present:float",
    "hidden_size:i kernel_size:i in_proj_format:s out_proj_format:s",
)
_MOE = _op(
    "SparseMoe",
    "x:float router:float expert_bias:float? gate_up:uint8 down:uint8",
    "y:float",
    "hidden_size:i intermediate_size:i num_experts:i num_experts_per_tok:i norm_topk_prob:i "
    "routed_scaling_factor:f gate_up_format:s down_format:s",
)
_ATTENTION = _op(
    "CachedAttention",
    "qkv:float q_norm:float k_norm:float cos:float sin:float attention_mask:int64 "
    "past_key:float past_value:float",
    "out:float present_key:float present_value:float",
    "num_heads:i num_kv_heads:i head_dim:i rotary_dim:i window:i scale:f epsilon:f",
)


def _gated_short_conv(
    x: FLOAT,
    in_proj: UINT8,
    in_bias: FLOAT | None,
    taps: FLOAT,
    conv_bias: FLOAT | None,
    out_proj: UINT8,
    out_bias: FLOAT | None,
    past: FLOAT,
) -> Any:
    return _SHORT_CONV(
        *(x, in_proj, in_bias, taps, conv_bias, out_proj, out_bias, past),
        hidden_size=_size(taps, 0),
        kernel_size=_size(taps, 2),
        in_proj_format="f32",
        out_proj_format="f32",
    )


def _sparse_moe(
    x: FLOAT,
    router: FLOAT,
    expert_bias: FLOAT | None,
    gate_up: UINT8,
    down: UINT8,
    intermediate_size: int,
    num_experts_per_tok: int,
    norm_topk_prob: bool,
    routed_scaling_factor: float,
) -> Any:
    return _MOE(
        *(x, router, expert_bias, gate_up, down),
        hidden_size=_size(router, 1),
        intermediate_size=intermediate_size,
        num_experts=_size(router, 0),
        num_experts_per_tok=num_experts_per_tok,
        norm_topk_prob=int(norm_topk_prob),
        routed_scaling_factor=routed_scaling_factor,
        gate_up_format="f32",
        down_format="f32",
    )


def _cached_attention(
    qkv: FLOAT,
    q_norm: FLOAT,
    k_norm: FLOAT,
    cos: FLOAT,
    sin: FLOAT,
    attention_mask: INT64,
    past_key: FLOAT,
    past_value: FLOAT,
    num_heads: int,
    window: int,
    scale: float,
    epsilon: float,
) -> Any:
    return _ATTENTION(
        *(qkv, q_norm, k_norm, cos, sin, attention_mask, past_key, past_value),
        num_heads=num_heads,
        num_kv_heads=_size(past_key, 1),
        head_dim=_size(q_norm, 0),
        rotary_dim=2 * _size(cos, 1),
        window=window,
        scale=scale,
        epsilon=epsilon,
    )


def _size(value: Any, axis: int) -> int:
    """A size that the graph knows, as those of weights and of heads are."""
    return int(value.shape[axis])


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.lfm.gated_short_conv.default: _gated_short_conv,
    torch.ops.lfm.sparse_moe.default: _sparse_moe,
    torch.ops.lfm.cached_attention.default: _cached_attention,
}
"""For `custom_translation_table` of `torch.onnx.export`."""
