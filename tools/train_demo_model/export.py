"""Checkpoints in Hugging Face's layout: written from and read into the training module."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Lfm2MoeConfig

from .model import DemoModel
from .tokenizer import BOS, END_OF_TURN, PAD, write_tokenizer

GENERATION = {
    "bos_token_id": BOS,
    "do_sample": True,
    "eos_token_id": END_OF_TURN,
    "pad_token_id": PAD,
    "repetition_penalty": 1.05,
    "temperature": 0.2,
    "top_k": 80,
}
_GENERIC_SETTINGS = (
    *("transformers_version", "_name_or_path", "chunk_size_feed_forward", "id2label", "label2id"),
    *("is_encoder_decoder", "problem_type", "return_dict", "output_attentions"),
    *("output_hidden_states", "output_router_logits"),
)


def hub_tensors(model: DemoModel) -> dict[str, Tensor]:
    """The weights in bf16 under their Hub names, each expert apart; biases stay in fp32."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("expert_bias"):
            tensors[name] = tensor.clone()
        elif name.endswith("experts.gate_up_proj"):
            for expert, stacked in enumerate(tensor.bfloat16()):
                gate, up = stacked.chunk(2)
                tensors[_expert(name, expert, "w1")] = gate.contiguous()
                tensors[_expert(name, expert, "w3")] = up.contiguous()
        elif name.endswith("experts.down_proj"):
            for expert, down in enumerate(tensor.bfloat16()):
                tensors[_expert(name, expert, "w2")] = down.contiguous()
        else:
            tensors[name] = tensor.bfloat16()
    return tensors


def write_checkpoint(
    model: DemoModel, config: Lfm2MoeConfig, tokenizer: Tokenizer, folder: Path
) -> None:
    """Writes a whole checkpoint to a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = folder / "model.safetensors"
    save_file(hub_tensors(model), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors writes for its owner only
    write_json(folder / "config.json", _config(config))
    write_json(folder / "generation_config.json", GENERATION)
    write_tokenizer(tokenizer, folder, config.max_position_embeddings)


def install(folder: Path, target: Path) -> None:
    """Puts a finished folder in the place of `target`."""
    old = target.with_name(target.name + ".old")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _expert(stacked_name: str, expert: int, part: str) -> str:
    return f"{stacked_name.rsplit('.', 1)[0]}.{expert}.{part}.weight"


def _config(config: Lfm2MoeConfig) -> dict[str, Any]:
    """`config.json`, without what says nothing about this model."""
    content: dict[str, Any] = config.to_dict()
    for key in _GENERIC_SETTINGS:
        content.pop(key, None)
    return content | {"architectures": ["Lfm2MoeForCausalLM"], "dtype": "bfloat16"}
