"""Names that others chose are shown as they are: neither rich nor the terminal obeys them."""

from __future__ import annotations

import io
import json
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_edge import cli
from lfm_edge.bundle import MANIFEST, Bundle
from lfm_edge.display import console, printable

from tests.sdk.toy import write_manifest, write_toy_bundle

NAMES = {
    "ckpt[v2]": "ckpt[v2]",
    "[red]x": "[red]x",
    "x[/]": "x[/]",
    "[bold]a[/bold]": "[bold]a[/bold]",
    "[link=https://a.example]b[/link]": "[link=https://a.example]b[/link]",
    ":smile:": ":smile:",
    "\\[a]": "\\[a]",
    "模型 é": "模型 é",
    "a\x1b[2Jb": "a\\x1b[2Jb",
    "a\nb\tc": "a\\nb\\tc",
    "a\rb\x9bc": "a\\rb\\x9bc",
    "a\u202etxt": "a\\u202etxt",
}
IN_A_PATH = ["ckpt[v2]", "[red]x", "x[:smile:]", "a\x1b[2Jb"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Calls `main`; gives the exit code, and all that it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        screen = io.TextIOWrapper(io.BytesIO(), "utf-8")
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.setattr(sys, "argv", ["lfm-edge", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(), "utf-8"))
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, screen)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        screen.flush()
        return int(ending.value.code or 0), screen.buffer.getvalue().decode()

    return call


def named(folder: Path, name: str, method: str) -> Path:
    """A bundle whose manifest uses `name` wherever it may, and says that this is the method."""
    manifest = Bundle(write_toy_bundle(folder)).manifest
    replace = msgspec.structs.replace
    write_manifest(
        folder,
        replace(
            manifest,
            producer=name,
            model=replace(manifest.model, name=name, family=name),
            graph=replace(
                manifest.graph, functions=[replace(manifest.graph.functions[0], name=name)]
            ),
            quantization=replace(manifest.quantization, method=method, head=method),
        ),
    )
    return folder


@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_the_names_of_a_manifest(
    run: Callable[..., tuple[int, str]], tmp_path: Path, name: str, shown: str
) -> None:
    bundle = named(tmp_path / "shown", name, name)
    code, out = run("inspect", bundle)
    assert code == 0
    assert f"{shown} ({shown})" in out
    assert f"target onnx-portable, {shown}\n" in "\n".join(map(str.rstrip, out.splitlines()))
    assert f"{shown}, head {shown}; f32: 32 bits" in out
    assert f"{shown}, format 1.0" in out
    bundle = named(tmp_path / "bundle", name, "f32")  # to be run, its method must be one
    for file in (tmp_path / "a.json", tmp_path / "b.json"):
        code, out = run("bench", bundle, "-p", 4, "-n", 2, "-r", 1, "--json", file)
        assert code == 0, out
        assert f"{shown} onnx-portable f32, " in " ".join(out.split())
        result = json.loads(file.read_text())
        result["bundle"] |= {"quantization": name, "head": name}
        file.write_text(json.dumps(result))
    code, out = run("bench", "--compare", tmp_path / "a.json", tmp_path / "b.json")
    assert code == 0
    assert out.count(f" {shown} ") == 4
    assert "\x1b" not in out


@pytest.mark.parametrize("name", IN_A_PATH)
def test_the_names_of_folders(
    run: Callable[..., tuple[int, str]], tmp_path: Path, name: str
) -> None:
    shown = printable(name)
    bundle, result = write_toy_bundle(tmp_path / name), tmp_path / f"{name}.json"
    assert f"/{shown}: 4 files" in run("verify", bundle)[1]
    assert run("chat", bundle)[0] == 0
    code, out = run("bench", bundle, "-p", 4, "-n", 2, "-r", 1, "--json", result)
    assert code == 0, out
    shutil.copy(result, tmp_path / "other.json")
    code, out = run("bench", "--compare", result, tmp_path / "other.json")
    assert code == 0
    assert f"ratios to {shown}\n" in "".join(line.strip() + "\n" for line in out.splitlines())
    (bundle / "tokenizer.json").unlink()
    for command in (["inspect"], ["verify"], ["generate", "a"], ["chat"], ["bench"]):
        code, out = run(command[0], bundle, *command[1:])
        assert (code, out.count("\n")) == (2, 1)
        assert f"/{shown}: tokenizer.json is listed" in out
    assert f"{shown}: no such folder" in run("inspect", tmp_path / "none" / name)[1]


@pytest.mark.parametrize("name", ["[red]x", "x[/]", "ckpt[v2]"])
def test_what_the_command_line_itself_refuses(
    run: Callable[..., tuple[int, str]], tmp_path: Path, name: str
) -> None:
    for arguments in (
        ["inspect", tmp_path, name],
        ["inspect", f"--{name}"],
        [name],
    ):
        code, out = run(*arguments)
        assert code == 2
        assert name in out


def test_a_file_of_a_bundle_is_named_where_it_is_damaged(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle")
    manifest: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["a\x1b[2J"] = {"size": 1, "sha256": "0" * 64}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    code, out = run("inspect", bundle)
    assert (code, out.count("\n")) == (2, 1)
    assert "\x1b" not in out
    assert "x1b[2J" in out


@given(text=st.text(max_size=30))
def test_what_is_shown_is_the_text_itself(text: str) -> None:
    shown = printable(text)
    screen = console()
    with screen.capture() as captured:
        screen.print(shown, soft_wrap=True)
    assert captured.get() == shown + "\n"
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Zl"} for character in shown)
    assert text != shown or text.isprintable()
