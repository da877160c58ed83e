"""An evaluation on a local Ray cluster of two workers: the figures of one process, always."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from lfm_edge.bundle import Bundle
from lfm_edge.errors import LfmError, MissingDependencyError
from lfm_edge.progress import Quiet
from lfm_export.checkpoint import open_checkpoint
from lfm_export.cluster import Cluster
from lfm_export.demo import DEMO_MODEL
from lfm_export.evaluate import EvaluateOptions, EvaluateResult, evaluate_sequences, shards
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.walk import Sequences

from tests.cluster.pieces import Noting, die, refuse, score_or_die

TEXT = Sequences(tuple(np.random.default_rng(5).integers(0, 4096, 40 - i) for i in range(9)))


@pytest.fixture(scope="module")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The shipped model, exported for a target on first use."""

    @functools.cache
    def make(target: str) -> Path:
        out = tmp_path_factory.mktemp("bundle") / target
        with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
            return export_bundle(checkpoint, out, ExportOptions(target)).folder

    return make


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_TOKENS", 60)  # two sequences, the last alone


def evaluate(
    bundle: Path, progress: Quiet | None = None, text: Sequences = TEXT, **options: Any
) -> EvaluateResult:
    with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
        wanted = EvaluateOptions(Path(), window=64, **options)
        return evaluate_sequences(Bundle(bundle), checkpoint, text, wanted, progress)


def assert_close(got: Any, wanted: Any, where: str = "") -> None:
    """Sums of shards are rounded elsewhere; `kl_p99`, of one token, is no mean that hides it."""
    if isinstance(wanted, float):
        close = 1e-5 if where.endswith("p99") else 1e-6
        assert got == pytest.approx(wanted, rel=close, abs=close), where
    elif isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            assert_close(got[name], value, f"{where}.{name}")
    elif isinstance(wanted, list):
        assert len(got) == len(wanted)
        for index, value in enumerate(wanted):
            assert_close(got[index], value, f"{where}[{index}]")
    else:
        assert got == wanted, where


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
def test_figures_are_those_of_one_process_whoever_is_lost(
    address: str,
    bundle_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
) -> None:
    bundle, progress = bundle_of(target), Noting()
    alone = evaluate(bundle, threads=1)
    together = evaluate(bundle, progress, threads=1, ray=address)
    assert_close(msgspec.to_builtins(together), msgspec.to_builtins(alone))
    assert progress.done == TEXT.tokens
    assert progress.notes == []
    # A worker that takes both CPUs is the only one.
    if target == "onnx":
        assert evaluate(bundle, threads=2, ray=address) == together
    dying = functools.partial(score_or_die, tmp_path / "dead")
    monkeypatch.setattr(shards, "score_shard", dying)
    progress = Noting()
    assert evaluate(bundle, progress, threads=1, ray=address) == together
    assert progress.done == TEXT.tokens
    (note,) = progress.notes
    assert "a worker was lost (WorkerCrashedError)" in note
    assert note.endswith("is done again")


