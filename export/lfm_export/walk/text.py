"""A file of text, or of chats, as token ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lfm_edge.bundle import Bundle
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import InvalidRequestError, LfmError
from lfm_edge.tokenizer import Tokenizer, require_characters

from ..companions import Companions

__all__ = ["TextReader"]

_MOST_BYTES = 1 << 30
_CLOCK = datetime(2026, 1, 1, tzinfo=UTC)  # so that a template's date changes no result


@dataclass(frozen=True)
class TextReader:
    """Reads text as one model does.

    Attributes:
        encode: from text to ids, without what a post-processor adds.
        render: from the messages of a chat, and its tools, to text.
        prefix: the ids that the tokenizer puts before a text.
        vocab_size: how many ids the model knows.
    """

    encode: Callable[[str], list[int]]
    render: Callable[[Sequence[Any], Any], str]
    prefix: list[int]
    vocab_size: int

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> TextReader:
        """As a bundle does. Raises BundleError where it has no tokenizer."""
        tokenizer = Tokenizer(bundle)
        render = _renderer(lambda: ChatTemplate.of_bundle(bundle))
        prefix = _prefix(tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=True))
        return cls(tokenizer.encode, render, prefix, bundle.manifest.model.vocab_size)

    @classmethod
    def of_checkpoint(cls, name: str, companions: Companions, vocab_size: int) -> TextReader:
        """As the bundle of a checkpoint will.

        Raises:
            InvalidRequestError: it has no tokenizer.
        """
        tokenizer, files = companions.tokenizer, companions.files
        if tokenizer is None:
            raise InvalidRequestError(f"{name}: has no tokenizer, so it reads no text")

        def read_text(file: str) -> str | None:
            content = files.get(file)
            return content.read_text(encoding="utf-8") if isinstance(content, Path) else content

        def encode(text: str) -> list[int]:
            require_characters(text)
            return list(tokenizer.encode(text, add_special_tokens=False).ids)

        render = _renderer(lambda: ChatTemplate.of_files(files, read_text, Path(name)))
        return cls(encode, render, _prefix(encode("a"), tokenizer.encode("a").ids), vocab_size)

    def documents(self, path: Path, option: str) -> list[list[int]]:
        """The ids of a file: of the whole text, or of each chat of a `.jsonl`.

        Args:
            path: UTF-8 text, or lines of JSON `{"messages": [...], "tools": [...]}`.
            option: the option that named it, for messages.

        Raises:
            InvalidRequestError: the file is missing, empty or malformed.
        """
        text = _read(path, option)
        if path.suffix.lower() != ".jsonl":
            return [self._checked(self.encode(text), path, option)]
        # Not by `splitlines`: JSON's strings may hold the other separators that it knows.
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [self._chat(line, f"{option} {path}: line {n}") for n, line in lines]

    def _chat(self, line: str, where: str) -> list[int]:
        wanted = 'expected {"messages": [...]} in each line'
        try:
            chat = json.loads(line)
        except (ValueError, RecursionError):
            raise InvalidRequestError(f"{where} is no JSON; {wanted}") from None
        if not isinstance(chat, dict) or not isinstance(chat.get("messages"), list):
            raise InvalidRequestError(f"{where} is no chat; {wanted}")
        try:
            return self._known(self.encode(self.render(chat["messages"], chat.get("tools"))), where)
        except LfmError as error:
            raise InvalidRequestError(f"{where}: {error}") from None

    def _checked(self, ids: list[int], path: Path, option: str) -> list[int]:
        if len(ids) < 2:
            raise InvalidRequestError(f"{option} {path}: {len(ids)} tokens; expected a longer text")
        return self._known(ids, f"{option} {path}")

    def _known(self, ids: list[int], where: str) -> list[int]:
        if ids and max(ids) >= self.vocab_size:
            raise InvalidRequestError(
                f"{where}: holds token {max(ids)}, but the model knows {self.vocab_size}"
            )
        return ids


def _renderer(template: Callable[[], ChatTemplate]) -> Callable[[Sequence[Any], Any], str]:
    """Renders by a template that is compiled when the first chat comes, if one does."""
    compiled = cache(template)
    return lambda messages, tools: compiled().render(
        messages, tools=tools, add_generation_prompt=False, clock=_CLOCK
    )


def _prefix(alone: list[int], whole: list[int]) -> list[int]:
    """What a post-processor puts before a text."""
    return whole[: whole.index(alone[0])] if alone and alone[0] in whole else []


def _read(path: Path, option: str) -> str:
    if not path.exists():
        raise InvalidRequestError(f"{option} {path}: no such file")
    if not path.is_file():  # reading a pipe would wait for ever
        raise InvalidRequestError(f"{option} {path}: is not a file")
    if path.stat().st_size > _MOST_BYTES:
        raise InvalidRequestError(f"{option} {path}: larger than 1 GB; take a part of it")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"{option} {path}: byte {error.start} is not UTF-8; expected UTF-8 text"
        ) from None
    except OSError as error:
        raise InvalidRequestError(f"{option} {path}: {error.strerror or error}") from None
    if not text.strip():
        raise InvalidRequestError(f"{option} {path}: is empty; expected text")
    return text
