"""A checkpoint that shows a row of docs/checkpoints.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], Tensors]

ABSENT = object()
"""A field that is taken out of config.json."""

DENSE: Mapping[str, Any] = {
    "architectures": ["Lfm2ForCausalLM"],
    "model_type": "lfm2",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "layer_types": ["conv", "full_attention", "conv", "full_attention"],
    "block_multiple_of": 32,
    "max_position_embeddings": 256,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "tie_word_embeddings": True,
    "eos_token_id": 7,
}
MOE: Mapping[str, Any] = {
    **DENSE,
    "architectures": ["Lfm2MoeForCausalLM"],
    "model_type": "lfm2_moe",
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_dense_layers": 1,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}


@dataclass(frozen=True)
class Case:
    """One checkpoint: it runs as in transformers (and says something), or it is refused."""

    config: Mapping[str, Any] = field(default_factory=dict)
    says: str | None = None
    refused: str | None = None
    base: Mapping[str, Any] = field(default_factory=lambda: DENSE)
    tensors: Change | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    unread: Mapping[str, Any] = field(default_factory=dict)
    """Fields of config.json that only the export sees: transformers would not read such."""

    def raw_config(self) -> dict[str, Any]:
        """Its config.json."""
        merged = {**self.base, **self.config}
        return {name: value for name, value in merged.items() if value is not ABSENT}


def folder_of(case: Case, folder: Path) -> Path:
    """A folder that holds a case's files and nothing else."""
    folder.mkdir()
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    return folder
