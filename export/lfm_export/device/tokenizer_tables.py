"""The section `tokenizer` of a device.bin: a tokenizer.json as tables that are read in place.

`docs/bundle.md` describes the layout, `table_reader.py` reads it and `core/text` too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from lfm_edge.tokenizer import BYTE_OF, Tokenizer
from tokenizers import AddedToken
from tokenizers import Tokenizer as NativeTokenizer

from .characters import character_classes
from .hashing import hash_of_bytes, hash_of_pair, open_addressed
from .splitting import splitting_of

__all__ = ["ARRAYS", "FLAGS", "HEAD", "NONE", "InexpressibleError", "compile_tokenizer"]

VERSION = 1
HEAD = struct.Struct("<8I")
"""Version, splitting, most digits, size, longest token, most probes of words and of merges, 0."""
NONE = 0xFFFFFFFF
ARRAYS = (
    "offsets",
    "bytes",
    "flags",
    "byte_ids",
    "words",
    "merges",
    "blocks",
    "classes",
    "added_first",
    "added_second",
    "added_texts",
    "prefix",
    "suffix",
)
"""In the order of their places, which stand behind the head as u32 offset and u32 size in bytes."""
FLAGS = {"known": 1, "added": 2, "special": 4, "marker": 8}
SINGLE_WORD, STRIP_LEFT, STRIP_RIGHT = 1, 2, 4
_NAME_OF = {byte: character for character, byte in BYTE_OF.items()}


class InexpressibleError(Exception):
    """What of a tokenizer has no table; the message names it."""


class _Added(NamedTuple):
    """Texts found before a text is split, and the tables of the two passes over it."""

    texts: bytes
    passes: Sequence[npt.NDArray[np.uint32]]


def compile_tokenizer(tokenizer: Tokenizer, text: str, markers: Collection[int]) -> bytes:
    """The section of a bundle's tokenizer.

    Args:
        tokenizer: the bundle's.
        text: its tokenizer.json.
        markers: ids that mean something to the model where a template writes them.

    Raises:
        InexpressibleError: it is of a kind that the tables do not hold.
    """
    native = NativeTokenizer.from_str(text)
    described = json.loads(native.to_str())
    splitting = splitting_of(described["pre_tokenizer"])
    _check_kind(described)
    if splitting is None:
        raise InexpressibleError("its pre-tokenizer is neither Llama 3's nor GPT-2's")
    vocabulary: dict[str, int] = described["model"]["vocab"]
    names = {name: index for name, index in vocabulary.items() if set(name) <= BYTE_OF.keys()}
    if missing := [byte for byte, name in _NAME_OF.items() if name not in names]:
        raise InexpressibleError(f"its vocabulary lacks {len(missing)} of the 256 bytes")
    added = native.get_added_tokens_decoder()
    rows = max(native.get_vocab().values()) + 1
    tokens = _token_bytes(native, tokenizer, rows)
    words, word_probes = _words(native, names, described["model"]["ignore_merges"])
    merges, merge_probes = _merges(vocabulary, described["model"]["merges"])
    special = any(token.single_word or token.lstrip or token.rstrip for token in added.values())
    blocks, classes = _two_stages(character_classes(beside_added=special))
    found = _added(added)
    prefix, suffix = _around(native)
    arrays: list[bytes | npt.NDArray[Any]] = [
        np.cumsum([0, *map(len, tokens)], dtype=np.uint32),
        b"".join(tokens),
        _flags(native, rows, added, markers),
        _u32(names[_NAME_OF[byte]] for byte in range(256)),
        words,
        merges,
        blocks,
        classes,
        *found.passes,
        found.texts,
        _u32(prefix),
        _u32(suffix),
    ]
    head = HEAD.pack(
        VERSION, *splitting, tokenizer.size, tokenizer.longest, word_probes, merge_probes, 0
    )
    return _laid_out(
        head, [array if isinstance(array, bytes) else array.tobytes() for array in arrays]
    )


def _check_kind(described: Mapping[str, Any]) -> None:
    if described["normalizer"] is not None:
        kind = described["normalizer"].get("type")
        raise InexpressibleError(f"its normalizer {kind} changes a text before it is split")
    model = described["model"]
    if model["type"] != "BPE":
        raise InexpressibleError(f"its model is {model['type']}, not BPE")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise InexpressibleError(f"its {name} {model[name]!r} is not empty")


def _token_bytes(native: NativeTokenizer, tokenizer: Tokenizer, rows: int) -> list[bytes]:
    known = (native.id_to_token(index) is not None for index in range(rows))
    return [
        tokenizer.token_bytes(index) if is_known else b"" for index, is_known in enumerate(known)
    ]


def _flags(
    native: NativeTokenizer,
    rows: int,
    added: Mapping[int, AddedToken],
    markers: Collection[int],
) -> npt.NDArray[np.uint8]:
    flags = np.zeros(rows, np.uint8)
    flags[list(native.get_vocab().values())] = FLAGS["known"]
    flags[list(added)] |= FLAGS["added"]
    flags[[index for index, token in added.items() if token.special]] |= FLAGS["special"]
    flags[list(markers)] |= FLAGS["marker"]
    return flags


def _words(
    native: NativeTokenizer, names: Mapping[str, int], ignore_merges: bool
) -> tuple[npt.NDArray[np.uint32], int]:
    """Pieces that are one token: all with `ignore_merges`, else those that merging makes of it."""
    tokenize = native.model.tokenize
    entries = []
    for name, index in sorted(names.items(), key=lambda item: item[1]):
        if ignore_merges or [token.id for token in tokenize(name)] == [index]:
            code = hash_of_bytes(bytes(BYTE_OF[character] for character in name))
            entries.append((code, (code & NONE, index)))
    return open_addressed(entries, (0, NONE))


def _merges(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]
) -> tuple[npt.NDArray[np.uint32], int]:
    """Pairs with their rank; of a pair that stands there twice the last counts."""
    ranks = {
        (vocabulary[left], vocabulary[right]): (rank, vocabulary[left + right])
        for rank, (left, right) in enumerate(merges)
    }
    entries = [(hash_of_pair(*pair), (*pair, *merged)) for pair, merged in ranks.items()]
    return open_addressed(entries, (0, 0, NONE, 0))


def _two_stages(
    classes: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Which block the 256 characters of a page have, and the blocks, each once."""
    blocks: dict[bytes, int] = {}
    pages = classes.reshape(-1, 256)
    places = [blocks.setdefault(page.tobytes(), len(blocks)) for page in pages]
    return np.array(places, np.uint16), np.frombuffer(b"".join(blocks), np.uint8)


