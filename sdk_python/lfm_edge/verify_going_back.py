"""Holds a session that went back or guessed wrong to one that read straight on, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .errors import IntegrityError
from .progress import Progress
from .runtime import Runtime, WindowState
from .session import Session
from .windows import slots

__all__ = ["check_going_back"]

_AFTER = 4  # tokens that are read behind the place of which two sessions disagree


def check_going_back(runtime: Runtime, ids: Sequence[int], progress: Progress) -> tuple[str, ...]:
    """Goes back by a replay, and reads on from guesses of which some turn out wrong.

    Neither may change a bit of the logits. Golden vectors do not see the ports that only these runs
    use: `replayed`, `replayed_windows`, `conv_columns` and each conv state's `columns`. Where
    sliding layers keep the last positions alone, these are also written anew, without the many
    tokens that this takes beyond them.

    Args:
        runtime: runs the graph.
        ids: tokens, at least one; they are repeated as often as needed.
        progress: hears of the tokens.

    Returns:
        What was compared: `rewind` where the graph can replay, `guesses` where it reads ahead,
        `windows` where it writes those anew.

    Raises:
        IntegrityError: logits, or what is written anew, differ from those of a straight run.
        BundleError: the graph failed to run.
    """
    access, most = runtime.access, runtime.bundle.manifest.model.max_context
    ways = {"rewind": access.replay is not None, "guesses": access.ahead}
    # A place from which a replay does not reach back to the beginning, where it would be none.
    place = min((access.replay or 0) + 2, most - _AFTER)
    if place < 1 or not any(ways.values()):
        return ()
    text = list(islice(cycle(ids), place + _AFTER))
    straight = Session(runtime, len(text))
    straight.prefill(text[:place])
    expected = [straight.decode(token) for token in text[place:]]
    for way, compared in ways.items():
        if compared:
            progress.stage(way, len(text), "positions")
            found = (_after_rewind if way == "rewind" else _after_guesses)(runtime, text, place)
            _compare(way, place, found, expected)
            progress.advance(len(text))
    if access.windows is not None:
        _check_written_anew(runtime, text[:_AFTER])
        ways["windows"] = True
    return tuple(way for way, compared in ways.items() if compared)


def _after_rewind(runtime: Runtime, text: list[int], place: int) -> list[NDArray[np.float32]]:
    """Logits of the tokens behind `place`, where the session had read others."""
    session = Session(runtime, len(text))
    session.prefill(text[:place] + _others(runtime, text[place:]))
    session.rewind(place)
    return [session.decode(token) for token in text[place:]]


def _after_guesses(runtime: Runtime, text: list[int], place: int) -> list[NDArray[np.float32]]:
    """The same where the first of them was read with guesses, of which the first one is right."""
    session, reader = Session(runtime, len(text)), object()
    session.resume(text, reader)
    session.read(text[:place], reader)
    guesses = [text[place + 1], *_others(runtime, text[place + 2 :])]
    first = session.read(text[place : place + 1], reader, guesses)
    return [first, *(session.read([token], reader) for token in text[place + 1 :])]


def _check_written_anew(runtime: Runtime, text: list[int]) -> None:
    """Holds what sliding layers write anew to what was there before it was forgotten.

    Raises:
        IntegrityError: it differs.
    """
    ids, state = np.array(text, np.int64), cast(WindowState, runtime.bind(len(text)))
    state.run(ids, 0)
    kept = [tensor.name for tensor in runtime.bundle.manifest.graph.state if slots(tensor)]
    expected = {name: state.tensors[name].copy() for name in kept}
    for name in kept:
        state.tensors[name][...] = 0
    state.clear()
    state.run_anew(ids, 0, len(text))
    for name in kept:
        if not np.array_equal(state.tensors[name], expected[name]):
            raise IntegrityError(
                f"windows: {name} was not written anew as it had been; the manifest exchanges "
                "replayed and replayed_windows, or the operators differ from those that the graph "
                "was made for"
            )


def _others(runtime: Runtime, ids: Sequence[int]) -> list[int]:
    """A token in the place of each that is not this one."""
    return [(token + 1) % runtime.vocab_size for token in ids]


def _compare(
    way: str,
    place: int,
    found: Sequence[NDArray[np.float32]],
    expected: Sequence[NDArray[np.float32]],
) -> None:
    for position, (logits, straight) in enumerate(zip(found, expected, strict=True), place):
        if not np.array_equal(logits, straight):
            error = np.abs(logits - straight).max()
            raise IntegrityError(
                f"{way}: the logits at position {position} differ by {error:.3g} from those of a "
                "run straight on, expected the same bits; the manifest names the wrong ports of "
                "the conv state, or the operators differ from those that the graph was made for"
            )
