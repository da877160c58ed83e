"""What going back, reopening and the loop around the graph cost, on one bundle.

    lfm-edge export synthetic:lfm2.5-8b-a1b:8 OUT --quant q4 --tokenizer build/tokenizer
    python benchmarks/sessions.py OUT

The things compared take turns; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
from lfm_edge.chat.tools import Tool
from lfm_edge.sampling import Sampler, SamplingOptions
from lfm_edge.session import Session

HELD, DISTANCES, ROUNDS = 4000, (1, 100, 3000), 7
TOOLS, REQUEST, DECODED = 60, 32, 64
SAMPLING: Any = {"temperature": 0.2, "top_k": 80, "repetition_penalty": 1.05, "seed": 1}
"""What LFM2.5-8B-A1B's generation_config.json asks for."""


def seconds(work: Callable[..., object], *arguments: Any) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def going_back(model: lfm_edge.Model, ids: list[int]) -> None:
    """Rewinds of several lengths, beside a plain run of the tokens that they replay."""
    whole = model.session(HELD + 200)
    whole.prefill(ids[:HELD])
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for distance in DISTANCES:
            session = whole.fork()
            session.rewind(HELD - distance)
            replayed = session.to_replay
            name = f"rewind by {distance} and read 1 token ({replayed} replayed)"
            taken.setdefault(name, []).append(seconds(session.prefill, ids[-1:]))
            plain = whole.fork()
            plain.rewind(HELD - distance)
            plain.prefill(ids[-1:])  # the replay is paid
            name = f"read {replayed + 1} tokens at {HELD - distance + 1}"
            taken.setdefault(name, []).append(seconds(plain.prefill, ids[: replayed + 1]))
    for name, values in taken.items():
        print(f"{name}: {statistics.median(values) * 1e3:.1f} ms")


def reopening(model: lfm_edge.Model, ids: list[int]) -> None:
    """A saved beginning, beside reading it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "saved"
        ratios, opened = [], []
        for _ in range(3):
            session = model.session(HELD + 200)
            read = seconds(session.prefill, ids[:HELD])
            session.save(file)
            opened.append(min(seconds(Session.open, model, file) for _ in range(3)))
            ratios.append(opened[-1] / read)
        state = sum(
            tensor.nbytes * (HELD / (HELD + 200) if "capacity" in described.shape else 1)
            for described in model.bundle.manifest.graph.state
            for tensor in [session.state.tensors[described.name]]
        )
        print(
            f"reopen {HELD} tokens: {statistics.median(opened) * 1e3:.1f} ms, "
            f"{statistics.median(ratios):.2%} of reading them; "
            f"file {file.stat().st_size / state - 1:+.2%} of its keys, values and conv state"
        )


def behind_tools(model: lfm_edge.Model) -> None:
    """The first token of a short request behind many tools, whose prompt was saved."""
    number = {"type": "number", "description": "How many of them."}
    text = {"type": "string", "description": "What it is about, in a few words."}
    parameters = {"type": "object", "properties": {"about": text, "count": number}}
    tools = [
        Tool(f"device.action_{i}", f"Does the thing of number {i} on this device.", parameters)
        for i in range(TOOLS)
    ]
    talk = model.conversation(system="You help with this device.", tools=tools, context=12_000)
    list(talk.send("Hi", max_tokens=1))
    held, taken, processed = talk.session.position, [], 0
    with tempfile.TemporaryDirectory() as folder:
        talk.save(Path(folder) / "saved")
        for turn in range(ROUNDS):
            again = type(talk).open(model, Path(folder) / "saved")
            again.messages = again.messages[:1]
            words = " ".join(f"word{turn}" for _ in range(REQUEST))
            ids = model.tokenizer.encode(words)[:REQUEST]
            said = model.tokenizer.decode(ids)
            list(again.send(said, max_tokens=1, temperature=0))
            assert again.last is not None
            first = again.last.timings.time_to_first_token
            assert first is not None
            taken.append(first)
            processed = again.last.usage.processed
    print(
        f"first token of a request of {REQUEST} tokens behind {TOOLS} tools ({held} tokens, saved; "
        f"{processed} processed): {statistics.median(taken) * 1e3:.0f} ms"
    )


def between_runs(model: lfm_edge.Model, ids: list[int]) -> None:
    """Time outside of the graph for each token, and of the sampler alone."""
    session = model.session(1024)
    spent = [0.0]
    session.prefill(ids[:1])  # binds the state whose run is timed
    run = session.state.run

    def timed(*arguments: object, **named: object) -> object:
        start = time.perf_counter()
        try:
            return run(*arguments, **named)  # type: ignore[arg-type]
        finally:
            spent[0] += time.perf_counter() - start

    session.state.run = timed  # type: ignore[assignment, method-assign]
    pieces = model.generate(
        model.tokenizer.decode(ids[:64]),
        max_tokens=DECODED,
        session=session,
        speculation=False,  # one run a token
        **SAMPLING,
    )
    next(pieces)
    spent[0] = 0.0
    count = len(pieces.ids)
    whole = seconds(list, pieces)
    count = len(pieces.ids) - count
    print(f"between two runs: {(whole - spent[0]) / count * 1e6:.0f} us a token")
    del session.state.run
    sampler = Sampler(SamplingOptions(**SAMPLING), model.runtime.vocab_size)
    kept = [session.decode(int(token)) for token in ids[100:116]]
    sampler.observe(ids[:64])
    taken = [seconds(sampler.sample, logits) for logits in kept * 8]
    print(f"sampler on kept logits: {statistics.median(taken) * 1e6:.0f} us")


def main() -> None:
    """Prints a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    model = lfm_edge.load(arguments.bundle, threads=arguments.threads)
    ids = np.random.default_rng(0).integers(300, 4000, HELD + 200).tolist()
    going_back(model, ids)
    reopening(model, ids)
    behind_tools(model)
    between_runs(model, ids)


if __name__ == "__main__":
    main()
