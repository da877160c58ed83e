"""A calibration text that the model writes itself, where there is none at hand.

Drawn from its own distribution, token by token, each piece from the token that begins a text, and
on past those that end one. Source: Liu et al. 2023, LLM-QAT, section 3.1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lfm_edge.bundle import Bundle
from lfm_edge.model import Model
from lfm_edge.progress import Progress
from lfm_edge.sampling import Sampler, SamplingOptions
from numpy.typing import NDArray

from ..walk import OWN_TEXT, Sequences, keep_arrays, kept_arrays

__all__ = ["OWN", "kept_text", "own_text"]

OWN = Path("self")
"""What `--calibrate` calls it."""

_PIECES = 48
_WINDOW = 512


def kept_text(folder: Path, identity: str) -> Sequences | None:
    """What `own_text` wrote to `folder` for the same checkpoint, if it is there."""
    kept = kept_arrays(folder / OWN_TEXT)
    if kept is None or str(kept["identity"]) != identity:
        return None
    return Sequences(tuple(kept["ids"]))


def own_text(
    bundle: Bundle, bos: int | None, folder: Path, identity: str, progress: Progress
) -> Sequences:
    """Has a model write; the pieces are kept in `folder`.

    Args:
        bundle: the model, of few bits.
        bos: the token that begins a text; without one, each piece begins with any.
        folder: of the calibration, or nothing yet.
        identity: what tells the checkpoint.
        progress: hears how far it is.

    Raises:
        BundleError: the model does not run here, or its logits are no numbers.
    """
    model, vocab_size = Model(bundle), bundle.manifest.model.vocab_size
    window = min(_WINDOW, bundle.manifest.model.max_context)
    progress.stage("write", _PIECES * window, "tokens")
    session = model.session(context=window)
    ids: NDArray[np.int64] = np.empty((_PIECES, window), np.int64)
    for number, piece in enumerate(ids):
        session.reset()
        piece[0] = number * vocab_size // _PIECES if bos is None else bos
        sampler = Sampler(SamplingOptions(temperature=1.0, seed=number), vocab_size)
        for at in range(1, window):
            piece[at] = sampler.sample(session.decode(int(piece[at - 1])))
        progress.advance(window)
    folder.mkdir(parents=True, exist_ok=True)
    keep_arrays(folder / OWN_TEXT, ids=ids, identity=np.array(identity))
    return Sequences(tuple(ids))
