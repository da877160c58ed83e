"""Stop strings: the cut does not depend on the pieces, and no part of one gets out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge import InvalidRequestError
from lfm_edge.stop_strings import StopFilter


def truth(text: str, stops: list[str]) -> tuple[str, bool]:
    """Reads character by character; ends at the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(
    pieces=st.lists(st.text("ab", max_size=5), max_size=12),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_the_cut_is_that_of_the_whole_text(pieces: list[str], stops: list[str]) -> None:
    text, stopped = truth("".join(pieces), stops)
    filtered = StopFilter(stops)
    out = ""
    for piece in pieces:
        out += filtered.push(piece)
        assert text.startswith(out)
    assert (out + filtered.finish(), filtered.stopped) == (text, stopped)
    assert not any(stop in text for stop in stops)


def test_text_is_held_back_no_longer_than_needed() -> None:
    stops = StopFilter("</end>")
    assert stops.push("a <") == "a "
    assert stops.push("b") == "<b"
    assert stops.push("</en") == ""
    assert stops.push("d> and more") == ""
    assert stops.stopped
    assert stops.push("nothing") == ""
    assert stops.finish() == ""


def test_one_string_is_one_stop_and_not_its_letters() -> None:
    assert StopFilter("ab").push("b a") == "b "


@pytest.mark.parametrize("stop", ["", ["a", ""], [3]])
def test_an_empty_stop_is_refused(stop: list[str]) -> None:
    with pytest.raises(InvalidRequestError, match="stop: got"):
        StopFilter(stop)
