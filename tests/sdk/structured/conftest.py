"""The shipped model's tokenizer, and answers drawn at random within a constraint."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from lfm_edge import SamplingOptions
from lfm_edge.sampling import Sampler
from lfm_edge.structured import Constraint, Vocabulary
from lfm_edge.tokenizer import Tokenizer
from lfm_export.demo import DEMO_MODEL

EOS, CALL = 7, 10
SIZE = 4100  # a few more logits than the tokenizer has ids


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    read = (DEMO_MODEL / "tokenizer.json").read_text
    bundle = SimpleNamespace(folder=DEMO_MODEL, read_text=lambda _: read())
    return Tokenizer(cast(Any, bundle))


@pytest.fixture(scope="session")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(tokenizer, SIZE, {EOS})


Answer = Callable[..., tuple[str, bool]]


@pytest.fixture(scope="session")
def answer(tokenizer: Tokenizer) -> Answer:
    """Draws an answer at temperature 1 from random logits, short tokens the more likely.

    Without that, random text would hardly ever close a string. Gives the text without the token
    that ended it, and whether it may end.
    """
    lengths = [len(tokenizer.token_bytes(token)) for token in range(tokenizer.size)]
    lengths += [50] * (SIZE - len(lengths))
    closing = [
        3.0 if tokenizer.token_bytes(t)[:1] in (b'"', b"]", b"}") else 0.0 for t in range(SIZE)
    ]
    bias = np.array(closing) - 0.5 * np.array(lengths)
    bias[[EOS, CALL]] = 3

    def draw(constraint: Constraint, seed: int, limit: int = 400) -> tuple[str, bool]:
        random = np.random.default_rng(seed)
        sampler = Sampler(SamplingOptions(temperature=1, seed=seed), SIZE)
        ids: list[int] = []
        while len(ids) < limit:
            logits = (random.normal(size=SIZE) * 2 + bias).astype(np.float32)
            token = sampler.sample(logits, constraint.mask())
            constraint.advance(token)
            if token == EOS:
                break
            ids.append(token)
        return tokenizer.decode(ids), constraint.may_end

    return draw
