"""A checkpoint that shows a row of docs/checkpoints.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests import support

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], Tensors]

ABSENT = object()
"""A field that is taken out of config.json."""

DENSE: Mapping[str, Any] = {
    **support.DENSE,
    "architectures": ["Lfm2ForCausalLM"],
    "model_type": "lfm2",
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "tie_word_embeddings": True,
}
MOE: Mapping[str, Any] = {
    **DENSE,
    **support.MOE,
    "architectures": ["Lfm2MoeForCausalLM"],
    "model_type": "lfm2_moe",
    "rope_parameters": DENSE["rope_parameters"],
    "num_experts": 4,
    "num_experts_per_tok": 2,
}

LFM3: Mapping[str, Any] = {
    **support.LFM3,
    "architectures": ["Lfm3ForCausalLM"],
    "model_type": "lfm3",
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
