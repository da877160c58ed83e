"""From messages to ids, with what users and tools wrote kept apart from the template's own markers.

A marker (`<|im_end|>`) is one token with a meaning of its own wherever the tokenizer reads its
text, so a user's text could end its own turn and begin a system's. To tell the two apart, the
template is rendered a second time, with every character at which a marker of the prompt begins
replaced, in what users and tools wrote, by a private stand-in of the same length: a marker that
begins where a stand-in came out is theirs. It is then spelled in ordinary tokens; all other ids
stay as they are, because an added token parts the text around it either way.

A template that looks for such a character may make another prompt of the second rendering. Then
only what may become a whole marker is replaced; where even that changes the prompt, it is refused.
Such a template may also make a marker of pieces that others wrote, and a normalizer of any text:
then the markers that stay must be those of the second rendering, in which others can begin none.
Where there is a normalizer, only the first way is tried.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from ..errors import InvalidRequestError, TemplateError
from ..tokenizer import Tokenizer
from .messages import normalize_messages, plain
from .template import ChatTemplate

__all__ = ["marker_ids", "prompt_ids"]

_TRUSTED_ROLES = frozenset({"system", "developer", "assistant"})
_PRIVATE_USE = range(0xF0000, 0xFFFFE)
_OWN_VARIABLES = frozenset({"self", "messages", "tools", "clock"})

_Mark = Callable[[str], str]
"""Puts stand-ins into a text that others wrote."""


def prompt_ids(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
    *,
    trust_markers: bool = False,
    clock: datetime | None = None,
    most: int | None = None,
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
        most: how many tokens it may have; None sets no limit.

    Raises:
        TemplateError: see `ChatTemplate.render`; or the prompt is empty.
        ContextFullError: it has more than `most` tokens.
        InvalidRequestError: the arguments are not JSON values.
    """
    options = _checked(variables)
    try:
        return _prompt_ids(
            template, tokenizer, messages, tools, options, trust_markers, clock, most
        )
    except RecursionError:
        raise InvalidRequestError("the chat holds values that are nested too deeply") from None


def _checked(variables: Mapping[str, Any] | None) -> dict[str, Any]:
    if variables is not None and not isinstance(variables, Mapping):
        raise InvalidRequestError("template_options: expected the template's variables by name")
    for name in variables or {}:
        if not isinstance(name, str) or name in _OWN_VARIABLES:
            raise InvalidRequestError(f"template_options: {name!r} cannot be set; remove it")
    return dict(variables or {})


def _prompt_ids(
    template: ChatTemplate,
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    options: dict[str, Any],
    trust_markers: bool,
    clock: datetime | None,
    most: int | None,
) -> list[int]:
    # Before anything is marked: the JSON text of arguments may spell a marker by its escapes.
    messages = normalize_messages(messages)
    prompt = template.render(messages, tools, clock=clock, **options)
    if not prompt:
        raise TemplateError("the chat template made an empty prompt of these messages")
    tokens = tokenizer.encode_with_offsets(prompt, most)  # spelled markers only make it longer
    ids = [token for token, _, _ in tokens]
    markers = marker_ids(tokenizer, template, tools)
    found = markers.intersection(ids)
    if trust_markers or not found:
        return ids
    given = plain([messages, tools, options])
    begins = [_begin(prompt, start, stop) for token, start, stop in tokens if token in found]
    stand_ins = _stand_ins({prompt[at] for at in begins}, prompt, given)
    texts = [tokenizer.added_tokens()[token][0] for token in found]
    marks: list[_Mark] = [lambda text: text.translate(stand_ins)]
    if not tokenizer.normalizes:
        marks.append(lambda text: _whole_markers_replaced(text, texts, stand_ins))
    own: list[int] | None = None
    for mark in marks:
        theirs = _marked(given, mark)
        if theirs == given and own is None:
            return ids
        their_messages, their_tools, their_options = theirs
        rendered = template.render(their_messages, their_tools, clock=clock, **their_options)
        marked = _unescaped(rendered, stand_ins)
        certain = own is None and not tokenizer.normalizes
        if own is None:
            own = _only(markers, tokenizer.encode(marked))
        places = _their_places(prompt, marked, stand_ins)
        if places is None:
            continue
        result = _spelled(tokenizer, markers, prompt, tokens, places)
        if certain or _only(markers, result) == own:
            return result
    raise TemplateError(
        "a user or a tool wrote a marker of the model's, and without it the chat template makes "
        "another prompt, so that it cannot be told from the template's own; remove it, or trust it"
    )


def _only(markers: Collection[int], ids: Sequence[int]) -> list[int]:
    return [token for token in ids if token in markers]


def _begin(prompt: str, start: int, stop: int) -> int:
    """Where a token's own text begins: a marker may take the spaces before it along."""
    return next((at for at in range(start, stop) if not prompt[at].isspace()), start)