def _added(added: Mapping[int, AddedToken]) -> _Added:
    texts, passes = b"", []
    for normalized in (False, True):
        found = sorted(
            (token.content.encode(), index, token)
            for index, token in added.items()
            if token.normalized == normalized and token.content
        )
        rows, open_ = [], list[int]()  # those that the next one may begin with
        for place, (content, index, token) in enumerate(found):
            while open_ and not content.startswith(found[open_[-1]][0]):
                open_.pop()
            parent = open_[-1] if open_ else NONE
            rows.append((index, _added_flags(token), parent, len(texts), len(content)))
            texts += content
            open_.append(place)
        passes.append(np.array(rows, np.uint32).reshape(-1, 5))
    return _Added(texts, passes)


def _added_flags(token: AddedToken) -> int:
    return SINGLE_WORD * token.single_word | STRIP_LEFT * token.lstrip | STRIP_RIGHT * token.rstrip


def _around(native: NativeTokenizer) -> tuple[list[int], list[int]]:
    """What the post-processor puts before a text and behind it."""
    encoding = native.encode("a", add_special_tokens=True)
    own = [place for place, part in enumerate(encoding.sequence_ids) if part is not None]
    if not own:
        raise InexpressibleError("its post-processor leaves nothing of a text")
    return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]


def _laid_out(head: bytes, arrays: Sequence[bytes | npt.NDArray[Any]]) -> bytes:
    """The head, the places of the arrays, and the arrays, each at a multiple of 16."""
    at = len(head) + 8 * len(arrays)
    places, parts = b"", []
    for array in arrays:
        data = array if isinstance(array, bytes) else array.tobytes()
        gap = -at % 16
        places += struct.pack("<II", at + gap, len(data))
        parts += [bytes(gap), data]
        at += gap + len(data)
    return head + places + b"".join(parts)


def _u32(ids: Iterable[int]) -> npt.NDArray[np.uint32]:
    return np.array(list(ids), np.uint32)
