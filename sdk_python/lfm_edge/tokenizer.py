"""Text to tokens and back, piece by piece, with whole characters."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from tokenizers import Encoding
from tokenizers import Tokenizer as NativeTokenizer
from tokenizers.decoders import ByteLevel

from .bundle import Bundle
from .errors import BundleError, ContextFullError, InvalidRequestError
from .file_names import TOKENIZER

__all__ = ["BYTE_OF", "Detokenizer", "Tokenizer", "no_panics", "require_characters"]

_LONG = 10_000
"""Characters of a text that takes milliseconds to read."""


@contextmanager
def no_panics() -> Iterator[None]:
    """Raises a RuntimeError where the tokenizers' library panics: that is no Exception."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(str(error)) from None


class Tokenizer:
    """The bundle's byte-level tokenizer.

    What a training run left in the file, truncation and padding, is not obeyed. Ids that it does
    not know, as a bundle with synthetic weights has, read `<|id|>`.

    Args:
        bundle: whose it is.

    Raises:
        BundleError: the bundle has no tokenizer.json, or it is malformed or not byte-level.
    """

    def __init__(self, bundle: Bundle) -> None:
        path = self._path = bundle.folder / TOKENIZER
        text = bundle.read_text(TOKENIZER)
        if text is None:
            raise BundleError(
                f"{bundle.folder}: no {TOKENIZER}, so this bundle reads no text; use a session "
                "and ids"
            )
        try:
            with no_panics():
                self._native = NativeTokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise BundleError(f"{path}: {str(error).splitlines()[0]}") from None
        if not isinstance(self._native.decoder, ByteLevel):
            raise BundleError(
                f"{path}: decoder {type(self._native.decoder).__name__}, expected ByteLevel"
            )
        self._native.no_truncation()
        self._native.no_padding()

    @property
    def size(self) -> int:
        """How many ids it knows, added tokens included."""
        return self._native.get_vocab_size()

    @property
    def added_ids(self) -> frozenset[int]:
        """Tokens that stand outside the byte-level vocabulary: special ones and other markers."""
        return frozenset(self._native.get_added_tokens_decoder())

    def encode(
        self, text: str, add_special_tokens: bool = False, most: int | None = None
    ) -> list[int]:
        """The ids of `text`; the text of special tokens becomes those tokens.

        Args:
            text: what to read.
            add_special_tokens: whether the post-processor adds what it adds to a text.
            most: how many tokens the text may have; a far longer one is not even read.

        Raises:
            InvalidRequestError: the text holds half of a surrogate pair, which is no character.
            ContextFullError: it has more than `most` tokens.
        """
        return self._encode(text, most, add_special_tokens=add_special_tokens).ids

    def refuse_longer(self, text: str, most: int) -> None:
        """Raises ContextFullError where the length of `text` says that it exceeds `most` tokens."""
        _require_fewer(self.fewest(text), most, "at least ")

    def fewest(self, text: str) -> int:
        """Tokens that `text` has at least, as its length says."""
        return len(text) // self.longest

    def encode_with_offsets(self, text: str, most: int | None = None) -> list[tuple[int, int, int]]:
        """As `encode`, up to `most` ids, each with where its text starts and stops in `text`."""
        encoding = self._encode(text, most, add_special_tokens=False)
        return [(token, *span) for token, span in zip(encoding.ids, encoding.offsets, strict=True)]

    @cached_property
    def longest(self) -> int:
        """Characters that one token stands for at most."""
        added = self._native.get_added_tokens_decoder().values()
        if self._native.normalizer is not None or any(t.lstrip or t.rstrip for t in added):
            return 1 << 31  # there is no limit: such a token takes all the space beside it
        # A token of bytes has a character for each of them.
        return max(map(len, self._native.get_vocab()), default=1)

    def _encode(self, text: str, most: int | None, *, add_special_tokens: bool) -> Encoding:
        require_characters(text)
        if most is not None:
            self.refuse_longer(text, most)
        encoding = self._read(text, add_special_tokens=add_special_tokens)
        if most is not None:
            _require_fewer(len(encoding.ids), most)
        return encoding

    def _read(self, text: str, *, add_special_tokens: bool) -> Encoding:
        try:
            with no_panics():
                if len(text) < _LONG:
                    return self._native.encode(text, add_special_tokens=add_special_tokens)
                # This one lets other threads of Python run meanwhile.
                return self._native.encode_batch([text], add_special_tokens=add_special_tokens)[0]
        except MemoryError:
            raise
        except Exception as error:  # the library raises nothing narrower
            reason = " ".join(str(error).split())[:200]
            raise BundleError(
                f"{self._path}: fails to read a text of {len(text):,} characters: {reason}"
            ) from None

    def added_tokens(self) -> dict[int, tuple[str, bool]]:
        """What is found before the text is split: each token's text, and whether it is special."""
        decoder = self._native.get_added_tokens_decoder()
        return {token: (added.content, added.special) for token, added in decoder.items()}

    def added_id(self, text: str) -> int | None:
        """The id of the added token with this `text`, or None."""
        found = (token for token, (added, _) in self.added_tokens().items() if added == text)
        return next(found, None)

    @property
    def normalizes(self) -> bool:
        """Whether it changes a text before it splits it."""
        return self._native.normalizer is not None

    def spell(self, text: str, token: int, markers: Collection[int]) -> list[int]:
        """The ids of `text` as ordinary text, in which no added token is found.

        Args:
            text: in which an added token was found.
            token: this token.
            markers: tokens that a vocabulary which holds their text as a whole must not give.

        Raises:
            InvalidRequestError: the vocabulary spells a single character as one of `markers`.
        """
        if self.normalizes:  # the text may be another than what it was taken for
            content = self.added_tokens()[token][0]
            text = re.sub(r"\S(.*\S)?", lambda _: content, text, count=1, flags=re.DOTALL)
        ids = self._spell(text)
        if not set(ids).isdisjoint(markers):
            ids = [i for part in text for i in self._spell(part)]
        if not set(ids).isdisjoint(markers):
            raise InvalidRequestError(
                f"a user or a tool wrote {text!r}, a marker that the tokenizer makes of ordinary "
                "text too; remove it, or trust it"
            )
        return ids

    def _spell(self, text: str) -> list[int]:
        splitter, normalizer = self._native.pre_tokenizer, self._native.normalizer
        text = normalizer.normalize_str(text) if normalizer else text
        parts = splitter.pre_tokenize_str(text) if splitter else [(text, (0, len(text)))]
        return [token.id for part, _ in parts for token in self._native.model.tokenize(part)]

    def decode(self, ids: Sequence[int], skip: Collection[int | None] = ()) -> str:
        """The text of `ids` without those of `skip`; bytes that are no UTF-8 become U+FFFD."""
        detokenizer = Detokenizer(self, skip)
        return "".join(map(detokenizer.push, ids)) + detokenizer.finish()

    def token_bytes(self, token: int) -> bytes:
        """The bytes that the `token` stands for."""
        name = self._native.id_to_token(token)
        if name is None:
            return f"<|{token}|>".encode()
        try:
            return bytes(BYTE_OF[character] for character in name)
        except KeyError:  # an added token with a character outside the alphabet is its own text
            return name.encode()


