"""GGUF files made on the spot: by hand, where they are to be wrong, else by llama.cpp's package."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from numpy.typing import NDArray

__all__ = ["KEYS", "MOE_KEYS", "MOE_TENSORS", "TENSORS", "by_hand", "string", "tensor", "write"]

HIDDEN, VOCAB, WIDTH = 64, 300, 96
KEYS: Mapping[str, Any] = {
    "general.architecture": "lfm2",
    "lfm2.block_count": 2,
    "lfm2.context_length": 128,
    "lfm2.embedding_length": HIDDEN,
    "lfm2.feed_forward_length": 7,  # not what the tensors say
    "lfm2.attention.head_count": 4,
    "lfm2.attention.head_count_kv": [0, 2],
    "lfm2.attention.layer_norm_rms_epsilon": 1e-5,
    "lfm2.rope.freq_base": 1e6,
    "lfm2.shortconv.l_cache": 3,
    "tokenizer.ggml.eos_token_id": 7,
}
MOE_KEYS: Mapping[str, Any] = {
    **{key.replace("lfm2.", "lfm2moe."): value for key, value in KEYS.items()},
    "general.architecture": "lfm2moe",
    "lfm2moe.expert_count": 4,
    "lfm2moe.expert_used_count": 2,
    "lfm2moe.leading_dense_block_count": 1,
    "lfm2moe.expert_gating_func": 2,
}
_MLP = {"ffn_gate": (WIDTH, HIDDEN), "ffn_up": (WIDTH, HIDDEN), "ffn_down": (HIDDEN, WIDTH)}
_LAYERS: dict[int, dict[str, tuple[int, ...]]] = {
    0: {
        "shortconv.conv": (HIDDEN, 3),
        "shortconv.in_proj": (3 * HIDDEN, HIDDEN),
        "shortconv.out_proj": (HIDDEN, HIDDEN),
        **_MLP,
    },
    1: {
        "attn_q": (HIDDEN, HIDDEN),
        "attn_k": (32, HIDDEN),
        "attn_v": (32, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "attn_q_norm": (16,),
        "attn_k_norm": (16,),
        **_MLP,
    },
}
_NORMS = {"attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,)}
TENSORS: Mapping[str, tuple[int, ...]] = {
    "token_embd.weight": (VOCAB, HIDDEN),
    "token_embd_norm.weight": (HIDDEN,),
    **{
        f"blk.{layer}.{name}.weight": shape
        for layer, tensors in _LAYERS.items()
        for name, shape in (*tensors.items(), *_NORMS.items())
    },
}
MATRICES = [name for name, shape in TENSORS.items() if len(shape) > 1 and "conv.weight" not in name]
MOE_TENSORS: Mapping[str, tuple[int, ...]] = {
    **{name: shape for name, shape in TENSORS.items() if not name.startswith("blk.1.ffn_")},
    "blk.1.ffn_norm.weight": (HIDDEN,),
    "blk.1.ffn_gate_inp.weight": (4, HIDDEN),
    "blk.1.exp_probs_b.bias": (4,),
    "blk.1.ffn_gate_exps.weight": (4, 32, HIDDEN),
    "blk.1.ffn_up_exps.weight": (4, 32, HIDDEN),
    "blk.1.ffn_down_exps.weight": (4, HIDDEN, 32),
}


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights that a model computes with, norms near one."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        noise = rng.standard_normal(shape).astype(np.float32)
        found[name] = 1 + 0.1 * noise if len(shape) == 1 else noise / np.float32(shape[-1] ** 0.5)
    return found


def write(
    path: Path,
    keys: Mapping[str, Any] = KEYS,
    shapes: Mapping[str, tuple[int, ...]] = TENSORS,
    types: Mapping[str, str] | str = "F32",
    tokenizer: Path | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Writes a model by llama.cpp's own package, and returns the weights before their rounding.

    Matrices are of `types`, one for all or by name; all else is float32.
    """
    values = weights(shapes)
    with closing(GGUFWriter(path, keys["general.architecture"])) as writer:
        for key, value in keys.items():
            if key != "general.architecture":
                _add(writer, key, value)
        if tokenizer:
            _add_tokenizer(writer, json.loads(tokenizer.read_text()))
        for name, value in values.items():
            kind = types if isinstance(types, str) else types.get(name, "F32")
            small = value.ndim == 1 or "conv.weight" in name or "gate_inp" in name
            if small or kind == "F32":
                writer.add_tensor(name, value)
            else:
                stored = _stored(value, GGMLQuantizationType[kind])
                writer.add_tensor(name, stored, raw_dtype=GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return values


def _stored(values: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[Any]:
    """The package cannot make blocks of 256: for those any bytes do, with moderate scales."""
    items, size = GGML_QUANT_SIZES[kind]
    if items < 256:
        stored: NDArray[Any] = quantize(values, kind)
        return stored
    rng = np.random.default_rng(len(values))
    blocks = rng.integers(0, 256, (values.size // items, size), np.uint8)
    half = np.float16(0.01).tobytes()
    for place in (0, 2) if kind.name == "Q4_K" else (size - 2,):
        blocks[:, place : place + 2] = np.frombuffer(half, np.uint8)
    return blocks.reshape(*values.shape[:-1], -1)


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _add_tokenizer(writer: GGUFWriter, description: Mapping[str, Any]) -> None:
    vocab = description["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    special = {token["id"]: 3 if token["special"] else 4 for token in description["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("lfm2")
    writer.add_token_list(tokens)
    writer.add_token_types([special.get(index, 1) for index in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in description["model"]["merges"]])


def string(text: str | bytes) -> bytes:
    """A text of the format."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def tensor(name: str, sizes: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    """The description of a tensor, sizes innermost first."""
    return (
        string(name)
        + struct.pack("<I", len(sizes))
        + b"".join(struct.pack("<Q", size) for size in sizes)
        + struct.pack("<IQ", kind, offset)
    )


def by_hand(
    keys: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    num_keys: int | None = None,
    num_tensors: int | None = None,
) -> bytes:
    """A whole file of parts that may be wrong; each key is its name, type and value."""
    counts = (
        len(tensors) if num_tensors is None else num_tensors,
        len(keys) if num_keys is None else num_keys,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data
