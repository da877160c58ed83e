"""Core ML itself runs a package's functions: macOS 15 or later, through coremltools."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import BundleError, UnsupportedBundleError
from .package import Package
from .runtime import DECODE, PREFILL, Conversation, CoreMLRuntime

__all__ = ["COMPUTE_UNITS", "AppleEngine", "open_on_mac"]

Array = NDArray[Any]

COMPUTE_UNITS = ("CPU_AND_GPU", "CPU_ONLY", "CPU_AND_NE", "ALL")
"""What may compute, by coremltools' names; the first is the default (`docs/coreml.md` says why)."""


class LoadedFunction(Protocol):
    """What we use of coremltools' `MLModel`: one function, ready to run."""

    def make_state(self) -> Any:
        """States of zeros; those of one function serve every other function of the package."""
        ...

    def predict(self, data: dict[str, Array], state: Any) -> Mapping[str, Array]:
        """Runs the function."""
        ...


class AppleEngine:
    """Runs a package's functions by Core ML.

    Args:
        package: the package.
        units: what may compute, one of `COMPUTE_UNITS`.

    Raises:
        BundleError: Core ML does not take the package.
    """

    def __init__(self, package: Package, units: str = COMPUTE_UNITS[0]) -> None:
        self.package = package
        self.functions = _load(package.folder, units)

    def begin(self) -> Conversation:
        """A conversation whose states are zero; raises BundleError where there is no memory."""
        return _AppleConversation(self)


class _AppleConversation:
    def __init__(self, engine: AppleEngine) -> None:
        self._engine = engine
        self._names = engine.package.functions[DECODE].states.keys()
        self._state: Any = None
        if self._names:
            # One function's state serves the other too: they declare the same tensors.
            function = engine.functions[DECODE]
            with _one_line_errors(f"{engine.package.folder}: no state"):
                self._state = function.make_state()

    @property
    def states(self) -> Mapping[str, Array]:
        return {name: self._state.read_state(name) for name in self._names}

    def predict(self, function: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        loaded = self._engine.functions[function]
        # coremltools takes no float16; Core ML rounds the values back.
        data = {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in inputs.items()
        }
        with _one_line_errors(f"{self._engine.package.folder}: {function} failed to run"):
            return loaded.predict(data, self._state)


def open_on_mac(bundle: Bundle) -> CoreMLRuntime:
    """Loads a Core ML bundle for sessions.

    Raises:
        UnsupportedBundleError: this is no Mac.
        BundleError: Core ML does not take the package, or it is not what the manifest says.
    """
    if sys.platform != "darwin":
        raise UnsupportedBundleError(
            f"{bundle.folder}: a Core ML bundle runs on a Mac only; here, check it with: "
            f"lfm-edge verify {bundle.folder}"
        )
    package = Package(bundle.graph_path)
    return CoreMLRuntime(bundle, package, AppleEngine(package))


def _load(package: Path, units: str) -> Mapping[str, LoadedFunction]:
    """Both functions of a package, which is compiled once."""
    coremltools = importlib.import_module("coremltools")
    unit = coremltools.ComputeUnit[units]
    models = coremltools.models
    with _one_line_errors(f"{package}: does not load"):
        # It owns the compiled package, and removes it when it goes.
        decode = models.MLModel(str(package), compute_units=unit, function_name=DECODE)
        compiled = decode.get_compiled_model_path()
        prefill = models.CompiledMLModel(compiled, compute_units=unit, function_name=PREFILL)
    return {DECODE: decode, PREFILL: prefill}


@contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """For calls of Apple's code alone: an error of ours is a bug, and shall look like one."""
    try:
        yield
    except Exception as error:  # coremltools raises plain exceptions, and Core ML its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(f"{what}: {reason}") from None
