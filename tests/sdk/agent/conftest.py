"""The server of 60 tools, running; and the shipped model with calls forced on it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge.agent import ServerConfig, Servers
from lfm_edge.sampling import Sampler

from tests.support import DEMO_MODEL, export

SERVER = str(Path(__file__).with_name("server.py"))
STDIO = ServerConfig(command=sys.executable, args=[SERVER, "stdio"])


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("agent") / "bundle"
    export(DEMO_MODEL, out, target="onnx", quant="q4")
    return out


@pytest.fixture(scope="session")
def model(bundle: Path) -> lfm_edge.Model:
    return lfm_edge.load(bundle, threads=1)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers({"sixty": STDIO}) as running:
        yield running


@pytest.fixture(scope="session")
def http_server() -> Iterator[ServerConfig]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, SERVER, str(port)])
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield ServerConfig(url=f"http://127.0.0.1:{port}/mcp")
    process.terminate()
    process.wait()


@pytest.fixture
def script(
    model: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[str]], None]:
    """Makes the model say these things, one answer after the other, whatever its logits say."""

    def play(answers: Sequence[str]) -> None:
        left: list[int] = []
        for answer in answers:
            left += [*model.tokenizer.encode(answer), min(model.eos_ids)]

        def draw(sampler: Sampler, logits: Any, allowed: Any) -> int:
            return left.pop(0)

        monkeypatch.setattr(Sampler, "_choose", draw)

    return play
