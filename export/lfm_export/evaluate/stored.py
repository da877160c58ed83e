"""The weights of an ONNX bundle, read back: the same integers and scales that were stored."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from lfm_edge.bundle import MANIFEST, Bundle
from lfm_edge.errors import BundleError
from lfm_edge.targets import ONNX, ONNX_PORTABLE
from lfm_ops import layout
from lfm_ops.formats import Format, format_named
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..architecture import (
    Architecture,
    Attention,
    Linear,
    Mlp,
    ShortConv,
    Vector,
    tensors_of,
)
from ..emit.matrices import packed_bits, unpack
from ..emit.onnx_portable.weights import SCALES
from ..quantize import Scheme
from ..recipe import formats_of
from ..walk import LaneWeights
from ..weights import methods

__all__ = ["StoredWeights", "readable"]


def readable(bundle: Bundle) -> bool:
    """Whether the weights of this bundle's target can be read back."""
    return bundle.manifest.graph.target in (ONNX, ONNX_PORTABLE)


class StoredWeights:
    """Reads a part of a bundle's weights when it is asked for, and keeps none."""

    def __init__(self, bundle: Bundle, architecture: Architecture) -> None:
        """Opens the graph; raises BundleError where it is malformed."""
        self._mapping = threading.Lock()
        self._bundle = bundle
        self._places = _places(architecture)
        try:
            initializers = ir.load(bundle.graph_path).graph.initializers
        except Exception as error:  # the library raises nothing narrower
            raise BundleError(f"{bundle.graph_path}: {' '.join(str(error).split())}") from None
        self._tensors: Mapping[str, ir.TensorProtocol] = {
            name: value.const_value
            for name, value in initializers.items()
            if value.const_value is not None
        }
        self._packed = bundle.manifest.graph.target == ONNX
        self._formats = _formats(bundle, architecture)

    def rows(self, linear: Linear, start: int, stop: int) -> QuantizedTensor:
        """Some rows of the token embedding or LM head."""
        first = start - start % layout.BLOCK_ROWS
        last = min(-(-stop // layout.BLOCK_ROWS) * layout.BLOCK_ROWS, linear.rows)
        rows = self._matrix(
            linear.name, self._formats[linear.name], *linear.shape, None, first, last
        )
        return rows.rows(start - first, stop - first)

    def vector(self, vector: Vector) -> NDArray[np.float32]:
        """A small tensor."""
        values = self._values(vector.name)
        if values.shape != vector.shape or values.dtype != np.float32:
            raise self._unlike(vector.name, values.shape, vector.shape)
        return values

    def part(self, part: Attention | ShortConv | Mlp) -> LaneWeights:
        """All tensors of a part."""
        tensors = list(tensors_of(part))
        vectors = [t for t in tensors if isinstance(t, Vector)]
        layer, expert = self._places[tensors[0].name]
        return LaneWeights(
            self._matrices(part, f"layers.{layer}", expert),
            {vector.name: self.vector(vector) for vector in vectors},
        )

    def _matrices(
        self, part: Attention | ShortConv | Mlp, prefix: str, expert: int | None
    ) -> dict[str, QuantizedTensor]:
        if isinstance(part, Attention):
            stacked = (part.q_proj, part.k_proj, part.v_proj)
            rows, columns = sum(m.rows for m in stacked), stacked[0].columns
            format = self._formats[stacked[0].name]
            qkv = self._matrix(f"{prefix}/attention/qkv.weight", format, rows, columns, None)
            ends = np.cumsum([m.rows for m in stacked]).tolist()
            found = {m.name: qkv.rows(e - m.rows, e) for m, e in zip(stacked, ends, strict=True)}
            for name, linear in (("gate_proj", part.gate_proj), ("out_proj", part.out_proj)):
                if linear is not None:
                    found[linear.name] = self._whole(f"{prefix}/attention/{name}.weight", linear)
            return found
        if isinstance(part, ShortConv):
            return {
                m.name: self._whole(f"{prefix}/conv/{m.name.rsplit('.', 2)[-2]}", m)
                for m in (part.in_proj, part.out_proj)
            }
        kind = "mlp" if expert is None else "moe"
        gate_up = self._joined(f"{prefix}/{kind}/gate_up", part.gate, expert)
        down = part.down
        name = f"{prefix}/{kind}/down"
        matrix = self._matrix(name, self._formats[down.name], *down.shape, expert)
        return {part.gate.name: gate_up[0], part.up.name: gate_up[1], down.name: matrix}

    def _joined(
        self, name: str, gate: Linear, expert: int | None
    ) -> tuple[QuantizedTensor, QuantizedTensor]:
        """Gate and up, as each target lays them together."""
        rows, columns, block = gate.rows, gate.columns, layout.BLOCK_ROWS
        padded = -(-rows // block) * block if self._packed else rows
        both = self._matrix(name, self._formats[gate.name], 2 * padded, columns, expert)
        if self._packed:
            order = np.arange(2 * padded).reshape(-1, 2, block).transpose(1, 0, 2).reshape(2, -1)
        elif expert is None:
            order = np.arange(2 * rows).reshape(2, rows)
        else:
            order = np.arange(2 * rows).reshape(rows, 2).T
        gate_rows, up_rows = (_take(both, some[:rows]) for some in order)
        return gate_rows, up_rows

    def _whole(self, name: str, linear: Linear) -> QuantizedTensor:
        return self._matrix(name, self._formats[linear.name], *linear.shape, None)

    def _matrix(
        self,
        name: str,
        format: Format,
        rows: int,
        columns: int,
        expert: int | None,
        first: int = 0,
        last: int | None = None,
    ) -> QuantizedTensor:
        """A matrix of the graph, or its rows from `first` to `last`, both at blocks of rows."""
        last = rows if last is None else last
        if self._packed:
            data = self._of_expert(name, expert)
            expected = layout.packed_bytes(format, rows, columns)
            if data.dtype != np.uint8 or data.shape != (expected,):
                raise self._unlike(name, data.shape, (expected,))
            a_block = layout.packed_bytes(format, layout.BLOCK_ROWS, columns)
            blocks = first // layout.BLOCK_ROWS, -(-last // layout.BLOCK_ROWS)
            some = data[blocks[0] * a_block : blocks[1] * a_block]
            return layout.unpack(some, format, last - first, columns)
        values = self._of_expert(name, expert)
        values = values.reshape(len(values), -1)[first:last]
        if not format.group_size:
            return self._checked(name, QuantizedTensor(format, values), last - first, columns)
        scales = self._of_expert(name + SCALES, expert)[first:last]
        integers = unpack(values, packed_bits(format))
        return self._checked(name, QuantizedTensor(format, integers, scales), last - first, columns)

    def _checked(self, name: str, got: QuantizedTensor, rows: int, columns: int) -> QuantizedTensor:
        if got.shape != (rows, columns):
            raise self._unlike(name, got.shape, (rows, columns))
        return got

    def _of_expert(self, name: str, expert: int | None) -> NDArray[Any]:
        values = self._values(name)
        if expert is None:
            return values
        if expert >= len(values):
            raise self._unlike(name, values.shape, (expert + 1,))
        chosen: NDArray[Any] = values[expert]
        return chosen

    def _values(self, name: str) -> NDArray[Any]:
        """A tensor as it lies in its file, mapped."""
        if name not in self._tensors:
            raise BundleError(
                f"{self._bundle.graph_path}: has no weights {name}; the bundle is no export of "
                "this source, or of another version"
            )
        with (
            self._mapping
        ):  # onnx_ir maps a tensor's file when it is first asked, one thread at a time
            values: NDArray[Any] = np.asarray(self._tensors[name].numpy())
        return values

    def _unlike(self, name: str, got: tuple[int, ...], wanted: tuple[int, ...]) -> BundleError:
        return BundleError(
            f"{self._bundle.graph_path}: {name} has the shape {list(got)}, expected "
            f"{list(wanted)}; the bundle is no export of this source"
        )


def _formats(bundle: Bundle, architecture: Architecture) -> dict[str, Format]:
    """Each matrix's format; a bundle of before there were recipes has one but for its head."""
    stored = bundle.manifest.quantization
    if stored.recipe is None:
        names = methods(architecture, Scheme(stored.method, stored.head))
    else:
        names = formats_of(stored.recipe, architecture, str(bundle.folder / MANIFEST))
    try:
        return {name: format_named(format) for name, format in names.items()}
    except ValueError as error:
        raise BundleError(f"{bundle.folder / MANIFEST}: {error}") from None


def _places(architecture: Architecture) -> dict[str, tuple[int, int | None]]:
    """Of each part, by the name of its first tensor, the layer and which of its experts it is."""
    places: dict[str, tuple[int, int | None]] = {}
    for layer in architecture.layers:
        ffn = layer.feed_forward
        experts = (ffn,) if isinstance(ffn, Mlp) else ffn.experts
        places[next(tensors_of(layer.operator)).name] = layer.index, None
        for index, mlp in enumerate(experts):
            places[mlp.gate.name] = layer.index, None if isinstance(ffn, Mlp) else index
    return places


def _take(matrix: QuantizedTensor, rows: NDArray[np.int64]) -> QuantizedTensor:
    scales = None if matrix.scales is None else matrix.scales[rows]
    return QuantizedTensor(matrix.format, matrix.values[rows], scales)
