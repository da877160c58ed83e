"""Keeps a library from printing into an export's own lines."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lfm_edge.errors import LfmError

__all__ = ["quiet"]

_REDIRECTS = {"stdout": contextlib.redirect_stdout, "stderr": contextlib.redirect_stderr}


@contextmanager
def quiet(stream: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Holds back what is printed to `stream`; where the library fails, that may say why."""
    said = io.StringIO()
    try:
        with _REDIRECTS[stream](said):
            yield
    except LfmError:
        raise
    except Exception:
        sys.stderr.write(said.getvalue())
        raise
