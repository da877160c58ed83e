"""Text to tokens by the tables alone, as `core/text` does it: slow, and to be read beside it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .characters import IN_WORD, KIND, LETTER, NUMBER, SPACE, STRIPPED
from .hashing import first_slot, hash_of_bytes, hash_of_pair
from .splitting import LLAMA3
from .tokenizer_tables import ARRAYS, HEAD, NONE, SINGLE_WORD, STRIP_LEFT, STRIP_RIGHT

__all__ = ["TableReader"]

_OTHER = 0
_CONTRACTIONS = ("s", "t", "re", "ve", "m", "ll", "d")
_LONG_S = "\u017f"
"""What Unicode takes for an s of another case."""

_Found = tuple[str, int | None]


class TableReader:
    """The tokenizer of a section.

    Args:
        section: what `compile_tokenizer` gave.
    """

    def __init__(self, section: bytes) -> None:
        _, self._kind, self._most_digits, _, _, self._word_probes, self._merge_probes, _ = (
            HEAD.unpack_from(section)
        )
        places = struct.iter_unpack("<II", section[HEAD.size : HEAD.size + 8 * len(ARRAYS)])
        parts = {
            name: section[at : at + size] for name, (at, size) in zip(ARRAYS, places, strict=True)
        }
        numbers = {
            name: np.frombuffer(part, np.uint32).tolist()
            for name, part in parts.items()
            if name not in {"bytes", "flags", "blocks", "classes", "added_texts"}
        }
        self._offsets, self._bytes, self._flags = numbers["offsets"], parts["bytes"], parts["flags"]
        self._byte_ids = numbers["byte_ids"]
        self._words = list(zip(*[iter(numbers["words"])] * 2, strict=True))
        self._merges = list(zip(*[iter(numbers["merges"])] * 4, strict=True))
        self._blocks = np.frombuffer(parts["blocks"], np.uint16).tolist()
        self._classes = parts["classes"]
        self._passes = [
            self._added(numbers[name], parts["added_texts"])
            for name in ("added_first", "added_second")
        ]
        self._prefix, self._suffix = numbers["prefix"], numbers["suffix"]
        self._piece = lru_cache(1 << 14)(self._merged)
        self._merge = lru_cache(1 << 16)(self._looked_up)

    def encode(self, text: str, *, added: bool, special: bool = False) -> list[int]:
        """The ids of `text`.

        Args:
            text: what to read.
            added: whether the texts of added tokens are those tokens.
            special: whether to put around it what the post-processor puts there.
        """
        ids = []
        for part, token in self._parts(text) if added else [(text, None)]:
            ids += [token] if token is not None else self._ordinary(part)
        return [*self._prefix, *ids, *self._suffix] if special else ids

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        return self._bytes[self._offsets[token] : self._offsets[token + 1]]

    def _ordinary(self, text: str) -> list[int]:
        return [token for piece in self._pieces(text) for token in self._piece(piece.encode())]

    # ---- Added tokens ----

    @staticmethod
    def _added(rows: list[int], texts: bytes) -> dict[str, tuple[int, int]]:
        found = {}
        for index, flags, _, at, size in zip(*[iter(rows)] * 5, strict=True):
            found[texts[at : at + size].decode()] = (index, flags)
        return found

    def _parts(self, text: str) -> Iterator[_Found]:
        """Added tokens and what lies between them; the second pass reads what the first left."""
        for part, token in self._found(text, self._passes[0]):
            if token is None:
                yield from self._found(part, self._passes[1])
            else:
                yield part, token

    def _found(self, text: str, tokens: dict[str, tuple[int, int]]) -> Iterator[_Found]:
        done = at = 0
        lengths = sorted({len(content) for content in tokens}, reverse=True)
        firsts = {content[0] for content in tokens}
        while at < len(text):
            if text[at] not in firsts:
                at += 1
                continue
            length = next((size for size in lengths if text[at : at + size] in tokens), 0)
            if not length:
                at += 1
                continue
            token, flags = tokens[text[at : at + length]]
            start, at = at, at + length
            stop = at
            if flags & SINGLE_WORD and (
                self._is(text, start - 1, IN_WORD) or self._is(text, stop, IN_WORD)
            ):
                continue
            while flags & STRIP_LEFT and start > done and self._is(text, start - 1, STRIPPED):
                start -= 1
            while flags & STRIP_RIGHT and self._is(text, stop, STRIPPED):
                stop += 1
            if done < start:
                yield text[done:start], None
            yield text[start:stop], token
            done = stop
        if done != len(text):
            yield text[done:], None

    # ---- Pieces ----

    def _class(self, text: str, at: int) -> int:
        """Of a character; of what lies beyond the text, that of none."""
        if not 0 <= at < len(text):
            return NONE
        code = ord(text[at])
        return self._classes[self._blocks[code >> 8] << 8 | code & 0xFF]

    def _is(self, text: str, at: int, bit: int) -> bool:
        found = self._class(text, at)
        return found != NONE and bool(found & bit)

    def _kind_at(self, text: str, at: int) -> int:
        found = self._class(text, at)
        return found if found == NONE else found & KIND

    def _pieces(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            stop = self._end(text, at)
            yield text[at:stop]
            at = stop

    def _end(self, text: str, at: int) -> int:
        """Where the piece ends that begins at `at`."""
        folds = self._kind == LLAMA3
        if stop := _contraction(text, at, folds=folds):
            return stop
        kind = self._kind_at(text, at)
        before = folds and kind in (_OTHER, SPACE) and text[at] not in "\r\n"
        if before or text[at] == " ":
            following = self._kind_at(text, at + 1)
            if following == LETTER:
                return self._run(text, at + 1, LETTER)
            if text[at] == " " and (following == _OTHER or (following == NUMBER and not folds)):
                return self._end_of_run(text, at + 1, following)
        return self._spaces(text, at) if kind == SPACE else self._end_of_run(text, at, kind)

    def _end_of_run(self, text: str, at: int, kind: int) -> int:
        if kind == NUMBER and self._most_digits:
            return min(self._run(text, at, kind), at + self._most_digits)
        at = self._run(text, at, kind)
        while kind == _OTHER and self._kind == LLAMA3 and text[at : at + 1] in ("\r", "\n"):
            at += 1
        return at

    def _spaces(self, text: str, at: int) -> int:
        stop = self._run(text, at, SPACE)
        lines = max(text.rfind("\r", at, stop), text.rfind("\n", at, stop))
        if self._kind == LLAMA3 and lines >= 0:
            return lines + 1
        return stop if stop == len(text) or stop == at + 1 else stop - 1

    def _run(self, text: str, at: int, kind: int) -> int:
        while self._kind_at(text, at) == kind:
            at += 1
        return at

    # ---- Merging ----

    def _merged(self, piece: bytes) -> tuple[int, ...]:
        word = self._word(piece)
        if word is not None:
            return (word,)
        ids = [self._byte_ids[byte] for byte in piece]
        while True:
            pairs = [self._merge(*pair) for pair in pairwise(ids)]
            rank, result = min(pairs, default=(NONE, 0))
            if rank == NONE:
                return tuple(ids)
            at = next(place for place, pair in enumerate(pairs) if pair[0] == rank)
            ids[at : at + 2] = [result]

    def _word(self, piece: bytes) -> int | None:
        code = hash_of_bytes(piece)
        slot = first_slot(code, len(self._words))
        for probe in range(self._word_probes):
            found, token = self._words[(slot + probe) % len(self._words)]
            if token == NONE:
                return None
            if found == code & NONE and self.token_bytes(token) == piece:
                return token
        return None

    def _looked_up(self, left: int, right: int) -> tuple[int, int]:
        """Rank and result of a pair; `NONE` as its rank where there is none."""
        slot = first_slot(hash_of_pair(left, right), len(self._merges))
        for probe in range(self._merge_probes):
            *pair, rank, result = self._merges[(slot + probe) % len(self._merges)]
            if rank == NONE or pair == [left, right]:
                return rank, result
        return NONE, 0


def _contraction(text: str, at: int, *, folds: bool) -> int:
    """Where an English contraction ends that begins at `at`, or 0."""
    if text[at] != "'":
        return 0
    following = text[at + 1 : at + 3]
    if folds:
        following = "".join(c.lower() if c.isascii() else c for c in following)
        following = following.replace(_LONG_S, "s")
    found = next((end for end in _CONTRACTIONS if following.startswith(end)), "")
    return at + 1 + len(found) if found else 0
