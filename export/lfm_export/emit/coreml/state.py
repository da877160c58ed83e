"""The state of a Core ML function: both KV caches, and the inputs that convolutions carry.

The tensors stack the layers that have them. The first token goes to `position`, int32 `[1]`; of
the tokens of a padded function only the first `valid`, int32 `[1]`, count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from lfm_edge.bundle import StateTensor
from msgspec.structs import replace

from ...architecture import Architecture, Attention, ShortConv
from .pieces import Pieces, Var

__all__ = ["Caches", "StateLayout"]


@dataclass(frozen=True)
class StateLayout:
    """Which tensors a model's functions carry, and how."""

    architecture: Architecture
    context: int
    conv_state: str

    @property
    def attention(self) -> list[Attention]:
        """The operators that have a KV cache."""
        operators = (layer.operator for layer in self.architecture.layers)
        return [operator for operator in operators if isinstance(operator, Attention)]

    @property
    def convolutions(self) -> list[ShortConv]:
        """The operators that carry inputs of a convolution."""
        operators = (layer.operator for layer in self.architecture.layers)
        return [operator for operator in operators if isinstance(operator, ShortConv)]

    def tensors(self) -> list[StateTensor]:
        """The manifest's description; a model without a kind of layer has not its tensors."""
        tensors = []
        if self.attention:
            tensors += [
                StateTensor("key_cache", "key", None, "float16", [*self._kv()], None, None),
                StateTensor("value_cache", "value", None, "float16", [*self._kv()], None, None),
            ]
        if self.convolutions:
            conv = StateTensor("conv_state", "conv", None, "float16", [*self._conv()], None, None)
            if self.conv_state == "io":
                conv = replace(conv, name="conv", input="past_conv", output="present_conv")
            tensors.append(conv)
        return tensors

    def inputs(self) -> dict[str, Any]:
        """The inputs and states of a function."""
        return {tensor.input or tensor.name: _spec(tensor) for tensor in self.tensors()}

    def _kv(self) -> tuple[int, ...]:
        first = self.attention[0]
        return (len(self.attention), first.num_kv_heads, self.context, first.head_dim)

    def _conv(self) -> tuple[int, ...]:
        first = self.convolutions[0]
        return (len(self.convolutions), first.hidden_size, first.kernel_size - 1)


def _spec(tensor: StateTensor) -> Any:
    make = mb.TensorSpec if tensor.input else mb.StateTensorSpec
    return make(tuple(tensor.shape), types.fp16)


