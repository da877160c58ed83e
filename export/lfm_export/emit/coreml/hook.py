"""The one private function of coremltools that we replace: the one that writes a weight.

coremltools wants every weight in memory and writes them when the whole program is built. Ours are
in `weight.bin` by then, so it is told where they lie. Known to hold for coremltools 9.0, which the
extra `coreml` pins; `tests/export/test_coreml.py` says when a newer one breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import coremltools
from coremltools.converters.mil.backend.mil import helper

from ...errors import ExportError
from .blobs import BlobFile

__all__ = ["weights_from"]

_NAME = "_get_offset_by_writing_data"


@contextmanager
def weights_from(file: BlobFile) -> Iterator[None]:
    """Within the block, a constant lies in `file` under its `weight_id`.

    A constant that is not there yet is written with the value that the program gives it.

    Raises:
        ExportError: this coremltools has no such function, or does not call it.
    """
    called = False

    def offset(output_var: Any, blob_writer: Any) -> int:
        del blob_writer  # coremltools' own file stays empty
        nonlocal called
        called = True
        name = output_var.op.weight_id or f"{output_var.op.enclosing_block.name}/{output_var.name}"
        blob = file.blobs.get(name) or file.add(name, output_var.val)
        assert tuple(output_var.val.shape) == blob.shape, (name, blob)
        return blob.offset

    if original := getattr(helper, _NAME, None):
        setattr(helper, _NAME, offset)
        try:
            yield
        finally:
            setattr(helper, _NAME, original)
    if not called:
        raise ExportError(
            f"coremltools {coremltools.__version__} writes its weights in another way; "
            "run: pip install coremltools==9.0"
        )
