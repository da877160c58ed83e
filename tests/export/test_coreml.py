"""Core ML packages as they lie on disk: their interface, their weights, and what is refused."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools
import lfm_edge
import numpy as np
import onnx
import pytest
from coremltools.converters.mil.frontend.milproto.load import load as load_milproto
from coremltools.libmilstoragepython import _BlobStorageReader as BlobReader
from lfm_edge.bundle import Bundle
from lfm_export.emit.matrices import unpack
from lfm_export.errors import ExportError
from lfm_export.export import ExportOptions, export_bundle
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.export.checkpoint_samples import TINY_DENSE, tiny
from tests.support import export, random_model, saved, tiny_moe

Array = NDArray[Any]

FORMS = ("wide", "gather", "gatherq")
FORMS_AND_QUANTS = [*itertools.product(FORMS, ["q4", "q8"]), ("gather", "q6"), ("gatherq", "q4_64")]
CONTEXT = 96
HIDDEN, EXPERTS, INNER = 64, 8, 64
SPARSE_LAYER = 1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_moe(intermediate_size=128, moe_intermediate_size=INNER)
    return saved(random_model(config), tmp_path_factory.mktemp("coreml") / "checkpoint")


@pytest.fixture(scope="module")
def make(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """Bundles of one checkpoint, each made once."""
    made: dict[tuple[object, ...], Bundle] = {}

    def make_one(**options: Any) -> Bundle:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = export(checkpoint, tmp_path_factory.mktemp("bundle") / "out", **options)
        return made[key]

    return make_one


def weights_folder(bundle: Bundle) -> Path:
    return bundle.graph_path / "Data" / "com.apple.CoreML" / "weights"


def specification(bundle: Bundle) -> Any:
    """The package as coremltools reads it back."""
    return coremltools.models.MLModel(str(bundle.graph_path), skip_model_load=True).get_spec()


def program_of(bundle: Bundle) -> Any:
    """The program that coremltools builds from the package."""
    folder = str(weights_folder(bundle))
    return load_milproto(specification(bundle), specification_version=9, file_weights_dir=folder)


READERS = {"INT4": "int4", "INT8": "int8", "UINT8": "uint8", "FLOAT16": "fp16", "FLOAT32": "float"}


def blobs(bundle: Bundle, function: str) -> dict[str, tuple[int, Array]]:
    """Place and values of every weight of a function, read by coremltools' own reader.

    Names are those of constants; data and scale of a compressed one follow after a dot.
    """
    program = specification(bundle).mlProgram
    reader = BlobReader(str(weights_folder(bundle) / "weight.bin"))
    (block,) = program.functions[function].block_specializations.values()
    found = {}
    for operation in block.operations:
        values = {"": operation.attributes["val"]} if operation.type == "const" else {}
        if operation.type.startswith("constexpr"):
            inputs = operation.inputs.items()
            values = {f".{name}": given.arguments[0].value for name, given in inputs}
        for suffix, value in values.items():
            if value.WhichOneof("value") == "blobFileValue":
                tensor, offset = value.type.tensorType, value.blobFileValue.offset
                kind = coremltools.proto.MIL_pb2.DataType.Name(tensor.dataType)
                shape = [size.constant.size for size in tensor.dimensions]
                found[operation.outputs[0].name + suffix] = (
                    offset,
                    read(reader, kind, offset, shape),
                )
    return found


def read(reader: Any, kind: str, offset: int, shape: list[int]) -> Array:
    if kind not in READERS:
        return np.asarray(reader.read_int32_data(offset)).reshape(shape)
    data = np.asarray(getattr(reader, f"read_{READERS[kind]}_data")(offset))
    return (data.view(np.float16) if kind == "FLOAT16" else data).reshape(shape)


# The interface.


@pytest.mark.parametrize("conv_state", ["io", "state"])
def test_coremltools_reads_it_back_with_the_documented_interface(
    make: Callable[..., Bundle], conv_state: str
) -> None:
    bundle = make(target="coreml", conv_state=conv_state, context=CONTEXT)
    spec = specification(bundle)
    assert spec.specificationVersion == 9  # iOS 18, macOS 15
    assert spec.description.defaultFunctionName == "decode"
    functions = {function.name: function for function in spec.description.functions}
    assert list(functions) == ["decode", "prefill"]
    assert [ports.name for ports in bundle.manifest.graph.functions] == list(functions)
    conv, past = ("INT32", [1]), ("FLOAT16", [2, HIDDEN, 2])
    for name, tokens in (("decode", 1), ("prefill", 64)):
        inputs = {"input_ids": ("INT32", [1, tokens]), "position": conv}
        if name == "prefill":
            inputs["valid"] = conv
        outputs = {"logits": ("FLOAT32", [1, 320])}
        states = dict.fromkeys(("key_cache", "value_cache"), ("FLOAT16", [2, 2, CONTEXT, 16]))
        if conv_state == "io":
            inputs["past_conv"] = outputs["present_conv"] = past
        else:
            states["conv_state"] = past
        function = functions[name]
        assert features(function.input) == inputs
        assert features(function.output) == outputs
        assert features(function.state) == states
    described = {
        tensor.input or tensor.name: ("FLOAT16", tensor.shape)
        for tensor in bundle.manifest.graph.state
    }
    io = {"past_conv": past} if conv_state == "io" else {}
    assert described == states | io


def features(found: Any) -> dict[str, tuple[str, list[int]]]:
    kinds = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType
    arrays = {
        feature.name: feature.type.stateType.arrayType
        if feature.type.WhichOneof("Type") == "stateType"
        else feature.type.multiArrayType
        for feature in found
    }
    return {name: (kinds.Name(a.dataType), list(a.shape)) for name, a in arrays.items()}


@pytest.mark.parametrize("moe", FORMS)
def test_coremltools_builds_the_program_again(make: Callable[..., Bundle], moe: str) -> None:
    program = program_of(make(target="coreml", moe=moe, context=CONTEXT))
    assert set(program.functions) == {"decode", "prefill"}


def test_reading_a_package_back_changes_no_file(make: Callable[..., Bundle]) -> None:
    """coremltools writes a package's manifest whenever it opens one."""
    bundle = make(target="coreml", context=CONTEXT)
    path = bundle.graph_path / "Manifest.json"
    before = path.stat().st_mtime_ns
    specification(bundle)
    assert path.stat().st_mtime_ns > before
    Bundle(bundle.folder).check_hashes()


