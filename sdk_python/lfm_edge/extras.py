"""Which extra of this distribution brings a package that is not installed."""

from __future__ import annotations

from importlib.metadata import metadata, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .errors import MissingDependencyError

__all__ = ["missing_dependency"]

_DISTRIBUTION = "lfm-edge"
_NAMES = {"coreai": "coreai-core"}  # of distributions that are not called as their modules are


def missing_dependency(module: str, extra: str | None = None) -> MissingDependencyError:
    """The error that says how to install `module`.

    Args:
        module: what cannot be imported.
        extra: the extra that brings it here, where several do; by default the first of them.

    Raises:
        LookupError: no extra brings it.
    """
    top = module.partition(".")[0]
    wanted = canonicalize_name(_NAMES.get(top, top))
    every = metadata(_DISTRIBUTION).get_all("Provides-Extra") or ()
    for found in every if extra is None else [extra]:
        for line in requires(_DISTRIBUTION) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if canonicalize_name(requirement.name) != wanted or marker is None:
                continue
            if marker.evaluate({"extra": found}) and not marker.evaluate({"extra": ""}):
                return MissingDependencyError(
                    f"{top} is not installed; run: pip install '{_DISTRIBUTION}[{found}]'"
                )
    raise LookupError(f"no extra of {_DISTRIBUTION} brings {top}")
