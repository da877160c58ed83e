"""Packages that are damaged or made to do harm are refused in one line that names what is wrong."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function, types
from coremltools.proto import Model_pb2
from lfm_edge import BundleError, MissingDependencyError
from lfm_edge.coreml.evaluator import Evaluator
from lfm_edge.coreml.package import Package

from tests.sdk.coreml_programs import save

WEIGHT = np.random.default_rng(2).normal(size=(16, 8)).astype(np.float32)
DATA = Path("Data/com.apple.CoreML")
WEIGHTS = DATA / "weights/weight.bin"
MODEL = DATA / "model.mlmodel"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state, a stored weight, and a sum."""
    inputs = {
        "x": mb.TensorSpec((1, 8), types.fp32),
        "total": mb.StateTensorSpec((1, 16), types.fp16),
    }
    with Function(inputs, opset_version=coremltools.target.iOS18) as function:
        product = mb.linear(x=function.inputs["x"], weight=WEIGHT, name="product")
        total = mb.read_state(input=function.inputs["total"])
        total = mb.add(x=total, y=mb.cast(x=product, dtype="fp16"), name="sum")
        mb.coreml_update_state(state=function.inputs["total"], value=total)
        function.set_outputs([mb.identity(x=total, name="out")])
    return save(tmp_path_factory.mktemp("made"), {"main": function})


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(made, tmp_path / "copy.mlpackage"))


def test_state_is_carried_and_weights_are_read(package: Path) -> None:
    evaluator = Evaluator(Package(package), "exact")
    state, x = evaluator.state("main"), np.ones((1, 8), np.float32)
    for count in (1, 2, 3):
        out = evaluator.run("main", {"x": x}, state)["out"]
        np.testing.assert_allclose(out, count * WEIGHT.sum(1)[None], rtol=1e-5)
    np.testing.assert_array_equal(state["total"], out)


def evaluate(package: Path) -> None:
    evaluator = Evaluator(Package(package))
    evaluator.run("main", {"x": np.ones((1, 8), np.float32)}, evaluator.state("main"))


def edit_model(package: Path, change: Callable[[Any], object]) -> None:
    path = package / MODEL
    model = Model_pb2.Model.FromString(path.read_bytes())
    change(next(iter(model.mlProgram.functions["main"].block_specializations.values())))
    path.write_bytes(model.SerializeToString())


def operation(block: Any, output: str) -> Any:
    return next(op for op in block.operations if any(o.name == output for o in op.outputs))


def blob(block: Any) -> Any:
    """Where the program says that the weight lies."""
    values = (op.attributes["val"] for op in block.operations if op.type == "const")
    return next(v.blobFileValue for v in values if v.WhichOneof("value") == "blobFileValue")


def record(package: Path) -> int:
    """The offset of the weight's record."""
    offsets: list[int] = []
    edit_model(package, lambda block: offsets.append(blob(block).offset))
    return offsets[0]


def edit_weights(package: Path, offset: int, data: bytes) -> None:
    path = package / WEIGHTS
    old = path.read_bytes()
    path.write_bytes(old[:offset] + data + old[offset + len(data) :])


def edit_manifest(package: Path, path: Any) -> None:
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = path
    (package / "Manifest.json").write_text(json.dumps(manifest))


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def link(path: Path) -> None:
    """The file lies outside, and a link in its place."""
    outside = path.parents[len(DATA.parts) + 2] / f"outside-{path.name}"
    path.rename(outside)
    path.symlink_to(outside)


def use_before_definition(block: Any) -> None:
    """The product takes the sum, which takes the product."""
    operation(block, "product").inputs["x"].arguments[0].name = "sum"


def define_twice(block: Any) -> None:
    operation(block, "sum").outputs[0].name = "product"


