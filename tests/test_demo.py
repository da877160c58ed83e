"""`lfm-edge demo` does the main job from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lfm_edge.bundle import Bundle


def test_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "lfm_edge", "demo", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Bundle(out / "bundle").manifest.quantization.method == "q4"
    assert Bundle(out / "coreml").manifest.graph.target == "coreml"
    figures = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    assert figures["decode_tokens_per_second"] > 0
    assert (out / "bench.png").read_bytes().startswith(b"\x89PNG")
    answer = done.stdout.split("3. generate")[1].split("4. chat")[0]
    assert "def read_lines(path):" in answer
    for name in ("bundle", "bench.json", "bench.png", "coreml"):
        assert str(out / name) in done.stdout
