"""Writes docs/bundle.schema.json from the manifest's types: python tools/write_schema.py."""

from __future__ import annotations

import json
from pathlib import Path

from lfm_edge.bundle import manifest_schema

SCHEMA = Path(__file__).parents[1] / "docs" / "bundle.schema.json"


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(manifest_schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
