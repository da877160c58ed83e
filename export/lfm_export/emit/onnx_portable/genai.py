"""`genai_config.json`: what ONNX Runtime GenAI reads to run a portable bundle as it is."""

from __future__ import annotations

import json
from typing import Any

from lfm_edge.bundle import Graph

from ...architecture import Architecture, Attention
from ..target import Job

__all__ = ["write_genai_config"]

_FILE = "genai_config.json"
# GenAI asks of a type only which state there is, and the wiring is the graph's own.
_TYPES = {"lfm3": "lfm2"}


def write_genai_config(job: Job, graph: Graph) -> None:
    """Writes the description of a portable graph; GenAI reads the tokenizer beside it itself.

    GenAI takes no null for an id that a model does not have, so those are left out.
    """
    architecture, companions = job.architecture, job.companions
    ids = {"bos_token_id": architecture.bos_token_id, "pad_token_id": companions.pad_token_id}
    config = {
        "model": {
            "type": _TYPES.get(architecture.family, architecture.family),
            "vocab_size": architecture.vocab_size,
            "context_length": job.context,
            "eos_token_id": list(companions.eos_token_ids),
            **{name: token for name, token in ids.items() if token is not None},
            "decoder": _decoder(architecture, graph),
        },
        "search": _search(job),
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


def _search(job: Job) -> dict[str, Any]:
    """The sampling defaults of the SDK, in GenAI's words."""
    sampling = job.companions.generation.sampling
    if sampling.min_p > 0:
        job.note(f"{_FILE}: min_p {sampling.min_p:g} is left out; GenAI has none")
    return {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or 1.0,
        "top_k": min(sampling.top_k, job.architecture.vocab_size),
        "top_p": sampling.top_p,
        "repetition_penalty": sampling.repetition_penalty,
        "max_length": job.context,
        "min_length": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "early_stopping": True,
        "past_present_share_buffer": True,
    }
