"""The shipped model behind a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import lfm_edge
import pytest
import uvicorn
from lfm_edge.server.app import Settings, create_app
from lfm_edge.server.service import Service

from tests.support import DEMO_MODEL, export


class Served:
    """A server that runs, and a client of it."""

    def __init__(self, url: str, service: Service) -> None:
        self.url, self.service = url, service
        self.http = httpx.Client(base_url=url, timeout=120)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)


@contextmanager
def serving(model: lfm_edge.Model, **settings: Any) -> Iterator[Served]:
    """A real uvicorn in a thread."""
    app = create_app(model, Settings(**settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    served = Served(f"http://127.0.0.1:{port}", app.state.service)
    try:
        yield served
    finally:
        served.http.close()
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def shipped_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shipped") / "bundle"
    export(DEMO_MODEL, out, quant="q4")
    return out


@pytest.fixture(scope="session")
def shipped(shipped_bundle: Path) -> lfm_edge.Model:
    return lfm_edge.load(shipped_bundle)


@pytest.fixture(scope="session")
def served(shipped: lfm_edge.Model) -> Iterator[Served]:
    with serving(shipped, context=2048, max_body=1 << 20) as server:
        yield server


@pytest.fixture
def serve(shipped: lfm_edge.Model) -> Iterator[Callable[..., Served]]:
    """Starts further servers, with other settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(shipped, **settings))
