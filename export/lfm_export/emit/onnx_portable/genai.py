"""`genai_config.json`: what ONNX Runtime GenAI reads to run a portable bundle as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lfm_edge.bundle import Graph

from ...architecture import Architecture, Attention
from ..target import Job

__all__ = ["write_genai_config"]

_FILE = "genai_config.json"


def write_genai_config(job: Job, graph: Graph) -> None:
    """Writes the description of a portable graph; GenAI reads the tokenizer beside it itself."""
    architecture = job.architecture
    eos = list(architecture.eos_token_ids)
    config = {
        "model": {
            "type": architecture.family,
            "vocab_size": architecture.vocab_size,
            "context_length": job.context,
            "bos_token_id": architecture.bos_token_id,
            "eos_token_id": eos,
            "pad_token_id": architecture.pad_token_id
            if architecture.pad_token_id is not None
            else eos[0],
            "decoder": _decoder(architecture, graph),
        },
        "search": _search(job.files, job.context),
    }
    (job.folder / _FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")


def _decoder(architecture: Architecture, graph: Graph) -> dict[str, Any]:
    operators = [layer.operator for layer in architecture.layers]
    attention = next((part for part in operators if isinstance(part, Attention)), None)
    (main,) = graph.functions
    decoder: dict[str, Any] = {
        "session_options": {"provider_options": []},
        "filename": graph.file,
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": len(operators),
        "layer_types": [
            "full_attention" if isinstance(part, Attention) else "conv" for part in operators
        ],
        "inputs": {"input_ids": main.input_ids, "attention_mask": main.attention_mask},
        "outputs": {"logits": main.logits},
    }
    if attention:
        decoder |= {
            "head_size": attention.head_dim,
            "num_attention_heads": attention.num_heads,
            "num_key_value_heads": attention.num_kv_heads,
        }
    for kind, tensor in {tensor.kind: tensor for tensor in graph.state}.items():
        layer = f"{tensor.layer}"
        for side, port, name in (
            ("inputs", tensor.input, f"past_{kind}_names"),
            ("outputs", tensor.output, f"present_{kind}_names"),
        ):
            assert port is not None
            decoder[side][name] = port.replace(layer, "%d", 1)
        if kind == "conv":
            decoder["conv_cache_size"] = tensor.shape[-1]
    return decoder


def _search(files: Mapping[str, Path], context: int) -> dict[str, Any]:
    """GenAI's defaults, overridden by the checkpoint's own generation config."""
    search: dict[str, Any] = {
        "do_sample": False,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
    }
    path = files.get("generation_config.json")
    if path is not None:
        chosen = json.loads(path.read_text(encoding="utf-8"))
        search |= {name: chosen[name] for name in search if chosen.get(name) is not None}
    return search | {
        "max_length": context,
        "min_length": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "early_stopping": True,
        "past_present_share_buffer": True,
    }
