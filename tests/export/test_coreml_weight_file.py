"""`weight.bin` is ours to write: its bytes, and coremltools' private function that it needs."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import pytest
from coremltools.converters.mil.backend.mil import helper
from coremltools.libmilstoragepython import _BlobStorageWriter as BlobWriter
from lfm_export.emit.coreml.blobs import BlobFile
from lfm_export.errors import ExportError
from lfm_ops.formats import format_named
from lfm_ops.quantized import QuantizedTensor

from tests.support import export, random_model, saved, tiny_dense


def test_the_weight_file_is_what_coremltools_writes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    halves = random.standard_normal((3, 7)).astype(np.float16)
    values = random.integers(-8, 8, (6, 32)).astype(np.int8)
    scales = random.standard_normal((6, 1)).astype(np.float16)
    bytes_ = random.integers(0, 256, (5, 3)).astype(np.uint8)
    with BlobFile(tmp_path / "ours.bin") as file:
        file.add("a", halves)
        file.add_matrix("b", QuantizedTensor(format_named("q4"), values, scales))
        file.add_matrix("c", QuantizedTensor(format_named("q8"), values, scales))
        pieces = file.reserve("d", "uint8", bytes_.shape)
        for row in (3, 1, 0, 4, 2):
            file.write(pieces, row, bytes_[row : row + 1])
        file.add("e", scales.astype(np.float32))
        file.add("f", values.astype(np.int32))
    writer = BlobWriter(str(tmp_path / "theirs.bin"))
    writer.write_fp16_data(halves.reshape(-1).view(np.uint16))
    writer.write_int4_data(values.reshape(-1))
    writer.write_fp16_data(scales.reshape(-1).view(np.uint16))
    writer.write_int8_data(values.reshape(-1))
    writer.write_fp16_data(scales.reshape(-1).view(np.uint16))
    writer.write_uint8_data(bytes_.reshape(-1))
    writer.write_float_data(scales.astype(np.float32).reshape(-1))
    writer.write_int32_data(values.astype(np.int32).reshape(-1))
    del writer
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


# The private function of coremltools.


def test_coremltools_still_asks_where_a_weight_lies() -> None:
    """Fails when a new coremltools writes weights in another way: see emit/coreml/hook.py."""
    assert coremltools.__version__ == "9.0"
    parameters = inspect.signature(helper._get_offset_by_writing_data).parameters
    assert list(parameters) == ["output_var", "blob_writer"]


@pytest.mark.parametrize("change", ["renamed", "not called"])
def test_another_coremltools_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    checkpoint = saved(random_model(tiny_dense()), tmp_path / "checkpoint")
    if change == "renamed":
        monkeypatch.delattr(helper, "_get_offset_by_writing_data")
    else:
        monkeypatch.setattr("coremltools.converters.mil.backend.mil.load.helper", Unchanged())
    with pytest.raises(ExportError, match=r"coremltools 9\.0 writes its weights in another way"):
        export(checkpoint, tmp_path / "out", target="coreml")
    assert list(tmp_path.iterdir()) == [checkpoint]


class Unchanged:
    """The module as it was before the hook."""

    def __init__(self) -> None:
        self._get_offset_by_writing_data = helper._get_offset_by_writing_data

    def __getattr__(self, name: str) -> Any:
        return getattr(helper, name)
