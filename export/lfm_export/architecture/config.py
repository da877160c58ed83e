"""`config.json` with checked access: it comes from anywhere, so nothing in it is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import ArchitectureError

__all__ = ["Config", "quoted"]

_LONGEST_QUOTE = 200
_MOST = 2**31 - 1
_LARGEST = 1e30  # that an operator takes for an attribute


def quoted(value: Any) -> str:
    """A value as `config.json` writes it, short enough for a one-line message."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "..."


class Config:
    """The values of an object in `config.json`, over defaults for what it leaves out.

    As in `transformers`, a null is a value and not an absence: it is refused unless a field may
    be null. Every method raises ArchitectureError, naming the value and what was expected.
    """

    def __init__(
        self, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, within: str = ""
    ) -> None:
        """`within` is the field that holds the object, where it is not the whole file."""
        self.given, self.values = values, {**(defaults or {}), **values}
        self._within = f"{within}." if within else ""

    def error(self, name: str, expected: str) -> ArchitectureError:
        """What is wrong with a field."""
        field = f"config.json: {self._within}{name}"
        if name not in self.values:
            return ArchitectureError(f"{field} is missing, expected {expected}")
        return ArchitectureError(f"{field} is {quoted(self.values[name])}, expected {expected}")

    def integer(self, name: str, least: int = 1, most: int = _MOST) -> int:
        """An integer from `least` to `most`."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            limit = f">= {least}" if most == _MOST else f"from {least} to {most}"
            raise self.error(name, f"an integer {limit}")
        return value

    def number(self, name: str, *, positive: bool = True) -> float:
        """A number within 1e30, above zero unless `positive` is false."""
        value = self.values.get(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not abs(value) <= _LARGEST
            or (positive and value <= 0)
        ):
            what = "a number > 0" if positive else "a number"
            raise self.error(name, f"{what}, of 1e30 at most")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise self.error(name, "true or false")
        return value

    def tokens(self, name: str) -> tuple[int, ...]:
        """One token id, a list of them, or null for none; whether there are such is not asked."""
        value = self.values.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
            raise self.error(name, "token ids")
        return tuple(dict.fromkeys(ids))

    def token(self, name: str) -> int | None:
        """A token id, or None for null."""
        if isinstance(self.values.get(name), list):
            raise self.error(name, "one token id")
        return next(iter(self.tokens(name)), None)
