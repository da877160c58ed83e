"""What the device core's engine refuses, in Python's words."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import onnx
import pytest
from lfm_edge import LfmError, Session, SessionFileError
from safetensors.numpy import load_file, save_file

from tests.core.engine_driver import Step, drive
from tests.sdk.test_manifest_contract import EDITS
from tests.sdk.toy import VOCAB, ToyModel, toy_manifest, write_manifest, write_toy_bundle

STATUS = {
    "BundleError": 10,
    "UnsupportedBundleError": 11,
    "IntegrityError": 12,
    "InvalidRequestError": 13,
    "UnknownTokenError": 14,
    "ContextFullError": 15,
    "SessionFileError": 16,
}
IDS = np.random.default_rng(3).integers(0, VOCAB, 40).tolist()
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drive([])  # skips where it is not built
    return write_toy_bundle(tmp_path_factory.mktemp("core") / "bundle", ToyModel())


@pytest.fixture(scope="module")
def model(bundle: Path) -> lfm_edge.Model:
    return lfm_edge.load(bundle, threads=1)


def _python(run: Callable[[], object]) -> Step:
    """What the core must answer where Python raises this."""
    with pytest.raises(LfmError) as caught:
        run()
    return {"status": STATUS[type(caught.value).__name__], "error": str(caught.value)}


def _opening(folder: Path, path: str | None = None) -> Step:
    """What the core answers to opening a bundle, and a saved session of it."""
    steps: list[Step] = [{"open": str(folder)}, {"load": 1}, {"session": 64}]
    if path is not None:
        steps.append({"saved": path, "context": 0})
    return next((found for found in drive(steps) if "error" in found), {})


def _edited(source: Path, folder: Path, edit: Edit) -> Path:
    shutil.copytree(source, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    edit(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _put(*keys: str | int, value: object) -> Edit:
    def edit(manifest: Any) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return edit


def _drop(*keys: str | int) -> Edit:
    def edit(manifest: Any) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]

    return edit


FILE = {"size": 1, "sha256": "0" * 64}
MORE_EDITS: dict[str, Edit] = {
    "another major version": _put("format_version", value="2.0"),
    "an old version": _put("format_version", value="0.9"),
    "no version": _put("format_version", value="one'"),
    "a version that is a number": _put("format_version", value=1),
    "a version that is missing": _drop("format_version"),
    "a path that leaves": _put("files", "../../etc/passwd", value=FILE),
    "a path from the root": _put("files", "/etc/passwd", value=FILE),
    "a hidden name": _put("files", ".hidden", value=FILE),
    "a name with a quote": _put("files", "it's", value=FILE),
    "a folder within folders": _put("files", "/".join("abcdefghijklmnopq"), value=FILE),
    "files that are a list": _put("files", value=[]),
    "a file that is missing": _put("files", "absent", value=FILE),
    "a file of another size": _put("files", "model.onnx", "size", value=5),
    "a file of another hash": _put("files", "model.onnx", "sha256", value="0" * 64),
    "a hash that is none": _put("files", "model.onnx", "sha256", value="ABC"),
    "a size below zero": _put("files", "model.onnx", "size", value=-1),
    "a graph that is not listed": _put("graph", "file", value="other.onnx"),
    "a graph outside": _put("graph", "file", value="../model.onnx"),
    "a target of others": _put("graph", "target", value="other"),
    "no target": _drop("graph", "target"),
    "a vocabulary of none": _put("model", "vocab_size", value=0),
    "a vocabulary in words": _put("model", "vocab_size", value="300"),
    "a vocabulary of halves": _put("model", "vocab_size", value=300.0),
    "another vocabulary": _put("model", "vocab_size", value=301),
    "a vocabulary beyond memory": _put("model", "vocab_size", value=10**10),
    "an end that is below zero": _put("model", "eos_token_ids", value=[3, -1]),
    "ends that are none": _put("model", "eos_token_ids", value=None),
    "a beginning in words": _put("model", "bos_token_id", value="1"),
    "a truth for a number": _put("model", "bos_token_id", value=True),
    "no family": _drop("model", "family"),
    "a model that is a list": _put("model", value=[]),
    "two functions": lambda m: m["graph"]["functions"].append(
        m["graph"]["functions"][0] | {"name": "other"}
    ),
    "no functions": _put("graph", "functions", value=[]),
    "a fixed run": _put("graph", "functions", 0, "tokens", value=4),
    "no mask": _put("graph", "functions", 0, "attention_mask", value=None),
    "a port that is a number": _put("graph", "functions", 0, "valid", value=3),
    "a state without ports": _put("graph", "state", 1, "input", value=None),
    "a kind of its own": _put("graph", "state", 1, "kind", value="other"),
    "a type of its own": _put("graph", "state", 1, "dtype", value="float64"),
    "another type": _put("graph", "state", 1, "dtype", value="float16"),
    "an axis of a word": _put("graph", "state", 1, "shape", value=[1, "many"]),
    "an axis of none": _put("graph", "state", 1, "shape", value=[1, None]),
    "an axis of zero": _put("graph", "state", 1, "shape", value=[1, 0]),
    "an axis of halves": _put("graph", "state", 1, "shape", value=[1, 0.5]),
    "a layer below zero": _put("graph", "state", 1, "layer", value=-1),
    "columns that are not there": _put("graph", "state", 2, "columns", value="columns"),
    "a format of its own": _put("quantization", "formats", 0, "name", value="q3"),
    "a format in other groups": _put("quantization", "formats", 0, "group_size", value=64),
    "a method that is not there": _put("quantization", "method", value="q4"),
    "no formats": _put("quantization", "formats", value=[]),
    "a layout without one": _put("quantization", "layout_version", value=1),
    "golden ids of others": _put("golden", "ids", 3, value=VOCAB),
    "golden ids too few": _put("golden", "ids", value=[1]),
    "no golden ids": _put("golden", "ids", value=[]),
    "ragged golden vectors": _put("golden", "top_ids", 4, value=[1]),
    "no tolerance": _put("golden", "tolerance", value=0),
    "a tolerance in words": _put("golden", "tolerance", value="small"),
    "outliers below zero": _put("golden", "outliers", value=-1),
}


@pytest.mark.parametrize("name", [*EDITS, *MORE_EDITS])
def test_a_manifest_is_refused_as_in_python(name: str, bundle: Path, tmp_path: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        if name in EDITS:
            EDITS[name][0](manifest["graph"])
        else:
            MORE_EDITS[name](manifest)

    folder = _edited(bundle, tmp_path / "bundle", edit)
    expected = _python(lambda: lfm_edge.load(folder, threads=1))
    if name == "a target of others":  # what runs differs
        expected["error"] = (
            f"{folder}: target other, but this version of lfm-edge runs onnx, onnx-portable"
        )
    found = _opening(folder)
    if name == "heads beyond any memory":  # numbers of more than 64 bits are not read
        assert "$.graph.state[0].shape[1]" in found["error"]
        assert "Number out of range" in found["error"]
    else:
        assert found == expected


@pytest.mark.parametrize("text", ["", "[]", '{"format_version"', "{} {}", "\ud800", "\0"])
def test_a_manifest_that_is_none_ends_in_one_line(text: str, bundle: Path, tmp_path: Path) -> None:
    folder = _edited(bundle, tmp_path / "bundle", lambda _: None)
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = _opening(folder)
    assert found["status"] == STATUS["BundleError"]
    assert found["error"].startswith(f"{folder / 'manifest.json'}: ")
    assert "\n" not in found["error"]


def test_a_folder_that_is_no_bundle(bundle: Path, tmp_path: Path) -> None:
    link = _edited(bundle, tmp_path / "link", lambda _: None)
    (tmp_path / "outside").write_bytes((link / "model.onnx").read_bytes())
    (link / "model.onnx").unlink()
    (link / "model.onnx").symlink_to(tmp_path / "outside")
    for folder in (tmp_path / "none", tmp_path, link):
        assert _opening(folder) == _python(partial(lfm_edge.load, folder, threads=1))


def test_a_bundle_of_a_hub_cache_is_opened(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo" / "snapshots" / "0a"
    shutil.copytree(bundle, folder)
    (tmp_path / "repo" / "blobs").mkdir()
    shutil.move(folder / "model.onnx", tmp_path / "repo" / "blobs" / "1f")
    (folder / "model.onnx").symlink_to("../../blobs/1f")
    assert _opening(folder) == {}


@pytest.mark.parametrize("room", ["2048", "4000", "2047", "many"])
def test_a_context_beyond_the_tables_of_the_graph(room: str, tmp_path: Path) -> None:
    folder = write_toy_bundle(tmp_path / "bundle")
    graph = ToyModel().graph()
    onnx.helper.set_model_props(graph, {"max_context": room})
    onnx.save(graph, folder / "model.onnx")
    write_manifest(folder, toy_manifest(ToyModel()))
    found = _opening(folder)
    if room in {"2048", "4000"}:
        assert found == {}
    else:
        assert found == _python(lambda: lfm_edge.load(folder, threads=1))


@pytest.mark.parametrize("context", [10**15, 2**62])
def test_a_context_beyond_any_memory(context: int, bundle: Path, tmp_path: Path) -> None:
    edit = _put("model", "max_context", value=context)
    folder = _edited(bundle, tmp_path / "bundle", edit)
    *_, found = drive([{"open": str(folder)}, {"load": 1}, {"session": context}])
    assert found["status"] == STATUS["BundleError"]
    assert f"bytes of state of {context:,} tokens and 300 logits; take a smaller" in found["error"]
    if context < 2**60:  # sizes beyond 64 bits are not counted
        model = lfm_edge.load(folder, threads=1)
        assert found == _python(lambda: model.session(context))


def test_a_graph_that_is_none(bundle: Path, tmp_path: Path) -> None:
    folder = _edited(bundle, tmp_path / "bundle", lambda _: None)
    for data in (b"", b"no graph", (folder / "model.onnx").read_bytes()[:-100]):
        (folder / "model.onnx").write_bytes(data)
        write_manifest(folder, toy_manifest(ToyModel()))
        assert _opening(folder) == _python(lambda: lfm_edge.load(folder, threads=1))


def test_a_file_that_is_not_whole_is_found(bundle: Path, tmp_path: Path) -> None:
    folder = _edited(bundle, tmp_path / "bundle", lambda _: None)
    (folder / "weights").write_bytes(bytes(3 << 20))  # too large to be hashed at every opening
    write_manifest(folder, toy_manifest(ToyModel()))
    (folder / "weights").write_bytes(bytes(1 << 20) + b"\1" + bytes((2 << 20) - 1))
    _, found = drive([{"open": str(folder)}, {"hash": 0}])
    assert found == _python(lambda: lfm_edge.load(folder))


@pytest.mark.parametrize(
    "step",
    [
        {"read": []},
        {"read": [1, VOCAB]},
        {"read": [-1]},
        {"read": [1] * 60},
        {"rewind": 10},
        {"rewind": -1},
        {"session": 2049},
        {"session": -3},
        {"saved": "/no/such/file", "context": 0},
    ],
    ids=str,
)
def test_a_request_is_refused_as_in_python(step: Step, bundle: Path, model: lfm_edge.Model) -> None:
    session = model.session(64)
    session.prefill(IDS[:9])
    (name, value), *_ = step.items()
    python: dict[str, Callable[[], object]] = {
        "read": lambda: session.prefill(value),
        "rewind": lambda: session.rewind(value),
        "session": lambda: model.session(value),
        "saved": lambda: Session.open(model, value),
    }
    opened: list[Step] = [{"open": str(bundle)}, {"load": 1}, {"session": 64}, {"read": IDS[:9]}]
    *_, found, after = drive([*opened, step, {"read": [5]}])
    assert found == _python(python[name])
    assert after["position"] == 10


def _metadata(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    found: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return found


@pytest.fixture
def saved(model: lfm_edge.Model, tmp_path: Path) -> Path:
    session = model.session(64)
    session.prefill(IDS[:9])
    session.save(tmp_path / "saved")
    return tmp_path / "saved"


def test_no_session_of_this_bundle_is_told_as_in_python(
    bundle: Path, model: lfm_edge.Model, saved: Path
) -> None:
    tensors, found = load_file(saved), _metadata(saved)
    keys = tensors["state.0.key"]
    without = {name: value for name, value in tensors.items() if name != "state.0.value"}
    metadata: list[dict[str, str]] = [
        {"version": "2"},
        {"format": "other"},
        {"capacity": "-3"},
        {"capacity": "8"},
        {"capacity": "9" * 30},
        {"capacity": "65"},
        {"conv_position": "10"},
        {"conv_position": "-1"},
        {"bundle": "another"},
        {"attached": "more"},
    ]
    files: list[tuple[dict[str, Any], dict[str, str]]] = [
        *((tensors, found | change) for change in metadata),
        (tensors, {}),
        ({**tensors, "state.0.key": keys[:, :, :8].copy()}, found),
        ({**tensors, "state.0.key": keys.astype(np.float16)}, found),
        ({**tensors, "ids": tensors["ids"].astype(np.int64)}, found),
        ({**tensors, "ids": tensors["ids"] + VOCAB}, found),
        ({**tensors, "more": tensors["ids"]}, found),
        (without, found),
    ]
    for contents, texts in files:
        save_file(contents, saved, texts)
        assert _opening(bundle, str(saved)) == _python(lambda: Session.open(model, saved))


def test_every_damaged_byte_is_found(bundle: Path, model: lfm_edge.Model, saved: Path) -> None:
    whole, files = saved.read_bytes(), list[Path]()
    damaged = [
        *(
            whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :]
            for at in range(0, len(whole), 7)
        ),
        *(whole[:size] for size in range(0, len(whole), 13)),
        whole + b"\0",
    ]
    for number, data in enumerate(damaged):
        files.append(saved.with_name(f"{number}"))
        files[-1].write_bytes(data)
    opened: list[Step] = [{"open": str(bundle)}, {"load": 1}]
    found = drive([*opened, *({"saved": str(file), "context": 0} for file in files)])[2:]
    assert len(found) == len(files)
    for file, answer in zip(files, found, strict=True):
        assert answer["status"] == STATUS["SessionFileError"]
        assert answer["error"].startswith(f"{file}: ")
        assert "\n" not in answer["error"]
        with pytest.raises(SessionFileError):
            Session.open(model, file)


@pytest.mark.parametrize("name", ["a" * 300, "no/such/folder", "."])
def test_a_name_that_cannot_be_is_told(
    name: str, bundle: Path, model: lfm_edge.Model, tmp_path: Path
) -> None:
    session, path = model.session(16), tmp_path / name
    opened: list[Step] = [{"open": str(bundle)}, {"load": 1}, {"session": 16}, {"read": [1]}]
    *_, found = drive([*opened, {"save": str(path), "attached": ""}])
    expected = _python(lambda: session.save(path))
    assert found["status"] == expected["status"]
    assert found["error"].startswith(f"{path}: ")
    assert found["error"].split(": ")[1] == expected["error"].split(": ")[1]
    assert list(tmp_path.iterdir()) == []