def _require_fewer(tokens: int, most: int, about: str = "") -> None:
    if tokens > most:
        raise ContextFullError(
            f"the prompt has {about}{tokens:,} tokens, but the context holds {most:,}; shorten it "
            "or take a larger context"
        )


def require_characters(text: str) -> None:
    """Raises InvalidRequestError where a text holds half of a surrogate pair: no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"the text is not valid Unicode: {error.reason} at character {error.start}"
        ) from None


class Detokenizer:
    """Turns a stream of tokens into text, holding back the bytes of unfinished characters.

    Args:
        tokenizer: whose tokens these are.
        skip: ids that give no text.
    """

    def __init__(self, tokenizer: Tokenizer, skip: Collection[int | None] = ()) -> None:
        self._tokenizer = tokenizer
        self._skip = frozenset(skip)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes; may be empty."""
        if token in self._skip:
            return ""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def token_bytes(self, token: int) -> bytes:
        """The bytes that the `token` stands for, skipped or not."""
        return self._tokenizer.token_bytes(token)

    def finish(self) -> str:
        """What is left at the end: U+FFFD for an unfinished character, or nothing."""
        return self._decoder.decode(b"", final=True)


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary, as GPT-2 chose them.

    Printable bytes stand for themselves; the others take, in order, the characters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


BYTE_OF = _byte_alphabet()
"""Its inverse is how a byte is written there."""
