"""Writes tests/vectors/chat_formats.json: formats, conversations and the prompts that they make.

python -m tools.write_chat_vectors
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import InvalidRequestError, TemplateError
from lfm_export.device.chat.conversations import Conversation, conversation
from lfm_export.device.chat.format import render_chat
from lfm_export.device.chat_format import find_format

from tests.export.chat_variants import VARIANTS

__all__ = ["SPECIAL", "VECTORS", "conversations", "prompt", "vectors"]

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "chat_formats.json"
SPECIAL = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>"}
OPTIONS = ("preserve_thinking", "keep_past_thinking", "enable_thinking")
CONVERSATIONS = 40
_LONGEST = 900
"""Characters of a conversation's JSON."""
_FIRST = 5000
"""The first number of a conversation that is not one of the proof's."""


def vectors() -> str:
    """The file's text: a conversation a line, and behind them a format a line with its prompts."""
    chats = conversations()
    lines = [f'{{"conversations": [\n{_lines([_asked(chat) for chat in chats])}\n],']
    found = []
    for name, source in VARIANTS.items():
        section = find_format(ChatTemplate(source, SPECIAL))
        found.append(
            f'{{"name": {json.dumps(name)}, "format": {json.dumps(section, ensure_ascii=False)}, '
            f'"prompts": [\n{_lines([prompt(section, chat) for chat in chats])}\n]}}'
        )
    return "\n".join([*lines, '"formats": [', ",\n".join(found), "]}"]) + "\n"


def conversations() -> list[Conversation]:
    """The first ones that are not long, and not about nothing."""
    drawn = (conversation(seed, OPTIONS) for seed in itertools.count(_FIRST))
    short = (chat for chat in drawn if 80 < len(json.dumps(_asked(chat))) < _LONGEST)
    return list(itertools.islice(short, CONVERSATIONS))


def _asked(chat: Conversation) -> dict[str, Any]:
    return {
        "messages": chat.messages,
        "tools": chat.tools,
        "template_options": chat.options,
        "clock": chat.clock.isoformat(),
        "add_generation_prompt": chat.add_generation_prompt,
    }


def prompt(section: dict[str, Any], chat: Conversation) -> dict[str, Any]:
    """What a conversation becomes: a text and the bytes that others wrote, or an error."""
    try:
        made = render_chat(
            section,
            chat.messages,
            chat.tools,
            chat.options,
            chat.clock,
            chat.add_generation_prompt,
        )
    except (TemplateError, InvalidRequestError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"text": made.text, "theirs": made.in_bytes()}


def _lines(values: list[dict[str, Any]]) -> str:
    return ",\n".join(json.dumps(value, ensure_ascii=False) for value in values)


def main() -> None:
    """Writes the file."""
    VECTORS.write_text(vectors(), encoding="utf-8")


if __name__ == "__main__":
    main()
