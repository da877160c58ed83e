"""Core ML programs made by hand, saved as packages."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path

logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns that this is no Mac
import coremltools  # noqa: E402
from coremltools.converters.mil.mil import Function, Program  # noqa: E402


def save(folder: Path, functions: Mapping[str, Function]) -> Path:
    """A package of these functions, exactly as they are."""
    program = Program()
    for name, function in functions.items():
        program.add_function(name, function)
    program.default_function_name = next(iter(functions))
    program.export_as_multifunction = True
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        model = coremltools.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS18,
            compute_precision=coremltools.precision.FLOAT32,
            pass_pipeline=coremltools.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(folder / "model.mlpackage"))
    return folder / "model.mlpackage"
