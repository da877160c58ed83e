"""The command line, as far as only a process of its own shows it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.processes import start
from tests.sdk.test_cli import NEVER
from tests.sdk.toy import THINK, ToyModel, toy_manifest, write_manifest, write_toy_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "bundle", ToyModel(NEVER))


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["heard", "ignored"])
def sigint(request: pytest.FixtureRequest) -> Iterator[None]:
    """What this process does at SIGINT, which its children inherit."""
    earlier = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, earlier)


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path: Path, sigint: None) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel({THINK: 1e5}))
    process = start("generate", bundle, "a", "--max-tokens", 2000, "--context", 2048)
    assert process.stdout is not None
    process.stdout.read(7)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted\n")


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel({THINK: 1e5}))
    process = start("generate", bundle, "a", "--max-tokens", 2000, "--context", 2048)
    assert process.stdout is not None
    process.stdout.read(7)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.wait()


def test_an_error_of_onnx_runtime_logs_nothing(tmp_path: Path) -> None:
    toy = ToyModel()
    graph = toy.graph()
    one = next(tensor for tensor in graph.graph.initializer if tensor.name == "one")
    one.CopyFrom(numpy_helper.from_array(np.array([1000], np.int32), "one"))
    bundle = write_toy_bundle(tmp_path / "bundle", toy)
    onnx.save(graph, bundle / "model.onnx")
    write_manifest(bundle, toy_manifest(toy))
    process = start("generate", bundle, "a")  # the attention refuses a negative length
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch("error: model.onnx: failed to run: .*GroupQueryAttention.*\n", err)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes them")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_may_be_closed(bundle: Path, closed: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m lfm_edge chat "$1" {closed}', sys.executable, str(bundle)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
