"""Text to tokens by the tables alone, as `core/text` does it: slow, and to be read beside it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .characters import IN_WORD, KIND, LETTER, NUMBER, OTHER, SPACE, STRIPPED
from .hashing import first_slot, hash_of_bytes, hash_of_pair
from .splitting import LLAMA3
from .tokenizer_tables import ARRAYS, HEAD, NONE, SINGLE_WORD, STRIP_LEFT, STRIP_RIGHT

__all__ = ["TableReader"]

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
        head: tuple[int, ...] = HEAD.unpack_from(section)
        _, self._kind, self._most_digits, _, _, self._word_probes, self._merge_probes, _ = head
        places = struct.iter_unpack("<II", section[HEAD.size : HEAD.size + 8 * len(ARRAYS)])
        parts = {
            name: section[at : at + size] for name, (at, size) in zip(ARRAYS, places, strict=True)
        }
        self._offsets = _numbers(parts["offsets"])
        self._bytes = parts["bytes"]
        self._byte_ids = _numbers(parts["byte_ids"])
        self._words = _rows(parts["words"], 2)
        self._merges = _rows(parts["merges"], 4)
        self._blocks: list[int] = np.frombuffer(parts["blocks"], np.uint16).tolist()
        self._classes = parts["classes"]
        self._passes = [
            {
                parts["added_texts"][at : at + size].decode(): (token, flags)
                for token, flags, _, at, size in _rows(parts[name], 5)
            }
            for name in ("added_first", "added_second")
        ]
        self._prefix, self._suffix = _numbers(parts["prefix"]), _numbers(parts["suffix"])
        self._piece = lru_cache(1 << 14)(self._merged)
        self._merge = lru_cache(1 << 16)(self._looked_up)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, in which the texts of added tokens are those tokens."""
        ids: list[int] = []
        for part, token in self._parts(text):
            ids += [token] if token is not None else self.ordinary(part)
        return ids

    def ordinary(self, text: str) -> list[int]:
        """The ids of `text`, in which no added token is found."""
        return [token for piece in self._pieces(text) for token in self._piece(piece.encode())]

    def around(self, ids: list[int]) -> list[int]:
        """Ids with what the post-processor puts before and behind them."""
        return [*self._prefix, *ids, *self._suffix]

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for."""
        return self._bytes[self._offsets[token] : self._offsets[token + 1]]

    # ---- Added tokens ----

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

    def _is(self, text: str, at: int, bit: int) -> bool:
        """Of the character at `at`; there is none beyond the text."""
        return 0 <= at < len(text) and bool(self._class(text[at]) & bit)

    def _class(self, character: str) -> int:
        code = ord(character)
        return int(self._classes[self._blocks[code >> 8] << 8 | code & 0xFF])

    def _pieces(self, text: str) -> Iterator[str]:
        kinds = [*(self._class(character) & KIND for character in text), NONE]
        at = 0
        while at < len(text):
            stop = self._end(text, kinds, at)
            yield text[at:stop]
            at = stop

    def _end(self, text: str, kinds: list[int], at: int) -> int:
        """Where the piece ends that begins at `at`."""
        llama3 = self._kind == LLAMA3
        if stop := _contraction(text, at, folds=llama3):
            return stop
        kind, following = kinds[at], kinds[at + 1]
        opens = kind in (OTHER, SPACE) and text[at] not in "\r\n" if llama3 else text[at] == " "
        if opens and following == LETTER:
            return _run(kinds, at + 1)
        if text[at] == " " and (following == OTHER or (following == NUMBER and not llama3)):
            return self._end_of_run(text, kinds, at + 1)
        return self._spaces(text, kinds, at) if kind == SPACE else self._end_of_run(text, kinds, at)

    def _end_of_run(self, text: str, kinds: list[int], at: int) -> int:
        stop = _run(kinds, at)
        if kinds[at] == NUMBER and self._most_digits:
            return min(stop, at + self._most_digits)
        if kinds[at] == OTHER and self._kind == LLAMA3:
            while text[stop : stop + 1] in ("\r", "\n"):
                stop += 1
        return stop

    def _spaces(self, text: str, kinds: list[int], at: int) -> int:
        stop = _run(kinds, at)
        lines = max(text.rfind("\r", at, stop), text.rfind("\n", at, stop))
        if self._kind == LLAMA3 and lines >= 0:
            return lines + 1
        return stop if stop == len(text) or stop == at + 1 else stop - 1

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


def _numbers(part: bytes) -> list[int]:
    numbers: list[int] = np.frombuffer(part, np.uint32).tolist()
    return numbers


def _rows(part: bytes, width: int) -> list[list[int]]:
    numbers = _numbers(part)
    return [numbers[at : at + width] for at in range(0, len(numbers), width)]


def _run(kinds: list[int], at: int) -> int:
    """Where the characters of one kind end."""
    stop = at
    while kinds[stop] == kinds[at]:
        stop += 1
    return stop


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
