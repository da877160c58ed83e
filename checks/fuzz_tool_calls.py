"""Feeds the reader of answers with whatever might break it, for as long as it is told.

    python checks/fuzz_tool_calls.py --minutes 10

Inputs are pieces of calls, strung together, and the vectors' texts, changed at random; each is read
at once and in pieces. It ends with 1 at the first input that raises, that gives other events when
cut, that gives arguments that JSON cannot hold, or that takes longer than `SECONDS`.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from lfm_edge.chat import Event, EventSplitter, Markers, ToolCall, parse_tool_calls

from tests.sdk import vectors

SECONDS = 20
PIECES = [
    *["<think>", "</think>", "<|tool_call_start|>", "<|tool_call_end|>", "```json\n", "```"],
    *[
        "<tool_call>",
        "</tool_call>",
        "<function=f>",
        "</function>",
        "<parameter=a>",
        "</parameter>",
    ],
    *["[", "]", "(", ")", "{", "}", ",", ":", "=", "'", '"', "\\", "\n", " ", "\0", "*", ";"],
    *[
        "f(",
        "g.h(",
        "a=",
        "b=",
        "a='",
        "', b='",
        "')",
        "')]",
        "'), f(",
        '", b="',
        '")]',
        "a=[",
        "**{",
    ],
    *["[f(", ")]", "[]", "{}", "1", "-07", "1e9", "0x1", ".", "True", "null", "é", "\ud83d", "😀"],
    *[
        '{"name": "f", "arguments": {',
        '"}}',
        '"a": ',
        '"function": ',
        "\\u12",
        "\\x",
        "\\'",
        "text",
    ],
]
TOOL = {
    "name": "f",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}},
}


def strung(chance: random.Random) -> str:
    pieces = chance.choices(PIECES, k=chance.choice([3, 10, 40, 200]))
    if chance.random() < 0.3:  # long runs are where time could grow
        pieces = pieces[:6] * chance.choice([50, 500])
    return "".join(pieces)


def changed(chance: random.Random, text: str) -> str:
    for _ in range(chance.choice([1, 2, 8])):
        at, length = chance.randrange(len(text) + 1), chance.choice([0, 1, 1, 5, 30])
        other = text[chance.randrange(len(text) + 1) :][:length]
        text = text[:at] + chance.choice(["", other, chance.choice(PIECES)]) + text[at + length :]
    return text


def events_of(pieces: list[str], tools: list[dict[str, Any]], in_reasoning: bool) -> list[Event]:
    splitter = EventSplitter(Markers(), tools, in_reasoning=in_reasoning)
    events = [event for piece in pieces for event in splitter.push(None, piece)]
    return events + splitter.finish()


def check(text: str, chance: random.Random) -> None:
    tools = [TOOL] if chance.random() < 0.5 else []
    in_reasoning = chance.random() < 0.2
    whole = vectors.as_json(events_of([text], tools, in_reasoning))
    places = sorted(chance.randrange(len(text) + 1) for _ in range(chance.choice([1, 5, 50])))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert vectors.as_json(events_of(pieces, tools, in_reasoning)) == whole, "cut, it differs"
    for call in parse_tool_calls(text, tools):
        assert isinstance(call, ToolCall)
        json.dumps(call.arguments, allow_nan=False)


def out_of_time(*_: object) -> NoReturn:
    raise TimeoutError(f"longer than {SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    texts = [case["text"] for case in vectors.read("tool_calls.json")]
    signal.signal(signal.SIGALRM, out_of_time)
    end, count, longest = time.monotonic() + 60 * options.minutes, 0, 0.0
    while time.monotonic() < end:
        text = strung(chance) if count % 2 else changed(chance, chance.choice(texts))
        began = time.monotonic()
        signal.alarm(SECONDS)
        try:
            check(text, chance)
        except Exception as error:
            print(f"seed {options.seed}, input {count}: {error!r}\n{text!r}", file=sys.stderr)
            return 1
        finally:
            signal.alarm(0)
        count += 1
        longest = max(longest, time.monotonic() - began)
    print(f"{count:,} inputs, the slowest {longest:.2f} s; seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
