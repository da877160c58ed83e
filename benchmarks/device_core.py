"""The device core beside Python on one bundle, in alternating processes: speed, start, memory.

`lfm_bench` beside `lfm-edge bench` (a graph that is fed fixed tokens), and, with `--kotlin`, whole
greedy answers of the Kotlin library beside `Model.generate`, on the same library of ONNX Runtime.

    make core                  # and `make test-android` for --kotlin
    python benchmarks/device_core.py OUT [--pairs 7] [--kotlin]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lfm_edge
import numpy as np
import onnxruntime
from lfm_edge.bench_result import BenchResult, read_result
from lfm_edge.bundle import Bundle

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "build" / "core" / "lfm_bench"
KOTLIN = ROOT / "build" / "maven" / "lfm-android"
RUNTIME = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
PROMPT, TOKENS, RUNS = 16, 48, 4


def run(*command: object) -> str:
    """Runs a program to its end; what it wrote."""
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def native(bundle: Path, threads: int, folder: Path) -> BenchResult:
    """What `lfm_bench` measures in a process of its own."""
    file, library = folder / "native.json", ("--onnxruntime", RUNTIME)
    run(
        BENCH,
        bundle,
        "-p",
        128,
        "-n",
        TOKENS,
        "-r",
        3,
        "--json",
        file,
        *threads_of(threads),
        *library,
    )
    return read_result(file)


def python(bundle: Path, threads: int, folder: Path) -> BenchResult:
    """What `lfm-edge bench` measures in one."""
    file, command = folder / "python.json", (sys.executable, "-m", "lfm_edge", "bench")
    run(*command, bundle, "-p", 128, "-n", TOKENS, "-r", 3, "--json", file, *threads_of(threads))
    return read_result(file)


def threads_of(threads: int) -> tuple[str, int]:
    """The option that both take."""
    return "--threads", threads


def seconds_to_first_token(bundle: Path, threads: int) -> float:
    """Of a whole process that reads 16 tokens twice, once to warm up."""
    begun, library = time.perf_counter(), ("--onnxruntime", RUNTIME)
    run(BENCH, bundle, "-p", PROMPT, "-n", 0, "-r", 1, *threads_of(threads), *library)
    return time.perf_counter() - begun


def kotlin_answers(bundle: Path, threads: int, ids: list[int], classes: str) -> float:
    """Tokens per second of greedy answers, the first of which warms up."""
    libraries = f"-Djava.library.path={ROOT / 'build' / 'lfm-android'}"
    arguments = (bundle, RUNTIME, threads, TOKENS, RUNS, json.dumps(ids))
    written = run("java", libraries, "-cp", classes, "ai.lfm.edge.SpeedKt", *arguments)
    return statistics.median(map(float, written.split()[1:]))


def python_answers(bundle: Path, threads: int, ids: list[int]) -> float:
    """The same of `Model.generate`, in a process of its own."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks import device_core as d;"
        f"print(d.time_answers({str(bundle)!r}, {threads}, {ids}))"
    )
    return float(run(sys.executable, "-c", script))


def time_answers(bundle: str, threads: int, ids: list[int]) -> float:
    """Tokens per second behind the first one."""
    model, speeds = lfm_edge.load(bundle, threads), []
    for _ in range(RUNS):
        session = model.session(len(ids) + TOKENS)
        answer = model.generate(
            ids,
            session=session,
            max_tokens=TOKENS,
            temperature=0,
            repetition_penalty=1,
            banned=model.eos_ids,
            speculation=False,
        )
        begun = time.perf_counter()
        for _ in answer:
            pass
        passed = time.perf_counter() - begun - answer.time_to_first_token
        speeds.append((len(answer.ids) - 1) / passed)
    return statistics.median(speeds[1:])


def classpath() -> str:
    """The Kotlin library's classes, their tests' and what they stand on."""
    with tempfile.NamedTemporaryFile("r") as file:
        maven = ["mvn", "--batch-mode", "--quiet", "-f", str(ROOT / "android_demo" / "pom.xml")]
        goal = [
            "-pl",
            "lfm-android",
            "dependency:build-classpath",
            f"-Dmdep.outputFile={file.name}",
        ]
        subprocess.run([*maven, *goal], check=True)
        return f"{KOTLIN / 'classes'}:{KOTLIN / 'test-classes'}:{file.read().strip()}"


def show(name: str, values: list[float], unit: str) -> None:
    """A line of a quantity's median and its range."""
    low, high = min(values), max(values)
    print(f"{name:<44} {statistics.median(values):8.3f} {unit:<9} ({low:.3f} to {high:.3f})")


def compare(pairs: int, ours: Callable[[], float], theirs: Callable[[], float], name: str) -> None:
    """Quotients of what was measured back to back."""
    show(name, [ours() / theirs() for _ in range(pairs)], "x")


def main() -> None:
    """Prints medians of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kotlin", action="store_true")
    arguments = parser.parse_args()
    bundle, threads, pairs = arguments.bundle, arguments.threads, arguments.pairs
    with tempfile.TemporaryDirectory() as folder:
        results = [
            (native(bundle, threads, Path(folder)), python(bundle, threads, Path(folder)))
            for _ in range(pairs)
        ]
    for part in ("decode", "prefill"):
        ratios = [getattr(a, part).median / getattr(b, part).median for a, b in results]
        show(f"{part}, lfm_bench / lfm-edge bench", ratios, "x")
    show("private memory of lfm_bench", [a.private_bytes / 1e6 for a, _ in results], "MB")
    show("private memory of lfm-edge bench", [b.private_bytes / 1e6 for _, b in results], "MB")
    starts = [seconds_to_first_token(bundle, threads) for _ in range(pairs)]
    show("process that reads 16 tokens twice", starts, "s")
    if arguments.kotlin:
        vocabulary = Bundle(bundle).manifest.model.vocab_size
        ids = np.random.default_rng(0).integers(vocabulary, size=PROMPT).tolist()
        classes = classpath()
        compare(
            pairs,
            lambda: kotlin_answers(bundle, threads, ids, classes),
            lambda: python_answers(bundle, threads, ids),
            "greedy answers, Kotlin / Python",
        )


if __name__ == "__main__":
    main()
