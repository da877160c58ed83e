"""A real browser over its DevTools protocol; as much of it as the page's tests need."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

__all__ = ["BROWSER", "Page", "browsing"]

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


class Page:
    """A page that is open."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._count = socket, 0
        self.log: list[str] = []
        """What the page complained of: errors, and what its policy refused."""
        for domain in ("Runtime", "Log", "Page"):
            self._ask(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Goes there, and waits until its scripts have run."""
        self._ask("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({url!r}) && document.readyState == 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str) -> Any:
        """Waits until the expression is true."""
        begun = time.monotonic()
        while not (found := self.run(script)):
            assert time.monotonic() - begun < 120, (script, self.log)
            time.sleep(0.05)
        return found

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv())
            if told.get("id") == self._count:
                return told["result"]
            complains = told.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}
            if complains and told["params"].get("entry", {}).get("source") != "recommendation":
                self.log.append(json.dumps(told["params"]))


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """Starts the browser without a window, with a profile of its own."""
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += ["--disable-dev-shm-usage", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as browser:
        try:
            assert browser.stderr is not None
            said = (re.search(r"ws://([^/]+)/", line) for line in browser.stderr)
            where = next(filter(None, said))[1]
            pages = httpx.get(f"http://{where}/json/list", timeout=60).json()
            url = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
            with connect(url, max_size=None) as socket:
                yield Page(socket)
        finally:
            browser.kill()
