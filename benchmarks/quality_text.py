"""What a trained model is measured on, and what it is calibrated on: never the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from lfm_export.walk import Sequences
from tokenizers import Tokenizer

from tools.train_demo_model.corpus import CORPORA, Corpus, held_out_text, training_documents

__all__ = ["RECORD", "calibration_text", "corpus_of", "held_out"]

RECORD = "TRAINING.json"
"""What the training wrote beside the weights."""
_PIECE = 1800  # characters, some 512 tokens


def corpus_of(model: Path) -> Corpus:
    """The text that a model was trained on, by its training record."""
    record = json.loads((model / RECORD).read_text(encoding="utf-8"))
    return CORPORA[record["settings"].get("corpus", "demo")]


def calibration_text(corpus: Corpus, pieces: int) -> str:
    """The middles of training files, evenly spread over all of them; none of them is held out."""
    documents = [text for _, text in training_documents(corpus) if len(text) >= _PIECE]
    chosen = np.linspace(0, len(documents) - 1, pieces).astype(int)
    middles = [(documents[i], (len(documents[i]) - _PIECE) // 2) for i in chosen]
    return "\n".join(text[start : start + _PIECE] for text, start in middles)


def held_out(model: Path, tokens: int) -> Sequences:
    """The first `tokens` of every file that a model's corpus holds out."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    texts = [text for _, text in held_out_text(corpus_of(model))]
    found = [tokenizer.encode(text, add_special_tokens=False).ids[:tokens] for text in texts]
    return Sequences(tuple(np.array(ids, np.int64) for ids in found))
