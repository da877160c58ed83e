"""`lfm-edge serve`: starts, stops by a signal, and says in one line why it cannot start."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from lfm_edge.serve_command import _listen


@contextmanager
def started(bundle: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server's process, and its address."""
    command = [sys.executable, "-m", "lfm_edge", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        found = re.match(r"(http://\S+)/ ", server.stdout.readline())
        assert found is not None
        yield server, found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(shipped_bundle: Path, number: signal.Signals) -> None:
    with started(shipped_bundle) as (server, url):
        assert httpx.get(f"{url}/health", timeout=60).json() == {"status": "ok"}
        server.send_signal(number)
        assert server.wait() == 0
        assert server.stderr is not None
        assert server.stderr.read() == ""


def test_small_pieces_are_sent_at_once() -> None:
    async def accepted_without_delay() -> int:
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        listening = _listen("127.0.0.1", 0)
        server = await asyncio.start_server(
            lambda _, writer: accepted.set_result(writer), sock=listening
        )
        async with server:
            _, client = await asyncio.open_connection(*listening.getsockname())
            writer = await accepted
            delay = writer.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY
            )
            writer.close()
            client.close()
        return int(delay)

    assert asyncio.run(accepted_without_delay()) != 0


def refused(bundle: Path, *options: str) -> str:
    command = [sys.executable, "-m", "lfm_edge", "serve", str(bundle), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_taken_port_is_said_in_one_line(shipped_bundle: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert "already in use" in refused(shipped_bundle, "--port", str(port))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--api-key"),
        (["--port", "70000"], "0 to 65535"),
        (["--cache", "much"], "500M"),
        (["--allow-origin", "*"], "https://name:port"),
        (["--parallel", "0"], "1 or more"),
        (["--context", "0", "--port", "0"], "context"),
        (["--host", "no.such.invalid", "--port", "0"], "no.such.invalid"),
    ],
)
def test_a_mistake_is_said_in_one_line(shipped_bundle: Path, options: list[str], said: str) -> None:
    assert said in refused(shipped_bundle, *options)


@pytest.mark.parametrize("stream", [True, False])
def test_a_signal_ends_answers_in_progress(shipped_bundle: Path, stream: bool) -> None:
    """At their next token, by an error that says why."""
    asked = {
        "messages": [{"role": "user", "content": "Count."}],
        **{"max_tokens": 3900, "temperature": 1, "seed": 1, "logit_bias": {"7": -100}},
        "stream": stream,
    }
    with started(shipped_bundle) as (server, url):

        def stop() -> None:
            while "lfm_edge_running 1.0" not in httpx.get(f"{url}/metrics", timeout=60).text:
                time.sleep(0.02)
            server.send_signal(signal.SIGTERM)

        threading.Thread(target=stop).start()
        answer = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=120)
        assert "the server stops" in answer.text
        assert answer.status_code == 503 or stream  # whose status may have been sent already
        assert server.wait() == 0
        assert server.stderr is not None
        assert server.stderr.read() == ""


def test_a_signal_ends_a_request_that_is_half_sent(shipped_bundle: Path) -> None:
    with started(shipped_bundle) as (server, url):
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port)) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
            client.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
            assert httpx.get(f"{url}/health", timeout=60).is_success
            server.send_signal(signal.SIGINT)
            assert server.wait() == 0
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()
