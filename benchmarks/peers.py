"""Our bundles beside llama.cpp and ONNX Runtime GenAI with the same weights, in one run.

    python benchmarks/peers.py --layers 8 --json peers.json --plot peers.png

A run writes a synthetic checkpoint (the first layers of LFM2.5-8B-A1B's shapes), makes every engine
its own export of it with 4 bits a weight (kept in build/benchmarks; GenAI's builder needs 12 GB of
memory for 8 layers), and loads each into a process of its own with the same number of threads and
room for the same tokens. Then each of ours is timed in pairs with each peer, one right after the
other and each first in turn, since a machine's speed drifts from second to second while the ratio
of a pair does not. What the machine allows is measured between the two of every pair. All processes
but the one being timed are stopped.

- prefill: a prompt of 512 tokens, from an empty state, or from behind `--depth` tokens, to its last
  logits on the host;
- decode: 32 tokens one by one after 32 others, with the logits of each on the host. All engines
  are fed the same random tokens, so nothing is sampled;
- of bandwidth: the weight bytes that a token needs at 4.5 bits a weight, per second, of what a bare
  loop reads; of kernels: of what our decode kernels alone read of the same mapped weights;
- of int8 peak: the multiply-adds that the prompt needs, attention included, per second, of those of
  8 bits in registers;
- load: from the folder to an engine with a conversation to fill, libraries' import included;
- memory: of the whole process, after all of this.

With `--int8-cache` keys and values are held in 8 bits: by our bundle and by llama.cpp, in its q8_0.
GenAI has no such cache for this model and is left out.

With `--isa` it compares what an older processor leaves: our operators held to an instruction set,
beside a llama.cpp compiled for that one; peak and kernels are those of the set as well.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from lfm_edge.bench import this_device
from lfm_edge.bench_plot import require_matplotlib
from lfm_edge.bench_result import Series, write_file
from lfm_edge.memory import linux_memory
from lfm_edge.targets import ONNX, ONNX_PORTABLE
from lfm_export.architecture import Architecture, describe
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import exports, report, work
from benchmarks.comparison import Comparison, Entry, Limits, Ratio, Versus
from benchmarks.limits import Machine
from benchmarks.worker import Answer, Task, Worker

VOCAB_SIZE = 128_000
PROMPT_TOKENS, DECODED_TOKENS = 512, 32
PAIRS = {"prefill": 7, "decode": 15}
PAIRS_AT_DEPTH = {"prefill": 3, "decode": 5}  # GenAI reads all that stands before for each
ROOM = 1024
LEAST_CORRELATION = 0.95  # quantized apart, the same weights reach 0.98; other models about 0
PACKAGES = {"llama_cpp": "peers", "onnxruntime_genai": "test"}
"""What the peers need, and the extra that installs it."""

Kind = Literal["prefill", "decode"]
console = Console(stderr=True)


class Contender(NamedTuple):
    """An engine, what it loads, and environment variables that it needs."""

    name: str
    engine: str
    folder: Path
    environment: Mapping[str, str] = {}
    runs_kernels: bool = False
    """Whether it runs the kernels that are measured alone."""


class Pair(NamedTuple):
    """Tokens per second of ours and of the peer, and what the machine allowed between them."""

    ours: float
    peer: float
    limits: Mapping[str, float]


class Timings(NamedTuple):
    """All pairs of one of ours with one peer."""

    ours: Contender
    peer: Contender
    prefill: list[Pair]
    decode: list[Pair]
    logits_correlation: float


def contenders(
    layers: int, isa: str | None, int8_cache: bool = False
) -> tuple[list[Contender], list[Contender]]:
    """Ours and the peers."""
    if int8_cache:
        folder = exports.lfm_edge_export(layers, ONNX, "--kv", "int8")
        peer = Contender(
            "llama.cpp Q4_0, q8_0 cache", "llama.cpp, q8_0 cache", exports.gguf_export(layers)
        )
        return [Contender("onnx, int8 cache", "lfm-edge", folder, runs_kernels=True)], [peer]
    onnx = Contender(ONNX, "lfm-edge", exports.lfm_edge_export(layers, ONNX), runs_kernels=True)
    gguf = exports.gguf_export(layers)
    if isa:
        held = onnx._replace(name=f"onnx, {isa}", environment={"LFM_OPS_ISA": isa})
        packages = {"PYTHONPATH": str(exports.llama_cpp(isa))}
        return [held], [Contender(f"llama.cpp Q4_0, {isa}", "llama.cpp", gguf, packages)]
    portable = Contender(ONNX_PORTABLE, "lfm-edge", exports.lfm_edge_export(layers, ONNX_PORTABLE))
    genai = Contender("ORT GenAI int4", "genai", exports.genai_export(layers))
    return [onnx, portable], [Contender("llama.cpp Q4_0", "llama.cpp", gguf), genai]


def time_pairs(
    ours: Worker, peer: Worker, machine: Machine, kind: Kind, count: int
) -> tuple[list[Pair], tuple[list[float], list[float]]]:
    """Times one of ours against a peer; the first pair is a warm-up.

    Returns:
        The pairs, and the last logits of ours and of the peer.
    """
    tokens = {"prefill": PROMPT_TOKENS, "decode": DECODED_TOKENS}[kind]
    task = Task(kind, np.random.default_rng(0).integers(VOCAB_SIZE, size=tokens).tolist())
    pairs = []
    for number in range(count + 1):
        first, second = (ours, peer) if number % 2 else (peer, ours)
        answers: dict[Worker, Answer] = {first: first.run(task)}
        if kind == "prefill":
            limits = {"multiply": machine.multiply()}
        else:
            limits = {"read": machine.read(), "kernels": machine.kernels()}
        answers[second] = second.run(task)
        speed = {worker: tokens / answer.seconds for worker, answer in answers.items()}
        pairs.append(Pair(speed[ours], speed[peer], limits))
    return pairs[1:], (answers[ours].logits, answers[peer].logits)


def compare(
    layers: int, threads: int, isa: str | None, depth: int, int8_cache: bool = False
) -> Comparison:
    """Exports what is missing, then loads and times everything.

    Raises:
        RuntimeError: an engine cannot load its export, or computes another model.
    """
    ours, peers = contenders(layers, isa, int8_cache)
    everything = [*ours, *peers]
    with ExitStack() as stack:
        machine = stack.enter_context(Machine(ours[0].folder, threads, ours[0].environment))
        workers = {}
        for entry in everything:
            console.print(f"loading {entry.name}")
            workers[entry.name] = stack.enter_context(
                Worker(
                    entry.engine,
                    entry.folder,
                    threads,
                    depth + ROOM,
                    entry.environment,
                    depth,
                )
            )
        timings = [_timings(one, peer, workers, machine, depth) for one in ours for peer in peers]
        architecture = describe(
            json.loads((exports.checkpoint(layers) / "config.json").read_text())
        )
        entries = [
            _entry(entry, workers[entry.name], timings, architecture, depth) for entry in everything
        ]
    return Comparison(
        model=f"{layers} layers of LFM2.5-8B-A1B's shapes",
        threads=threads,
        depth=depth,
        prompt_tokens=PROMPT_TOKENS,
        decoded_tokens=DECODED_TOKENS,
        decode_bytes=work.decode_bytes(architecture),
        prefill_multiply_adds=work.prefill_multiply_adds(architecture, PROMPT_TOKENS, depth),
        device=this_device(),
        limits=Limits(
            read=_limit(timings, "decode", "read"),
            kernels=_limit(timings, "decode", "kernels"),
            multiply=_limit(timings, "prefill", "multiply"),
        ),
        entries=entries,
    )


def _timings(
    ours: Contender,
    peer: Contender,
    workers: Mapping[str, Worker],
    machine: Machine,
    depth: int,
) -> Timings:
    console.print(f"timing {ours.name} against {peer.name}")
    counts = PAIRS_AT_DEPTH if depth else PAIRS
    both = workers[ours.name], workers[peer.name]
    prefill, logits = time_pairs(*both, machine, "prefill", counts["prefill"])
    correlation = float(np.corrcoef(*logits)[0, 1])
    if not correlation > LEAST_CORRELATION:
        raise RuntimeError(
            f"{ours.name} and {peer.name} compute different models: their logits correlate by "
            f"{correlation:.3f}, expected more than {LEAST_CORRELATION}"
        )
    decode, _ = time_pairs(*both, machine, "decode", counts["decode"])
    return Timings(ours, peer, prefill, decode, correlation)


def _entry(
    entry: Contender,
    worker: Worker,
    timings: Sequence[Timings],
    architecture: Architecture,
    depth: int,
) -> Entry:
    memory = linux_memory(worker.pid)
    decode, prefill = (_speeds(entry, timings, kind) for kind in ("decode", "prefill"))
    read = work.decode_bytes(architecture)
    multiplied = work.prefill_multiply_adds(architecture, PROMPT_TOKENS, depth) / PROMPT_TOKENS
    return Entry(
        name=entry.name,
        about=worker.ready.about,
        decode=_series([speed for speed, _ in decode]),
        prefill=_series([speed for speed, _ in prefill]),
        decode_of_bandwidth=Ratio.of((speed * read, limit["read"]) for speed, limit in decode),
        decode_of_kernels=Ratio.of((speed * read, limit["kernels"]) for speed, limit in decode)
        if entry.runs_kernels
        else None,
        prefill_of_peak=Ratio.of(
            (speed * multiplied, limit["multiply"]) for speed, limit in prefill
        ),
        versus=[
            Versus(
                peer=timing.peer.name,
                decode=Ratio.of((pair.ours, pair.peer) for pair in timing.decode),
                prefill=Ratio.of((pair.ours, pair.peer) for pair in timing.prefill),
                logits_correlation=timing.logits_correlation,
            )
            for timing in timings
            if timing.ours == entry
        ],
        load_seconds=worker.ready.load_seconds,
        peak_rss_bytes=memory.peak_rss_bytes,
        private_bytes=memory.private_bytes,
        size_bytes=sum(file.stat().st_size for file in entry.folder.iterdir()),
    )


def _speeds(
    entry: Contender, timings: Sequence[Timings], kind: Kind
) -> list[tuple[float, Mapping[str, float]]]:
    """All speeds of an entry, each with the limits that were measured beside it."""
    return [
        (pair.ours if timing.ours == entry else pair.peer, pair.limits)
        for timing in timings
        if entry in (timing.ours, timing.peer)
        for pair in (timing.prefill if kind == "prefill" else timing.decode)
    ]


def _limit(timings: Sequence[Timings], kind: Kind, name: str) -> Series:
    pairs = [pair for timing in timings for pair in getattr(timing, kind)]
    return _series([pair.limits[name] for pair in pairs])


def _series(samples: list[float]) -> Series:
    series = Series.of(samples)
    assert series
    return series


def require_installed(parser: argparse.ArgumentParser, packages: Iterable[str]) -> None:
    """Ends the program with code 2 where one of `PACKAGES` is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            extra = PACKAGES[package]
            parser.exit(2, f"{package}: not installed; pip install 'lfm-edge[{extra}]'\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=8, help="of 24; at least 3 (default: 8)")
    parser.add_argument("--threads", type=int, default=2, help="of each engine (default: 2)")
    parser.add_argument("--depth", type=int, default=0, help="tokens read before (default: 0)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--isa", choices=exports.LLAMA_CPP_BUILDS, help="hold both to these")
    kinds.add_argument("--int8-cache", action="store_true", help="keys and values in 8 bits")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures here")
    options = parser.parse_args()
    require_installed(parser, PACKAGES)
    if options.plot:
        require_matplotlib()
    for file in filter(None, (options.json, options.markdown, options.plot)):
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        comparison = compare(
            options.layers, options.threads, options.isa, options.depth, options.int8_cache
        )
    except RuntimeError as error:
        parser.exit(2, f"{error}\n")
    Console().print(report.table(comparison))
    if options.json:
        write_file(options.json, msgspec.json.format(msgspec.json.encode(comparison)))
    if options.markdown:
        write_file(options.markdown, report.markdown(comparison).encode())
    if options.plot:
        write_file(options.plot, report.picture(comparison, options.plot.suffix[1:]))


if __name__ == "__main__":
    main()
