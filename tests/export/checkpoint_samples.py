"""Small models and folders that the checkpoint tests share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lfm_export.checkpoint import SHAPES, Checkpoint, SyntheticCheckpoint
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[Any]
Tensors = Mapping[str, Array]
Config = Mapping[str, Any]

TINY_MOE: Config = {
    **SHAPES["lfm2.5-8b-a1b"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "layer_types": ["conv", "full_attention", "conv"],
    "moe_intermediate_size": 32,
    "num_attention_heads": 4,
    "num_dense_layers": 1,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "vocab_size": 256,
}
TINY_DENSE: Config = {
    **SHAPES["lfm2-1.2b"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "layer_types": ["conv", "full_attention"],
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 256,
}


def tiny(config: Config = TINY_MOE, seed: int = 0) -> SyntheticCheckpoint:
    return SyntheticCheckpoint("tiny", config, seed)


def all_tensors(checkpoint: Checkpoint) -> Tensors:
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


def stack_experts(tensors: Tensors) -> Tensors:
    """The same tensors as transformers 5 saves them."""
    stacked = {name: value for name, value in tensors.items() if ".experts." not in name}
    prefixes = {name.split(".experts.")[0] for name in tensors if ".experts." in name}
    for prefix in prefixes:
        count = len([name for name in tensors if name.startswith(f"{prefix}.experts.")]) // 3

        def of(kind: str, prefix: str = prefix, count: int = count) -> list[Array]:
            return [tensors[f"{prefix}.experts.{e}.{kind}.weight"] for e in range(count)]

        stacked[f"{prefix}.experts.gate_up_proj"] = np.stack(
            [np.concatenate(pair) for pair in zip(of("w1"), of("w3"), strict=True)]
        )
        stacked[f"{prefix}.experts.down_proj"] = np.stack(of("w2"))
    return stacked


def write_single(folder: Path, tensors: Tensors, config: Config = TINY_MOE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(tensors), folder / "model.safetensors")
    return folder


def write_sharded(folder: Path, tensors: Tensors, shards: int, config: Config = TINY_MOE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[number::shards])
        save_file(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
