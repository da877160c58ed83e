"""Asks a template what it writes, and takes the answers apart."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import TemplateError

from .spelling import MISSING

__all__ = [
    "Failure",
    "InexpressibleError",
    "Observed",
    "Patient",
    "Probe",
    "common_prefix",
    "common_suffix",
    "message",
    "without_end",
    "without_start",
]

_CLOCK = datetime(2031, 11, 28, 21, 43, 56)
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_DATE = re.compile("(?:[^%]|%[YmdHMSyjBbAaIpFTe%]|%-[mdHMSjI])*")
"""What the device core's clock tells."""
_REFUSED = "the chat template refused the messages: "
_FAILED = "the chat template failed: "
_LEAD = {"role": "user", "content": "Zqleadjx"}


class InexpressibleError(Exception):
    """What a template does that no format says, in some words."""


@dataclass(frozen=True)
class Failure:
    """A template's error, whole as users see it."""

    text: str

    @property
    def is_error(self) -> bool:
        """Whether it is an error, not a text in which a value could not be found."""
        return self.text.startswith((_REFUSED, _FAILED))

    def action(self, role: str = "") -> dict[str, Any]:
        """The action that raises it; `role` is replaced by whatever the role is."""
        for kind, prefix in (("refuses", _REFUSED), ("fails", _FAILED)):
            if self.text.startswith(prefix):
                first, *rest = (
                    self.text[len(prefix) :].split(role) if role else [self.text[len(prefix) :]]
                )
                pieces: list[Any] = [first]
                for piece in rest:
                    pieces += [{"write": "role"}, piece]
                return {kind: [piece for piece in pieces if piece != ""]}
        raise InexpressibleError(self.text)


Observed = str | Failure


class Patient:
    """A template that may take so many seconds for all that it is asked.

    Args:
        template: a single one.
        seconds: of rendering.
    """

    def __init__(self, template: ChatTemplate, seconds: float) -> None:
        self._template = template
        self._left = seconds

    def render(
        self,
        messages: list[Any],
        tools: list[Any] | None,
        clock: datetime,
        add_generation_prompt: bool,
        options: Mapping[str, Any],
    ) -> Observed:
        """The prompt, or the error.

        Raises:
            InexpressibleError: it exceeds a limit.
        """
        begun = time.monotonic()
        try:
            made: Observed = self._template.render(
                messages,
                tools,
                clock=clock,
                add_generation_prompt=add_generation_prompt,
                **options,
            )
        except TemplateError as error:
            made = Failure(str(error))
            if not made.is_error:
                raise InexpressibleError(made.text) from None
        self._left -= time.monotonic() - begun
        if self._left < 0:
            raise InexpressibleError("it takes too long to render a few messages")
        return made


class Probe:
    """A template under one choice of options, rendered once for each question.

    Args:
        template: what is asked.
        source: its text.
        options: its options.
    """

    def __init__(self, template: Patient, source: str, options: Mapping[str, Any]) -> None:
        self._template = template
        self._options = dict(options)
        self._known: dict[str, Observed] = {}
        self.strings = list(dict.fromkeys(one or two for one, two in _STRING.findall(source)))
        """The strings that the source holds, of which some may be names of roles or types."""
        patterns = {text for text in self.strings if "%" in text and _DATE.fullmatch(text)}
        self._dates = {
            _CLOCK.strftime(pattern): pattern
            for pattern in sorted(patterns, key=lambda text: len(_CLOCK.strftime(text)))
        }

    def render(
        self, messages: list[Any], tools: list[Any] | None = None, end: bool = False
    ) -> Observed:
        """The prompt, or the error."""
        key = repr((messages, tools, end))
        if key not in self._known:
            self._known[key] = self._template.render(messages, tools, _CLOCK, end, self._options)
        return self._known[key]

    def require(self, messages: list[Any], tools: list[Any] | None = None) -> str:
        """The prompt.

        Raises:
            InexpressibleError: the template fails.
        """
        text = self.render(messages, tools)
        if isinstance(text, Failure):
            raise InexpressibleError(f"plain messages make it fail: {text.text}")
        return text

    def turn(self, given: dict[str, Any], then: Iterable[dict[str, Any]] = ()) -> Observed:
        """What a message becomes behind one of the user's, and before the messages `then`."""
        after = list(then)
        whole = self.render([_LEAD, given, *after])
        if isinstance(whole, Failure):
            return whole
        before = self.require([_LEAD])
        behind = without_start(self.require([_LEAD, *after]), before)
        return without_end(without_start(whole, before), behind)

    def pieces(self, text: str, places: Mapping[str, Any]) -> list[Any]:
        """`text` with the pieces `places` instead of the texts that stand for them."""
        found: list[Any] = []
        dates = {shown: {"date": pattern} for shown, pattern in self._dates.items()}
        pattern = "|".join(re.escape(sign) for sign in sorted({**dates, **places}, key=len)[::-1])
        at = 0
        for match in re.finditer(pattern, text) if pattern else ():
            if match.start() > at:
                found.append(text[at : match.start()])
            found.append(places.get(match[0], dates.get(match[0])))
            at = match.end()
        return [*found, text[at:]] if at < len(text) else found


def message(role: Any, **fields: Any) -> dict[str, Any]:
    """A message of the fields that are not missing."""
    return {n: v for n, v in {"role": role, **fields}.items() if v is not MISSING}


def without_start(text: str, start: str) -> str:
    """`text` behind what it has to begin with."""
    if not text.startswith(start):
        raise InexpressibleError("what it writes of a message depends on those that follow")
    return text[len(start) :]


def without_end(text: str, end: str) -> str:
    """`text` before what it has to end with."""
    if not text.endswith(end):
        raise InexpressibleError("what it writes of a message depends on those before it")
    return text[: len(text) - len(end)]


def common_prefix(one: str, two: str) -> str:
    """What both begin with."""
    length = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
    return one[: min(len(one), len(two)) if length is None else length]


def common_suffix(one: str, two: str) -> str:
    """What both end with."""
    return common_prefix(one[::-1], two[::-1])[::-1]
