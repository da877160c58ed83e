"""The device core beside Python on one bundle, in alternating processes: speed, start, memory.

`lfm_bench` beside `lfm-edge bench` (a graph that is fed fixed tokens); how long an answer's tokens
take outside the graph, and a fresh process to its first one (`time_answers`); and, with `--kotlin`,
whole greedy answers of the Kotlin library beside `Model.generate`, on the same library of ONNX
Runtime. The bundle needs a tokenizer.

    make core                  # and `make test-android` for --kotlin
    python benchmarks/device_core.py OUT [--pairs 7] [--kotlin]
"""

from __future__ import annotations

import argparse
import json
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import onnxruntime
from lfm_edge.bench_result import BenchResult, read_result
from lfm_edge.bundle import Bundle

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "build" / "core" / "lfm_bench"
ANSWERS = ROOT / "build" / "core" / "time_answers"
KOTLIN = ROOT / "build" / "maven" / "lfm-android"
RUNTIME = next(
    (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.*"),
    Path("libonnxruntime.so"),  # where the system looks
)
PROMPT, TOKENS, RUNS = 16, 48, 4
GREEDY: Mapping[str, Any] = {"temperature": 0, "repetition_penalty": 1}
DEFAULTS: Mapping[str, Any] = {"seed": 0}
"""As the bundle says."""


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


def timed_answers(
    bundle: Path, threads: int, runs: int, tokens: int, options: Mapping[str, Any]
) -> list[str | Path]:
    """The command of `time_answers` for answers of so many tokens to a prompt of random ones."""
    model = Bundle(bundle).manifest.model
    request = {
        "ids": np.random.default_rng(0).integers(model.vocab_size, size=PROMPT).tolist(),
        "max_tokens": tokens,
        "banned": model.eos_token_ids,
        **options,
    }
    return [ANSWERS, RUNTIME, bundle, str(threads), str(runs), json.dumps(request)]


def outside_the_graph(
    bundle: Path, threads: int, options: Mapping[str, Any], tokens: int = TOKENS
) -> list[float]:
    """Microseconds a token of each answer, of which the first, a warm-up, is left out."""
    lines = run(*timed_answers(bundle, threads, RUNS, tokens, options)).splitlines()
    answers = [json.loads(line) for line in lines[1:]]
    return [1e6 * (told["seconds"] - told["graph"]) / told["runs"] for told in answers]


def seconds_to_first_token(bundle: Path, threads: int) -> float:
    """From the start of a process to the first token drawn behind a prompt of 16."""
    command = timed_answers(bundle, threads, 1, 1, GREEDY)
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        passed = time.perf_counter() - begun
    assert json.loads(told)["tokens"] == 1
    return passed


def anonymous_bytes_at_first_token(bundle: Path, threads: int) -> int:
    """The most that such a process had until then, looked at every millisecond."""
    most, command = 0, timed_answers(bundle, threads, 1, 1, GREEDY)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.001)[0]:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            anonymous = [line for line in status.splitlines() if line.startswith("RssAnon:")]
            most = max([most, *(1024 * int(line.split()[1]) for line in anonymous)])
        assert json.loads(process.stdout.readline())["tokens"] == 1
    return most


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
    for name, options in (("greedy", GREEDY), ("the bundle's sampling", DEFAULTS)):
        outside = outside_the_graph(bundle, threads, options)
        show(f"outside the graph, {name}", outside, "us/token")
    starts = [seconds_to_first_token(bundle, threads) for _ in range(pairs)]
    show(f"process start to first token, prompt of {PROMPT}", starts, "s")
    memory = [anonymous_bytes_at_first_token(bundle, threads) / 1e6 for _ in range(3)]
    show("anonymous memory until then", memory, "MB")
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
