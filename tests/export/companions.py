"""Changing the files beside a checkpoint's weights, and hearing what an export says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lfm_edge
from lfm_edge.progress import Quiet
from lfm_export.checkpoint import open_checkpoint
from lfm_export.export import ExportOptions, export_bundle

VOCAB = 4200


class Notes(Quiet):
    """Keeps what an export says."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.stages: list[str] = []

    def stage(self, name: str, total: int, unit: str) -> None:
        self.stages.append(name)

    def note(self, text: str) -> None:
        self.texts.append(text)


def change(path: Path, **values: Any) -> None:
    """Sets values of a JSON file; None as text removes one."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(old | values), encoding="utf-8")


def noted(folder: Path, out: Path, **options: Any) -> tuple[lfm_edge.Model, list[str]]:
    notes = Notes()
    with open_checkpoint(str(folder)) as checkpoint:
        bundle = export_bundle(checkpoint, out, ExportOptions(quant="f32", **options), notes)
    return lfm_edge.Model(bundle, 1), notes.texts
