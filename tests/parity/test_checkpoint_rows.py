"""Every row of docs/checkpoints.md: a checkpoint means what transformers takes it to mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import lfm_edge
import numpy as np
import pytest
from lfm_edge.errors import LfmError
from lfm_edge.progress import Quiet
from lfm_export.checkpoint import open_checkpoint
from lfm_export.export import ExportOptions, export_bundle
from safetensors.torch import save_file
from transformers import AutoConfig

from tests.parity.checkpoint_case import DENSE, MOE, Case, Tensors, folder_of
from tests.parity.config_rows import CONFIG
from tests.parity.weight_rows import WEIGHTS
from tests.support import load_truth, logits_of, random_model

DOC = Path(__file__).parents[2] / "docs" / "checkpoints.md"
BOUND = 2e-4
TOKENS = 96  # far enough for RoPE's rules to differ


class Notes(Quiet):
    """What an export says of config.json and the weights, alone in these folders."""

    _OF_OTHER_FILES = ("no tokenizer.json", "no end token in any file", "config.json's end token")

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        if not text.startswith(self._OF_OTHER_FILES):
            self.lines.append(text)


def write(case: Case, folder: Path) -> Path:
    """The case's config.json as it is, and weights of the shapes that it asks for."""
    if case.files or (case.refused and "cannot be read" in case.refused):
        return folder_of(case, folder)
    folder.mkdir()
    # What is refused may make no model at all; the weights are then those of the base.
    shapes = case.base if case.refused and case.tensors is None else case.raw_config()
    (folder / "config.json").write_text(json.dumps(shapes))
    model = random_model(AutoConfig.from_pretrained(folder))
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    save_file((case.tensors or dict)(tensors), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(case.raw_config() | dict(case.unread)))
    return folder


def cases(rows: Mapping[str, list[Case]]) -> Iterator[object]:
    for row, of_row in rows.items():
        for index, case in enumerate(of_row):
            yield pytest.param(case, id=f"{row} ({index})")


def export(case: Case, folder: Path, out: Path, notes: Notes) -> None:
    options = ExportOptions(**{"quant": "f32", **case.options})
    with open_checkpoint(str(folder)) as checkpoint:
        export_bundle(checkpoint, out, options, notes)


@pytest.mark.parametrize("case", [*cases(CONFIG), *cases(WEIGHTS)])
def test_row(case: Case, tmp_path: Path) -> None:
    folder, out, notes = write(case, tmp_path / "model"), tmp_path / "out", Notes()
    if case.refused:
        with pytest.raises(LfmError) as caught:
            export(case, folder, out, notes)
        message = str(caught.value)
        assert case.refused in message
        assert "\n" not in message
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        return
    export(case, folder, out, notes)
    assert len(notes.lines) == (1 if case.says else 0), notes.lines
    assert (case.says or "") in "".join(notes.lines)
    (folder / "config.json").write_text(json.dumps(case.raw_config()))
    truth = load_truth(folder)
    vocab = truth.config.vocab_size
    ids = np.random.default_rng(0).integers(0, vocab, TOKENS)
    wanted = logits_of(truth, ids)[[TOKENS // 2 - 1, -1]]
    session = lfm_edge.load(out, threads=1).session(context=TOKENS)
    ours = np.stack([session.prefill(part) for part in np.split(ids, 2)])
    assert np.abs(ours - wanted).max() <= BOUND


@pytest.mark.parametrize(("title", "rows"), [("config.json", CONFIG), ("Weights", WEIGHTS)])
def test_the_table_has_these_rows(title: str, rows: Mapping[str, list[Case]]) -> None:
    section = DOC.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| (?!---)(.+?) \|", section, re.MULTILINE)
    assert [name.replace("`", "") for name in named if name != "what is there"] == list(rows)


@pytest.mark.parametrize("target", ["onnx", "onnx-portable", "coreml", "coreai"])
@pytest.mark.parametrize("base", [DENSE, MOE], ids=["dense", "moe"])
def test_every_target_stops_at_a_weight_that_is_no_number(
    target: str, base: Mapping[str, object], tmp_path: Path
) -> None:
    name = "model.layers.3.feed_forward." + ("w2.weight" if base is DENSE else "gate.weight")

    def spoil(tensors: Tensors) -> Tensors:
        tensors[name][2, 5] = float("nan")
        return tensors

    case = Case(base=base, tensors=spoil, options={"target": target, "quant": "q8"})
    folder = write(case, tmp_path / "model")
    with pytest.raises(LfmError, match=rf"row 2 of {re.escape(name)} holds nan"):
        export(case, folder, tmp_path / "out", Notes())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
