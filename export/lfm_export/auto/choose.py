"""The formats of a model, chosen from end to end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lfm_edge.progress import Progress
from threadpoolctl import threadpool_limits

from ..architecture import Architecture, Linear
from ..checkpoint import Checkpoint
from ..quantize import METHODS
from ..recipe import linears_of
from ..walk import (
    Sequences,
    SourceWeights,
    WalkFolder,
    checkpoint_identity,
    keep_arrays,
    kept_arrays,
)
from .budget import Budget, Group, measured_groups, without_needless
from .knapsack import choose
from .measure import MeasureWalk

__all__ = ["choose_formats", "fewest_bits"]

_VERSION = 2  # of the method: others' results are not taken up
_PIECES = 4  # of the text, of some 512 tokens: a divergence is known well from few
_RESULT = "damages.npz"
_WEIGHTS_AT_ONCE = 1 << 24
_LEFT = 0.5
"""Of a layer's damage, when the layers behind it are calibrated to make it good; the shipped model
keeps 3.9e-3 of 7.4e-3. Nothing comes behind a table that could do so for the head."""


def choose_formats(
    checkpoint: Checkpoint,
    architecture: Architecture,
    budget: Budget,
    text: Sequences | None,
    folder: Path,
    progress: Progress,
) -> dict[str, str]:
    """Each matrix's format, by its name: those get more bits whose 4 would do most damage.

    Args:
        checkpoint: the model, of float weights.
        architecture: its description.
        budget: of bytes.
        text: what the damage is measured on; without one, by the weights alone.
        folder: keeps what a measurement found, for another call of the same.
        progress: hears how far it is.

    Raises:
        ExportError: not even the fewest bits fit, or `folder` holds something else.
        CheckpointError: a tensor cannot be read, or holds no finite numbers.
    """
    groups = measured_groups(architecture)
    bits = budget.of_layers(architecture, groups)
    groups = without_needless(groups, bits)
    if text is None:
        damages = _by_weights(checkpoint, architecture, groups, progress)
    else:
        damages = _by_text(checkpoint, architecture, groups, text, folder, progress)
    chosen = zip(groups, choose(groups, damages, bits), strict=True)
    return fewest_bits(architecture) | {t.name: format for g, format in chosen for t in g.linears}


def fewest_bits(architecture: Architecture) -> dict[str, str]:
    """The formats that a choice begins with; floats where groups of inputs are not whole."""
    formats = dict.fromkeys((linear.name for linear in linears_of(architecture)), "f32")
    groups = measured_groups(architecture)
    return formats | {t.name: g.formats[0] for g in groups for t in g.linears}


def _by_weights(
    checkpoint: Checkpoint, architecture: Architecture, groups: Sequence[Group], progress: Progress
) -> dict[str, float]:
    """The relative error of each group, as far as it shows in the logits.

    That of a table shows whole, that of a layer's half is one of as many as are added up.
    """
    progress.stage("measure", sum(group.weights for group in groups), "weights")
    source, damages = SourceWeights(checkpoint), {}
    for group in groups:
        error = energy = 0.0
        for linear in group.linears:
            step = max(1, _WEIGHTS_AT_ONCE // linear.columns)
            for start in range(0, linear.rows, step):
                exact = source.rows(linear, start, min(start + step, linear.rows)).dequantize()
                wrong = METHODS[group.formats[0]](exact).dequantize() - exact
                error += float(np.square(wrong).sum(dtype=np.float64))
                energy += float(np.square(exact).sum(dtype=np.float64))
            progress.advance(linear.rows * linear.columns)
        share = 1 if group.is_table else 2 * len(architecture.layers)
        damages[group.linears[0].name] = error / energy / share if energy else 0.0
    return damages


def _by_text(
    checkpoint: Checkpoint,
    architecture: Architecture,
    groups: Sequence[Group],
    text: Sequences,
    folder: Path,
    progress: Progress,
) -> dict[str, float]:
    """How far the model's output moves when each group alone is rounded."""
    pieces = text.spread(_PIECES)
    sha = hashlib.sha256(f"{_VERSION} {pieces.digest()}".encode())
    sha.update(checkpoint_identity(checkpoint, architecture).encode())
    sha.update(" ".join(group.formats[0] for group in groups).encode())
    identity = sha.hexdigest()
    ordered = _in_order(groups, architecture.embedding.head)
    result = folder / _RESULT
    kept = kept_arrays(result)
    if kept is not None and str(kept["identity"]) == identity:
        return _damages(ordered, kept["divergences"].tolist())
    with (
        WalkFolder.open(folder, identity, pieces.tokens, architecture.hidden_size) as place,
        threadpool_limits(1, "blas"),  # so that sums keep their order
    ):
        source = SourceWeights(checkpoint)
        walk = MeasureWalk(architecture, pieces, place, source, ordered, progress.advance)
        progress.stage("measure", max(walk.work - place.weights, 1), "weights")
        found = walk.divergences(walk.run())
        keep_arrays(result, identity=np.array(identity), divergences=np.array(found))
    for stream in folder.glob("*.f32"):
        stream.unlink()
    return _damages(ordered, found)


def _in_order(groups: Sequence[Group], head: Linear | None) -> list[Group]:
    """As they are used: an LM head of its own comes last."""
    return sorted(groups, key=lambda group: group.linears[0] is head)


def _damages(groups: Sequence[Group], divergences: Sequence[float]) -> dict[str, float]:
    return {
        group.linears[0].name: value * (1 if group.is_table else _LEFT)
        for group, value in zip(groups, divergences, strict=True)
    }
