"""Who runs a bundle on this machine, by the target that it was exported for."""

from __future__ import annotations

from .bundle import Bundle
from .errors import InvalidRequestError, UnsupportedBundleError
from .runtime import Runtime
from .threads import default_threads

__all__ = [
    "COREAI",
    "COREML",
    "GGUF",
    "MLX",
    "ONNX",
    "ONNX_PORTABLE",
    "RUN_ELSEWHERE",
    "open_runtime",
]

ONNX = "onnx"
ONNX_PORTABLE = "onnx-portable"
COREML = "coreml"
COREAI = "coreai"
GGUF = "gguf"
MLX = "mlx"

_MOST_THREADS = 1024
RUN_ELSEWHERE = {GGUF: "llama-server -m {}/model.gguf", MLX: "mlx_lm.chat --model {}"}
"""What runs the bundles of other targets, with their folder in place of the braces."""


def open_runtime(bundle: Bundle, threads: int | None = None) -> Runtime:
    """What runs this bundle on this machine.

    Args:
        bundle: an opened bundle.
        threads: threads of one run, where the runtime lets us choose; by default one per physical
            core.

    Raises:
        UnsupportedBundleError: the bundle's target is none that this version runs on this machine.
        BundleError: the graph does not load, or its signature is not the manifest's.
        InvalidRequestError: `threads` is below 1, or more than any machine has cores.
        MissingDependencyError: a package that the target needs is not installed.
    """
    threads = default_threads() if threads is None else threads
    if not 1 <= threads <= _MOST_THREADS:
        raise InvalidRequestError(f"threads: got {threads}, expected 1 to {_MOST_THREADS}")
    target = bundle.manifest.graph.target
    # What the other targets need is not loaded: it may be missing, and takes its time.
    if target in {ONNX, ONNX_PORTABLE}:
        from .onnx_runtime import OnnxRuntime  # noqa: PLC0415

        return OnnxRuntime(bundle, threads)
    if target == COREML:
        from .coreml.apple import open_on_mac  # noqa: PLC0415

        return open_on_mac(bundle)
    if target == COREAI:
        from .coreai.runtime import CoreAIRuntime  # noqa: PLC0415

        return CoreAIRuntime(bundle)
    if target in RUN_ELSEWHERE:
        command = RUN_ELSEWHERE[target].format(bundle.folder)
        raise UnsupportedBundleError(
            f"{bundle.folder}: target {target}, which is run by {command}; "
            f"lfm-edge runs what --target {ONNX} makes"
        )
    raise UnsupportedBundleError(
        f"{bundle.folder}: target {target}, but this version of lfm-edge runs "
        f"{', '.join((ONNX, ONNX_PORTABLE, COREML, COREAI))}"
    )
