"""Speed and memory of one bundle on this device.

The terms are llama-bench's:

- *prefill* (pp): a prompt is processed at once, in a fresh state; prompt tokens per second.
- *decode* (tg): tokens are fed one by one, in a fresh state; tokens per second. Which token comes
  next is fixed beforehand, so nothing is sampled and an end of sequence ends nothing.
- *depth*: tokens of context that are processed, untimed, before each timed part.

Beside them stand the time to the first token (the prompt and the choice of the likeliest token),
the load time (`lfm_edge.load` in this process, whose libraries are imported; whether the weights
come from the disk or from the page cache is the system's affair) and the memory of the process.
So call `measure` in a process that has done nothing else: `lfm-edge bench` is one.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import psutil
from lfm_ops.library import instruction_set, prefetch_bytes

from . import load
from .bench_result import BenchResult, BundleInfo, Device, Series, Settings
from .bundle import MANIFEST, Bundle
from .errors import InvalidRequestError
from .memory import own_memory
from .model import Model
from .progress import Progress, Quiet
from .targets import ONNX
from .threads import usable_cores

__all__ = ["measure", "this_device", "time_session"]

_SEED = 0

Tokens = Sequence[int]


class Session(Protocol):
    """What is needed of a session."""

    def prefill(self, ids: Tokens, /) -> npt.NDArray[np.float32]:
        """Processes a prompt."""

    def decode(self, token: int, /) -> npt.NDArray[np.float32]:
        """Processes one token."""

    def reset(self) -> None:
        """Forgets all tokens."""


class Timings(msgspec.Struct):
    """The repetitions' samples: tokens per second, tokens per second, seconds."""

    prefill: list[float] = []
    decode: list[float] = []
    first_token: list[float] = []


def measure(
    folder: Path,
    settings: Settings,
    *,
    open_model: Callable[..., Model] | None = None,
    progress: Progress | None = None,
) -> BenchResult:
    """Loads and measures the bundle in `folder`; see the module's words on the process.

    Args:
        folder: the bundle.
        settings: what to measure.
        open_model: takes the folder and `threads`; `lfm_edge.load` by default.
        progress: hears of loading and of each repetition.

    Raises:
        InvalidRequestError: a setting is out of range or exceeds the bundle's context.
        BundleError: the bundle cannot be opened or run.
    """
    settings.check()
    progress = progress or Quiet()
    progress.stage("load", 1, "bundle")
    start = time.perf_counter()
    model = (open_model or load)(folder, threads=settings.threads)
    load_seconds = time.perf_counter() - start
    progress.advance(1)
    limits = model.bundle.manifest.model
    if settings.capacity > limits.max_context:
        raise InvalidRequestError(
            f"-p {settings.prompt_tokens} -n {settings.generated_tokens} -d {settings.depth} need "
            f"{settings.capacity:,} tokens of context, but the bundle holds {limits.max_context:,}"
        )
    session = model.session(context=settings.capacity)
    timings = time_session(session, settings, limits.vocab_size, progress=progress)
    return _result(timings, load_seconds, settings, model.bundle)


def time_session(
    session: Session,
    settings: Settings,
    vocab_size: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress | None = None,
) -> Timings:
    """Times one warm-up, which is dropped, and then the repetitions.

    Every repetition feeds the same random tokens (of a fixed seed), so the spread is the device's.
    """
    ids = np.random.default_rng(_SEED).integers(vocab_size, size=settings.capacity).tolist()
    context, ids = ids[: settings.depth], ids[settings.depth :]
    prompt, generated = ids[: settings.prompt_tokens], ids[settings.prompt_tokens :]
    timings, progress = Timings(), progress or Quiet()
    progress.stage("measure", settings.repetitions + 1, "runs, one to warm up")
    for repetition in range(settings.repetitions + 1):
        if prompt:
            _time_prefill(session, context, prompt, clock, timings)
        if generated:
            _time_decode(session, context, generated, clock, timings)
        if repetition == 0:
            timings = Timings()
        progress.advance(1)
    return timings


def _refill(session: Session, context: Tokens) -> None:
    session.reset()
    if context:
        session.prefill(context)


def _time_prefill(
    session: Session, context: Tokens, prompt: Tokens, clock: Callable[[], float], out: Timings
) -> None:
    _refill(session, context)
    start = clock()
    logits = session.prefill(prompt)
    done = clock()
    np.argmax(logits)
    out.first_token.append(clock() - start)
    out.prefill.append(len(prompt) / (done - start))


def _time_decode(
    session: Session, context: Tokens, generated: Tokens, clock: Callable[[], float], out: Timings
) -> None:
    _refill(session, context)
    start = clock()
    for token in generated:
        session.decode(token)
    out.decode.append(len(generated) / (clock() - start))


def _result(
    timings: Timings, load_seconds: float, settings: Settings, bundle: Bundle
) -> BenchResult:
    prefill, decode = Series.of(timings.prefill), Series.of(timings.decode)
    first_token, memory = Series.of(timings.first_token), own_memory()
    return BenchResult(
        prefill_tokens_per_second=_median(prefill),
        decode_tokens_per_second=_median(decode),
        time_to_first_token_seconds=_median(first_token),
        load_seconds=load_seconds,
        peak_rss_bytes=memory.peak_rss_bytes,
        private_bytes=memory.private_bytes,
        prefill=prefill,
        decode=decode,
        time_to_first_token=first_token,
        settings=settings,
        bundle=_bundle_info(bundle),
        device=_device(bundle),
    )


def _median(series: Series | None) -> float | None:
    return series.median if series else None


def _bundle_info(bundle: Bundle) -> BundleInfo:
    manifest = bundle.manifest
    return BundleInfo(
        model=manifest.model.name,
        family=manifest.model.family,
        target=manifest.graph.target,
        quantization=manifest.quantization.method,
        head=manifest.quantization.head,
        size_bytes=sum(entry.size for entry in manifest.files.values())
        + (bundle.folder / MANIFEST).stat().st_size,
    )


def _device(bundle: Bundle) -> Device:
    """Where this process runs, and what the bundle's operators found here."""
    device = this_device()
    if bundle.manifest.graph.target != ONNX:
        return device
    return msgspec.structs.replace(device, isa=instruction_set(), prefetch_bytes=prefetch_bytes())


def this_device() -> Device:
    """Where this process runs."""
    return Device(
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        onnxruntime=version("onnxruntime"),
    )


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
