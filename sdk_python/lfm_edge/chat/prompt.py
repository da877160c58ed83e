"""From messages to ids, with what users and tools wrote kept apart from the template's own markers.

A marker (`<|im_end|>`) is one token with a meaning of its own wherever the tokenizer reads its
text, so a user's text could end its own turn and begin a system's. To tell the two apart, the
template is rendered a second time, with every character that may begin a marker replaced, in what
users and tools wrote, by a private stand-in of the same length: a marker whose first character came
out as a stand-in is theirs. It is then spelled in ordinary tokens; all other ids stay as they are,
because an added token parts the text around it either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..errors import TemplateError
from ..tokenizer import Tokenizer
from .messages import plain
from .template import ChatTemplate

__all__ = ["prompt_ids"]

_TRUSTED_ROLES = frozenset({"system", "developer", "assistant"})
_PRIVATE_USE = range(0xF0000, 0xFFFFE)


def prompt_ids(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
    *,
    trust_markers: bool = False,
    clock: datetime | None = None,
) -> list[int]:
    """The prompt's ids.

    Args:
        template: what renders the messages.
        tokenizer: what reads the prompt.
        messages: the turns. Those of other roles than system, developer and assistant, the
            `tools`, the documents and the arguments of calls are text that others wrote.
        tools: JSON Schemas of functions that the model may call.
        variables: further variables of the template.
        trust_markers: whether the text of a marker is that marker wherever it stands, as in
            transformers.
        clock: the time that the template sees; None: now.

    Raises:
        TemplateError: see `ChatTemplate.render`; or the prompt is empty.
        InvalidRequestError: the arguments are not JSON values.
    """
    options = dict(variables or {})
    prompt = template.render(messages, tools, clock=clock, **options)
    if not prompt:
        raise TemplateError("the chat template made an empty prompt of these messages")
    ids = tokenizer.encode(prompt)
    markers = _markers(tokenizer, template, tools)
    if trust_markers or not markers.intersection(ids):
        return ids
    plain_messages = plain([dict(message) for message in messages])
    stand_ins = _stand_ins(tokenizer, markers, prompt, [plain_messages, plain(tools), options])
    their_messages = [_marked_message(message, stand_ins) for message in plain_messages]
    if "documents" in options:
        options["documents"] = _replaced(plain(options["documents"]), stand_ins)
    their_tools = _replaced(plain(tools), stand_ins)
    if their_messages == plain_messages and their_tools == tools and options == (variables or {}):
        return ids
    marked = template.render(their_messages, their_tools, clock=clock, **options)
    return _encode(tokenizer, markers, ids, _unescaped(marked, stand_ins), stand_ins)


def _markers(
    tokenizer: Tokenizer, template: ChatTemplate, tools: Sequence[Mapping[str, Any]] | None
) -> set[int]:
    """The added tokens that mean something to the model rather than spell text.

    These are the special ones, and of the others those that a tokenizer_config.json lists as
    `chat_control_tokens`, or else those in brackets (`<think>`) and those that the template writes.
    """
    source, listed = template.source(tools), template.control_tokens
    markers = set()
    for token, (text, special) in tokenizer.added_tokens().items():
        if listed is not None:
            counts = text in listed
        else:
            in_brackets = len(text) > 2 and text[0] in "<[{(" and text[-1] in ">]})"
            is_word = all(character.isalnum() or character.isspace() for character in text)
            counts = in_brackets or (not is_word and text in source)
        if special or counts:
            markers.add(token)
    return markers


def _stand_ins(
    tokenizer: Tokenizer, markers: set[int], prompt: str, given: object
) -> dict[int, str]:
    """For each character that begins a marker, one that nobody wrote; as `str.translate` wants it.

    A normalizer may turn further characters into one of these.
    """
    added = tokenizer.added_tokens()
    first = {added[token][0][:1] for token in markers}
    written = set(prompt) | set(_characters(given))
    begins = first | {c for c in written if tokenizer.normalize(c)[:1] in first}
    free = (chr(code) for code in _PRIVATE_USE if chr(code) not in written)
    return {ord(character): next(free) for character in sorted(begins) if character}


def _characters(value: object) -> set[str]:
    if isinstance(value, str):
        return set(value)
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        return set().union(*map(_characters, value))
    return set()


def _marked_message(message: dict[str, Any], stand_ins: dict[int, str]) -> dict[str, Any]:
    if message.get("role") not in _TRUSTED_ROLES:
        replaced: dict[str, Any] = _replaced(message, stand_ins)
        return replaced
    marked = dict(message)
    for name in ("tool_calls", "function_call"):
        if marked.get(name):
            marked[name] = _replaced(marked[name], stand_ins)
    return marked


def _replaced(value: Any, stand_ins: dict[int, str]) -> Any:
    if isinstance(value, str):
        return value.translate(stand_ins)
    if isinstance(value, list):
        return [_replaced(item, stand_ins) for item in value]
    if isinstance(value, dict):
        return {_replaced(name, stand_ins): _replaced(v, stand_ins) for name, v in value.items()}
    return value


def _unescaped(text: str, stand_ins: dict[int, str]) -> str:
    """Undoes what templates escape, though it stands for ASCII characters.

    `tojson(ensure_ascii=True)` does, and a list or an object that is printed as Python prints it.
    """
    for stand_in in stand_ins.values():
        high, low = divmod(ord(stand_in) - 0x10000, 0x400)
        text = text.replace(f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}", stand_in)
        text = text.replace(f"\\U{ord(stand_in):08x}", stand_in)
    return text


def _encode(
    tokenizer: Tokenizer, markers: set[int], ids: list[int], marked: str, stand_ins: dict[int, str]
) -> list[int]:
    """The ids of `marked`, in which the markers that begin with a stand-in are spelled out.

    Where the template itself looked for the replaced characters, `marked` may be another text than
    that of `ids`; these are taken if they hold no other markers than the template's own.
    """
    text = marked.translate({ord(stand_in): code for code, stand_in in stand_ins.items()})
    theirs = frozenset(stand_ins.values())
    result, own = [], []
    for token, start, stop in tokenizer.encode_with_offsets(text):
        begin = next((c for c in marked[start:stop] if not c.isspace()), "")
        if token in markers and begin in theirs:
            result += tokenizer.spell(text[start:stop], token)
            continue
        result.append(token)
        if token in markers:
            own.append(token)
    return ids if [token for token in ids if token in markers] == own else result
