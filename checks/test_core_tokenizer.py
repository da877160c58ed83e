"""The core's tokenizer at full size: 128,000 tokens, 10 MB of text, 100,000 strings of bytes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
from lfm_export.device.proof_texts import SCRIPTS
from tokenizers import Tokenizer as NativeTokenizer

from tests.core.core_tokenizer import CoreTokenizer
from tests.device_tokenizers import compiled
from tools.train_tokenizer import VOCABULARY, installed_texts, main

TOKENIZER = Path(__file__).parents[1] / "build" / "tokenizer" / "tokenizer.json"
WORDS = 1 << 13
EVERY = 16
"""Of the installed texts one in so many is read: some 10 MB."""


@pytest.fixture(scope="module")
def text() -> str:
    """The tokenizer.json of `make tokenizer`, which is made where it is not."""
    if not TOKENIZER.is_file():
        main()
    return TOKENIZER.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def native(text: str) -> NativeTokenizer:
    native = NativeTokenizer.from_str(text)
    native.no_truncation()
    assert native.get_vocab_size() == VOCABULARY
    return native


@pytest.fixture(scope="module")
def core(text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreTokenizer]:
    core = CoreTokenizer(compiled(text), tmp_path_factory.mktemp("core"), "special")
    yield core
    core.close()


def test_ten_megabytes_of_many_scripts(native: NativeTokenizer, core: CoreTokenizer) -> None:
    texts = [*islice(installed_texts(), None, None, EVERY), *in_scripts()]
    size = sum(len(text.encode()) for text in texts)
    assert size >= 10 << 20
    ours, theirs = compare(native, core, texts)
    print(
        f"\n{size / 1e6:.1f} MB: {size / 1e6 / ours:.1f} MB/s, tokenizers {size / 1e6 / theirs:.1f}"
    )


def test_a_hundred_thousand_strings_of_bytes(native: NativeTokenizer, core: CoreTokenizer) -> None:
    chance = random.Random(0)
    compare(
        native,
        core,
        [
            chance.randbytes(chance.randrange(1, 80)).decode("utf-8", "replace")
            for _ in range(100_000)
        ],
    )


def in_scripts() -> Iterator[str]:
    """Words of each script, the letters near each other as those of a language are."""
    chance = random.Random(1)
    for first, last in SCRIPTS.values():
        letters = [chr(code) for code in range(first, min(first + 400, last + 1))]
        words = ["".join(chance.choices(letters, k=chance.randint(1, 8))) for _ in range(4000)]
        yield "".join(word + chance.choice("    \n,.") for word in chance.choices(words, k=WORDS))


def compare(
    native: NativeTokenizer, core: CoreTokenizer, texts: Sequence[str]
) -> tuple[float, float]:
    """Seconds that each of the two took, both with the ids on their way to Python."""
    begun = time.perf_counter()
    ours = [core.read(text) for text in texts]
    between = time.perf_counter()
    theirs = [native.encode(text).ids for text in texts]
    ended = time.perf_counter()
    for text, read, ids in zip(texts, ours, theirs, strict=True):
        assert read.ids == ids
        assert read.text.endswith(text)  # behind the token that begins it
    return between - begun, ended - between
