"""What prompt-lookup decoding gains where an answer repeats its prompt, and costs elsewhere.

The answers are forced, since a model of synthetic weights has nothing to say: `edit` is a class of
this project with a name changed in it, `wrong` a text in which every guess fails. Plain decoding
and `speculation="auto"` take turns, each with nothing measured before.

    lfm-edge export synthetic:lfm2-1.2b build/lfm2-1.2b
    python benchmarks/lookup.py build/lfm2-1.2b [--tokens 192] [--repeat 3]
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import lfm_edge
from lfm_edge.generation import Generation
from lfm_edge.replay import Checkpoints
from lfm_edge.sampling import Sampler
from lfm_edge.speculation import Pace

PROMPT = 700
"""Tokens before the answer in which every guess fails."""
Texts = tuple[list[int], list[int]]
"""A prompt, and the answer that is forced."""


def edit(model: lfm_edge.Model, tokens: int) -> Texts:
    """Code, and its first tokens once more with other names in it."""
    source = inspect.getsource(Checkpoints)
    changed = source.replace("_kept", "_states").replace("def before", "def up_to")
    encode = model.tokenizer.encode
    return encode(f"{source}\nThe same with `_states`:\n"), encode(changed)[:tokens]


def wrong(tokens: int) -> Texts:
    """A text in which three tokens come again and again, and never four: every guess fails.

    It is a de Bruijn sequence of six tokens: after any three of them follows, until they are used
    up, the highest that has not followed them yet.
    """
    text = [0, 0, 0, 0]
    unused: defaultdict[tuple[int, ...], list[int]] = defaultdict(lambda: list(range(6)))
    unused[0, 0, 0].remove(0)
    while len(text) < PROMPT + tokens:
        text.append(unused[text[-3], text[-2], text[-1]].pop())
    ids = [300 + token for token in text]
    return ids[:PROMPT], ids[PROMPT:]


def decode(model: lfm_edge.Model, texts: Texts, speculation: Literal["auto", False]) -> Generation:
    """Makes the answer; `rate` of what this returns says how fast."""
    prompt, answer = texts
    steps: Iterator[int] = iter(answer)
    choose = Sampler._choose

    def draw(sampler: Sampler, logits: Any, allowed: Any) -> int:
        choose(sampler, logits, allowed)  # it takes its time here too
        return next(steps)

    model._pace = Pace()
    Sampler._choose = draw  # type: ignore[method-assign, assignment]
    try:
        options: dict[str, Any] = {"max_tokens": len(answer), "speculation": speculation}
        session = model.session(len(prompt) + len(answer))
        request = model._request(prompt, may_think=False, session=session, **options)
        made = Generation(request)
        for _ in made:
            pass
        assert made.ids == answer
    finally:
        Sampler._choose = choose  # type: ignore[method-assign]
    return made


def measured(
    model: lfm_edge.Model, texts: Texts, speculation: Literal["auto", False]
) -> tuple[float, Generation]:
    """Tokens per second behind the first one."""
    begun = time.perf_counter()
    made = decode(model, texts, speculation)
    seconds = time.perf_counter() - begun - made.time_to_first_token
    return (len(made.ids) - 1) / seconds, made


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="of target onnx")
    parser.add_argument("--tokens", type=int, default=192, help="of an answer")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = lfm_edge.load(options.bundle, options.threads)
    cases = {"edit": edit(model, options.tokens), "wrong": wrong(options.tokens)}
    head = f"{'answer':<8} {'plain':>7} {'lookup':>7} {'ratio':>6} {'guessed':>8} {'true':>6}"
    print(f"{head}  tokens/s")
    for name, texts in cases.items():
        plain, lookup = [], []
        for _ in range(options.repeat):
            plain.append(measured(model, texts, False)[0])
            rate, made = measured(model, texts, "auto")
            lookup.append(rate)
        ratio = statistics.median(b / a for a, b in zip(plain, lookup, strict=True))
        rates = f"{statistics.median(plain):>7.1f} {statistics.median(lookup):>7.1f}"
        guesses = f"{made.proposed_tokens:>8} {made.accepted_tokens:>6}"
        print(f"{name:<8} {rates} {ratio:>6.2f} {guesses}", flush=True)


if __name__ == "__main__":
    main()