def two_values(block: Any) -> None:
    arguments = operation(block, "sum").inputs["x"].arguments
    arguments.add().CopyFrom(arguments[0])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "no Manifest.json"),
    "malformed manifest": (
        lambda p: (p / "Manifest.json").write_text("[]"),
        "Manifest.json: names no root model",
    ),
    "root model outside": (
        lambda p: edit_manifest(p, "../../x"),
        r"root model '\.\./\.\./x' is not within the package",
    ),
    "absolute root model": (lambda p: edit_manifest(p, "/etc/passwd"), "is not within the package"),
    "root model of another type": (lambda p: edit_manifest(p, 7), "is not within the package"),
    "no model": (lambda p: (p / MODEL).unlink(), "model.mlmodel: missing"),
    "model that is none": (
        lambda p: (p / MODEL).write_bytes(b"\xff" * 99),
        "model.mlmodel: not a Core ML model",
    ),
    "model cut off": (lambda p: truncate(p / MODEL, 1000), "model.mlmodel: not a Core ML model"),
    "model without a program": (
        lambda p: (p / MODEL).write_bytes(
            Model_pb2.Model(specificationVersion=9).SerializeToString()
        ),
        "holds no ML program",
    ),
    "model that is a link outside": (lambda p: link(p / MODEL), "links to a place outside"),
    "weights that are a link outside": (lambda p: link(p / WEIGHTS), "links to a place outside"),
    "no weights": (lambda p: (p / WEIGHTS).unlink(), "weight.bin: missing"),
    "weights without a header": (
        lambda p: truncate(p / WEIGHTS, 10),
        "weight.bin: the header should end at byte 64, but the file ends at 10",
    ),
    "weights of another version": (
        lambda p: edit_weights(p, 4, struct.pack("<I", 3)),
        "weight file version 3, expected 2",
    ),
    "weights cut off": (
        lambda p: truncate(p / WEIGHTS, (p / WEIGHTS).stat().st_size - 200),
        r"weight.bin: float32 \[16, 8\] at .* but the file ends at",
    ),
    "record beyond the file": (
        lambda p: edit_model(p, lambda b: setattr(blob(b), "offset", 1 << 40)),
        "the record of float32 .* should end at byte 1,099,511,627,840",
    ),
    "record elsewhere": (
        lambda p: edit_model(p, lambda b: setattr(blob(b), "offset", blob(b).offset + 64)),
        "no record of float32 .* expected 0xdeadbeef",
    ),
    "record of another type": (
        lambda p: edit_weights(p, record(p) + 4, struct.pack("<I", 1)),
        "is stored as float16",
    ),
    "record of an unknown type": (
        lambda p: edit_weights(p, record(p) + 4, struct.pack("<I", 99)),
        "is stored as type 99",
    ),
    "size of another shape": (
        lambda p: edit_weights(p, record(p) + 8, struct.pack("<Q", 508)),
        "takes 512 bytes, but has 508",
    ),
    "data beyond the file": (
        lambda p: edit_weights(p, record(p) + 16, struct.pack("<Q", 1 << 50)),
        "ends at byte 1,125,899,906,843,136, but the file ends at",
    ),
    "weight file outside": (
        lambda p: edit_model(p, lambda b: setattr(blob(b), "fileName", "@model_path/../x")),
        "weight file '@model_path/../x' is not within the package",
    ),
    "absolute weight file": (
        lambda p: edit_model(p, lambda b: setattr(blob(b), "fileName", "/etc/passwd")),
        "weight file '/etc/passwd' is not within the package",
    ),
    "cycle": (
        lambda p: edit_model(p, use_before_definition),
        "function main: x of linear .* refers to 'sum', which nothing before it defines",
    ),
    "name twice": (lambda p: edit_model(p, define_twice), "'product' is defined twice"),
    "two values for one": (
        lambda p: edit_model(p, two_values),
        r"x of add \(sum\) has 2 values, expected one",
    ),
    "output of nothing": (
        lambda p: edit_model(p, lambda b: b.outputs.__setitem__(0, "none")),
        "nothing defines its output 'none'",
    ),
    "unknown operation": (
        lambda p: edit_model(p, lambda b: setattr(operation(b, "sum"), "type", "erf")),
        r"function main: erf \(sum\): the evaluator does not know this operation",
    ),
    "unknown argument": (
        lambda p: edit_model(
            p, lambda b: operation(b, "sum").inputs["z"].CopyFrom(operation(b, "sum").inputs["x"])
        ),
        r"function main: add \(sum\): the evaluator does not know its argument z",
    ),
    "missing argument": (
        lambda p: edit_model(p, lambda b: operation(b, "sum").inputs.pop("y")),
        r"function main: add \(sum\): its argument y is missing",
    ),
    "another shape than declared": (
        lambda p: edit_model(
            p,
            lambda b: setattr(
                operation(b, "sum").outputs[0].type.tensorType.dimensions[1].constant, "size", 15
            ),
        ),
        r"function main: add \(sum\): got \[1, 16\], expected float16 \[1, 15\]",
    ),
    "state of no name": (
        lambda p: edit_model(
            p,
            lambda b: setattr(
                next(o for o in b.operations if o.type == "read_state")
                .inputs["input"]
                .arguments[0],
                "name",
                "x",
            ),
        ),
        "function main: read_state .*: its input is no state",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(package: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    change(package)
    with pytest.raises(BundleError, match=message) as raised:
        evaluate(package)
    assert "\n" not in str(raised.value)


def test_weights_that_shrink_while_in_use_are_noticed(package: Path) -> None:
    evaluator = Evaluator(Package(package))
    truncate(package / WEIGHTS, 200)
    with pytest.raises(BundleError, match=r"weight\.bin: a tensor should end at byte"):
        evaluator.run("main", {"x": np.ones((1, 8), np.float32)}, evaluator.state("main"))


def test_without_coremltools_the_extra_is_named(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools.proto.Model_pb2", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lfm-edge\[coreml\]'"):
        Package(package)
