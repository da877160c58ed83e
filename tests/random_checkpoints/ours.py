"""What LFM Edge makes of the same checkpoint, through its public interface."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
from lfm_edge import LfmError
from lfm_export.checkpoint import open_checkpoint
from lfm_export.export import ExportOptions, export_bundle
from numpy.typing import NDArray

from .checkpoints import Checkpoint
from .configs import MOST_CONTEXT
from .truth import Sampling

__all__ = ["Ours", "run_ours"]


@dataclass(frozen=True)
class Ours:
    """Everything that is compared; an LfmError where we refused."""

    logits: NDArray[np.float32]
    text_ids: list[int] | LfmError
    chat_text: str | LfmError
    chat_ids: list[int] | LfmError
    trusted_ids: list[int] | LfmError
    """The prompt where markers in what users wrote count, as in transformers."""
    sampling: Sampling
    eos_ids: frozenset[int]
    genai: dict[str, Any] | None


def run_ours(checkpoint: Checkpoint, folder: Path, out: Path, ids: NDArray[np.int64]) -> Ours:
    """Exports the checkpoint in `folder`, loads the bundle and asks it.

    Raises:
        LfmError: the checkpoint is refused.
    """
    options = ExportOptions(target=checkpoint.target, quant=checkpoint.quant)
    with open_checkpoint(str(folder)) as opened:
        export_bundle(opened, out, options)
    if checkpoint.quant != "f32":  # else the logits are held to transformers
        lfm_edge.verify(out, threads=1)
    model = lfm_edge.load(out, threads=1)
    session = model.session(MOST_CONTEXT)
    logits = np.stack([session.prefill(ids[:-1]), session.decode(int(ids[-1]))])
    defaults = model.defaults
    genai = out / "genai_config.json"
    chat_ids = _prompt(model, lambda session: _chat(model, checkpoint, session, False))
    trusted = _prompt(model, lambda session: _chat(model, checkpoint, session, True))
    return Ours(
        logits=logits,
        text_ids=_prompt(
            model,
            lambda session: model.generate(
                checkpoint.text, session=session, max_tokens=1, temperature=0
            ),
        ),
        chat_text=chat_ids if isinstance(chat_ids, LfmError) else model.tokenizer.decode(chat_ids),
        chat_ids=chat_ids,
        trusted_ids=trusted,
        sampling=Sampling(
            defaults.temperature,
            defaults.repetition_penalty,
            defaults.top_k,
            defaults.top_p,
            defaults.min_p,
        )
        if defaults.temperature
        else Sampling(0.0, defaults.repetition_penalty),
        eos_ids=frozenset(model.eos_ids),
        genai=json.loads(genai.read_text()) if genai.exists() else None,
    )


def _chat(
    model: lfm_edge.Model, checkpoint: Checkpoint, session: lfm_edge.Session, trust: bool
) -> Any:
    asked = checkpoint.conversation
    return model.chat(
        asked.messages,
        asked.tools,
        asked.variables,
        trust,
        session=session,
        max_tokens=1,
        temperature=0,
    )


def _prompt(
    model: lfm_edge.Model, start: Callable[[lfm_edge.Session], Any]
) -> list[int] | LfmError:
    """The ids that an answer's session holds: its prompt, since one token is asked for."""
    session = model.session(MOST_CONTEXT)
    try:
        list(start(session))
    except LfmError as error:
        return error
    return session.ids
