"""The faults that reading checkpoints as transformers does has fixed, each brought back.

A fault is a function that puts it back for as long as the `pytest.MonkeyPatch` lasts. Faults that
no checkpoint can show (interrupted runs, killed exports, the command line) are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from lfm_edge import generation_config, model, tokenizer
from lfm_edge.chat import messages, prompt, template
from lfm_edge.errors import InvalidRequestError
from lfm_export import companions, loading, weights
from lfm_export.architecture import families, rope, scope
from lfm_export.checkpoint import base
from lfm_export.emit.onnx import target as onnx_target
from lfm_export.emit.onnx_portable import genai
from lfm_export.emit.onnx_portable import target as portable_target
from lfm_export.errors import CheckpointError
from lfm_export.quantize import _groups, f32

__all__ = ["FAULTS"]

Patch = pytest.MonkeyPatch
_HEAD = "lm_head.weight"


def _trained_head_dropped(patch: Patch) -> None:
    right = loading._embedding

    def wrong(checkpoint: Any, embedding: Any, note: Any) -> Any:
        both = {_HEAD, embedding.tokens.name} <= checkpoint.shapes.keys()
        return embedding if both else right(checkpoint, embedding, note)

    patch.setattr(loading, "_embedding", wrong)


def _lone_head_missing(patch: Patch) -> None:
    right = loading._embedding

    def wrong(checkpoint: Any, embedding: Any, note: Any) -> Any:
        alone = embedding.tokens.name not in checkpoint.shapes
        return embedding if alone else right(checkpoint, embedding, note)

    patch.setattr(loading, "_embedding", wrong)


def _other_kinds_of_model(patch: Patch) -> None:
    patch.setattr(scope, "_check_class", lambda *_: None)


def _rope_scaling_ignored(patch: Patch) -> None:
    right = rope._parameters

    def wrong(config: Any, note: Any) -> tuple[str, Mapping[str, Any]]:
        name, given = right(config, note)
        theta = {"rope_theta": given["rope_theta"]} if "rope_theta" in given else {}
        return name, {**theta, "rope_type": "default"}

    patch.setattr(rope, "_parameters", wrong)


def _no_numbers_in_weights(patch: Patch) -> None:
    for module, name in ((weights, "check_fit"), (f32, "check_fit")):
        patch.setattr(module, name, lambda _: None)
    patch.setattr(_groups, "check_largest", lambda *_: None)


def _truncation_and_padding_obeyed(patch: Patch) -> None:
    native: Any = vars(tokenizer)["NativeTokenizer"]

    class Obedient:
        def __init__(self, text: str) -> None:
            self._native = native.from_str(text)

        def __getattr__(self, name: str) -> Any:
            obeyed = name in ("no_truncation", "no_padding")
            return (lambda: None) if obeyed else getattr(self._native, name)

    patch.setattr(tokenizer, "NativeTokenizer", type("Native", (), {"from_str": Obedient}))


def _tools_template_ignored(patch: Patch) -> None:
    def wrong(self: Any, _: Any = None) -> str:
        sources: dict[str, str] = self.sources
        return sources.get("default") or next(iter(sources.values()))

    patch.setattr(template.ChatTemplate, "source", wrong)


def _dictionary_of_templates_ignored(patch: Patch) -> None:
    right = template.embedded_templates
    patch.setattr(template, "embedded_templates", lambda v: {} if isinstance(v, dict) else right(v))


def _templates_in_folder_ignored(patch: Patch) -> None:
    right = template._files
    patch.setattr(
        template,
        "_files",
        lambda names, read: {n: t for n, t in right(names, read).items() if n == "default"},
    )


def _nulls_of_messages_kept(patch: Patch) -> None:
    right = messages._normalize

    def wrong(message: dict[str, Any], where: str) -> dict[str, Any]:
        nulls = {name: None for name, value in message.items() if value is None}
        return {**nulls, **right(message, where)}

    patch.setattr(messages, "_normalize", wrong)


def _empty_calls_kept(patch: Patch) -> None:
    right = messages._normalize

    def wrong(message: dict[str, Any], where: str) -> dict[str, Any]:
        normalized: dict[str, Any] = right(message, where)
        return {**normalized, "tool_calls": []} if message.get("tool_calls") == [] else normalized

    patch.setattr(messages, "_normalize", wrong)


def _arguments_left_as_text(patch: Patch) -> None:
    patch.setattr(messages, "_arguments", lambda value, _: value)


def _end_tokens_of_config_alone(patch: Patch) -> None:
    patch.setattr(companions, "_end_tokens", lambda architecture, *_: architecture.eos_token_ids)


def _temperature_samples_alone(patch: Patch) -> None:
    right = generation_config._sampling

    def wrong(config: Any) -> Any:
        asked = config.do_sample is None and config.temperature is not None
        if asked:
            config.do_sample = True
        return right(config)

    patch.setattr(generation_config, "_sampling", wrong)


def _absent_top_k_keeps_all(patch: Patch) -> None:
    patch.setattr(generation_config, "_DEFAULT_TOP_K", 0)


def _markers_of_users_trusted(patch: Patch) -> None:
    def wrong(*given: Any, **options: Any) -> list[int]:
        return prompt.prompt_ids(*given, **{**options, "trust_markers": True})

    patch.setattr(model, "prompt_ids", wrong)


def _top_k_below_zero_refused(patch: Patch) -> None:
    right = generation_config._sampling

    def wrong(config: Any) -> Any:
        if config.top_k == -1:
            raise InvalidRequestError("top_k: got -1, expected an integer of 0 (off) or more")
        return right(config)

    patch.setattr(generation_config, "_sampling", wrong)


def _generation_config_unread_at_export(patch: Patch) -> None:
    unread = generation_config.GenerationDefaults()
    patch.setattr(companions, "_read_generation", lambda *_: unread)


def _no_end_token_crashes(patch: Patch) -> None:
    right = genai.write_genai_config

    def wrong(job: Any, graph: Any) -> None:
        assert job.companions.eos_token_ids[0] >= 0
        right(job, graph)

    patch.setattr(portable_target, "write_genai_config", wrong)


def _ids_beyond_the_rows(patch: Patch) -> None:
    right = companions._read_tokenizer
    patch.setattr(companions, "_read_tokenizer", lambda files, _, note: right(files, 1 << 30, note))


def _any_head_dim(patch: Patch) -> None:
    for target in (onnx_target, portable_target):
        patch.setattr(target, "check_onnx", lambda *_: None)


def _extra_tensors_refused(patch: Patch) -> None:
    right = base.Checkpoint.check

    def wrong(self: Any, tensors: Any, note: Any = print) -> None:
        right(self, tensors, note)
        for name in self.shapes:
            if name not in tensors and name != _HEAD:
                raise CheckpointError(f"{name}: extra tensor")

    patch.setattr(base.Checkpoint, "check", wrong)


def _foreign_names_unexplained(patch: Patch) -> None:
    patch.setattr(base, "explain_tensor", lambda _: None)


def _indices_unchecked(patch: Patch) -> None:
    def wrong(config: Any) -> list[str]:
        if config.values["layer_types"] is not None:
            return families._layer_types(config)
        count, chosen = config.integer("num_hidden_layers"), config.values["full_attn_idxs"]
        attention = range(count) if chosen is None else chosen
        return ["full_attention" if i in attention else "conv" for i in range(count)]

    patch.setattr(families, "_attention_layers", wrong)


FAULTS: dict[str, Callable[[Patch], None]] = {
    "a trained head beside a tied embedding is dropped": _trained_head_dropped,
    "embedding models and classifiers are exported": _other_kinds_of_model,
    "rules of RoPE are ignored": _rope_scaling_ignored,
    "NaN, infinity and huge weights are quantized": _no_numbers_in_weights,
    "truncation and padding of a training run are obeyed": _truncation_and_padding_obeyed,
    "the template for tools is ignored": _tools_template_ignored,
    "a dictionary of templates counts as none": _dictionary_of_templates_ignored,
    "templates in a folder of their own are ignored": _templates_in_folder_ignored,
    "null fields of messages are rendered": _nulls_of_messages_kept,
    "an empty list of calls is rendered": _empty_calls_kept,
    "arguments stay JSON text": _arguments_left_as_text,
    "GenAI does not end where generation_config.json says": _end_tokens_of_config_alone,
    "a temperature samples without do_sample": _temperature_samples_alone,
    "an absent top_k keeps all tokens": _absent_top_k_keeps_all,
    "markers in what users write count": _markers_of_users_trusted,
    "top_k -1 is refused": _top_k_below_zero_refused,
    "generation_config.json is read only when the bundle is loaded": (
        _generation_config_unread_at_export
    ),
    "a model without an end token crashes the export": _no_end_token_crashes,
    "ids that the model has no rows for are exported": _ids_beyond_the_rows,
    "a head_dim that no graph can run is exported": _any_head_dim,
    "a lone LM head of a tied model is missing": _lone_head_missing,
    "tensors that nobody reads are refused": _extra_tensors_refused,
    "names of other tools are not explained": _foreign_names_unexplained,
    "full_attn_idxs is not checked": _indices_unchecked,
}
