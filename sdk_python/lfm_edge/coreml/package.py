"""Reads a saved Core ML package: its program as plain data, every name, offset and size checked.

The layout is that of Core ML's published protobuf files (`Model.proto`, `MIL.proto`); the weights
stay in their file until they are used.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle_folder import stays_within
from ..errors import BundleError
from ..extras import missing_dependency
from .weights import Stored, WeightFile

__all__ = ["Function", "Operation", "Package", "Reference", "TensorType", "Value"]

_MAX_MANIFEST_BYTES = 1 << 20
_MAX_MODEL_BYTES = 256 << 20
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_MODEL_PATH = "@model_path/"
# MIL's data types by their code in the protobuf file.
_TYPES = {
    1: "bool",
    2: "string",
    10: "float16",
    11: "float32",
    21: "int8",
    22: "int16",
    23: "int32",
    25: "int4",
    31: "uint8",
    32: "uint16",
}


@dataclass(frozen=True)
class TensorType:
    """A tensor's element type, by NumPy's name (or `int4`, `string`), and its shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Reference:
    """An operation's input that is a function's input or an earlier operation's output."""

    name: str


Value = NDArray[Any] | str | Stored
"""A constant: small, a word, or in the weight file."""

Operand = Reference | Value


@dataclass(frozen=True)
class Operation:
    """One operation that is no `const`: constants are given where they are used."""

    kind: str
    inputs: Mapping[str, Operand | tuple[Operand, ...]]
    """By their names in MIL; `values` alone is a tuple, and a state is given by its name."""
    outputs: Mapping[str, TensorType]


@dataclass(frozen=True)
class Function:
    """One function: what it takes, what it keeps, what it computes in order, what it returns."""

    name: str
    inputs: Mapping[str, TensorType]
    states: Mapping[str, TensorType]
    operations: tuple[Operation, ...]
    outputs: Mapping[str, TensorType]


