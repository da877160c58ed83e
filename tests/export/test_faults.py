"""An export that is interrupted or refused leaves nothing that looks like a bundle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from lfm_edge.bundle import Bundle
from safetensors.numpy import load_file, save_file

from tests.processes import start
from tests.support import DEMO_MODEL, random_model, saved, tiny_dense

COMMAND = [sys.executable, "-m", "lfm_edge"]
LONG = "synthetic:lfm2.5-8b-a1b:3"  # takes long enough to be interrupted


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(*arguments: object) -> str:
    """Runs a command that must be refused, and returns the line, beside notes, that says why."""
    done = run(*arguments)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def start_and_wait(out: Path) -> subprocess.Popen[str]:
    """Starts a long export and returns once it has written some weights."""
    process = start("export", LONG, out)
    pattern = f".{out.name}.partial-*/model.onnx.data"
    while not any(path.stat().st_size > 1 << 20 for path in out.parent.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def test_ctrl_c_removes_what_was_written(tmp_path: Path) -> None:
    process = start_and_wait(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def test_after_a_kill_nothing_looks_complete_and_the_next_run_succeeds(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_and_wait(out)
    process.kill()
    process.communicate()
    assert not out.exists()
    assert not list(tmp_path.rglob("manifest.json"))
    assert run("export", DEMO_MODEL, out).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert Bundle(out).manifest.graph.file == "model.onnx"


def test_two_exports_to_one_place_do_not_meet(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start_and_wait(out)
    try:
        assert f"{out}: another export is writing" in refused("export", DEMO_MODEL, out)
        assert list(tmp_path.glob(".out.partial-*/model.onnx.data"))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with mounted(tmp_path / "disk", "size=2m") as place:
        yield place


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system of memory at a new folder."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NOT RUN: mounting a tmpfs needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_named_and_left_clean(small_disk: Path, tmp_path: Path) -> None:
    out = small_disk / "out"
    assert "no space left" in refused("export", DEMO_MODEL, out)
    assert list(small_disk.iterdir()) == []
    assert run("export", DEMO_MODEL, tmp_path / "elsewhere").returncode == 0


def test_an_earlier_bundle_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("export", DEMO_MODEL, out, "--quant", "q8").returncode == 0
    assert run("export", DEMO_MODEL, out, "--quant", "q4").returncode == 0
    assert Bundle(out).manifest.quantization.method == "q4"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"dear")
    assert "exists and is not a bundle" in refused("export", DEMO_MODEL, other)
    assert (other / "holiday.jpg").read_bytes() == b"dear"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(random_model(tiny_dense()), tmp_path_factory.mktemp("tiny") / "model")


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def change_weights(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return rewrite


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1000)


NORM = "model.layers.1.operator_norm.weight"
LORA = "model.layers.1.feed_forward.w1.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (change_config(model_type="llama"), 'unknown model_type "llama"'),
        (change_config(hidden_size="wide"), 'hidden_size is "wide"'),
        (
            change_config(layer_types=["conv"]),
            "layer_types is a list of 1, expected the kinds of all 4 layers",
        ),
        (change_config(num_key_value_heads=3), "key-value heads"),
        (change_config(rope_parameters={"rope_type": "yarn"}), "factor is missing"),
        (change_weights(lambda t: t.pop(NORM)), NORM),
        (change_weights(lambda t: t.update({NORM: np.ones(3, np.float32)})), "[3], expected [64]"),
        (change_weights(lambda t: t.update({LORA: np.ones(3, np.float32)})), repr(LORA)),
        (truncate, "model.safetensors"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    ],
)
def test_a_spoilt_checkpoint_is_refused_in_one_line(
    tiny: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    spoil(folder)
    assert words in refused("export", folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quant", "q3"], "expected one of f32, q8, q6, q4"),
        (["--quant", ""], "expected one of f32, q8, q6, q4"),
        (["--quant", "q8", "--head", "q4"], "--head q4"),
        (["--target", "tflite"], "--target tflite"),
        (["--kv", "f8"], "--kv f8: with --target onnx expected f16 or f32 or int8"),
        (["--kv", "int8", "--target", "onnx-portable"], "--kv int8: with --target onnx-portable"),
        (["--context", "0"], "--context 0"),
        (["--context", "100000"], "--context 100000"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tiny: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in refused("export", tiny, tmp_path / "out", *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("quant", "width", "group", "other"),
    [("q4", 77, 32, "f32"), ("q8", 77, 32, "f32"), ("q4_64", 96, 64, "q4")],
)
def test_a_width_that_a_method_does_not_take_is_refused(
    tmp_path: Path, quant: str, width: int, group: int, other: str
) -> None:
    config = tiny_dense(intermediate_size=width, block_auto_adjust_ff_dim=False)
    source = saved(random_model(config), tmp_path / "model")
    line = refused("export", source, tmp_path / "out", "--quant", quant)
    assert f"model.layers.0.feed_forward.w2.weight: has {width} inputs" in line
    assert f"{quant} takes a multiple of {group}; {other} takes these" in line
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "source", ["no-such-folder", "synthetic:gpt-2", "synthetic:lfm2.5-8b-a1b:0"]
)
def test_an_unknown_source_is_refused(tmp_path: Path, source: str) -> None:
    assert source in refused("export", source, tmp_path / "out")
