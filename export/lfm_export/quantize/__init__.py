"""One method per file: float rows in, integers and scales out. Deterministic, row by row.

`Scheme` says which method a tensor gets; `METHODS` holds them by the name the user gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from lfm_ops.formats import Format, format_named
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..errors import ExportError
from ._fit import UnfitWeightError, check_fit, check_integers
from ._groups import STEPS, round_to_half
from .f32 import quantize_f32
from .q4 import quantize_q4, quantize_q4_64
from .q6 import quantize_q6
from .q8 import quantize_q8

__all__ = [
    "METHODS",
    "STEPS",
    "Scheme",
    "UnfitWeightError",
    "check_fit",
    "check_integers",
    "check_width",
    "round_to_half",
]

Method = Callable[[NDArray[np.float32]], QuantizedTensor]

METHODS: dict[str, Method] = {
    "f32": quantize_f32,
    "q8": quantize_q8,
    "q6": quantize_q6,
    "q4": quantize_q4,
    "q4_64": quantize_q4_64,
}


def check_width(method: str, tensor: str, columns: int) -> None:
    """Whether a method takes a tensor of so many inputs.

    Raises:
        ExportError: it rounds whole groups of inputs, and these are not.
    """
    format = format_named(method)  # each method has the name of what it makes
    if not format.takes(columns):
        others = (name for name in METHODS if format_named(name).takes(columns))
        taken = min(others, key=lambda name: format_named(name).bits)
        raise ExportError(
            f"{tensor}: has {columns} inputs, {method} takes a multiple of {format.group_size}; "
            f"{taken} takes these"
        )


@dataclass(frozen=True)
class Scheme:
    """The method of the linear layers, and of the token embedding and LM head."""

    linear: str
    head: str
    others: Mapping[str, str] = field(default_factory=dict)
    """Matrices with a method of their own, by name."""

    @property
    def formats(self) -> list[Format]:
        """Those of all matrices; a method has the name of the format that it makes."""
        names = {self.linear, self.head, *self.others.values()}
        return [format_named(name) for name in sorted(names)]

    @classmethod
    def choose(cls, quant: str, head: str | None) -> Scheme:
        """`head` is `q8` by default within fewer bits: what it errs shows in every logit.

        Raises:
            ExportError: an unknown method, or a head that does not go with it.
        """
        if quant not in METHODS:
            raise ExportError(f"--quant {quant}: expected one of {', '.join(METHODS)}, auto")
        integers = ["q8", "q6", "q4", "q4_64"]  # a head of at least as many bits
        allowed = ["f32"] if quant == "f32" else integers[: integers.index(quant) + 1]
        if head is not None and head not in allowed:
            raise ExportError(
                f"--head {head}: with --quant {quant} expected {' or '.join(allowed)}"
            )
        return cls(quant, head or allowed[0])
