"""What a GGUF file says of the model, as the `config.json` that it was converted from.

Widths are those of the tensors: converters have not agreed on what the keys mean. Source:
llama.cpp, `src/models/lfm2.cpp`, `lfm2moe.cpp` and `load_hparams` of `src/llama-model.cpp`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gguf import ExpertGatingFuncType
from numpy.typing import NDArray

from .base import quoted
from .gguf_file import GgufFile

__all__ = ["read_config"]

_FAMILIES = {"lfm2": "lfm2", "lfm2moe": "lfm2_moe"}
_CLASSES = {"lfm2": "Lfm2ForCausalLM", "lfm2_moe": "Lfm2MoeForCausalLM"}
_MOST_LAYERS = 1024


def read_config(file: GgufFile) -> dict[str, Any]:
    """The `config.json` of the model in `file`.

    Raises:
        CheckpointError: another architecture, no causal language model, one of several parts, or a
            key or tensor that is missing or wrong.
    """
    keys = _Keys(file)
    family = keys.family
    layers = keys.integer("block_count", _MOST_LAYERS)
    kinds, kv_heads = _attention(keys, layers)
    heads = keys.of_all_layers("attention.head_count")
    vocab, hidden = _matrix(file, "token_embd.weight")
    if hidden != keys.integer("embedding_length"):
        raise file.error(
            f"token_embd.weight has {hidden} columns, but {keys.name('embedding_length')} is "
            f"{keys.integer('embedding_length')}; the file is damaged"
        )
    _refuse_other_models(keys)
    config: dict[str, Any] = {
        "architectures": [_CLASSES[family]],
        "model_type": family,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads or heads,
        "head_dim": _head_dim(keys, hidden // heads),
        "layer_types": kinds,
        "max_position_embeddings": keys.integer("context_length"),
        "norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "conv_L_cache": keys.integer("shortconv.l_cache"),
        "rope_parameters": _rope(keys),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "eos_token_id": [
            token for name in ("eos", "eot") if (token := keys.token(name)) is not None
        ],
        "bos_token_id": keys.token("bos"),
        "pad_token_id": keys.token("padding"),
    }
    dense, sparse = _of_layers(file, "ffn_gate.weight"), _of_layers(file, "ffn_gate_exps.weight")
    width = _matrix(file, dense[0])[0] if dense else 1  # of no layer
    config["intermediate_size"] = width
    if family == "lfm2":
        return config | {"block_auto_adjust_ff_dim": False}
    return config | _experts(keys, sparse)


class _Keys:
    """The file's metadata of the model, with checked access; errors name the key."""

    def __init__(self, file: GgufFile) -> None:
        self.file, self._values = file, file.keys
        name = file.single("general.architecture")
        if not isinstance(name, str) or name not in _FAMILIES:
            known = ", ".join(_FAMILIES)
            raise file.error(f"is a model of architecture {quoted(str(name))}; known: {known}")
        if file.single("split.count") not in (None, 1):
            raise file.error(
                "is one part of a model in several files; join them with llama-gguf-split --merge"
            )
        self._architecture, self.family = name, _FAMILIES[name]

    def name(self, key: str) -> str:
        """A key's whole name."""
        return f"{self._architecture}.{key}"

    def value(self, key: str) -> Any:
        """What the model's key holds, or None."""
        return self._values.get(self.name(key))

    def single(self, key: str) -> Any:
        """The same where it must not be an array."""
        return self.file.single(self.name(key))

    def integer(self, key: str, most: int = 2**31 - 1) -> int:
        """A number of things."""
        return self._integer(self.name(key), self.single(key), 1, most)

    def of_all_layers(self, key: str) -> int:
        """A number of things that llama.cpp lets differ from layer to layer, and we do not."""
        value = self.value(key)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
            found = {int(count) for count in value} - {0}
            if len(found) != 1:
                raise self.error(key, "one number for all layers")
            return self._integer(self.name(key), found.pop(), 1, 2**31 - 1)
        return self.integer(key)

    def number(self, key: str) -> float:
        """A positive float32, as its shortest decimal."""
        value = self.single(key)
        if not isinstance(value, float) or not math.isfinite(value) or value <= 0:
            raise self.error(key, "a number above zero")
        return float(str(np.float32(value)))

    def token(self, name: str) -> int | None:
        """One of the tokenizer's special tokens."""
        key = f"tokenizer.ggml.{name}_token_id"
        value = self.file.single(key)
        return None if value is None else self._integer(key, value, 0, 2**31 - 1)

    def error(self, key: str, expected: str) -> Exception:
        """What is wrong with a key."""
        return self.file.error(
            f"{self.name(key)} is {_shown(self.value(key))}, expected {expected}"
        )

    def _integer(self, name: str, value: Any, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.file.error(
                f"{name} is {_shown(value)}, expected an integer from {least} to {most}"
            )
        return value


def _shown(value: Any) -> str:
    return "missing" if value is None else quoted(str(value))


def _attention(keys: _Keys, layers: int) -> tuple[list[str], int | None]:
    """Each layer's kind, and the key-value heads of those that attend."""
    value: int | NDArray[Any] | None = keys.value("attention.head_count_kv")
    counts = [value] * layers if isinstance(value, int) else value
    if (
        not isinstance(counts, list | np.ndarray)
        or len(counts) != layers
        or (isinstance(counts, np.ndarray) and counts.dtype.kind not in "iu")
    ):
        raise keys.error("attention.head_count_kv", f"a number, or one for each of {layers} layers")
    found = sorted({int(count) for count in counts} - {0})
    if len(found) > 1 or (found and found[0] < 0):
        raise keys.error("attention.head_count_kv", "one number for all layers that attend, else 0")
    kinds = ["full_attention" if count else "conv" for count in counts]
    return kinds, next(iter(found), None)


def _head_dim(keys: _Keys, usual: int) -> int:
    given = keys.single("attention.key_length")
    head_dim = usual if given is None else keys.integer("attention.key_length")
    for key in ("attention.value_length", "rope.dimension_count"):
        if keys.single(key) not in (None, head_dim):
            raise keys.error(key, f"{head_dim}, as the heads are wide")
    return head_dim


def _rope(keys: _Keys) -> dict[str, Any]:
    parameters = {"rope_type": "default", "rope_theta": keys.number("rope.freq_base")}
    kind, factor = keys.single("rope.scaling.type"), keys.single("rope.scaling.factor")
    if kind not in (None, "none", "linear"):
        raise keys.error("rope.scaling.type", "none or linear")
    if kind == "none" or factor in (None, 0.0, 1.0):
        return parameters
    return parameters | {"rope_type": "linear", "factor": keys.number("rope.scaling.factor")}


def _refuse_other_models(keys: _Keys) -> None:
    """Embedding models and others that only share the architecture's name."""
    neutral: Mapping[str, tuple[tuple[Any, ...], str]] = {
        "attention.causal": ((None, True), "true: a model that attends both ways is not exported"),
        "pooling_type": ((None, 0), "none: embedding models are not exported"),
        "attention.sliding_window": ((None, 0), "none"),
        "expert_gating_func": ((None, int(ExpertGatingFuncType.SIGMOID)), "2 (sigmoid)"),
        "expert_weights_scale": ((None, 0.0, 1.0), "1: llama.cpp scales no experts in this family"),
    }
    for key, (values, expected) in neutral.items():
        if keys.single(key) not in values:
            raise keys.error(key, expected)
    for name in keys.file.tensors:
        if name.startswith("dense_2."):
            raise keys.file.error(f"holds {quoted(name)}: embedding models are not exported")


def _experts(keys: _Keys, sparse: list[str]) -> dict[str, Any]:
    """Of the layers with experts, which come behind those without."""
    file, experts = keys.file, keys.integer("expert_count")
    width = 1
    if sparse:
        shape = file.tensors[sparse[0]].shape
        if len(shape) != 3 or shape[0] != experts:
            raise file.error(
                f"tensor {sparse[0]} has shape {list(shape)}, expected {experts} experts"
            )
        width = shape[1]
    leading = keys.single("leading_dense_block_count")
    return {
        "moe_intermediate_size": width,
        "num_dense_layers": 0 if not leading else keys.integer("leading_dense_block_count"),
        "num_experts": experts,
        "num_experts_per_tok": keys.of_all_layers("expert_used_count"),
        "use_expert_bias": True,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
    }


def _of_layers(file: GgufFile, kind: str) -> list[str]:
    return [name for name in file.tensors if name.startswith("blk.") and name.endswith(f".{kind}")]


def _matrix(file: GgufFile, name: str) -> tuple[int, int]:
    tensor = file.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2:
        shape = "missing" if tensor is None else f"of shape {list(tensor.shape)}"
        raise file.error(f"tensor {quoted(name)} is {shape}, expected a matrix")
    rows, columns = tensor.shape
    return rows, columns
