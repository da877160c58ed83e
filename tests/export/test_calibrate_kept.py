"""Matrices that were kept, read by several threads."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from lfm_export.calibrate.kept import KeptTensors
from lfm_export.quantize import METHODS


def test_threads_read_at_once(tmp_path: Path) -> None:
    # Where another thread takes over in the middle of parsing a header, CPython 3.11 refuses
    # ("AST constructor recursion depth mismatch"), if that one's stack is not as deep.
    rows = np.random.default_rng(0).standard_normal((16, 32)).astype(np.float32)
    kept, tensor = KeptTensors(tmp_path / "kept"), METHODS["q4"](rows)
    kept.put("one", tensor)

    def read(depth: int) -> int:
        if depth:
            return read(depth - 1)
        found = [kept.get("one") for _ in range(100)]
        return sum(one is not None and np.array_equal(one.values, tensor.values) for one in found)

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    threshold = gc.get_threshold()
    gc.callbacks.append(give_way)
    gc.set_threshold(2)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(read, [0, 5])) == [100, 100]
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(give_way)
