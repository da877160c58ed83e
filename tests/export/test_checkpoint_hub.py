"""The Hub path, against a server on this machine that speaks what huggingface_hub asks for."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from urllib.parse import unquote, urlsplit

import pytest
from lfm_edge.errors import MissingDependencyError
from lfm_export.checkpoint import open_checkpoint

from tests.export.checkpoint_samples import all_tensors, tiny, write_sharded

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARD = "model-00001-of-00002.safetensors"
WANTED = {
    SHARD,
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "tokenizer.json",
    "tool_use.jinja",
}

OPEN = """
import sys
from lfm_export.architecture import describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError
try:
    with open_checkpoint(sys.argv[1], revision=sys.argv[2] or None) as checkpoint:
        checkpoint.check(describe(checkpoint.config).tensors())
        print(checkpoint.name, *checkpoint.files)
        print(checkpoint.read("model.embed_tokens.weight").sum())
except CheckpointError as error:
    print(error)
    sys.exit(2)
"""


class FakeHub:
    """Serves one model, `org/tiny`, with branches `main` and `v2`; `org/gated` wants a licence."""

    def __init__(self, folder: Path) -> None:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self.files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self.asked: list[str] = []
        self.broken = ""  # the file that cannot be had, once the others are under way
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append(path)
        status, content, headers = 200, b"", {"Content-Type": "application/json"}
        _, _, file = path.partition(f"/org/tiny/resolve/{COMMIT}/")
        if path in ("/api/models/org/tiny/revision/main", "/api/models/org/tiny/revision/v2"):
            content = json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": []}).encode()
        elif path == f"/api/models/org/tiny/tree/{COMMIT}":
            content = json.dumps([self.entry(name) for name in self.files]).encode()
        elif file and file == self.broken and body:
            self.wait_for_others()
            status = 503
        elif file in self.files:
            content, headers = self.file(file)
        else:
            kind = "RevisionNotFound" if "org/tiny" in path else "RepoNotFound"
            kind = "GatedRepo" if "org/gated" in path else kind
            status, headers = 403 if kind == "GatedRepo" else 404, {"X-Error-Code": kind}
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if body:
            request.wfile.write(content)

    def entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        entry: dict[str, object] = {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        return entry

    def file(self, name: str) -> tuple[bytes, dict[str, str]]:
        content = self.files[name]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return content, {"ETag": etag, "X-Repo-Commit": COMMIT}

    def wait_for_others(self) -> None:
        while not self.fetched() >= WANTED - {self.broken}:
            sleep(0.01)

    def fetched(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.asked if "/resolve/" in path}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    folder = write_sharded(tmp_path / "source", all_tensors(tiny()), 2)
    for name in ("tokenizer.json", "pytorch_model.bin", "README.md"):
        (folder / name).write_text("{}")
    for name in ("additional_chat_templates/tool_use.jinja", "onnx/model.safetensors"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    hub = FakeHub(folder)
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def open_in_subprocess(
    hub: FakeHub, cache: Path, source: str = "org/tiny", revision: str = ""
) -> subprocess.CompletedProcess[str]:
    """huggingface_hub reads its settings when it is imported: so each run is a process."""
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }
    return subprocess.run(
        [sys.executable, "-c", OPEN, source, revision],
        cwd=cache.parent,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(run: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert run.returncode == 2, run.stderr
    assert run.stdout.count("\n") == 1
    for part in parts:
        assert part in run.stdout


def test_download(hub: FakeHub, tmp_path: Path) -> None:
    run = open_in_subprocess(hub, tmp_path / "cache")
    assert run.returncode == 0, run.stderr
    name, total = run.stdout.splitlines()
    assert name == ("org/tiny@0123456789ab tokenizer.json additional_chat_templates/tool_use.jinja")
    assert float(total) == pytest.approx(float(tiny().read("model.embed_tokens.weight").sum()))
    assert hub.fetched() == WANTED

    hub.asked.clear()
    assert open_in_subprocess(hub, tmp_path / "cache", revision="v2").stdout == run.stdout
    assert "/api/models/org/tiny/revision/v2" in hub.asked
    assert not hub.fetched()


def test_shards_within_folders_are_downloaded_too(hub: FakeHub, tmp_path: Path) -> None:
    index = json.loads(hub.files["model.safetensors.index.json"])
    weight_map = {name: f"part [1]/{file}" for name, file in index["weight_map"].items()}
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    for file in set(index["weight_map"].values()):
        hub.files[f"part [1]/{file}"] = hub.files.pop(file)
    run = open_in_subprocess(hub, tmp_path / "cache")
    assert run.returncode == 0, run.stderr
    assert hub.fetched() == WANTED


def test_a_broken_download_continues(hub: FakeHub, tmp_path: Path) -> None:
    """What arrived before is not asked for again."""
    hub.broken = SHARD
    refused(open_in_subprocess(hub, tmp_path / "cache"), "org/tiny", "503", "run again")
    hub.broken = ""
    hub.asked.clear()
    run = open_in_subprocess(hub, tmp_path / "cache")
    assert run.returncode == 0, run.stderr
    assert hub.fetched() == {SHARD}


def test_what_the_hub_refuses(hub: FakeHub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    refused(
        open_in_subprocess(hub, cache, "org/none"), "org/none", "no such folder", "no such model"
    )
    refused(open_in_subprocess(hub, cache, "org/gated"), "org/gated", "licence", "hf auth login")
    refused(open_in_subprocess(hub, cache, revision="v9"), "org/tiny", "no revision 'v9'")


def test_a_hub_that_cannot_be_reached(hub: FakeHub, tmp_path: Path) -> None:
    hub.server.shutdown()
    hub.server.server_close()
    refused(open_in_subprocess(hub, tmp_path / "cache"), "org/tiny", "cannot be downloaded")


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"lfm-edge\[export\]"):
        open_checkpoint("org/tiny")
