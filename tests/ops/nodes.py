"""One operator in a session of its own, and weights packed for it.

The library reads `LFM_OPS_ISA` once a process, so these tests run on the instruction set that it
names; `test_ops_isas.py` runs them again for each other one that this CPU has.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from lfm_ops import library_path
from lfm_ops.formats import format_named
from lfm_ops.layout import interleave_blocks, pack
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray
from onnx import helper

Array = NDArray[Any]
Mlp = tuple[QuantizedTensor, QuantizedTensor, QuantizedTensor]


def isas() -> list[str]:
    """The instruction sets with kernels that this CPU has."""
    if sys.platform != "linux":
        return ["scalar"]
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii")
    needs = {
        "scalar": "",
        "avx2": "avx2",
        "avxvnni": "avx_vnni",
        "avx512vnni": "avx512_vnni",
        "neon_dotprod": "asimddp",
        "neon_i8mm": "i8mm",
    }
    return [isa for isa, flag in needs.items() if flag in flags]


class Node:
    """A model of one node of the domain `ai.lfm`; absent optional inputs are None."""

    def __init__(
        self,
        op: str,
        inputs: Mapping[str, Array | None],
        outputs: Sequence[tuple[str, Any]],
        constants: Sequence[str] = (),
        threads: int = 2,
        **attributes: Any,
    ) -> None:
        present = {name: value for name, value in inputs.items() if value is not None}
        node = helper.make_node(
            op,
            [name if value is not None else "" for name, value in inputs.items()],
            [name for name, _ in outputs],
            name="node",
            domain="ai.lfm",
            **attributes,
        )
        graph = helper.make_graph(
            [node],
            "graph",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
                )
                for name, value in present.items()
                if name not in constants
            ],
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None
                )
                for name, dtype in outputs
            ],
            [onnx.numpy_helper.from_array(present[name], name) for name in constants],
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.lfm", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.register_custom_ops_library(str(library_path()))
        self.session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.feeds = {name: value for name, value in present.items() if name not in constants}
        self.outputs = [name for name, _ in outputs]

    def __call__(self, **changed: Array) -> list[Array]:
        return self.session.run(None, {**self.feeds, **changed})

    def in_place(self, shared: Mapping[str, str], **changed: Array) -> list[Array]:
        """Runs with each output of `shared` bound to the memory of an input."""
        feeds = {**self.feeds, **changed}
        values = {name: ort.OrtValue.ortvalue_from_numpy(feed) for name, feed in feeds.items()}
        binding = self.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            if name in shared:
                binding.bind_ortvalue_output(name, values[shared[name]])
            else:
                binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        return [value.numpy() for value in binding.get_outputs()]


def quantize(weight: Array, name: str) -> QuantizedTensor:
    """Plain rounding to a format; how well it keeps the weights does not matter here."""
    format = format_named(name)
    if not format.group_size:
        return QuantizedTensor(format, weight.astype(np.float32))
    groups = weight.reshape(len(weight), -1, format.group_size).astype(np.float32)
    most = 2 ** (format.bits - 1) - 1
    scales = (np.abs(groups).max(-1) / most).astype(np.float16)
    divisor = np.where(scales == 0, 1, scales).astype(np.float32)[..., None]
    values = np.clip(np.rint(groups / divisor), -most - 1, most).astype(np.int8)
    return QuantizedTensor(format, values.reshape(weight.shape), scales)


def random_weight(seed: int, rows: int, columns: int, format: str) -> QuantizedTensor:
    """Gaussian weights that keep the size of their inputs."""
    gaussian = np.random.default_rng(seed).standard_normal((rows, columns)) / np.sqrt(columns)
    return quantize(gaussian, format)


def random_mlp(seed: int, hidden: int, inner: int, format: str, down: str | None = None) -> Mlp:
    """Gate, up and down; `down` is of the same format unless one is given."""
    return (
        random_weight(3 * seed, inner, hidden, format),
        random_weight(3 * seed + 1, inner, hidden, format),
        random_weight(3 * seed + 2, hidden, inner, down or format),
    )


def pack_mlp(mlp: Mlp) -> tuple[Array, Array]:
    """Gate and up together, and down."""
    gate, up, down = mlp
    return pack(interleave_blocks(gate, up)), pack(down)


def gaussian(seed: int, *shape: int) -> NDArray[np.float32]:
    """Inputs of RMS one."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def error(got: Array, want: Array) -> float:
    """The largest error, relative to the RMS of what is wanted."""
    return float(np.abs(got - want).max() / np.sqrt(np.mean(np.square(want))))
