"""The one family of errors that LFM Edge raises for a user's mistake.

Every message is one line: what was wrong, where, what was expected, what to do. The command line
prints it and exits with code 2; anything that is not an `LfmError` is a bug of ours.
"""

__all__ = [
    "BundleError",
    "ContextFullError",
    "IntegrityError",
    "InvalidRequestError",
    "LfmError",
    "MissingDependencyError",
    "SessionTakenError",
    "TemplateError",
    "UnknownTokenError",
    "UnsupportedBundleError",
]


class LfmError(Exception):
    """Base of every error of LFM Edge."""


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


class SessionTakenError(LfmError):
    """An answer cannot go on: something else has used its session since it began."""


class TemplateError(LfmError):
    """A chat template is missing, malformed or refused the messages."""


class MissingDependencyError(LfmError):
    """An optional package is not installed; the message names the extra that brings it."""
