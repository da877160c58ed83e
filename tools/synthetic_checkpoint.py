"""Writes synthetic weights as a Hugging Face folder, so that other tools can load the same ones.

    python tools/synthetic_checkpoint.py synthetic:lfm2.5-8b-a1b:8 OUT

The folder holds config.json, sharded safetensors (bfloat16, which holds the weights exactly) with
their index, and the shipped model's tokenizer. Tensors are drawn and written one after another:
memory stays small however large the model is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from lfm_edge.errors import LfmError
from lfm_export.checkpoint import Checkpoint, open_checkpoint
from lfm_export.checkpoint.synthetic import PREFIX

SHARD_BYTES = 2 << 30
_ROWS_AT_ONCE = 1 << 24  # weights


def write_folder(checkpoint: Checkpoint, out: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes `checkpoint` at `out`, which appears only when it is complete.

    Args:
        checkpoint: its values must be exact in bfloat16.
        out: a folder that does not exist yet.
        shard_bytes: the most that one safetensors file holds, but for a single larger tensor.

    Raises:
        FileExistsError: `out` exists.
        OSError: the disk is full or cannot be written.
    """
    if out.exists():
        raise FileExistsError(f"{out}: exists already; name a folder that does not")
    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        _write_json(partial / "config.json", dict(checkpoint.config))
        for path in checkpoint.files.values():
            shutil.copy(path, partial)
        _write_shards(checkpoint, partial, shard_bytes)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial)
        raise


def _write_shards(checkpoint: Checkpoint, folder: Path, shard_bytes: int) -> None:
    shards = list(_shards(checkpoint, shard_bytes))
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        with (folder / file).open("wb") as stream:
            _write_shard(checkpoint, names, stream)
        weight_map.update(dict.fromkeys(names, file))
    total = sum(_bytes(checkpoint, name) for name in weight_map)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(folder / "model.safetensors.index.json", index)


def _shards(checkpoint: Checkpoint, shard_bytes: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name in checkpoint.shapes:
        if names and size + _bytes(checkpoint, name) > shard_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += _bytes(checkpoint, name)
    yield names


def _write_shard(checkpoint: Checkpoint, names: list[str], stream: BinaryIO) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        end = offset + _bytes(checkpoint, name)
        header[name] = {
            "dtype": _dtype(name),
            "shape": checkpoint.shapes[name],
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        _write_tensor(checkpoint, name, stream)


def _write_tensor(checkpoint: Checkpoint, name: str, stream: BinaryIO) -> None:
    rows, *rest = checkpoint.shapes[name]
    step = max(1, _ROWS_AT_ONCE // math.prod(rest))
    for start in range(0, rows, step):
        values = checkpoint.read(name, start, min(start + step, rows))
        if _dtype(name) == "F32":
            stream.write(values.tobytes())
        else:
            stream.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def _dtype(name: str) -> str:
    """The router's bias is float32 on the Hub too."""
    return "F32" if name.endswith("expert_bias") else "BF16"


def _bytes(checkpoint: Checkpoint, name: str) -> int:
    return math.prod(checkpoint.shapes[name]) * (4 if _dtype(name) == "F32" else 2)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Write synthetic weights as a Hugging Face folder.",
        epilog="example: python tools/synthetic_checkpoint.py synthetic:lfm2.5-8b-a1b:8 OUT",
    )
    parser.add_argument("source", help=f"{PREFIX}SHAPE[:LAYERS]")
    parser.add_argument("out", type=Path, help="the folder to write; must not exist")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    options = parser.parse_args()
    if not options.source.startswith(PREFIX):
        parser.error(f"SOURCE is {options.source!r}, expected {PREFIX}SHAPE[:LAYERS]")
    try:
        with open_checkpoint(options.source, seed=options.seed) as checkpoint:
            write_folder(checkpoint, options.out)
    except (LfmError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
