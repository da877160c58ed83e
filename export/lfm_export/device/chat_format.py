"""The chat format of a bundle: its templates as data, proved against the templates themselves.

`docs/chat_format.md` describes the data. A template is not parsed: it is asked what it writes of
messages that show it, and the format that this gives is compared with it on conversations that
hold whatever clients send. What differs anywhere is no format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import InvalidRequestError, TemplateError

from .chat.conversations import Conversation, conversation
from .chat.format import FORMAT_VERSION, render_template
from .chat.probe import Failure, InexpressibleError, Patient
from .chat.variants import find_template

__all__ = ["PROOFS", "chat_section", "find_format"]

PROOFS = 300
"""Conversations that a format has to render as the template does."""
_SHOWN = 60
_MOST_SECONDS = 300.0
_LONGEST_NOTE = 700
_ERROR = "error: "


def chat_section(files: Mapping[str, Path | str], note: Callable[[str], None]) -> bytes | None:
    """The section "chat" of a device.bin, or None where there is no template, or none such.

    Args:
        files: the bundle's small files by name, as `Companions` has them: a file or its text.
        note: hears why a template cannot be written as data.
    """

    def read(name: str) -> str | None:
        content = files.get(name)
        return content.read_text(encoding="utf-8") if isinstance(content, Path) else content

    try:
        template = ChatTemplate.of_files(files, read, Path())
    except TemplateError as error:
        if "so this model takes no chat" not in str(error):
            note(f"no chat on devices: {error}")
        return None
    try:
        section = find_format(template)
    except InexpressibleError as reason:
        text = f"no chat on devices: the chat template cannot be written as data: {reason}"
        note(" ".join(text.split())[:_LONGEST_NOTE])
        return None
    try:
        return json.dumps(section, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        note("no chat on devices: the chat template writes what is no character")
        return None


def find_format(template: ChatTemplate) -> dict[str, Any]:
    """The format of a checkpoint's templates.

    Raises:
        InexpressibleError: one of them does what no format says; its text has the first difference.
    """
    found = {}
    for name, source in template.sources.items():
        if name not in ("default", "tool_use"):
            continue
        single = Patient(ChatTemplate(source, template.variables), _MOST_SECONDS)
        try:
            found[name] = find_template(single, source, template.variables)
            _prove(single, found[name])
        except (TemplateError, InvalidRequestError, RecursionError) as error:
            raise InexpressibleError(str(error)) from None
    section: dict[str, Any] = {"version": FORMAT_VERSION, "templates": found}
    if "default" not in found:
        section["names"] = sorted(template.sources)
    return section


def _prove(template: Patient, found: dict[str, Any]) -> None:
    for seed in range(PROOFS):
        chat = conversation(seed, found["options"])
        made = template.render(
            chat.messages, chat.tools, chat.clock, chat.add_generation_prompt, chat.options
        )
        expected = _ERROR + made.text if isinstance(made, Failure) else made
        got = _by_format(found, chat)
        if got != expected and not _is_near_enough(chat, expected, got):
            raise InexpressibleError(_difference(chat, expected, got))


def _is_near_enough(chat: Conversation, expected: str, got: str | None) -> bool:
    """Whether both are errors, or the format refuses what no client sends.

    Of two things that are wrong with messages, the format may name the other one.
    """
    is_error = expected.startswith(_ERROR)
    if got is None:
        return is_error or chat.odd
    return is_error and got.startswith(_ERROR) and chat.odd


def _by_format(found: dict[str, Any], chat: Conversation) -> str | None:
    """The prompt; None where the format refuses the messages."""
    try:
        return render_template(
            found, chat.messages, chat.tools, chat.options, chat.clock, chat.add_generation_prompt
        ).text
    except TemplateError as error:
        return f"{_ERROR}{error}"
    except InvalidRequestError:
        return None


def _difference(chat: Conversation, expected: str, got: str | None) -> str:
    """Where the two part, in one line."""
    got = got or "nothing"
    at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), None)
    at = min(len(expected), len(got)) if at is None else at
    before = expected[max(0, at - _SHOWN // 2) : at]
    roles = ", ".join(str(message.get("role")) for message in chat.messages[:8])
    with_tools = " and tools" if chat.tools else ""
    return (
        f"of the messages {roles or 'none'}{with_tools} it makes, behind {before!r}, "
        f"{expected[at : at + _SHOWN]!r}, where the data says {got[at : at + _SHOWN]!r}"
    )
