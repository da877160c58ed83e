"""What tests of several rooms share: checkpoints made on the spot, their truth, and exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lfm_edge.bundle import Bundle
from lfm_export.architecture import describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.quantize import METHODS, Scheme
from lfm_export.weights import methods
from numpy.typing import NDArray
from transformers import (
    AutoModelForCausalLM,
    Lfm2Config,
    Lfm2MoeConfig,
    Lfm3Config,
    PreTrainedModel,
)

DEMO_MODEL = Path(__file__).parents[1] / "export" / "lfm_export" / "demo_model"

Config = Lfm2Config | Lfm2MoeConfig | Lfm3Config

ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0}


DENSE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "layer_types": ["conv", "full_attention", "conv", "full_attention"],
    "block_multiple_of": 32,
    "max_position_embeddings": 256,
    "rope_parameters": ROPE,
    "eos_token_id": 7,
}
MOE: dict[str, Any] = {
    **DENSE,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_dense_layers": 1,
    "num_experts": 8,
    "num_experts_per_tok": 3,
}
del MOE["block_multiple_of"]
LFM3: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "sliding_window": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 7,
    "pad_token_id": 0,
}


def tiny_dense(**changes: Any) -> Lfm2Config:
    """A dense model of four layers."""
    return Lfm2Config(**(DENSE | changes))


def tiny_moe(**changes: Any) -> Lfm2MoeConfig:
    """A mixture of experts of four layers, the first of them dense."""
    return Lfm2MoeConfig(**(MOE | changes))


def tiny_lfm3(**changes: Any) -> Lfm3Config:
    """Six layers: four convolutions, full attention in the third, sliding in the fifth."""
    return Lfm3Config(**(LFM3 | changes))


def random_model(config: Config, seed: int = 0) -> PreTrainedModel:
    """Random weights under which every part matters: norms off one, biases off zero."""
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors = [*model.named_parameters(), *model.named_buffers()]
    with torch.no_grad():
        for name, tensor in tensors:
            noise = torch.randn(tensor.shape, generator=generator)
            if "norm" in name:
                tensor.copy_(1 + 0.2 * noise)
            elif tensor.ndim >= 2:
                tensor.copy_(noise / tensor.shape[-1] ** 0.5)
            elif "bias" in name:
                tensor.copy_(0.2 * noise)
    return model


def saved(model: PreTrainedModel, folder: Path) -> Path:
    """The model as a Hugging Face folder."""
    model.save_pretrained(folder)
    return folder


def export(source: Path | str, out: Path, **options: Any) -> Bundle:
    """A bundle of a local checkpoint."""
    with open_checkpoint(str(source)) as checkpoint:
        return export_bundle(checkpoint, out, export_options(**options))


def export_options(**options: Any) -> ExportOptions:
    """Options of every export, and those of its target's own."""
    general = {name: options.pop(name) for name in _GENERAL & options.keys()}
    return ExportOptions(
        **general, own={name.replace("_", "-"): value for name, value in options.items()}
    )


_GENERAL = {field.name for field in fields(ExportOptions)}


def load_truth(folder: Path) -> PreTrainedModel:
    """The checkpoint in transformers, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits_of(model: PreTrainedModel, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits `[tokens, vocab]` of a whole sequence."""
    with torch.no_grad():
        logits: NDArray[np.float32] = (
            model(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy()
        )
    return logits


def dequantized(
    folder: Path, quant: str, head: str | None = None, others: Mapping[str, str] | None = None
) -> PreTrainedModel:
    """The truth with the weights that a bundle of this quantization stands for.

    `others` are the formats of matrices, by their names, that have another one.
    """
    model = load_truth(folder)
    scheme = Scheme.choose(quant, head)
    parameters = dict(model.named_parameters())
    with open_checkpoint(str(folder)) as checkpoint, torch.no_grad():
        for name, usual in methods(describe(checkpoint.config), scheme).items():
            method = (others or {}).get(name, usual)
            weight = METHODS[method](checkpoint.read(name)).dequantize()
            _target(parameters, name).copy_(torch.from_numpy(weight))
    return model


def _target(parameters: dict[str, torch.nn.Parameter], name: str) -> torch.Tensor:
    """The parameter of a tensor; transformers stacks the experts, and calls a gate so by itself."""
    name = name.replace(".gate_proj.", ".g_proj.")
    if ".experts." not in name:
        return parameters[name]
    prefix, rest = name.split(".experts.")
    index, matrix, _ = rest.split(".")
    if matrix == "w2":
        return parameters[f"{prefix}.experts.down_proj"][int(index)]
    gate, up = parameters[f"{prefix}.experts.gate_up_proj"][int(index)].chunk(2)
    return gate if matrix == "w1" else up