class Package:
    """A saved `.mlpackage` that holds an ML program.

    Args:
        folder: the package.

    Raises:
        BundleError: a file is missing or malformed, a path leaves the package, or a value is not
            where the program says; the message names it.
        MissingDependencyError: coremltools, which knows the protobuf layout, is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = self.folder / "Data" / _root_path(folder)
        _check_inside(folder, model)
        self._weights_folder = model.parent
        self._files: dict[str, WeightFile] = {}
        program = _read_program(model)
        # A map of protobuf has no order of its own.
        self.functions = {
            name: _FunctionReader(self, name, program.functions[name]).read()
            for name in sorted(program.functions)
        }

    def weight_file(self, name: str) -> WeightFile:
        """A weight file by its name in the program, such as `@model_path/weights/weight.bin`."""
        if name not in self._files:
            if not re.fullmatch(rf"{_MODEL_PATH}{_NAME}(/{_NAME})*", name):
                raise BundleError(f"{self.folder}: weight file {name!r} is not within the package")
            path = self._weights_folder / name.removeprefix(_MODEL_PATH)
            _check_inside(self.folder, path)
            self._files[name] = WeightFile(path)
        return self._files[name]


class _FunctionReader:
    """Turns one function of the protobuf message into plain data."""

    def __init__(self, package: Package, name: str, message: Any) -> None:
        self._package, self._name, self._message = package, name, message
        self._known: dict[str, TensorType] = {}
        self._constants: dict[str, Value] = {}
        self._states: dict[str, TensorType] = {}

    def read(self) -> Function:
        blocks = self._message.block_specializations
        if self._message.opset not in blocks:
            self._fail(f"no block for its opset {self._message.opset!r}")
        block = blocks[self._message.opset]
        inputs: dict[str, TensorType] = {}
        for item in self._message.inputs:
            is_state = item.type.WhichOneof("type") == "stateType"
            self._define(item.name, item.type.stateType.wrappedType if is_state else item.type)
            (self._states if is_state else inputs)[item.name] = self._known[item.name]
        operations = [
            operation for message in block.operations if (operation := self._operation(message))
        ]
        for name in block.outputs:
            if name not in self._known:
                self._fail(f"nothing defines its output {name!r}")
        outputs = {name: self._known[name] for name in block.outputs}
        return Function(self._name, inputs, self._states, tuple(operations), outputs)

    def _operation(self, message: Any) -> Operation | None:
        """The operation, or None for a constant, which is kept for those that use it."""
        label = ", ".join(output.name for output in message.outputs) or "no output"
        what = f"{message.type} ({label})"
        if message.type == "const":
            if len(message.outputs) != 1 or "val" not in message.attributes:
                self._fail(f"{what} is not one value")
            self._define(label, message.outputs[0].type)
            self._constants[label] = self._value(message.attributes["val"], what)
            return None
        if message.blocks:
            self._fail(f"{what} has blocks, which the evaluator does not know")
        inputs = {
            name: self._argument(name, argument.arguments, what)
            for name, argument in message.inputs.items()
        }
        for output in message.outputs:
            self._define(output.name, output.type)
        outputs = {output.name: self._known[output.name] for output in message.outputs}
        return Operation(message.type, inputs, outputs)

    def _argument(
        self, name: str, bindings: Iterable[Any], what: str
    ) -> Operand | tuple[Operand, ...]:
        operands = tuple(self._operand(binding, f"{name} of {what}") for binding in bindings)
        if name == "values":
            return operands
        if len(operands) != 1:
            self._fail(f"{name} of {what} has {len(operands)} values, expected one")
        return operands[0]

    def _operand(self, binding: Any, what: str) -> Operand:
        if binding.WhichOneof("binding") == "value":
            return self._value(binding.value, what)
        name: str = binding.name
        if name in self._constants:
            return self._constants[name]
        if name in self._states:
            return name
        if name not in self._known:
            self._fail(f"{what} refers to {name!r}, which nothing before it defines")
        return Reference(name)

    def _define(self, name: str, message: Any) -> None:
        if name in self._known:
            self._fail(f"{name!r} is defined twice")
        self._known[name] = self._type(message, name)

    def _type(self, message: Any, what: str) -> TensorType:
        tensor = message.tensorType
        sizes = [dimension.constant.size for dimension in tensor.dimensions]
        fixed = all(d.WhichOneof("dimension") == "constant" for d in tensor.dimensions)
        if message.WhichOneof("type") != "tensorType" or tensor.dataType not in _TYPES or not fixed:
            self._fail(f"{what!r} is no tensor of a known type and a fixed shape")
        return TensorType(_TYPES[tensor.dataType], tuple(sizes))

    def _value(self, message: Any, what: str) -> Value:
        wanted = self._type(message.type, what)
        if message.WhichOneof("value") == "blobFileValue":
            blob = message.blobFileValue
            file = self._package.weight_file(blob.fileName)
            return file.tensor(blob.offset, wanted.dtype, wanted.shape)
        tensor = message.immediateValue.tensor
        field = tensor.WhichOneof("value")
        if field is None:
            self._fail(f"{what} has no value")
        values = getattr(tensor, field).values
        if wanted.dtype == "string":
            if field != "strings" or len(values) != 1:
                self._fail(f"{what} is not one string")
            return str(values[0])
        try:
            if field == "bytes":
                array = np.frombuffer(values, wanted.dtype)
            else:
                array = np.array(values, wanted.dtype)
        except (TypeError, ValueError, OverflowError):
            self._fail(f"the value of {what} is no {wanted}")
        if array.size != math.prod(wanted.shape):
            self._fail(f"{what} has {array.size} elements, expected {wanted}")
        return array.reshape(wanted.shape)

    def _fail(self, complaint: str) -> Any:
        raise BundleError(f"{self._package.folder}: function {self._name}: {complaint}")


def _root_path(folder: Path) -> str:
    """The model's path below `Data`, as `Manifest.json` gives it."""
    path = folder / "Manifest.json"
    if not path.is_file():
        raise BundleError(f"{folder}: no Manifest.json, so this is not a Core ML package")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: larger than {_MAX_MANIFEST_BYTES >> 20} MB, not a manifest")
    try:
        manifest = json.loads(path.read_bytes())
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BundleError(f"{path}: names no root model") from None
    if not isinstance(root, str) or not re.fullmatch(rf"{_NAME}(/{_NAME})*", root):
        raise BundleError(f"{path}: root model {root!r} is not within the package")
    return root


def _check_inside(folder: Path, path: Path) -> None:
    if not stays_within(folder, path):
        raise BundleError(f"{path}: links to a place outside the package")


def _read_program(path: Path) -> Any:
    """The ML program in a model's protobuf file."""
    if not path.is_file():
        raise BundleError(f"{path}: missing, but Manifest.json names it")
    if path.stat().st_size > _MAX_MODEL_BYTES:
        raise BundleError(f"{path}: larger than {_MAX_MODEL_BYTES >> 20} MB, not a program")
    message, error = _protobuf_classes()
    try:
        model = message.FromString(path.read_bytes())
    except error:
        raise BundleError(f"{path}: not a Core ML model") from None
    if model.WhichOneof("Type") != "mlProgram":
        raise BundleError(f"{path}: holds no ML program")
    return model.mlProgram


def _protobuf_classes() -> tuple[Any, type[Exception]]:
    """The class of the model's message, and the error that it raises."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that this is no Mac
    try:
        model = importlib.import_module("coremltools.proto.Model_pb2").Model
        error = importlib.import_module("google.protobuf.message").DecodeError
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "coremltools":
            raise
        raise missing_dependency("coremltools") from None
    finally:
        logger.setLevel(level)
    return model, error
