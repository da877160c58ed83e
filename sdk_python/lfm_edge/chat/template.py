"""From messages to a prompt, by the Jinja template that a checkpoint brings.

Which template that is, and which special tokens it sees, is decided as transformers decides it;
`docs/checkpoints.md` has the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..errors import TemplateError
from ..file_names import CHAT_TEMPLATE, CHAT_TEMPLATES, SPECIAL_TOKENS, TOKENIZER_CONFIG
from ..special_tokens import named_tokens, with_special_tokens_map
from . import sandbox
from .messages import normalize_messages, plain

__all__ = ["ChatTemplate"]

_DEFAULT, _TOOL_USE = "default", "tool_use"


class ChatTemplate:
    """A checkpoint's chat templates.

    Args:
        source: the Jinja text, or several by name, of which `tool_use` serves chats with tools and
            `default` all others.
        variables: what every rendering sees, such as `bos_token`.
        control_tokens: the added tokens that count as markers besides special ones; None leaves
            it to the looks of a token.

    Raises:
        TemplateError: a template does not compile.
    """

    def __init__(
        self,
        source: str | Mapping[str, str],
        variables: Mapping[str, str] | None = None,
        control_tokens: Sequence[str] | None = None,
    ) -> None:
        self._sources = {_DEFAULT: source} if isinstance(source, str) else dict(source)
        self._variables = dict(variables or {})
        self.special_tokens = frozenset(self._variables.values())
        """The texts of the tokens that templates write by name, such as `bos_token`."""
        self.control_tokens = control_tokens
        for text in self._sources.values():
            sandbox.render(text, None)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> ChatTemplate:
        """The templates that stand in files of their own, or else those of tokenizer_config.json.

        Raises:
            TemplateError: there is none, or one does not compile.
        """
        return cls.of_files(bundle.folder, bundle.manifest.files, bundle.read_text)

    @classmethod
    def of_files(
        cls, folder: Path, names: Collection[str], read_text: Callable[[str], str | None]
    ) -> ChatTemplate:
        """The same for files that are no bundle's yet.

        Args:
            folder: where they lie, for messages.
            names: the files that there are.
            read_text: the text of one, or None where there is no such file.

        Raises:
            TemplateError: as `of_bundle`.
        """
        config = _read_object(folder / TOKENIZER_CONFIG, read_text)
        sources = _files(names, read_text) or _embedded(config.get("chat_template"))
        if not sources:
            raise TemplateError(
                f"{folder}: no {CHAT_TEMPLATE} and none in {TOKENIZER_CONFIG}, so this "
                "model takes no chat; use generate"
            )
        config = with_special_tokens_map(config, _read_object(folder / SPECIAL_TOKENS, read_text))
        control = config.get("chat_control_tokens")
        return cls(sources, _special_tokens(config), control if isinstance(control, list) else None)

    def source(self, tools: Sequence[Mapping[str, Any]] | None = None) -> str:
        """The text of the template that a chat with `tools` is rendered by.

        Raises:
            TemplateError: there are several, but none for such a chat.
        """
        if tools is not None and _TOOL_USE in self._sources:
            return self._sources[_TOOL_USE]
        if _DEFAULT not in self._sources:
            raise TemplateError(
                f"the model has the chat templates {', '.join(sorted(self._sources))}, "
                f"but no {_DEFAULT} one, which a chat without tools needs"
            )
        return self._sources[_DEFAULT]

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = True,
        clock: datetime | None = None,
        **variables: Any,
    ) -> str:
        """The prompt for `messages`.

        Args:
            messages: the turns, as JSON values; reasoning may stand under `thinking`,
                `reasoning` or `reasoning_content`.
            tools: JSON Schemas of functions that the model may call.
            add_generation_prompt: whether to end where the assistant's answer begins.
            clock: the time that `strftime_now` tells; None: now.
            **variables: what else the template reads, such as `preserve_thinking`.

        Raises:
            TemplateError: the template refused the messages, failed, took too much time or memory,
                or made too long a prompt.
            InvalidRequestError: the arguments are not JSON values.
        """
        given = {
            "documents": None,
            **self._variables,
            **variables,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
        }
        values = {**plain(given), "messages": normalize_messages(messages)}
        return sandbox.render(self.source(tools), values, clock)


def _files(names: Collection[str], read_text: Callable[[str], str | None]) -> dict[str, str]:
    """The templates in files of their own, by name."""
    found = {CHAT_TEMPLATE: _DEFAULT} | {
        name: name.removeprefix(f"{CHAT_TEMPLATES}/").removesuffix(".jinja")
        for name in sorted(names)
        if name.startswith(f"{CHAT_TEMPLATES}/")
        and name.count("/") == 1
        and name.endswith(".jinja")
    }
    texts = {name: read_text(file) for file, name in found.items()}
    return {name: text for name, text in texts.items() if text is not None}


def _embedded(value: Any) -> dict[str, str]:
    """A template is a string, or a list or an object of named ones."""
    if isinstance(value, str):
        return {_DEFAULT: value}
    if isinstance(value, list):
        value = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
    if not isinstance(value, dict):
        return {}
    return {str(name): text for name, text in value.items() if isinstance(text, str)}


def _read_object(path: Path, read_text: Callable[[str], str | None]) -> dict[str, Any]:
    text = read_text(path.name)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise TemplateError(f"{path}: expected a JSON object")
    return value


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        name: token.get("content") if isinstance(token, dict) else token
        for name, token in named_tokens(config).items()
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}
