"""What the tests of the Kotlin library left, which `make test-android` runs before this."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge.conversation import Conversation

from tests.android.made import BUNDLES, following

ROOT = Path(__file__).parents[2]
MADE = ROOT / "build" / "android-bundles"
LIBRARY = ROOT / "build" / "lfm-android" / "liblfm_android.so"
EXAMPLE = ROOT / "android_demo/lfm-android/src/test/kotlin/ai/lfm/edge/Example.kt"
PAGE = 16384
PT_LOAD = 1

after_kotlin = pytest.mark.skipif(
    not (MADE / "of-kotlin").exists(),
    reason="NOT RUN: `make test-android` runs the Kotlin tests first",
)


@pytest.fixture(scope="module", params=BUNDLES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> lfm_edge.Model:
    return lfm_edge.load(MADE / name, threads=1)


@after_kotlin
def test_a_session_of_kotlins_goes_on(name: str, model: lfm_edge.Model) -> None:
    left: dict[str, Any] = json.loads((MADE / "of-kotlin" / f"{name}.json").read_text())
    session = lfm_edge.Session.open(model, MADE / "of-kotlin" / f"{name}.session")
    assert session.ids == left["held"]
    assert following(session, [1], 20) == left["again"]


@after_kotlin
def test_a_conversation_of_kotlins_is_that_of_python(name: str, model: lfm_edge.Model) -> None:
    ours = Conversation.open(model, MADE / f"{name}.conversation")
    theirs = Conversation.open(model, MADE / "of-kotlin" / f"{name}.conversation")
    assert theirs.messages == ours.messages
    assert theirs.session.ids == ours.session.ids
    answers = [list(chat.send("Go on.", max_tokens=12, seed=3))[:-1] for chat in (ours, theirs)]
    assert answers[0] == answers[1]


@pytest.mark.skipif(not LIBRARY.exists(), reason="NOT RUN, not built: `make test-android` does it")
def test_the_library_fits_pages_of_16_kb() -> None:
    alignments = [align for kind, align in _segments(LIBRARY) if kind == PT_LOAD]
    assert alignments
    assert all(align % PAGE == 0 for align in alignments)


def test_the_example_of_the_docs_is_compiled() -> None:
    text = (ROOT / "docs" / "android_library.md").read_text(encoding="utf-8")
    shown = re.findall(r"```kotlin\n(import.*?)```", text, re.DOTALL)
    assert len(shown) == 1
    assert shown[0] in EXAMPLE.read_text(encoding="utf-8")


def _segments(path: Path) -> Iterator[tuple[int, int]]:
    """The kind and the alignment of each segment of a 64-bit ELF file."""
    data = path.read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    (at,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
    for place in range(at, at + size * count, size):
        (kind,), (align,) = (
            struct.unpack_from("<I", data, place),
            struct.unpack_from("<Q", data, place + 48),
        )
        yield kind, align
