"""One function of a Core ML package: the whole model for a fixed number of tokens."""

from __future__ import annotations

from typing import Any

import coremltools
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function as Program
from coremltools.converters.mil.mil import types
from lfm_edge.bundle import Function

from ...decoder import decode
from .moe import MoeForm
from .operations import CoreMLOperations, table_rows
from .pieces import Pieces
from .state import Caches, StateLayout

__all__ = ["build_function", "table_rows"]


def build_function(pieces: Pieces, layout: StateLayout, moe: MoeForm, ports: Function) -> Program:
    """Builds the function that `ports` describes.

    Inputs are `input_ids` `[1, tokens]`, `position` `[1]`, for several tokens `valid` `[1]`, all
    int32, and state; outputs are `logits` `[1, vocab]`, of the last token that counts, and state.
    """
    inputs: dict[str, Any] = {
        port: mb.TensorSpec((1, ports.tokens) if port == ports.input_ids else (1,), types.int32)
        for port in (ports.input_ids, ports.position, ports.valid)
        if port is not None
    }
    inputs |= layout.inputs()
    with Program(inputs, opset_version=coremltools.target.iOS18) as function:
        caches = Caches(pieces, layout, function.inputs)
        ops = CoreMLOperations(pieces, layout.architecture, layout.context, moe, caches)
        logits = decode(layout.architecture, ops)
        function.set_outputs([logits, *caches.outputs()])
    return function
