"""What quantization costs the shipped model: perplexity and divergence on held-out text.

Every bundle reads the same tokens. Divergence (KL, in nats a token) is against the `f32` bundle,
which transformers' own logits agree with to 2e-4.

    python benchmarks/quality.py [--tokens 512]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import lfm_edge
import numpy as np
from lfm_export.checkpoint import open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.export import ExportOptions, export_bundle
from numpy.typing import NDArray

from tools.train_demo_model.corpus import held_out_text

BUNDLES = {
    "f32": ExportOptions(quant="f32"),
    "q8": ExportOptions(quant="q8"),
    "q4": ExportOptions(quant="q4"),
    "q4, head q4": ExportOptions(quant="q4", head="q4"),
}

Array = NDArray[np.float64]


def log_probabilities(model: lfm_edge.Model, ids: list[int]) -> Array:
    """Of every next token, `[tokens - 1, vocab]`."""
    session = model.session(context=len(ids))
    logits = np.stack([session.decode(token) for token in ids[:-1]]).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    result: Array = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return result


def main() -> None:
    """Exports the bundles and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512, help="of each held-out file")
    tokens = parser.parse_args().tokens
    truth: list[Array] = []
    print(f"{'bundle':<12} {'MB':>6} {'perplexity':>10} {'KL to f32':>10}")
    for name, options in BUNDLES.items():
        with tempfile.TemporaryDirectory() as folder:
            with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
                bundle = export_bundle(checkpoint, Path(folder) / "bundle", options)
            model = lfm_edge.load(bundle.folder)
            texts = [model.tokenizer.encode(text)[:tokens] for _, text in held_out_text()]
            rows = [log_probabilities(model, ids) for ids in texts]
        truth = truth or rows
        chosen = [r[np.arange(len(r)), ids[1:]] for r, ids in zip(rows, texts, strict=True)]
        losses = [(np.exp(p) * (p - q)).sum(-1) for p, q in zip(truth, rows, strict=True)]
        perplexity = np.exp(-np.concatenate(chosen).mean())
        size = sum(entry.size for entry in bundle.manifest.files.values()) / 1e6
        print(f"{name:<12} {size:>6.1f} {perplexity:>10.3f} {np.concatenate(losses).mean():>10.2e}")


if __name__ == "__main__":
    main()
