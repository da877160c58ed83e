"""What quantization costs the shipped model: perplexity and divergence on held-out text.

Every bundle reads the same tokens, as `lfm-edge eval` has it read them. Divergence (KL, in nats a
token) is from the checkpoint in float32: of the bundle as it runs, and of its weights alone in
exact arithmetic. Calibrated bundles have read pieces of training files, none of them held out.

    python benchmarks/quality.py [--tokens 512] [--pieces 96]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from lfm_edge.bundle import Bundle
from lfm_edge.tokenizer import Tokenizer
from lfm_export.checkpoint import open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.evaluate import EvaluateOptions, EvaluateResult, evaluate_sequences
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.walk import Sequences

from tools.train_demo_model.corpus import held_out_text, training_documents

CALIBRATED = ", calibrated"
BUNDLES = {
    "f32": ExportOptions(quant="f32"),
    "q8": ExportOptions(quant="q8"),
    "q4": ExportOptions(quant="q4"),
    f"q4{CALIBRATED}": ExportOptions(quant="q4"),
    f"auto, 4.5 bits{CALIBRATED}": ExportOptions(quant="auto", bits=4.5),
    "q4, head q4": ExportOptions(quant="q4", head="q4"),
    f"q4, head q4{CALIBRATED}": ExportOptions(quant="q4", head="q4"),
}

_PIECE = 1800  # characters, some 512 tokens


def calibration_text(pieces: int) -> str:
    """The middles of training files, evenly spread over all of them."""
    documents = [text for _, text in training_documents() if len(text) >= _PIECE]
    chosen = np.linspace(0, len(documents) - 1, pieces).astype(int)
    middles = [(documents[i], (len(documents[i]) - _PIECE) // 2) for i in chosen]
    return "\n".join(text[start : start + _PIECE] for text, start in middles)


def evaluate(options: ExportOptions, tokens: int, folder: Path) -> tuple[EvaluateResult, Bundle]:
    """Exports a bundle and has it read the beginning of every held-out file."""
    with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
        bundle = export_bundle(checkpoint, folder / "bundle", options)
        encode = Tokenizer(bundle).encode
        ids = tuple(np.array(encode(text)[:tokens], np.int64) for _, text in held_out_text())
        evaluation = EvaluateOptions(Path(), window=tokens)
        return evaluate_sequences(bundle, checkpoint, Sequences(ids), evaluation), bundle


def main() -> None:
    """Exports the bundles and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512, help="of each held-out file")
    parser.add_argument("--pieces", type=int, default=96, help="of 512 tokens, to calibrate on")
    arguments = parser.parse_args()
    names = ("MB", "perplexity", "KL", "KL 99 %", "same top", "weights alone")
    print(f"{'bundle':<24}", *(f"{name:>13}" for name in names))
    for name, options in BUNDLES.items():
        with tempfile.TemporaryDirectory() as place:
            folder, chosen = Path(place), options
            if name.endswith(CALIBRATED):
                text = folder / "calibration.txt"
                text.write_text(calibration_text(arguments.pieces), encoding="utf-8")
                chosen = replace(options, calibrate=text)
            got, bundle = evaluate(chosen, arguments.tokens, folder)
            size = sum(entry.size for entry in bundle.manifest.files.values()) / 1e6
        assert got.integers is not None
        print(
            f"{name:<24} {size:>13.1f} {got.perplexity:>13.3f} {got.kl_mean:>13.2e}"
            f" {got.kl_p99:>13.2e} {got.top1:>13.2%} {got.integers.kl_mean:>13.2e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
