"""One bundle on one kind of compute units: measured and proved."""

from __future__ import annotations

from pathlib import Path

import msgspec
from lfm_edge.bench import measure
from lfm_edge.bench_result import BenchResult, GoldenErrors, Settings
from lfm_edge.bundle import Bundle
from lfm_edge.coreml.apple import AppleEngine
from lfm_edge.coreml.package import Package
from lfm_edge.coreml.runtime import CoreMLRuntime
from lfm_edge.errors import InvalidRequestError
from lfm_edge.model import Model
from lfm_edge.progress import Quiet
from lfm_edge.targets import COREML
from lfm_edge.verify import replay_both_ways

__all__ = ["UNITS", "check", "core_ml_bundle"]

UNITS = ["CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
"""coremltools' names, in the order in which they are checked."""


def core_ml_bundle(folder: Path) -> Bundle:
    """Opens a bundle of target `coreml`.

    Raises:
        BundleError: it is missing, malformed or damaged.
        InvalidRequestError: it has another target.
    """
    bundle = Bundle(folder)
    target = bundle.manifest.graph.target
    if target != COREML:
        raise InvalidRequestError(f"{folder}: target {target}, expected {COREML}")
    return bundle


def check(folder: Path, settings: Settings) -> BenchResult:
    """Loads a bundle by Core ML on `settings.compute_units`, measures it and proves it.

    Raises:
        IntegrityError: the golden vectors are missed.
        BundleError: Core ML does not take or does not run the bundle.
        InvalidRequestError: a setting is out of range or exceeds the bundle's context.
    """
    units = settings.compute_units
    assert units is not None
    bundle = core_ml_bundle(folder)

    def open_model(folder: Path, threads: int) -> Model:
        del folder, threads  # it is open, and Core ML chooses its threads
        package = Package(bundle.graph_path)
        runtime = CoreMLRuntime(bundle, package, AppleEngine(package, units))
        models.append(Model(bundle, runtime=runtime))
        return models[0]

    models: list[Model] = []  # loaded once: the Neural Engine's compiler may take minutes
    result = measure(folder, settings, open_model=open_model)
    return msgspec.structs.replace(result, golden=_prove(models[0]))


def _prove(model: Model) -> GoldenErrors:
    manifest = model.bundle.manifest
    golden = manifest.golden
    length = min(len(golden.ids), manifest.model.max_context)
    decode, prefill = replay_both_ways(model.runtime, golden, length, Quiet())
    return GoldenErrors(
        tolerance=golden.tolerance,
        decode=decode.error,
        decode_outliers=decode.outliers,
        prefill=prefill.error,
        prefill_outliers=prefill.outliers,
    )
