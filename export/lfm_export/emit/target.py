"""What a target is: one object that knows its own options, numerics, storage and graph.

`export.py` and the command line know no target by name: they ask `TARGETS` (`emit/__init__.py`). A
new target is a module with one such object, and an entry there.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from lfm_edge.bundle import Graph
from lfm_ops.reference import KvType

from ..architecture import Architecture
from ..companions import Companions
from ..errors import ExportError
from ..notes import Note
from ..quantize import METHODS, Scheme
from ..reference import Numerics
from ..weights import Part, Weights

__all__ = ["SUM_DISTURBANCE", "Job", "Option", "Store", "Target", "kv_option"]

SUM_DISTURBANCE = 1e-6  # what another order of sums does; int8 rounding amplifies it


@dataclass(frozen=True)
class Option:
    """An option that some targets have: `--name VALUE`."""

    name: str
    values: tuple[str, ...]
    """What it may be, the default first."""
    help: str
    default: Callable[[Scheme], str] | None = None
    """The default, where it depends on the quantization."""


def kv_option(values: tuple[KvType, ...]) -> Option:
    """The type of the KV cache: float weights deserve a float cache."""
    return Option(
        "kv",
        values,
        "KV cache (f32 with --quant f32)",
        lambda scheme: "f32" if scheme.linear == "f32" else values[0],
    )


@dataclass(frozen=True)
class Job:
    """One export: what was asked for, checked, and where it goes."""

    target: str
    """The target's name."""
    architecture: Architecture
    scheme: Scheme
    context: int
    """The most tokens that a session may hold."""
    options: Mapping[str, str]
    """The target's own options, every one with its value."""
    companions: Companions
    """The checkpoint's tokenizer, templates and defaults."""
    folder: Path
    model_name: str
    """Of the checkpoint."""
    producer: str
    """The program that exports, with its version."""
    note: Note
    """Hears in a line what the target leaves out."""


class Store(Protocol):
    """Takes a model's parts as they stream by, then writes the graph that refers to them."""

    def put(self, part: Part, weights: Weights) -> None:
        """Stores one part; they come once, in order."""
        ...

    def finish(self) -> Graph:
        """Writes the graph when all parts have come, and says how it is called."""
        ...


class Target(abc.ABC):
    """A kind of graph that a checkpoint can be exported to."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it is, in a few words."""
    options: ClassVar[tuple[Option, ...]] = ()
    methods: ClassVar[tuple[str, ...]] = tuple(METHODS)
    """The quantizations that it can hold."""
    holds_as: ClassVar[Mapping[str, str]] = {"q6": "q8"}
    """Formats that it has no smaller form for than another one's, with the same integers."""
    usual_context: ClassVar[int | None] = None
    """The context by default, where that is not all that the model can do."""
    layout_version: ClassVar[int | None] = None
    """Of our packed layout, where its weights lie in that."""
    on_devices: ClassVar[bool] = False
    """Whether the device core runs it, for which `device.bin` is written."""

    def choose(
        self, given: Mapping[str, str], architecture: Architecture, scheme: Scheme
    ) -> dict[str, str]:
        """Its options, complete, from those that the user gave.

        Raises:
            ExportError: an option is not one of this target's, or does not fit the model.
        """
        if scheme.linear not in self.methods:
            raise ExportError(
                f"--quant {scheme.linear}: with --target {self.name} expected "
                f"{' or '.join(self.methods)}"
            )
        for name, method in {**scheme.others, "lm_head": scheme.head}.items():
            if method not in self.methods:
                raise ExportError(
                    f"--recipe: {name} is {method}, but --target {self.name} holds "
                    f"{' or '.join(self.methods)}"
                )
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                own = ", ".join(f"--{option}" for option in known) or "none of its own"
                raise ExportError(
                    f"--{name} {value}: not an option of --target {self.name}, which has {own}"
                )
            if value not in known[name].values:
                raise ExportError(
                    f"--{name} {value}: with --target {self.name} expected "
                    f"{' or '.join(known[name].values)}"
                )
        self.check(architecture, scheme)
        return {name: _default(option, scheme) for name, option in known.items()} | dict(given)

    def check(self, architecture: Architecture, scheme: Scheme) -> None:  # noqa: B027
        """Refuses what this target cannot hold; raises ExportError."""

    @abc.abstractmethod
    def numerics(self, options: Mapping[str, str]) -> Numerics:
        """How it computes, with its options chosen."""

    @abc.abstractmethod
    def open(self, job: Job) -> AbstractContextManager[Store]:
        """What takes the weights of `job` and writes its graph."""


def _default(option: Option, scheme: Scheme) -> str:
    return option.default(scheme) if option.default else option.values[0]