def marker_ids(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> set[int]:
    """The added tokens that mean something to the model rather than spell text.

    These are the special ones, and of the others those that a tokenizer_config.json lists as
    `chat_control_tokens`, or else those in brackets (`<think>`) and those that the template writes.
    """
    source, listed = template.source(tools), template.control_tokens
    named = template.special_tokens
    markers = set()
    for token, (text, special) in tokenizer.added_tokens().items():
        if listed is not None:
            counts = text in listed
        else:
            in_brackets = len(text) > 2 and text[0] in "<[{(" and text[-1] in ">]})"
            is_word = all(character.isalnum() or character.isspace() for character in text)
            counts = in_brackets or (not is_word and text in source)
        if special or counts or text in named:
            markers.add(token)
    return markers


def _stand_ins(begins: Collection[str], prompt: str, given: object) -> dict[int, str]:
    """For each character that begins a marker, one that nobody wrote; as `str.translate` wants it.

    A template may turn the case of what was written.
    """
    everything = "\0".join([prompt, *_strings(given)])
    free = (
        chr(code)
        for code in _PRIVATE_USE
        if not any(text in everything for text in (chr(code), *_escapes(chr(code))))
    )
    cases = {case for c in begins for case in (c, c.lower(), c.upper()) if len(case) == 1}
    return {ord(character): next(free) for character in sorted(cases)}


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    return []


def _whole_markers_replaced(
    text: str, markers: Collection[str], stand_ins: Mapping[int, str]
) -> str:
    """Stand-ins only where a marker begins, or may begin, if the template goes on with the rest."""
    found = [
        stand_ins[ord(character)]
        if ord(character) in stand_ins
        and any(
            text.startswith(marker, at) or marker.startswith(text[at : at + len(marker)])
            for marker in markers
        )
        else character
        for at, character in enumerate(text)
    ]
    return "".join(found)


def _marked(given: list[Any], mark: _Mark) -> list[Any]:
    """Messages, tools and options with stand-ins in what users and tools wrote."""
    messages, tools, options = given
    if "documents" in options:
        options = {**options, "documents": _replaced(options["documents"], mark)}
    theirs = [_marked_message(message, mark) for message in messages]
    return [theirs, _replaced(tools, mark), options]


def _marked_message(message: dict[str, Any], mark: _Mark) -> dict[str, Any]:
    role = message.get("role")
    if not isinstance(role, str) or role not in _TRUSTED_ROLES:
        replaced: dict[str, Any] = _replaced(message, mark)
        return replaced
    marked = dict(message)
    for name in ("tool_calls", "function_call"):
        if marked.get(name):
            marked[name] = _replaced(marked[name], mark)
    return marked


def _replaced(value: Any, mark: _Mark) -> Any:
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, list):
        return [_replaced(item, mark) for item in value]
    if isinstance(value, dict):
        return {_replaced(name, mark): _replaced(item, mark) for name, item in value.items()}
    return value


def _escapes(stand_in: str) -> tuple[str, str]:
    """How JSON and Python write it in ASCII."""
    high, low = divmod(ord(stand_in) - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}", f"\\U{ord(stand_in):08x}"


def _unescaped(text: str, stand_ins: dict[int, str]) -> str:
    """Undoes what templates escape, though it stands for ASCII characters.

    `tojson(ensure_ascii=True)` does, and a list or an object that is printed as Python prints it.
    """
    for stand_in in stand_ins.values():
        for escaped in _escapes(stand_in):
            text = text.replace(escaped, stand_in)
    return text


def _their_places(prompt: str, marked: str, stand_ins: Mapping[int, str]) -> set[int] | None:
    """Where in `prompt` the stand-ins of `marked` came out; None if it is another text."""
    original = {stand_in: chr(code) for code, stand_in in stand_ins.items()}
    pattern = re.compile(f"[{''.join(original)}]")
    first, *rest = pattern.split(marked)
    if not prompt.startswith(first):
        return None
    places, position = set(), len(first)
    for stand_in, following in zip(pattern.findall(marked), rest, strict=True):
        spellings = _spellings(original[stand_in])
        fits = (text for text in spellings if prompt.startswith(text + following, position))
        spelled = next(fits, None)
        if spelled is None:
            return None
        places.add(position)
        position += len(spelled) + len(following)
    return places if position == len(prompt) else None


@lru_cache(64)
def _spellings(character: str) -> tuple[str, ...]:
    """What templates' filters make of a character."""
    escaped = (html.escape(character), quote(character), f"\\u{ord(character):04x}")
    return (character, *escaped, character.lower(), character.upper())


def _spelled(
    tokenizer: Tokenizer,
    markers: Collection[int],
    prompt: str,
    tokens: Sequence[tuple[int, int, int]],
    theirs: Collection[int],
) -> list[int]:
    """The ids of `tokens`, in which the markers that begin at `theirs` are spelled out."""
    result: list[int] = []
    for token, start, stop in tokens:
        if token in markers and _begin(prompt, start, stop) in theirs:
            result += tokenizer.spell(prompt[start:stop], token, markers)
        else:
            result.append(token)
    return result
