"""A whole checkpoint, drawn at random and written as a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from .choices import ABSENT, Choices
from .configs import Dims, draw_config
from .conversations import Conversation, draw_conversation, draw_text
from .generation_files import draw_generation
from .stored_weights import StoredWeights, draw_weights, write_weights
from .templates import Templates, draw_templates
from .tokenizer_files import BOS, TokenizerFiles, draw_tokenizer

__all__ = ["Checkpoint", "checkpoints"]


@dataclass(frozen=True)
class Checkpoint:
    """What is in the folder, and what is asked of the model."""

    dims: Dims
    config: dict[str, Any]
    weights: StoredWeights
    tokenizer: TokenizerFiles
    templates: Templates
    generation: Any
    conversation: Conversation
    text: str
    target: str
    quant: str
    refusable: tuple[str, ...]
    """Why it may be refused; nothing else may be."""

    def write_model(self, folder: Path) -> None:
        """`config.json` and the weights."""
        _write(folder / "config.json", self.config)
        write_weights(folder, self.dims, self.weights)

    def write_companions(self, folder: Path) -> None:
        """Everything beside them."""
        files = self.tokenizer
        config = files.config
        if self.templates.embedded is not ABSENT:
            config = {**(config or {}), "chat_template": self.templates.embedded}
        _write(folder / "tokenizer.json", files.tokenizer)
        _write(folder / "tokenizer_config.json", config)
        _write(folder / "special_tokens_map.json", files.special_tokens_map)
        _write(folder / "added_tokens.json", files.added_tokens)
        for name, text in self.templates.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        if isinstance(self.generation, str):
            (folder / "generation_config.json").write_text(self.generation)
        elif self.generation is not ABSENT:
            _write(folder / "generation_config.json", self.generation)

    @property
    def writes_text(self) -> bool:
        """Whether the model is one that attends backwards alone and gives logits of tokens."""
        named = self.config.get("architectures") or []
        return self.config.get("is_causal") is not False and not any(
            "Bidirectional" in name or "Classification" in name for name in named
        )

    def __repr__(self) -> str:
        """One field a line; the tokenizer's vocabulary says nothing."""
        tokenizer = dict(self.tokenizer.tokenizer or {})
        tokenizer.pop("model", None)
        lines = [f"{name}={value!r}" for name, value in vars(self).items() if name != "tokenizer"]
        files = self.tokenizer
        lines += [f"tokenizer.json={tokenizer!r}", f"tokenizer_config.json={files.config!r}"]
        lines += [f"special_tokens_map.json={files.special_tokens_map!r}"]
        lines += [f"added_tokens.json={files.added_tokens!r}"]
        return "Checkpoint(\n  " + "\n  ".join(lines) + "\n)"


def _write(path: Path, value: dict[str, Any] | None) -> None:
    if value is not None:
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


_TAPE = 256  # bytes for each of seven subjects


def checkpoints() -> st.SearchStrategy[Checkpoint]:
    """Checkpoints of tiny models; see `Choices` for how likely the unusual is."""
    return st.binary(min_size=7 * _TAPE, max_size=7 * _TAPE).map(_draw)


def _draw(tape: bytes) -> Checkpoint:
    refusable: list[str] = []
    parts = (
        Choices(tape[start : start + _TAPE], refusable) for start in range(0, len(tape), _TAPE)
    )
    own, of_tokenizer, of_config, of_weights, of_generation, of_templates, of_chat = parts
    tokenizer = draw_tokenizer(of_tokenizer)
    rows = tokenizer.size + own.number(0, 9)
    if own.rarely(2):
        rows = tokenizer.size - own.number(1, 5)
        own.may_refuse("the tokenizer has ids that the model has no rows for")
    eos, other = tokenizer.ids["<|im_end|>"], tokenizer.ids["<|endoftext|>"]
    dims, config = draw_config(of_config, rows, eos, other)
    config["bos_token_id"] = tokenizer.ids[BOS] if config.get("bos_token_id") else None
    weights = draw_weights(of_weights, dims)
    quant = own.usual("f32", "q8", "q6", "q4", "q4_64", percent=80 if weights.bad else 6)
    widths = (dims.hidden, dims.heads * dims.head_dim, dims.width, dims.expert_width)
    if quant == "q4_64" and any(width % 64 for width in widths):
        own.may_refuse("a width is not a multiple of 64")
    return Checkpoint(
        dims=dims,
        config=config,
        weights=weights,
        tokenizer=tokenizer,
        templates=draw_templates(of_templates),
        generation=draw_generation(of_generation, eos, other),
        conversation=draw_conversation(of_chat),
        text=draw_text(own),
        target=own.usual("onnx", "onnx-portable", percent=15),
        quant=quant,
        refusable=tuple(refusable),
    )
