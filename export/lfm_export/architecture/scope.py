"""What a `config.json` says of the model as a whole: whether it is a language model of ours at all.

`transformers` loads several of these as a causal language model without a word; a checkpoint that
says it is something else is refused here by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArchitectureError
from ..notes import Note
from .config import Config, quoted

__all__ = ["check_scope"]

_CLASSES = {"lfm2": "Lfm2", "lfm2_moe": "Lfm2Moe", "lfm3": "Lfm3"}
_REFUSED: Mapping[str, str] = {
    "is_encoder_decoder": "false: only decoders can be exported",
    "per_layer_config": "none: all layers of a kind must be alike",
    "attribute_map": "none: fields must have their own names",
}
# What another value of these would change, had this family's code a look at them.
_UNREAD: Mapping[str, tuple[Any, ...]] = {
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "hidden_act": (None, "silu", "swish"),
    "sliding_window": (None, False),
    "use_pos_enc": (None, True),
    "block_use_swiglu": (None, True),
}
_READ = {"lfm3": ("attention_bias", "sliding_window")}
_SAME_AS = {
    "block_dim": "hidden_size",
    "conv_dim": "hidden_size",
    "conv_dim_out": "hidden_size",
    "num_heads": "num_attention_heads",
    "block_norm_eps": "norm_eps",
}


def check_scope(config: Config, family: str, note: Note) -> None:
    """Refuses what is no causal language model of full precision, and notes what is passed over.

    Raises:
        ArchitectureError: another kind of model, a quantized one, or one with layers of their own.
    """
    values = config.values
    _check_quantization(values)
    _check_class(values.get("architectures"), family, note)
    if values.get("is_causal") not in (None, True):
        raise config.error("is_causal", "true: a model that attends both ways cannot be exported")
    for name, expected in _REFUSED.items():
        if values.get(name):
            raise config.error(name, expected)
    if values.get("text_config") is not None:
        raise ArchitectureError(
            "config.json: the language model lies nested in text_config; "
            "save it alone, with transformers' save_pretrained, and export that"
        )
    if values.get("auto_map"):
        note("config.json: auto_map names code of the checkpoint's own, which is never run")
    for name, harmless in _UNREAD.items():
        if name not in _READ.get(family, ()) and values.get(name) not in harmless:
            _note_unread(values, name, note)
    for name, other in _SAME_AS.items():
        if values.get(name) is not None and values[name] != values.get(other):
            _note_unread(values, name, note)


def _note_unread(values: Mapping[str, Any], name: str, note: Note) -> None:
    note(f"config.json: {name} {quoted(values[name])} is passed over, as transformers does")


def _check_class(named: Any, family: str, note: Note) -> None:
    """`architectures` may be absent, null or empty; else it must name the language model."""
    wanted, base = f"{_CLASSES[family]}ForCausalLM", f"{_CLASSES[family]}Model"
    names = [named] if isinstance(named, str) else named
    if not names or (isinstance(names, list) and wanted in names):
        return
    if names == [base]:
        note(f"config.json: {base} has no LM head of its own; its embedding serves as one")
        return
    raise ArchitectureError(
        f"config.json: architectures is {quoted(named)}, expected {wanted}: "
        "only causal language models can be exported"
    )


def _check_quantization(values: Mapping[str, Any]) -> None:
    method = values.get("quantization_config")
    if method is not None:
        name = method.get("quant_method") if isinstance(method, Mapping) else method
        raise ArchitectureError(
            f"config.json: quantization_config says that the weights are quantized "
            f"({quoted(name)}); start from the unquantized checkpoint, or remove "
            "quantization_config where the weights have been dequantized"
        )
    if isinstance(values.get("quantization"), Mapping) and values["quantization"]:
        raise ArchitectureError(
            f"config.json: quantization {quoted(values['quantization'])} is that of an MLX model; "
            "start from the checkpoint that it was converted from"
        )
