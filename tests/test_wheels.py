"""A wheel runs where its tag says, and needs no compiler there; `make wheels` builds them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy
import pytest
from lfm_ops.library import instruction_set

from tests.wheels import wheel_for


@pytest.mark.parametrize("cpu", ["x86_64", "aarch64"])
def test_a_wheel_asks_for_no_newer_system_than_its_tag_says(cpu: str) -> None:
    wheel = wheel_for(cpu)
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(rf'platform tag:\s+"manylinux_2_(\d+)_{cpu}"', shown)
    assert found, shown
    tagged = re.search(rf"-manylinux_2_(\d+)_{cpu}\.whl$", wheel.name)
    assert tagged
    assert int(found[1]) <= int(tagged[1])


def test_a_wheel_needs_no_compiler(tmp_path: Path) -> None:
    """The demo, from a fresh environment; what the wheel depends on comes from this one."""
    if platform.system() != "Linux":
        pytest.skip("NOT RUN: the wheels are for Linux")
    wheel = wheel_for(platform.machine())
    venv.create(tmp_path / "fresh", with_pip=False)
    (packages,) = tmp_path.glob("fresh/lib/python*/site-packages")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
    subprocess.run([sys.executable, *install, str(wheel)], check=True)
    # Searched last; an editable install's .pth files in it are not read.
    (packages / "dependencies.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    environment = {**os.environ, "PATH": str(tmp_path / "fresh" / "bin")}
    environment.pop("PYTHONPATH", None)
    python = str(tmp_path / "fresh" / "bin" / "python")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [python, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    library = run("-c", "from lfm_ops import library_path; print(library_path())")
    assert Path(library.rstrip()).parent == packages / "lfm_ops"
    asked = "from lfm_ops.library import instruction_set; print(instruction_set())"
    assert run("-c", asked).rstrip() == instruction_set()
    run("-m", "lfm_edge", "demo", "demo")
    assert (tmp_path / "demo" / "bundle" / "manifest.json").is_file()