class Caches:
    """The state within one function, from what a run receives to what it leaves."""

    def __init__(self, pieces: Pieces, layout: StateLayout, inputs: dict[str, Var]) -> None:
        self._pieces, self._layout = pieces, layout
        self._inputs = inputs
        self.input_ids: Var = inputs["input_ids"]
        self.valid: Var | None = inputs.get("valid")
        self._tokens = self.input_ids.shape[1]
        self._position = inputs["position"]
        self._past = {
            tensor.name: inputs[tensor.input]
            if tensor.input
            else mb.read_state(input=inputs[tensor.name])
            for tensor in layout.tensors()
        }
        self._next = dict.fromkeys(("key_cache", "value_cache", "conv"), 0)
        self._present_conv: list[Var] = []
        self._steps = pieces.constant(
            "context_positions", np.arange(layout.context, dtype=np.int32)
        )
        self._written = None if self._tokens == 1 else self._place_of_tokens()

    def positions(self) -> Var:
        """Where each token goes, `[tokens]`; padded ones no further than the context."""
        steps = np.arange(self._tokens, dtype=np.int32)
        places = mb.add(x=self._position, y=self._pieces.constant(f"steps.{self._tokens}", steps))
        if self._tokens == 1:
            return places
        return mb.minimum(x=places, y=np.int32(self._layout.context - 1))

    def mask(self, window: int) -> Var:
        """`[1, 1, tokens, context]`: 0 where a token sees a position, and -30000 elsewhere.

        It sees the last `window` positions, its own included; 0: all.
        """
        at = mb.expand_dims(x=self.positions(), axes=[1])
        steps = mb.expand_dims(x=self._steps, axes=[0])
        seen = mb.less_equal(x=steps, y=at)
        if 0 < window < self._layout.context:
            first = mb.sub(x=at, y=np.int32(window))
            seen = mb.logical_and(x=seen, y=mb.less(x=first, y=steps))
        hidden = mb.sub(x=self._pieces.half(seen), y=np.float16(1))
        return mb.expand_dims(x=mb.mul(x=hidden, y=np.float16(30000)), axes=[0, 1])

    def append(self, name: str, rows: Var) -> Var:
        """Stores the next attention layer's new rows `[1, kv_heads, tokens, head_dim]`.

        Returns all of the layer, `[1, kv_heads, context, head_dim]`.
        """
        layer = self._next[name]
        self._next[name] += 1
        _, heads, context, size = self._past[name].shape
        begin, end = [layer, 0, 0, 0], [layer + 1, heads, context, size]
        if self._written is None:
            place = self._position
            stop = mb.add(x=place, y=np.int32(1))
            first = _around(begin[:2], place, begin[3:])
            self._update(name, rows, first, _around(end[:2], stop, end[3:]))
            return mb.slice_by_index(x=self._past[name], begin=begin, end=end)
        old = mb.slice_by_index(x=self._past[name], begin=begin, end=end)
        source, is_new = self._written
        new = mb.select(cond=is_new, a=mb.gather(x=rows, indices=source, axis=2), b=old)
        self._update(name, new, begin, end)
        return new

    def with_past_conv(self, x: Var) -> Var:
        """The next convolution's inputs `[1, hidden, tokens]` behind those it has seen before.

        What the tokens that count leave behind is stored.
        """
        layer = self._next["conv"]
        self._next["conv"] += 1
        name = "conv" if "conv" in self._past else "conv_state"
        _, hidden, size = self._past[name].shape
        begin, end = [layer, 0, 0], [layer + 1, hidden, size]
        past = mb.slice_by_index(x=self._past[name], begin=begin, end=end)
        both = mb.concat(values=[past, x], axis=-1)
        if self._tokens == 1:
            present = mb.slice_by_index(x=both, begin=[0, 0, 1], end=[1, hidden, size + 1])
        else:
            first = _around([0, 0], self._inputs["valid"], [])
            present = mb.slice_by_size(x=both, begin=first, size=[1, hidden, size])
        if name == "conv":
            self._present_conv.append(present)
        else:
            self._update(name, present, begin, end)
        return both

    def outputs(self) -> list[Var]:
        """The state that a function gives back as outputs."""
        if not self._present_conv:
            return []
        stacked = self._pieces.joined(self._present_conv, 0)
        return [mb.identity(x=stacked, name="present_conv")]

    def _update(self, name: str, values: Var, begin: Any, end: Any) -> None:
        changed = mb.slice_update(x=self._past[name], update=values, begin=begin, end=end)
        self._past[name] = mb.coreml_update_state(state=self._inputs[name], value=changed)

    def _place_of_tokens(self) -> tuple[Var, Var]:
        """For every position of the context: which token goes there, and whether one does.

        A whole layer is written anew, for a window of all tokens at `position` could reach beyond
        the end of the context.
        """
        offset = mb.sub(x=self._steps, y=self._position)
        source = mb.maximum(x=offset, y=np.int32(0))
        source = mb.minimum(x=source, y=np.int32(self._tokens - 1))
        is_new = mb.logical_and(
            x=mb.greater_equal(x=offset, y=np.int32(0)),
            y=mb.less(x=offset, y=self._inputs["valid"]),
        )
        return source, mb.reshape(x=is_new, shape=[1, 1, self._layout.context, 1])


def _around(before: list[int], value: Var, after: list[int]) -> Var:
    """One vector of constants with an int32 `[1]` among them."""
    constants = [np.array(part, np.int32) for part in (before, after)]
    parts = [constants[0], value, *([constants[1]] if after else [])]
    return mb.concat(values=parts, axis=0)
