"""Holds one random checkpoint to transformers: the same, or one clear line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from lfm_edge import LfmError

from .checkpoints import Checkpoint
from .ours import Ours, run_ours
from .tokenizer_files import MARKERS
from .truth import Chat, Truth, read_truth

__all__ = ["DifferenceError", "check"]

BOUND = 2e-4
TOKENS = 24


class DifferenceError(AssertionError):
    """We and transformers take a checkpoint for different things."""


def check(checkpoint: Checkpoint) -> bool:
    """Compares everything; returns whether the checkpoint ran.

    Raises:
        DifferenceError: a result differs, or a refusal is not allowed or not clear.
    """
    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=_memory()) as scratch:
        folder, out = Path(scratch) / "model", Path(scratch) / "bundle"
        folder.mkdir()
        ids = np.random.default_rng(0).integers(0, checkpoint.dims.vocab, TOKENS)
        truth = read_truth(checkpoint, folder, ids)
        try:
            ours = run_ours(checkpoint, folder, out, ids)
        except LfmError as error:
            _refusal(checkpoint, truth, error, out)
            return False
    _logits(checkpoint, truth, ours)
    _text(checkpoint, truth, ours)
    _chat(checkpoint, truth, ours)
    _generation(truth, ours)
    return True


def _memory() -> str | None:
    """Where small files cost least."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _refusal(checkpoint: Checkpoint, truth: Truth, error: LfmError, out: Path) -> None:
    _one_line(error)
    if out.exists() or list(out.parent.glob(".*")):
        raise DifferenceError(f"something stays behind, although it was refused: {error}")
    if any("tensors named" in feature for feature in checkpoint.refusable) and (
        len(checkpoint.refusable) == 1 and "belong" in str(error)
    ):
        raise DifferenceError(f"does not say whose names these are: {error}")
    refused = [part for part in (truth.logits, truth.text_ids) if isinstance(part, Exception)]
    if not (
        checkpoint.refusable or refused or truth.lenient or isinstance(truth.sampling, Exception)
    ):
        raise DifferenceError(f"refused a supported checkpoint: {error}")


def _one_line(error: LfmError) -> None:
    text = str(error)
    if not text.strip() or "\n" in text or len(text) > 1000 or "Traceback" in text:
        raise DifferenceError(f"not one clear line: {text!r}")


def _logits(checkpoint: Checkpoint, truth: Truth, ours: Ours) -> None:
    if isinstance(truth.logits, Exception):
        raise DifferenceError(f"ran what transformers refuses: {truth.logits!r}")
    if checkpoint.weights.bad:
        raise DifferenceError(f"ran with {checkpoint.weights.bad} in a weight")
    if "lora" in checkpoint.weights.extras:
        raise DifferenceError("ran without the adapter that is stored beside the weights")
    if truth.largest_id >= checkpoint.dims.vocab:
        raise DifferenceError(f"ran, but the tokenizer has an id {truth.largest_id} without a row")
    if not checkpoint.writes_text:
        raise DifferenceError(
            f"ran {checkpoint.config.get('architectures')} as a model that writes text"
        )
    if checkpoint.quant != "f32":
        return
    wanted = truth.logits[-2:]
    scale = max(1.0, float(np.abs(wanted).max()) / 4)
    worst = float(np.abs(ours.logits - wanted).max())
    if not worst <= BOUND * scale:
        raise DifferenceError(f"logits differ by {worst:.3g}")


def _text(checkpoint: Checkpoint, truth: Truth, ours: Ours) -> None:
    if isinstance(ours.text_ids, LfmError):
        _one_line(ours.text_ids)
        readable = checkpoint.tokenizer.tokenizer is not None
        if readable and not (isinstance(truth.text_ids, Exception) or checkpoint.refusable):
            raise DifferenceError(f"refused a text: {ours.text_ids}")
        return
    if isinstance(truth.text_ids, Exception):
        raise DifferenceError(f"read a text that transformers refuses: {truth.text_ids!r}")
    bos = checkpoint.config.get("bos_token_id")
    wanted = truth.text_ids
    if bos is not None:  # we begin with it once, whatever the post-processor does
        begun = wanted[0] == bos
        wanted = wanted[1:] if wanted[:2] == [bos, bos] else wanted if begun else [bos, *wanted]
    if ours.text_ids != wanted:
        raise DifferenceError(f"ids of {checkpoint.text!r}: {ours.text_ids}, expected {wanted}")


def _chat(checkpoint: Checkpoint, truth: Truth, ours: Ours) -> None:
    if isinstance(ours.chat_ids, LfmError):
        _one_line(ours.chat_ids)
        readable = checkpoint.tokenizer.tokenizer is not None and not checkpoint.refusable
        if readable and isinstance(truth.chat, Chat) and truth.chat.ids:
            raise DifferenceError(f"refused a conversation: {ours.chat_ids}")
        return
    if not isinstance(truth.chat, Chat):
        raise DifferenceError(f"rendered what transformers refuses: {truth.chat!r}")
    _prompt(ours.trusted_ids, truth.chat)
    if truth.chat.ids == truth.chat.harmless_ids:
        _prompt(ours.chat_ids, truth.chat)
    elif checkpoint.tokenizer.parts_markers:
        _their_markers_are_text(checkpoint, truth.chat, ours.chat_ids, ours.chat_text)


def _prompt(ids: list[int] | LfmError, wanted: Chat) -> None:
    if ids != wanted.ids:
        raise DifferenceError(f"prompt ids {ids}, expected {wanted.ids} for {wanted.text!r}")


def _their_markers_are_text(
    checkpoint: Checkpoint, wanted: Chat, ids: list[int], text: str | LfmError
) -> None:
    """The prompt is the same text, but holds the template's markers alone."""
    if checkpoint.tokenizer.keeps_text and text != wanted.text:
        raise DifferenceError(f"prompt {text!r}, expected {wanted.text!r}")
    for marker in MARKERS:
        token = checkpoint.tokenizer.ids[marker]
        got, own = ids.count(token), wanted.harmless_ids.count(token)
        if got != own:
            raise DifferenceError(f"{marker} is {got} times in {text!r}, expected {own}")


def _generation(truth: Truth, ours: Ours) -> None:
    if isinstance(truth.sampling, Exception):
        raise DifferenceError(f"ran with sampling that transformers refuses: {truth.sampling!r}")
    if ours.sampling != truth.sampling:
        raise DifferenceError(f"samples by {ours.sampling}, expected {truth.sampling}")
    if ours.eos_ids != truth.eos_ids:
        raise DifferenceError(f"ends at {set(ours.eos_ids)}, expected {set(truth.eos_ids)}")
    if ours.genai is None:
        return
    ends = ours.genai["model"]["eos_token_id"]
    if frozenset(ends if isinstance(ends, list) else [ends]) != truth.eos_ids:
        raise DifferenceError(f"GenAI ends at {ends}, expected {set(truth.eos_ids)}")
    search, sampling = ours.genai["search"], truth.sampling
    wanted = {
        "do_sample": sampling.temperature > 0,
        "repetition_penalty": sampling.repetition_penalty,
    }
    if sampling.temperature > 0:
        wanted |= {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p")}
    got = {name: search.get(name) for name in wanted}
    if got != wanted:
        raise DifferenceError(f"GenAI samples by {got}, expected {wanted}")
