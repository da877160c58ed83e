"""Our bundles beside ONNX Runtime GenAI's own export of the same weights, in one run.

    python benchmarks/peers.py --layers 8 --json peers.json --plot peers.png

A run writes a synthetic checkpoint (the first layers of LFM2.5-8B-A1B's shapes), has every engine
export it (kept in build/benchmarks; GenAI's builder needs 12 GB of memory for 8 layers), and loads
each into a process of its own with the same number of threads and room for the same tokens. Then
each of ours is timed in pairs with the baseline, one right after the other and each first in turn,
since a machine's speed drifts from second to second while the ratio of a pair does not. All
processes but the one being timed are stopped.

- prefill: a prompt of 512 tokens, from an empty state to its last logits on the host;
- decode: 32 tokens one by one after 32 others, with the logits of each on the host. All engines
  are fed the same random tokens, so nothing is sampled;
- load: from the folder to an engine with a conversation to fill, libraries' import included;
- memory: of the whole process, after all of this.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from lfm_edge.bench import this_device
from lfm_edge.bench_plot import require_matplotlib
from lfm_edge.bench_result import Series, write_file
from lfm_edge.memory import linux_memory
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import exports, report
from benchmarks.comparison import Comparison, Peer, Ratio
from benchmarks.worker import Answer, Task, Worker

VOCAB_SIZE = 128_000
PROMPT_TOKENS, PREFILL_PAIRS = 512, 7
DECODED_TOKENS, DECODE_PAIRS = 32, 15
CAPACITY = 1024


class Contender(NamedTuple):
    """An engine and what it loads."""

    name: str
    engine: str
    folder: Path


class Timings(NamedTuple):
    """Pairs of speeds of one contender and the baseline, in tokens per second."""

    prefill: list[tuple[float, float]]
    decode: list[tuple[float, float]]
    logits: tuple[list[float], list[float]]


def contenders(layers: int) -> list[Contender]:
    """Everything that is compared; the baseline comes last."""
    return [
        *(
            Contender(
                f"{target}, {head} head", "lfm-edge", exports.lfm_edge_export(layers, target, head)
            )
            for target in ("onnx", "onnx-portable")
            for head in ("q4", "q8")
        ),
        Contender("ORT GenAI, int4", "genai", exports.genai_export(layers)),
    ]


def time_pairs(ours: Worker, baseline: Worker) -> Timings:
    """Times one contender against the baseline; the first pair of each kind is a warm-up."""
    prefill, logits = _pairs(ours, baseline, "prefill", PROMPT_TOKENS, PREFILL_PAIRS)
    decode, _ = _pairs(ours, baseline, "decode", DECODED_TOKENS, DECODE_PAIRS)
    return Timings(prefill, decode, logits)


def _pairs(
    ours: Worker, baseline: Worker, kind: Literal["prefill", "decode"], tokens: int, count: int
) -> tuple[list[tuple[float, float]], tuple[list[float], list[float]]]:
    ids = np.random.default_rng(0).integers(VOCAB_SIZE, size=tokens).tolist()
    task, pairs = Task(kind, ids), []
    for number in range(count + 1):
        order = (ours, baseline) if number % 2 else (baseline, ours)
        answers: Mapping[Worker, Answer] = {worker: worker.run(task) for worker in order}
        pairs.append((tokens / answers[ours].seconds, tokens / answers[baseline].seconds))
    return pairs[1:], (answers[ours].logits, answers[baseline].logits)


def compare(layers: int, threads: int) -> Comparison:
    """Exports what is missing, then loads and times everything."""
    entries = contenders(layers)
    console = Console(stderr=True)
    with ExitStack() as stack:
        workers = []
        for entry in entries:
            console.print(f"loading {entry.name}")
            worker = Worker(entry.engine, entry.folder, threads, CAPACITY)
            workers.append(stack.enter_context(worker))
        timings = []
        for entry, worker in zip(entries[:-1], workers[:-1], strict=True):
            console.print(f"timing {entry.name} against {entries[-1].name}")
            timings.append(time_pairs(worker, workers[-1]))
        peers = [
            _peer(entry, worker, timing)
            for entry, worker, timing in zip(entries[:-1], workers[:-1], timings, strict=True)
        ]
        peers.append(_baseline(entries[-1], workers[-1], timings))
    return Comparison(
        model=f"{layers} layers of LFM2.5-8B-A1B's shapes",
        threads=threads,
        prompt_tokens=PROMPT_TOKENS,
        decoded_tokens=DECODED_TOKENS,
        device=this_device(),
        peers=peers,
    )


def _peer(entry: Contender, worker: Worker, timings: Timings) -> Peer:
    ours, baseline = timings.logits
    return _described(
        entry,
        worker,
        [pair[0] for pair in timings.decode],
        [pair[0] for pair in timings.prefill],
        ratios=(Ratio.of(timings.decode), Ratio.of(timings.prefill)),
        correlation=float(np.corrcoef(ours, baseline)[0, 1]),
    )


def _baseline(entry: Contender, worker: Worker, timings: Sequence[Timings]) -> Peer:
    return _described(
        entry,
        worker,
        [pair[1] for timing in timings for pair in timing.decode],
        [pair[1] for timing in timings for pair in timing.prefill],
        ratios=(None, None),
        correlation=1.0,
    )


def _described(
    entry: Contender,
    worker: Worker,
    decode: list[float],
    prefill: list[float],
    ratios: tuple[Ratio | None, Ratio | None],
    correlation: float,
) -> Peer:
    memory = linux_memory(worker.pid)
    decode_series, prefill_series = Series.of(decode), Series.of(prefill)
    assert decode_series
    assert prefill_series
    return Peer(
        name=entry.name,
        decode_tokens_per_second=decode_series.median,
        prefill_tokens_per_second=prefill_series.median,
        decode_ratio=ratios[0],
        prefill_ratio=ratios[1],
        decode=decode_series,
        prefill=prefill_series,
        logits_correlation=correlation,
        load_seconds=worker.load_seconds,
        peak_rss_bytes=memory.peak_rss_bytes,
        private_bytes=memory.private_bytes,
        size_bytes=sum(file.stat().st_size for file in entry.folder.iterdir()),
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=8, help="of 24; at least 3 (default: 8)")
    parser.add_argument("--threads", type=int, default=2, help="of each engine (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures here")
    options = parser.parse_args()
    if options.plot:
        require_matplotlib()
    for file in filter(None, (options.json, options.markdown, options.plot)):
        file.parent.mkdir(parents=True, exist_ok=True)
    comparison = compare(options.layers, options.threads)
    Console().print(report.table(comparison))
    if options.json:
        write_file(options.json, msgspec.json.format(msgspec.json.encode(comparison)))
    if options.markdown:
        write_file(options.markdown, report.markdown(comparison).encode())
    if options.plot:
        write_file(options.plot, report.picture(comparison, options.plot.suffix[1:]))


if __name__ == "__main__":
    main()