@pytest.mark.usefixtures("small_shards")
def test_what_the_state_folder_has_is_not_scored_again(
    bundle_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On no cluster: pieces are done here."""
    done: list[Sequences] = []

    class Here:
        def run(
            self, function: Callable[..., Any], shared: Any, pieces: list[Any]
        ) -> Iterator[Any]:
            for piece in pieces:
                if len(done) == 3:
                    raise LfmError("stopped")
                done.append(piece)
                yield function(shared, piece)

    @contextlib.contextmanager
    def open_here(*_: object) -> Iterator[Here]:
        yield Here()

    monkeypatch.setattr(Cluster, "open", open_here)
    bundle, state = bundle_of("onnx"), tmp_path / "state"
    with pytest.raises(LfmError, match="stopped"):
        evaluate(bundle, threads=1, ray="here", state=state)
    rest = list(done)
    done.clear()
    together = evaluate(bundle, threads=1, ray="here", state=state)
    assert [len(rest), len(done)] == [3, 2]
    ids = [ids.tolist() for shard in rest + done for ids in shard.ids]
    assert ids == [some.tolist() for some in TEXT.ids]
    done.clear()
    assert evaluate(bundle, threads=1, ray="here", state=state) == together
    assert done == []
    assert_close(msgspec.to_builtins(together), msgspec.to_builtins(evaluate(bundle, threads=1)))


def test_a_worker_that_sees_other_files_refuses(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    reading = shards.Reading(tmp_path / "none", None, "", False, 64, 1)
    with pytest.raises(LfmError, match="every machine must see it at the same path"):
        shards.score_shard(reading, TEXT)
    there = bundle_of("onnx")
    reading = dataclasses.replace(reading, bundle=there, identity="another")
    with pytest.raises(LfmError, match="is another than where the evaluation began"):
        shards.score_shard(reading, TEXT)


@contextlib.contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Answers so to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(99)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "expected HOST:PORT"),
        ("127.0.0.1:", "expected HOST:PORT"),
        ("127.0.0.1:99999", "expected HOST:PORT"),
        ("ray://127.0.0.1:1", "does not answer"),
        ("127.0.0.1:1", "does not answer"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line(address: str, says: str) -> None:
    with (
        pytest.raises(LfmError, match=f"--ray {re.escape(address)}: .*{says}") as error,
        Cluster.open(address, 1, print),
    ):
        pass
    assert "\n" not in str(error.value)


def test_what_is_no_cluster_is_refused_without_waiting() -> None:
    with (
        server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address,
        pytest.raises(LfmError, match="something else answers there; expected HOST:PORT"),
        Cluster.open(address, 1, print),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        server(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])) as address,
        pytest.raises(MissingDependencyError, match=r"pip install 'lfm-edge\[ray\]'"),
        Cluster.open(address, 1, print),
    ):
        pass


def test_nothing_imports_ray_unless_it_is_asked_for() -> None:
    code = "import sys, lfm_export.commands, lfm_export.evaluate.command; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert "lfm_export.cluster" in done.stdout.split()
    assert "ray" not in done.stdout.split()


def unknown(_: int, piece: int) -> int:
    """Lies in a module that workers cannot import."""
    return piece


def test_what_cannot_be_done_is_an_error_of_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    with Cluster.open(address, 1, notes.append) as cluster:
        assert list(cluster.run(refuse, 1, range(0, 20, 2))) == list(range(0, 20, 2))
        with pytest.raises(LfmError, match=r"^worker [\w.:]+: this piece is odd$"):
            list(cluster.run(refuse, 1, [0, 1]))
        assert notes == []
        with pytest.raises(LfmError, match="piece 1 was lost with 3 workers"):
            list(cluster.run(die, 0, [0]))
        assert len(notes) == 2
        with pytest.raises(LfmError, match=r"^worker [\w.:]+: has no module test_cluster; install"):
            list(cluster.run(unknown, 0, [0]))
        with (
            pytest.raises(LfmError, match="in a Ray cluster already"),
            Cluster.open(address, 1, print),
        ):
            pass
    with (
        pytest.raises(
            LfmError, match="no machine of the cluster has 64 CPUs for a worker, at most 2"
        ),
        Cluster.open(address, 64, print),
    ):
        pass
    import ray  # noqa: PLC0415 - optional

    monkeypatch.setattr(ray, "__version__", "1.0.0")
    with (
        pytest.raises(LfmError, match=r"Version mismatch.*1\.0\.0") as error,
        Cluster.open(address, 1, print),
    ):
        pass
    assert "\n" not in str(error.value)


def at_work() -> list[psutil.Process]:
    """Workers that do a piece."""
    return [
        p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [""])[0] == "ray::_do"
    ]


def test_ctrl_c_ends_the_command_and_its_workers(
    address: str, bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("def read(path):\n    return open(path).read()\n" * 9999)
    words: list[object] = [sys.executable, "-m", "lfm_edge", "eval", bundle_of("onnx")]
    words += ["--against", DEMO_MODEL, "--text", text, "--ray", address]
    with subprocess.Popen([*map(str, words)], stderr=subprocess.PIPE, text=True) as command:
        while not at_work():
            assert command.poll() is None, command.stderr and command.stderr.read()
            time.sleep(0.1)
        command.send_signal(signal.SIGINT)
        _, said = command.communicate()
    assert command.returncode == 130
    assert said == "interrupted\n"
    while at_work():
        time.sleep(0.1)
