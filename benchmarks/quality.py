"""What quantization costs: our bundles, and what else one might take, on held-out text.

Everything is made of one checkpoint and reads the same tokens, the beginning of every held-out
file. Divergence (KL, in nats a token) is from the checkpoint in float32.

- Our bundles are measured as they run, by `lfm-edge eval`; beside it, their weights alone in exact
  arithmetic. Calibrated ones have read pieces of training files, none of them held out.
- llama.cpp's files are made by its own programs of our export in float32, the importance matrix on
  the text that ours are calibrated on. Their weights are read back and multiplied in float32: they
  lose nothing by activations of 8 bits, as they would in llama.cpp, and as ours do.
- ONNX Runtime GenAI's folder is made by its own builder, and runs in GenAI.

MB is the size of the file that holds the model, or of the graph and its data: with the tokenizer in
a GGUF file, with tables of RoPE and gaps between tensors in ONNX's; all of them are nothing beside
the weights of a larger model. Bits are those of a weight alone, its part of the scales included,
and what "as large as" means. At last come the ratios that we hold ourselves to.

    python benchmarks/quality.py [--llama-cpp FOLDER] [--model FOLDER] [--tokens 512] [--pieces 96]

`--model` takes another one that `tools/train_demo_model` trained, and the text that it held out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from lfm_export.checkpoint import open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.export import ExportOptions
from lfm_export.loading import architecture_of

from benchmarks.quality_peers import GenAiLogits, LlamaCpp, PeerError, export_genai
from benchmarks.quality_reading import Reading, Row
from benchmarks.quality_text import RECORD, calibration_text, corpus_of, held_out

CALIBRATED = ", calibrated"
Q4_0, Q4_K_M, IMATRIX = "llama.cpp Q4_0", "llama.cpp Q4_K_M", "llama.cpp Q4_K_M, imatrix"
GENAI = "ORT GenAI int4"
AUTO = f"auto, 4.5 bits{CALIBRATED}"
AUTO_AT_Q4_0 = f"auto, as large as Q4_0{CALIBRATED}"
AUTO_AT_Q4_K_M = f"auto, as large as Q4_K_M{CALIBRATED}"
OURS = {
    "f32": ExportOptions(quant="f32"),
    "q8": ExportOptions(quant="q8"),
    "q4": ExportOptions(quant="q4"),
    f"q4{CALIBRATED}": ExportOptions(quant="q4"),
    AUTO: ExportOptions(quant="auto", bits=4.5),
    f"q4, head q6{CALIBRATED}": ExportOptions(quant="q4", head="q6"),
    "q4, head q4": ExportOptions(quant="q4", head="q4"),
    f"q4, head q4{CALIBRATED}": ExportOptions(quant="q4", head="q4"),
}

Rows = dict[str, Row]


class Bar(NamedTuple):
    """The KL of the best of ours is to be at most so much of that of the best of the others."""

    ours: tuple[str, ...]
    others: tuple[str, ...]
    most: float


BARS = (
    Bar((f"q4{CALIBRATED}", AUTO), ("q4",), 0.33),
    Bar((f"q4{CALIBRATED}", AUTO), (Q4_0, GENAI), 0.33),
    Bar((AUTO_AT_Q4_K_M,), (IMATRIX,), 0.7),
    Bar((AUTO,), (f"q4{CALIBRATED}",), 0.75),
)


def makers(
    model: Path, reading: Reading, llama: LlamaCpp, calibration: Path, work: Path, rows: Rows
) -> Mapping[str, Callable[[], Row]]:
    """How each row is found; those as large as a peer's need its row in `rows`."""

    def ours(name: str, options: ExportOptions) -> Row:
        calibrate = calibration if name.endswith(CALIBRATED) else None
        return reading.ours(replace(options, calibrate=calibrate))

    def genai() -> Row:
        folder = export_genai(model, work)
        return reading.graph(folder, GenAiLogits(folder, reading.longest + 1))

    def as_large(name: str, peer: str) -> Row:
        if peer not in rows:
            raise PeerError("there is nothing to be as large as")
        bits = bits_as_large(rows[peer], rows["q4"], rows["q8"])
        return ours(name, ExportOptions(quant="auto", bits=bits))

    return {
        **{name: partial(ours, name, options) for name, options in OURS.items()},
        GENAI: genai,
        Q4_0: lambda: reading.gguf(llama.quantize("Q4_0")),
        Q4_K_M: lambda: reading.gguf(llama.quantize("Q4_K_M")),
        IMATRIX: lambda: reading.gguf(llama.quantize("Q4_K_M", by_importance=True)),
        AUTO_AT_Q4_0: partial(as_large, AUTO_AT_Q4_0, Q4_0),
        AUTO_AT_Q4_K_M: partial(as_large, AUTO_AT_Q4_K_M, IMATRIX),
    }