# The weights.


@pytest.mark.parametrize(("moe", "quant"), FORMS_AND_QUANTS)
def test_integers_and_scales_are_those_of_the_onnx_bundle(
    make: Callable[..., Bundle], moe: str, quant: str
) -> None:
    bits = 4 if quant.startswith("q4") else 8  # that hold them
    graph = onnx.load(make(target="onnx-portable", quant=quant).graph_path).graph
    theirs = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    bundle = make(target="coreml", quant=quant, moe=moe, context=CONTEXT)
    for function in ("decode", "prefill"):
        ours = {name: values for name, (_, values) in blobs(bundle, function).items()}
        gate_up, down = experts(ours, moe, bits)
        for e in range(EXPERTS):
            for name, mine in (("gate_up", gate_up[e]), ("down", down[e])):
                integers = unpack(theirs[f"layers.{SPARSE_LAYER}/moe/{name}"][e], bits)
                scales = theirs[f"layers.{SPARSE_LAYER}/moe/{name}.scales"][e]
                if name == "gate_up":  # theirs interleaves the rows
                    integers, scales = (
                        np.concatenate([a[0::2], a[1::2]]) for a in (integers, scales)
                    )
                assert (mine[0] == integers).all()
                assert (mine[1] == scales).all()
        stacked = unpack(theirs["layers.1/attention/qkv.weight"].reshape(HIDDEN * 2, -1), bits)
        names = [f"model_layers_1_self_attn_{n}_proj_weight_whole.data" for n in "qkv"]
        assert (np.concatenate([ours[name] for name in names]) == stacked).all()
        table = unpack(theirs["model.embed_tokens.weight"].reshape(320, -1), 8)
        assert (ours["model_embed_tokens_weight_0_whole.data"] == table).all()


def experts(ours: dict[str, Array], moe: str, bits: int) -> tuple[list[Any], list[Any]]:
    """Integers and scales of every expert: gate above up, and down."""
    prefix = f"layers_{SPARSE_LAYER}_moe"
    names = ("gate_up_0", "down_0") if moe == "wide" else ("gate_up", "down")
    found = []
    for name in names:
        data = ours.get(f"{prefix}_{name}_whole.data", ours.get(f"{prefix}_{name}"))
        scales = ours.get(f"{prefix}_{name}_whole.scale", ours.get(f"{prefix}_{name}_scales"))
        assert data is not None
        assert scales is not None
        if data.dtype == np.uint8:
            data = unpack(data, bits)
        if moe == "wide":
            axis = 1 if name.startswith("down") else 0
            pairs = zip(*(np.split(a, EXPERTS, axis) for a in (data, scales)), strict=True)
        else:
            pairs = zip(data, scales, strict=True)
        found.append(list(pairs))
    return found[0], found[1]


