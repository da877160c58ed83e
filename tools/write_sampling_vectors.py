"""Writes tests/vectors/sampling.json: python -m tools.write_sampling_vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lfm_ops.sampling import SamplerOptions
from lfm_ops.sampling_reference import ReferenceSampler, exp_of_negative, uniform
from numpy.typing import NDArray

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "sampling.json"
_STEPS = 12
_OFF = {
    "temperature": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "top_k": 0,
}


def vectors_text() -> str:
    """The vectors as the file holds them, one case a line."""
    exponents = [0.0, -1e-300, -1e-9, -0.1, -0.5, -1.0, -np.pi, -20.25, -345.6, -700.0, -700.5]
    seeds = [0, 1, 2, 12345, 2**53 + 1, 2**64 - 1]
    sections: dict[str, list[Any]] = {
        "exp": [[x, float(exp_of_negative(np.array([x]))[0])] for x in exponents],
        "uniform": [[str(s), i, uniform(s, i)] for s in seeds for i in (0, 1, 2, 1_000_000)],
        "answers": list(_answers()),
    }
    parts = [
        f'"{name}": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]"
        for name, cases in sections.items()
    ]
    return "{" + ",\n".join(parts) + "}\n"


def step_logits(recipe: dict[str, Any], vocab_size: int, step: int) -> NDArray[np.float32]:
    """Logits [vocab] of one step, by the recipe of tests/vectors/README.md."""
    draws = np.array([uniform(recipe["seed"] + step, token) for token in range(vocab_size)])
    logits = (draws - 0.5) * recipe["spread"]
    return (np.floor(logits) if recipe["whole"] else logits).astype(np.float32)


def options_of(case: dict[str, Any]) -> SamplerOptions:
    """The options of an answer."""
    return SamplerOptions(**{**case["options"], "seed": int(case["options"]["seed"])})


def bits_of(allowed: list[int] | None, vocab_size: int) -> NDArray[np.uint32] | None:
    """One bit a token, id % 32 of word id / 32."""
    if allowed is None:
        return None
    bits = np.zeros(-(-vocab_size // 32) * 32, bool)
    bits[allowed] = True
    return np.packbits(bits, bitorder="little").view(np.uint32)


def _answers() -> Iterator[dict[str, Any]]:
    plain = {"spread": 20.0, "whole": False}
    ties = {"spread": 6.0, "whole": True}
    lfm25 = {"temperature": 0.2, "top_k": 80, "repetition_penalty": 1.05}
    lfm2 = {"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05}
    openai = {"frequency_penalty": 0.5, "presence_penalty": 0.25}
    settings: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {},
        {"temperature": 1e-300},
        {"top_k": 1},
        {"top_k": 5},
        {"top_p": 0.9},
        {"top_p": 0.3, "temperature": 2.0},
        {"min_p": 0.1},
        {"top_k": 50, "top_p": 0.95, "min_p": 0.01},
        lfm25,
        lfm2,
        openai,
        {**openai, "temperature": 0.0, "repetition_penalty": 1.3},
    ]
    for index, setting in enumerate(settings):
        for recipe in (plain, ties):
            yield _answer(setting, 300, {**recipe, "seed": 100 * index}, seed=index)
    half = list(range(1, 300, 2))
    few = [3, 64, 299]
    for allowed in (half, few, [7]):
        yield _answer(lfm25, 300, {**plain, "seed": 5}, seed=1, allowed=allowed)
        yield _answer({"temperature": 0.0}, 300, {**ties, "seed": 6}, seed=1, allowed=allowed)
    yield _answer(openai, 1, {**plain, "seed": 0}, seed=0)
    yield _answer({"top_k": 4}, 65, {**ties, "seed": 0}, seed=2**64 - 1)
    yield _answer(lfm25, 10_000, {**plain, "seed": 9}, seed=3)
    yield _answer({"top_p": 0.99}, 10_000, {"spread": 1.0, "whole": False, "seed": 9}, seed=4)


def _answer(
    setting: dict[str, Any],
    vocab_size: int,
    recipe: dict[str, Any],
    *,
    seed: int,
    allowed: list[int] | None = None,
) -> dict[str, Any]:
    case: dict[str, Any] = {
        "options": {"seed": str(seed), **_OFF, **setting},
        "vocab_size": vocab_size,
        "prompt": [token for token in (0, 5, 5, 63, 250) if token < vocab_size],
        "biases": {str(token): 2.5 for token in (4, 5) if token < vocab_size},
        "banned": [token for token in (2, 8) if token < vocab_size],
        "logits": recipe,
        "allowed": allowed,
    }
    return {**case, "tokens": draw(ReferenceSampler(options_of(case), vocab_size), case)}


def draw(sampler: Any, case: dict[str, Any]) -> list[int]:
    """The tokens that a sampler draws for an answer."""
    biased = {int(token): bias for token, bias in case["biases"].items()}
    biased |= dict.fromkeys(case["banned"], -np.inf)
    sampler.bias(list(biased), list(biased.values()))
    sampler.observe(case["prompt"])
    size, tokens = case["vocab_size"], []
    for step in range(_STEPS):
        logits = step_logits(case["logits"], size, step)
        tokens.append(sampler.choose(logits, bits_of(case["allowed"], size)))
        sampler.accept(tokens[-1])
    return tokens


if __name__ == "__main__":
    VECTORS.parent.mkdir(exist_ok=True)
    VECTORS.write_text(vectors_text(), encoding="utf-8")
