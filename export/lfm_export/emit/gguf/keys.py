"""The metadata of a GGUF file: the model's sizes, its tokenizer, templates and defaults.

Source: llama.cpp, `conversion/lfm2.py` and `src/llama-model.cpp`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import ExpertGatingFuncType, GGUFWriter, LlamaFileType
from lfm_edge.chat.template import embedded_templates
from lfm_edge.file_names import CHAT_TEMPLATE, CHAT_TEMPLATES, TOKENIZER_CONFIG

from ...architecture import Architecture, Attention, Mlp, ShortConv, SparseMoe
from ...checkpoint.base import shown
from ...companions import Companions
from ...errors import ExportError
from ...gguf.tokenizer import tokens_of
from ...notes import Note, listed
from ..target import Job

__all__ = ["add_keys", "name_of"]

_FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "q8": LlamaFileType.MOSTLY_Q8_0,
    "q6": LlamaFileType.MOSTLY_Q8_0,
    "q4": LlamaFileType.MOSTLY_Q4_0,
    "q4_64": LlamaFileType.MOSTLY_Q4_0,
}
_BLOCKS_VERSION = 2  # of Q4_0 and Q8_0
_USUAL_KERNEL = 3


def name_of(architecture: Architecture) -> str:
    """What llama.cpp calls a model: with experts, or without any."""
    return "lfm2moe" if _sparse(architecture) else "lfm2"


def add_keys(writer: GGUFWriter, job: Job) -> None:
    """Adds all metadata of the model that `job` exports.

    Raises:
        ExportError: a tokenizer that llama.cpp does not know.
    """
    writer.add_name(job.model_name)
    _add_sizes(writer, job.architecture, job.context)
    writer.add_file_type(_FILE_TYPES[job.scheme.linear])
    writer.add_quantization_version(_BLOCKS_VERSION)
    _add_tokenizer(writer, job)
    _add_templates(writer, job.companions)
    sampling = job.companions.generation.sampling
    writer.add_sampling_temp(sampling.temperature)
    writer.add_sampling_top_k(sampling.top_k)
    writer.add_sampling_top_p(sampling.top_p)
    writer.add_sampling_min_p(sampling.min_p)
    writer.add_sampling_penalty_repeat(sampling.repetition_penalty)


def _add_sizes(writer: GGUFWriter, architecture: Architecture, context: int) -> None:
    layers = architecture.layers
    operators = [layer.operator for layer in layers]
    attention = [part for part in operators if isinstance(part, Attention)]
    kernels = [part.kernel_size for part in operators if isinstance(part, ShortConv)]
    dense = [layer.feed_forward for layer in layers if isinstance(layer.feed_forward, Mlp)]
    sparse = _sparse(architecture)
    first = attention[0]
    assert first.rope.theta is not None
    writer.add_block_count(len(layers))
    writer.add_context_length(context)
    writer.add_embedding_length(architecture.hidden_size)
    writer.add_feed_forward_length((dense or sparse[0].experts)[0].gate.rows)
    writer.add_head_count(first.num_heads)
    writer.add_head_count_kv(
        [part.num_kv_heads if isinstance(part, Attention) else 0 for part in operators]
    )
    writer.add_rope_freq_base(first.rope.theta)
    writer.add_layer_norm_rms_eps(architecture.final_norm.eps)
    writer.add_shortconv_l_cache(next(iter(kernels), _USUAL_KERNEL))
    writer.add_vocab_size(architecture.vocab_size)
    if sparse:
        router = sparse[0].router
        writer.add_leading_dense_block_count(len(dense))
        writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
        writer.add_expert_count(router.num_experts)
        writer.add_expert_used_count(router.num_experts_per_tok)
        writer.add_expert_feed_forward_length(sparse[0].experts[0].gate.rows)


def _sparse(architecture: Architecture) -> list[SparseMoe]:
    forwards = (layer.feed_forward for layer in architecture.layers)
    return [part for part in forwards if isinstance(part, SparseMoe)]


def _add_tokenizer(writer: GGUFWriter, job: Job) -> None:
    tokenizer, note = job.companions.tokenizer, job.note
    if tokenizer is None:
        writer.add_tokenizer_model("no_vocab")
        return
    description = json.loads(tokenizer.to_str())
    try:
        stored = tokens_of(description, job.architecture.vocab_size)
    except ValueError as error:
        raise ExportError(
            f"--target {job.target}: llama.cpp does not know this tokenizer: {error}"
        ) from None
    _note_losses(description, note)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("lfm2")
    writer.add_token_list(stored.tokens)
    writer.add_token_types(stored.types)
    writer.add_token_merges(stored.merges)
    architecture, ends = job.architecture, job.companions.eos_token_ids
    bos, pad = architecture.bos_token_id, job.companions.pad_token_id
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.add_add_bos_token(bos is not None)
    if pad is not None:
        writer.add_pad_token_id(pad)
    for token, add in zip(ends, (writer.add_eos_token_id, writer.add_eot_token_id), strict=False):
        add(token)
    if ends[2:]:
        note(f"end token {listed(ends[2:])} is passed over: a GGUF file names two at most")


def _note_losses(description: Mapping[str, Any], note: Note) -> None:
    """What llama.cpp does otherwise, where this tokenizer shows it."""
    stripping = [t["content"] for t in description["added_tokens"] if t["lstrip"] or t["rstrip"]]
    if stripping:
        note(f"llama.cpp keeps the spaces beside {shown(stripping)}, which the tokenizer takes")
    model = description["model"]
    if model.get("ignore_merges"):
        return
    merged = {
        pair.replace(" ", "") if isinstance(pair, str) else "".join(pair)
        for pair in model["merges"]
    }
    known = merged | {token["content"] for token in description["added_tokens"]}
    alone = [text for text in model["vocab"] if len(text) > 1 and text not in known]
    if alone:
        note(f"llama.cpp takes {shown(alone)} for tokens, which no merge of the tokenizer makes")


def _add_templates(writer: GGUFWriter, companions: Companions) -> None:
    files = companions.files
    prefix = f"{CHAT_TEMPLATES}/"
    texts = {
        name.removeprefix(prefix).removesuffix(".jinja"): _text(content)
        for name, content in files.items()
        if name.startswith(prefix)
    }
    if CHAT_TEMPLATE in files:
        texts["default"] = _text(files[CHAT_TEMPLATE])
    if not texts and TOKENIZER_CONFIG in files:
        texts = embedded_templates(json.loads(_text(files[TOKENIZER_CONFIG])).get("chat_template"))
    for name, text in texts.items():
        if name == "default":
            writer.add_string("tokenizer.chat_template", text)
        else:
            writer.add_string(f"tokenizer.chat_template.{name}", text)
    if named := sorted(texts.keys() - {"default"}):
        writer.add_array("tokenizer.chat_templates", named)


def _text(content: Path | str) -> str:
    return content if isinstance(content, str) else content.read_text(encoding="utf-8")
