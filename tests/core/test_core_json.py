"""What is no JSON is refused by the device core in the words of Python's json module."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from lfm_edge.errors import InvalidRequestError

from tests.core.lfm_core import LIBRARY, library
from tests.core.programs import core_program

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(0, 1e9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
PIECES = st.sampled_from(
    [*'{}[]",:\\/ \n\t\r\x01-+.eE01tfnué😀', "\\u", "\\ud83d", "\\ude00", "\\u12g4", "\ufeff"]
)


@st.composite
def almost_json(draw: st.DrawFn) -> str:
    """A JSON text with a few characters put in, left out or cut off."""
    indent = draw(st.sampled_from([None, 1]))
    text = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()), indent=indent)
    for _ in range(draw(st.integers(0, 3))):
        place, left_out = draw(st.integers(0, len(text))), draw(st.integers(0, 2))
        text = text[:place] + draw(PIECES | st.just("")) + text[place + left_out :]
    return text[: draw(st.none() | st.integers(0, len(text)))].replace("\0", "")


def refusal(text: str) -> str:
    """What Python says of a text; of half a surrogate pair, which it takes, what the core says."""
    try:
        value: Any = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return str(error)
    except UnicodeEncodeError:
        return "Half of a surrogate pair"
    return ""


def refusal_of_the_core(text: str) -> str:
    """What the core says of a text, if it says that it is no JSON."""
    try:
        library().text("parse_tool_calls", b"", 0, text)
    except InvalidRequestError as error:
        message = str(error)
        is_place = re.search(r"\(char \d+\)$", message)
        return message.removeprefix("tools: ") if is_place else ""
    return ""


@settings(deadline=None, max_examples=1500)
@given(almost_json())
@example('[")"]')
def test_what_is_no_json_is_refused_in_python_s_words(text: str) -> None:
    core_program(LIBRARY.name)
    expected, found = refusal(text), refusal_of_the_core(text)
    if not expected.startswith("Illegal trailing comma"):  # from Python 3.13 on
        assert found == expected or (expected.startswith("Half") and found.startswith(expected))
