"""`config.json` with checked access: it comes from anywhere, so nothing in it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import ArchitectureError

__all__ = ["Config"]


class Config:
    """The values of a `config.json`; of several names the first that is present counts.

    Every method raises ArchitectureError, naming the value, what it is and what was expected.
    """

    def __init__(self, values: Mapping[str, Any], family: str) -> None:
        self.values, self.family = values, family

    def _get(self, names: tuple[str, ...], default: Any) -> Any:
        for name in names:
            if self.values.get(name) is not None:
                return self.values[name]
        if default is None:
            raise ArchitectureError(f"config.json: {names[0]} is missing ({self.family} needs it)")
        return default

    def integer(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """An integer, at least `least`; required where it has no default."""
        value = self._get(names, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
            raise ArchitectureError(
                f"config.json: {names[0]} is {value!r}, expected an integer >= {least}"
            )
        return value

    def number(self, *names: str, default: float | None = None) -> float:
        """A number above zero."""
        value = self._get(names, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ArchitectureError(f"config.json: {names[0]} is {value!r}, expected a number > 0")
        return float(value)

    def flag(self, *names: str, default: bool) -> bool:
        """True or false."""
        value = self._get(names, default)
        if not isinstance(value, bool):
            raise ArchitectureError(f"config.json: {names[0]} is {value!r}, expected true or false")
        return value

    def token(self, name: str) -> int | None:
        """A token id, or None where there is none."""
        return None if self.values.get(name) is None else self.integer(name, least=0)

    def tokens(self, name: str) -> tuple[int, ...]:
        """One token id or a list of them."""
        value = self.values.get(name)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
            raise ArchitectureError(f"config.json: {name} is {value!r}, expected token ids")
        return tuple(ids)
