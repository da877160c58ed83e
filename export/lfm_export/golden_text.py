"""The token ids that golden vectors are computed for."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer

__all__ = ["NUM_GOLDEN_TOKENS", "golden_ids"]

NUM_GOLDEN_TOKENS = 32

_TEXT = """A bundle is a folder that holds one graph and all that is needed to run it.

def main() -> None:
    for name, size in sorted(files.items()):
        print(f"{name}: {size} bytes")
"""


def golden_ids(tokenizer: Tokenizer | None, vocab_size: int, bos: int | None) -> list[int]:
    """Ordinary text, so that the model is at home; fixed random ids for what the text lacks."""
    ids = [] if bos is None else [bos]
    if tokenizer is not None:
        text = tokenizer.encode(_TEXT, add_special_tokens=False)
        ids += [token for token in text.ids if token < vocab_size]
    filler = np.random.default_rng(0).integers(0, vocab_size, NUM_GOLDEN_TOKENS)
    return [int(token) for token in (*ids, *filler)][:NUM_GOLDEN_TOKENS]
