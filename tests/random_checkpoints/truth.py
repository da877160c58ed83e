"""What transformers makes of a checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from .checkpoints import Checkpoint
from .configs import TOO_MANY_LAYERS
from .conversations import as_meant, without_markers

__all__ = ["Chat", "Sampling", "Truth", "read_truth"]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; nothing but the penalty counts where it is the likeliest."""

    temperature: float
    repetition_penalty: float
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


@dataclass(frozen=True)
class Chat:
    """A conversation's prompt."""

    text: str
    ids: list[int]
    harmless_ids: list[int]
    """The ids if users and tools had written harmless text for control tokens."""


@dataclass(frozen=True)
class Truth:
    """Everything that is compared; an Exception where transformers raised one."""

    logits: NDArray[np.float32] | Exception
    lenient: bool
    """Whether transformers takes the config only with its types put right: see `_mended`."""
    text_ids: list[int] | Exception
    chat: Chat | Exception
    sampling: Sampling | Exception
    eos_ids: frozenset[int]
    largest_id: int = 0
    """Of the tokenizer's tokens."""


def read_truth(checkpoint: Checkpoint, folder: Path, ids: NDArray[np.int64]) -> Truth:
    """Writes the checkpoint to `folder` and lets transformers read it."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    checkpoint.write_model(folder)
    if checkpoint.config.get("num_hidden_layers") == TOO_MANY_LAYERS:
        checkpoint.write_companions(folder)
        refusal = MemoryError("transformers would list every layer")
        return Truth(refusal, False, refusal, refusal, refusal, frozenset())
    logits, lenient = _logits(folder, ids), False
    mended = _mended(checkpoint.config)
    if isinstance(logits, Exception) and json.dumps(mended) != json.dumps(checkpoint.config):
        (folder / "config.json").write_text(json.dumps(mended))
        logits, lenient = _logits(folder, ids), True
    checkpoint.write_companions(folder)
    # By `split_special_tokens` every marker would be text; an export notes that it passes it over.
    tokenizer: Any = _attempt(
        lambda: AutoTokenizer.from_pretrained(folder, split_special_tokens=False)
    )
    generation = _generation_config(checkpoint, folder)
    (folder / "config.json").write_text(json.dumps(checkpoint.config))
    if isinstance(tokenizer, Exception):
        return Truth(logits, lenient, tokenizer, tokenizer, _sampling(generation), _eos(checkpoint))
    return Truth(
        logits=logits,
        lenient=lenient,
        text_ids=_attempt(lambda: tokenizer(checkpoint.text).input_ids),
        chat=_attempt(lambda: _chat(checkpoint, tokenizer)),
        sampling=_sampling(generation),
        eos_ids=_eos(checkpoint),
        largest_id=max(tokenizer.get_vocab().values()),
    )


def _mended(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the only meaning that it can have, where transformers insists on types.

    A null stands for absence, and a whole number for the float it equals. We may read such a
    config, and then as this one, or refuse it.
    """
    kept = {name: value for name, value in config.items() if value is not None}
    if isinstance(kept.get("routed_scaling_factor"), int):
        kept["routed_scaling_factor"] = float(kept["routed_scaling_factor"])
    return kept


def _attempt(what: Any) -> Any:
    try:
        return what()
    except Exception as error:  # whatever transformers raises is a refusal
        return error


def _logits(folder: Path, ids: NDArray[np.int64]) -> NDArray[np.float32] | Exception:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True
        )
        model, info = loaded
        if missing := sorted(info["missing_keys"]):
            raise ValueError(f"transformers makes up {missing}")
        with torch.no_grad():
            # Without a cache: transformers has none for a model of convolutions alone.
            logits = model.eval()(torch.from_numpy(ids)[None], use_cache=False).logits[0]
    except Exception as error:  # whatever transformers raises is a refusal
        return error
    found: NDArray[np.float32] = logits.numpy()
    return found


def _chat(checkpoint: Checkpoint, tokenizer: Any) -> Chat:
    asked = checkpoint.conversation
    messages = as_meant(asked.messages)

    def render(turns: list[dict[str, Any]], tokenize: bool) -> Any:
        return tokenizer.apply_chat_template(
            turns,
            tools=asked.tools,
            add_generation_prompt=True,
            tokenize=tokenize,
            return_dict=False,
            **asked.variables,
        )

    return Chat(
        text=render(messages, False),
        ids=render(messages, True),
        harmless_ids=render(without_markers(messages), True),
    )


def _generation_config(checkpoint: Checkpoint, folder: Path) -> Any:
    """As `from_pretrained` finds it: the file, or what the model's config says."""
    if isinstance(checkpoint.generation, str):
        return ValueError("the file is broken")
    if (folder / "generation_config.json").exists():
        return _attempt(lambda: GenerationConfig.from_pretrained(folder))
    return _attempt(
        lambda: GenerationConfig.from_pretrained(folder, "config.json", _from_model_config=True)
    )


def _sampling(config: Any) -> Sampling | Exception:
    """What `generate` does with it, its own defaults filled in."""
    if isinstance(config, Exception):
        return config
    filled = GenerationConfig(**config.to_dict())
    defaults = config._get_default_generation_params()
    filled.update(**defaults, defaults_only=True)
    penalty = float(filled.repetition_penalty)
    if not filled.do_sample or filled.temperature == 0:  # at which transformers refuses to sample
        return Sampling(0.0, penalty)
    return Sampling(
        temperature=float(filled.temperature),
        repetition_penalty=penalty,
        top_k=max(0, int(filled.top_k)),
        top_p=float(filled.top_p),
        min_p=float(filled.min_p or 0.0),
    )


def _eos(checkpoint: Checkpoint) -> frozenset[int]:
    """The union of both files, since neither may be forgotten."""
    found: set[int] = set()
    for source in (checkpoint.config, checkpoint.generation):
        ends = source.get("eos_token_id") if isinstance(source, dict) else None
        found.update(end for end in (ends if isinstance(ends, list) else [ends]) if end is not None)
    return frozenset(found - {-1})  # which no token has
