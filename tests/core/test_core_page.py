"""The program on docs/core.md, compiled as C and run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.core.programs import BUILD, ONNXRUNTIME, core_program
from tests.support import DEMO_MODEL, export

ROOT = Path(__file__).parents[2]


def test_the_program_answers(tmp_path: Path) -> None:
    core_program("liblfm_core.so")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT RUN: no C compiler")
    found = re.search(r"```c\n(.*?)```", (ROOT / "docs" / "core.md").read_text(), re.DOTALL)
    assert found
    source, binary = tmp_path / "chat.c", tmp_path / "chat"
    source.write_text(found[1])
    include, folder = f"-I{ROOT / 'core' / 'include'}", f"-L{BUILD}"
    strict = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
    command: list[str | Path] = [
        compiler,
        *strict,
        include,
        source,
        "-o",
        binary,
        folder,
        "-llfm_core",
    ]
    subprocess.run([*command, f"-Wl,-rpath,{BUILD}"], check=True)
    bundle = export(DEMO_MODEL, tmp_path / "bundle").folder
    done = subprocess.run(
        [binary, bundle, str(ONNXRUNTIME)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["type"] == "end"
    assert events[-1]["usage"]["generated"] <= 40
    assert any(event["type"] == "text" for event in events)


def test_the_page_counts_the_functions() -> None:
    header = (ROOT / "core" / "include" / "lfm_core.h").read_text()
    page = (ROOT / "docs" / "core.md").read_text()
    assert f"{len(re.findall('^LFM_CORE_API ', header, re.MULTILINE))} functions" in page
