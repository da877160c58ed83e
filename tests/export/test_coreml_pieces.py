"""Core ML programs that only a larger vocabulary, more experts or a full context shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lfm_edge.bundle import Bundle
from lfm_edge.coreml.evaluator import Evaluator
from lfm_edge.coreml.package import Package
from numpy.typing import NDArray

from tests.support import dequantized, export, logits_of, random_model, saved, tiny_dense, tiny_moe

Array = NDArray[Any]


def evaluate(bundle: Bundle, ids: NDArray[np.int64], chunks: list[int]) -> Array:
    """Logits at the ends of chunks, in exact arithmetic."""
    evaluator = Evaluator(Package(bundle.graph_path), "exact")
    state, rows, position = evaluator.state("decode"), [], 0
    for chunk in chunks:
        tokens = 1 if chunk == 1 else 64
        padded = np.full((1, tokens), 3, np.int32)
        padded[0, :chunk] = ids[position : position + chunk]
        inputs = {"input_ids": padded, "position": np.array([position], np.int32)}
        if tokens > 1:
            inputs["valid"] = np.array([chunk], np.int32)
        outputs = evaluator.run("decode" if chunk == 1 else "prefill", inputs, state)
        rows.append(outputs["logits"][0])
        position += chunk
    return np.stack(rows)


@pytest.mark.parametrize(
    ("config", "quant", "moe", "context"),
    [
        # 40,000 rows lie in three pieces; the table is picked from as integers, or as float16
        (tiny_dense(vocab_size=40_000), "q4", "wide", 64),
        (tiny_dense(vocab_size=40_000, tie_word_embeddings=False), "q8", "wide", 64),
        # five experts of 6,144 gate and up rows lie in three groups
        (tiny_moe(moe_intermediate_size=3072, num_experts=5), "q4", "wide", 64),
        # a context that is not longer than the tokens of a prefill
        (tiny_moe(), "q4", "gatherq", 40),
    ],
)
def test_pieces_and_the_end_of_the_context(
    tmp_path: Path, config: Any, quant: str, moe: str, context: int
) -> None:
    source = saved(random_model(config), tmp_path / "checkpoint")
    head = "q4" if quant == "q4" else None
    bundle = export(
        source,
        tmp_path / "bundle",
        target="coreml",
        quant=quant,
        head=head,
        moe=moe,
        conv_state="state",
        context=context,
    )
    ids = np.random.default_rng(2).integers(0, config.vocab_size, context)
    chunks = [11, 1, 1, 13, context - 27, 1]
    got = evaluate(bundle, ids, chunks)
    truth = logits_of(dequantized(source, quant, head), ids)[np.cumsum(chunks) - 1]
    assert np.abs(got - truth).max() <= 2e-5