def bits_as_large(row: Row, q4: Row, q8: Row) -> float:
    """`--bits` of a bundle with weights as large as the row's; those of q4 are 4.5, of q8 8.5."""
    share = (row.weight_bytes - q4.weight_bytes) / (q8.weight_bytes - q4.weight_bytes)
    return 4.5 + share * (8.5 - 4.5)


def line(name: str, row: Row, parameters: int) -> str:
    """A row of the table."""
    figures = row.figures
    alone = "" if row.weights_alone is None else f"{row.weights_alone:.2e}"
    return (
        f"{name:<38} {row.file_bytes / 1e6:>7.2f} {8 * row.weight_bytes / parameters:>6.2f}"
        f" {figures.perplexity:>11.3f} {row.kl:>9.2e} {figures.kl_p99:>9.2e}"
        f" {figures.top1:>9.2%} {alone:>13}"
    )


def verdict(bar: Bar, rows: Mapping[str, Row]) -> str:
    """A bar and the ratio that it is held to."""
    ours, others = (
        min(((rows[name].kl, name) for name in names if name in rows), default=None)
        for names in (bar.ours, bar.others)
    )
    if ours is None or others is None:
        return f"not measured (bar {bar.most}): {' or '.join((*bar.ours, *bar.others))}"
    ratio = ours[0] / others[0]
    judged = "held" if ratio <= bar.most else "missed"
    both = " against ".join(f"{name} ({kl:.2e})" for kl, name in (ours, others))
    return f"{ratio:.2f} (bar {bar.most}: {judged}): {both}"


def main() -> None:
    """Makes everything and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=DEMO_MODEL, help="a trained model's folder")
    parser.add_argument("--llama-cpp", type=Path, metavar="FOLDER", help="of its programs")
    parser.add_argument("--tokens", type=int, default=512, help="of each held-out file")
    parser.add_argument("--pieces", type=int, default=96, help="of 512 tokens, to calibrate on")
    options = parser.parse_args()
    model: Path = options.model
    if not (model / RECORD).is_file():
        parser.exit(
            2, f"--model {model}: has no {RECORD}, which tells its text; make train-other\n"
        )
    rows: Rows = {}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        calibration = work / "calibration.txt"
        calibration.write_text(calibration_text(corpus_of(model), options.pieces), encoding="utf-8")
        with open_checkpoint(str(model)) as checkpoint:
            parameters = architecture_of(checkpoint, print).num_parameters()
        reading = Reading(model, held_out(model, options.tokens), work)
        llama = LlamaCpp(options.llama_cpp, model, calibration, work)
        heads = ("MB", "bits", "perplexity", "KL", "KL 99 %", "same top", "weights alone")
        widths = (7, 6, 11, 9, 9, 9, 13)
        columns = (f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
        print(f"{model.name:<38}", *columns, flush=True)
        for name, make in makers(model, reading, llama, calibration, work, rows).items():
            try:
                rows[name] = make()
                print(line(name, rows[name], parameters), flush=True)
            except PeerError as error:
                print(f"{name:<38} skipped: {error}", flush=True)
    for bar in BARS:
        print(verdict(bar, rows))


if __name__ == "__main__":
    main()
