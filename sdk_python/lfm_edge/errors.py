"""The one family of errors that LFM Edge raises for a user's mistake.

Every message is one line: what was wrong, where, what was expected, what to do. The command line
prints it and exits with code 2; anything that is not an `LfmError` is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

_LONGEST_REASON = 500
_LONGEST_LINE = 1500
_SHOWN_OF_END = 400  # where a line says what was expected and what to do

__all__ = [
    "BundleError",
    "ContextFullError",
    "IntegrityError",
    "InvalidRequestError",
    "LfmError",
    "MissingDependencyError",
    "SessionFileError",
    "SessionTakenError",
    "TemplateError",
    "UnknownTokenError",
    "UnsupportedBundleError",
    "is_whole",
    "one_line_errors",
    "shortened",
]


def is_whole(value: object) -> bool:
    """Whether an argument is an integer: Python takes a truth value for one, too."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def shortened(text: str) -> str:
    """`text` as it is, or its beginning and end where a name or value in it is very long."""
    if len(text) <= _LONGEST_LINE:
        return text
    begin = text[: _LONGEST_LINE - _SHOWN_OF_END]
    return f"{begin} ...({len(text) - _LONGEST_LINE:,} characters)... {text[-_SHOWN_OF_END:]}"


class LfmError(Exception):
    """Base of every error of LFM Edge; a message that is very long is shortened."""

    def __str__(self) -> str:
        return shortened(super().__str__())


class BundleError(LfmError):
    """A bundle is missing, incomplete, malformed or fails to run."""


class UnsupportedBundleError(BundleError):
    """A bundle was written for a format or a target that this version cannot run."""


class IntegrityError(BundleError):
    """A file of a bundle differs from its manifest, or the graph misses a golden vector."""


class InvalidRequestError(LfmError, ValueError):
    """An argument is out of range: an empty prompt, a negative temperature."""


class UnknownTokenError(InvalidRequestError):
    """A token id lies outside the model's vocabulary."""


class ContextFullError(LfmError):
    """A session's capacity does not hold the tokens that were asked for."""


class SessionFileError(LfmError):
    """A saved session cannot be written, is missing or damaged, or is another bundle's."""


class SessionTakenError(LfmError):
    """An answer cannot go on: something else has used its session since it began."""


class TemplateError(LfmError):
    """A chat template is missing, malformed or refused the messages."""


class MissingDependencyError(LfmError):
    """An optional package is not installed; the message names the extra that brings it."""


@contextmanager
def one_line_errors(what: str, kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """For calls of foreign code alone: what it raises becomes a BundleError of one line.

    An error of ours within the block would be a bug, and shall look like one.

    Args:
        what: what failed, for the message.
        kinds: what that code raises.
    """
    try:
        yield
    except kinds as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise BundleError(f"{what}: {reason}") from None