@pytest.mark.parametrize(("moe", "quant"), FORMS_AND_QUANTS)
def test_both_functions_share_every_weight(
    make: Callable[..., Bundle], moe: str, quant: str
) -> None:
    bundle = make(target="coreml", quant=quant, moe=moe, context=CONTEXT)
    decode, prefill = (dict(blobs(bundle, function).values()) for function in ("decode", "prefill"))
    assert decode.keys() <= prefill.keys()
    own = {offset: values for offset, values in prefill.items() if offset not in decode}
    assert all(values.dtype == np.int32 and values.size <= 64 for values in own.values())
    # Each blob adds its record and the rest of its last line to its bytes; nothing else is there.
    size = 64
    for values in (decode | own).values():
        size += 64 + -(-values.nbytes // 64) * 64
    nibbles = (decode | own).values()
    size -= sum(v.nbytes // 2 for v in nibbles if is_int4(v, quant, moe))
    assert size - 64 < (weights_folder(bundle) / "weight.bin").stat().st_size <= size


def is_int4(values: Array, quant: str, moe: str) -> bool:
    """Whether coremltools' reader unpacked them to a byte each; the table of 320 rows is q8."""
    if not quant.startswith("q4") or values.dtype != np.int8:
        return False
    return values.shape != (320, HIDDEN)


def test_two_exports_are_the_same_to_the_byte(
    make: Callable[..., Bundle], checkpoint: Path, tmp_path: Path
) -> None:
    first = make(target="coreml", context=CONTEXT)
    program_of(first)  # counts up the names that coremltools gives
    again = export(checkpoint, tmp_path / "again", target="coreml", context=CONTEXT)
    assert again.manifest.files == first.manifest.files
    assert again.manifest.golden == first.manifest.golden


# What is refused, and what is left behind.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quant": "f32"}, "--quant f32: with --target coreml expected q8 or q6 or q4 or q4_64"),
        (
            {"kv": "int8"},
            "--kv int8: not an option of --target coreml, ",
        ),
        ({"moe": "cond"}, "--moe cond: with --target coreml expected wide or gather or gatherq"),
        ({"conv_state": "x"}, "--conv-state x: with --target coreml expected io or state"),
        ({"context": 257}, "--context 257: this model holds 1 to 256"),
        (
            {"target": "onnx", "moe": "wide"},
            "--moe wide: not an option of --target onnx, ",
        ),
        (
            {"target": "onnx", "conv_state": "io"},
            "--conv-state io: not an option of --target onnx, ",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError) as error:
        export(checkpoint, tmp_path / "out", **{"target": "coreml", **options})
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_without_coremltools_one_line_says_what_to_install(
    checkpoint: Path, tmp_path: Path
) -> None:
    code = "import sys; sys.modules['coremltools'] = None; from lfm_edge.cli import main; main()"
    command = [sys.executable, "-c", code, "export", checkpoint, tmp_path / "out"]
    done = subprocess.run(
        [*map(str, command), "--target", "coreml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    expected = "error: coremltools is not installed; run: pip install 'lfm-edge[coreml]'"
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("note: ")] == [expected]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_conversion_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        (partial,) = tmp_path.glob(".out.partial-*")
        assert (partial / "weight.bin").stat().st_size > 100_000
        raise KeyboardInterrupt

    monkeypatch.setattr(coremltools, "convert", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "out", target="coreml")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_exports_quietly(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lfm_edge", "export", checkpoint, tmp_path / "out"]
    options = ["--target", "coreml", "--moe", "gather", "--conv-state", "state", "--context", "32"]
    done = subprocess.run(
        [*map(str, command), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.strip().splitlines()
    known = ("note: ", "quantize: ", "hash: ", str(tmp_path))
    assert all(line.startswith(known) for line in lines), lines
    assert Bundle(tmp_path / "out").manifest.model.max_context == 32


def test_the_rounding_of_a_large_logit_is_let_pass(tmp_path: Path) -> None:
    """One layer on a wide stream: the token read scores far above all others."""
    config = {
        **TINY_DENSE,
        "hidden_size": 2048,
        "num_hidden_layers": 1,
        "layer_types": ["conv"],
        "vocab_size": 4096,  # as many as the tokenizer has
    }
    config["vocab_size"] = 4096  # as many as the tokenizer has
    with tiny(config) as checkpoint:
        bundle = export_bundle(checkpoint, tmp_path / "out", ExportOptions("coreml"))
    golden = bundle.manifest.golden
    largest = max(row[0] for row in golden.top_logits)
    assert largest > 10 * np.abs(golden.probe_logits).mean()
    report = lfm_edge.verify(bundle.folder)
    assert report.decode_outliers == report.prefill_outliers == 0
