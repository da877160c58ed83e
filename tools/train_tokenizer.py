"""Trains a tokenizer as large as LFM2.5-8B-A1B's, for measuring: `python -m tools.train_tokenizer`.

The shipped model has 4,096 tokens, so whatever depends on the vocabulary would be measured on a
toy. The text is what any machine with this project's test packages has: Python's standard library
and the sources and documents of installed packages, read where they lie.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from .train_demo_model.tokenizer import train_tokenizer, write_tokenizer

VOCABULARY = 128_000
CONTEXT = 128_000
SAMPLING = {"do_sample": True, "temperature": 0.2, "top_k": 80, "repetition_penalty": 1.05}
"""What Liquid recommends for the 8B."""

_OUT = Path("build/tokenizer")
_SUFFIXES = {".md", ".py", ".pyi", ".rst", ".txt"}
_MAX_FILE = 1 << 18  # larger ones are tables
_MAX_PACKAGE = 6 << 20  # so that no package's words are most of the vocabulary
_MAX_DIGIT_SHARE = 0.12


def main() -> None:
    """Trains, checks the size and writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=_OUT)
    out: Path = parser.parse_args().out
    tokenizer = train_tokenizer(installed_texts(), VOCABULARY)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise SystemExit(f"{tokenizer.get_vocab_size():,} tokens, expected {VOCABULARY:,}")
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, out, CONTEXT)
    (out / "generation_config.json").write_text(json.dumps(SAMPLING, indent=2) + "\n")
    print(f"{out}: {VOCABULARY:,} tokens")


def installed_texts() -> Iterator[str]:
    """The texts to train on, each once, packages in the order of their names."""
    seen: set[bytes] = set()
    taken: defaultdict[str, int] = defaultdict(int)
    for kind in ("stdlib", "purelib"):
        root = Path(sysconfig.get_path(kind))
        for path in sorted(root.rglob("*")):
            package = f"{kind}/{path.relative_to(root).parts[0]}"
            if path.suffix not in _SUFFIXES or taken[package] > _MAX_PACKAGE:
                continue
            if kind == "stdlib" and "site-packages" in path.parts:
                continue
            text = _readable(path)
            digest = hashlib.sha256(text.encode()).digest()
            if text and digest not in seen:
                seen.add(digest)
                taken[package] += len(text)
                yield text


def _readable(path: Path) -> str:
    """The file's text, or nothing if it is none, a table, or too large."""
    try:
        text = path.read_text() if path.stat().st_size <= _MAX_FILE else ""
    except (OSError, UnicodeDecodeError):
        return ""
    digits = sum(map(str.isdigit, text))
    return text if digits <= _MAX_DIGIT_SHARE * len(text) else ""


if __name__ == "__main__":
    main()
