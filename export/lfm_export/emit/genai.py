"""`genai_config.json`: what ONNX Runtime GenAI reads to run a portable bundle as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lfm_edge.bundle import Graph

from ..architecture import Architecture, Attention, ShortConv
from ..companions import Companions

__all__ = ["write_genai_config"]

_FILE = "genai_config.json"


def write_genai_config(
    architecture: Architecture,
    companions: Companions,
    graph: Graph,
    context: int,
    folder: Path,
    note: Callable[[str], None],
) -> None:
    """Writes the description of a portable graph; GenAI reads the tokenizer beside it itself.

    GenAI takes no null for an id that a model does not have, so those are left out.
    """
    ids = {
        "bos_token_id": architecture.bos_token_id,
        "pad_token_id": companions.pad_token_id,
    }
    config = {
        "model": {
            "type": architecture.family,
            "vocab_size": architecture.vocab_size,
            "context_length": context,
            "eos_token_id": list(companions.eos_token_ids),
            **{name: token for name, token in ids.items() if token is not None},
            "decoder": _decoder(architecture, graph),
        },
        "search": _search(companions, architecture.vocab_size, context, note),
    }
    (folder / _FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")


def _decoder(architecture: Architecture, graph: Graph) -> dict[str, Any]:
    operators = [layer.operator for layer in architecture.layers]
    attention = next((part for part in operators if isinstance(part, Attention)), None)
    conv = next((part for part in operators if isinstance(part, ShortConv)), None)
    decoder: dict[str, Any] = {
        "session_options": {"provider_options": []},
        "filename": graph.file,
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": len(operators),
        "layer_types": [
            "full_attention" if isinstance(part, Attention) else "conv" for part in operators
        ],
        "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask"},
        "outputs": {"logits": "logits"},
    }
    if attention:
        decoder |= {
            "head_size": attention.head_dim,
            "num_attention_heads": attention.num_heads,
            "num_key_value_heads": attention.num_kv_heads,
        }
        for name in ("key", "value"):
            decoder["inputs"][f"past_{name}_names"] = f"past_key_values.%d.{name}"
            decoder["outputs"][f"present_{name}_names"] = f"present.%d.{name}"
    if conv:
        decoder["conv_cache_size"] = conv.kernel_size - 1
        decoder["inputs"]["past_conv_names"] = "past.%d.conv"
        decoder["outputs"]["present_conv_names"] = "present.%d.conv"
    return decoder


def _search(
    companions: Companions, vocab_size: int, context: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """The sampling defaults of the SDK, in GenAI's words."""
    sampling = companions.generation.sampling
    if sampling.min_p > 0:
        note(f"genai_config.json: min_p {sampling.min_p:g} is left out; GenAI has none")
    return {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or 1.0,
        "top_k": min(sampling.top_k, vocab_size),
        "top_p": sampling.top_p,
        "repetition_penalty": sampling.repetition_penalty,
        "max_length": context,
        "min_length": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "early_stopping": True,
        "past_present_share_buffer": True,
    }
