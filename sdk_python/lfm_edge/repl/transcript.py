"""Shows an answer as it comes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable

from ..chat.calls import InvalidToolCall, ToolCall
from ..chat.events import End, Reasoning, Text
from ..display import printable

__all__ = ["Transcript", "call_line"]

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Transcript:
    """Prints events: at a terminal with dimmed reasoning, in a pipe text and calls alone.

    How many tokens a turn took, and how long, stands on standard error where a person looks on.
    """

    def __init__(self) -> None:
        self._at_terminal = sys.stdout.isatty()
        self._dim = False
        self._line = False  # whether something stands on the last line

    def show(self, events: Iterable[object]) -> None:
        """Prints each event as it comes, and a line's end behind the last."""
        try:
            for event in events:
                self.event(event)
        finally:
            self._set_dim(False)
            sys.stdout.flush()

    def event(self, event: object) -> None:
        """Prints one; events that it does not know are passed over."""
        match event:
            case Reasoning(text):
                if self._at_terminal:
                    self._set_dim(True)
                    self._write(text)
            case Text(text):
                if self._dim:
                    self._set_dim(False)
                    self._end_line()
                    text = text.lstrip("\n")
                self._write(text)
            case ToolCall():
                self.line(call_line(event))
            case InvalidToolCall(text, error):
                self.line(printable(f"unreadable call: {text} ({error})"))
            case End():
                self._set_dim(False)
                sys.stdout.write("\n")  # an empty answer has a line of its own, too
                self._line = False
                sys.stdout.flush()
                if sys.stderr.isatty():
                    print(_figures(event), file=sys.stderr)

    def line(self, text: str) -> None:
        """Prints a line of its own."""
        self._set_dim(False)
        self._end_line()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def _write(self, text: str) -> None:
        if self._at_terminal:  # which would obey it
            text = _CONTROL.sub(lambda found: printable(found[0]), text)
        self._line = not text.endswith("\n") if text else self._line
        sys.stdout.write(text)
        sys.stdout.flush()

    def _end_line(self) -> None:
        if self._line:
            sys.stdout.write("\n")
        self._line = False

    def _set_dim(self, dim: bool) -> None:
        if dim != self._dim:
            sys.stdout.write(_DIM if dim else _PLAIN)
        self._dim = dim


def call_line(call: ToolCall) -> str:
    """A call in one line, with all that it would do."""
    return printable(f"call: {call.name}({json.dumps(call.arguments, ensure_ascii=False)})")


def _figures(end: End) -> str:
    """A turn's tokens and times."""
    timings = end.timings
    later = timings.total - timings.time_to_first_token
    speed = f", {(end.generated - 1) / later:.1f} a second" if end.generated > 1 and later else ""
    return (
        f"[{end.reused:,} tokens reused, {end.processed:,} processed, first token after "
        f"{timings.time_to_first_token:.2f} s; {end.generated:,} generated{speed}; "
        f"ended by {end.reason}]"
    )
