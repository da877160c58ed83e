"""From messages to a prompt, by the Jinja template that a checkpoint brings.

The environment is the one that transformers renders with, so templates written for it work here.
A template is foreign code: it sees plain JSON values only, runs in Jinja's sandbox (no attribute
that begins with an underscore, no change of its inputs, ranges of at most 100,000), and neither
its result nor a repeated string may grow beyond `MAX_PROMPT_CHARACTERS`. Its run time is unlimited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.utils

from ..bundle import Bundle
from ..errors import InvalidRequestError, TemplateError

__all__ = ["MAX_PROMPT_CHARACTERS", "ChatTemplate"]

MAX_PROMPT_CHARACTERS = 8 << 20
FILE = "chat_template.jinja"
CONFIG = "tokenizer_config.json"

_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: the Jinja text.
        variables: what every rendering sees, such as `bos_token`.

    Raises:
        TemplateError: the template does not compile.
    """

    def __init__(self, source: str, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})
        try:
            self._template = _environment().from_string(source)
        except Exception as error:
            raise _template_error(error) from None

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> ChatTemplate:
        """The template of chat_template.jinja, or else of tokenizer_config.json.

        Raises:
            TemplateError: neither file has one, or it does not compile.
        """
        config = _read_config(bundle)
        source = bundle.read_text(FILE)
        if source is None:
            source = _embedded_template(config.get("chat_template"))
        if source is None:
            raise TemplateError(
                f"{bundle.folder}: no {FILE} and none in {CONFIG}, so this model takes no chat; "
                "use generate"
            )
        return cls(source, _special_tokens(config))

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt for `messages`.

        Args:
            messages: the turns, as JSON values; reasoning may stand under `thinking`,
                `reasoning` or `reasoning_content`.
            tools: JSON Schemas of functions that the model may call.
            add_generation_prompt: whether to end where the assistant's answer begins.
            **variables: what else the template reads, such as `preserve_thinking`.

        Raises:
            TemplateError: the template refused the messages, failed, or made too long a prompt.
            InvalidRequestError: the arguments are not JSON values.
        """
        given = {
            "documents": None,
            **self._variables,
            **variables,
            "messages": [_with_reasoning(message) for message in messages],
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
        }
        pieces, length = [], 0
        values = _plain(given)
        try:
            for piece in self._template.generate(values):
                length += len(piece)
                _require_short(length)
                pieces.append(piece)
        except Exception as error:
            raise _template_error(error) from None
        return "".join(pieces)


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %} ... {% endgeneration %}`, by which training masks answers: its body."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which also refuses to repeat a string or to raise a number without bound."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        if operator == "**":
            raise TemplateError("the chat template uses **, which is not allowed")
        for value, count in ((left, right), (right, left)):
            if isinstance(value, (str, list, tuple)) and isinstance(count, int):
                _require_short(len(value) * count)
        return super().call_binop(context, operator, left, right)


class _Namespace(jinja2.utils.Namespace):
    """Jinja's namespace, which stores no name that the sandbox would not read."""

    def __init__(*args: Any, **values: Any) -> None:  # so that `self=` is a value
        self, *mappings = args
        jinja2.utils.Namespace.__init__(self)
        for name, value in dict(*mappings, **values).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise TemplateError(f"the chat template stores {name!r}, which is not allowed")
        super().__setitem__(name, value)


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception,
        strftime_now=lambda pattern: datetime.now().strftime(pattern),
        namespace=_Namespace,
        dict=_dict,
    )
    return environment


def _dict(*args: Any, **values: Any) -> dict[Any, Any]:
    """Jinja hands out the class itself, with its methods."""
    return dict(*args, **values)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML; a prompt is none."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(f"the chat template refused the messages: {_one_line(message)}")


def _require_short(characters: int) -> None:
    if characters > MAX_PROMPT_CHARACTERS:
        raise TemplateError(
            f"the chat template makes a text of more than {MAX_PROMPT_CHARACTERS:,} characters"
        )


def _template_error(error: Exception) -> TemplateError:
    if isinstance(error, TemplateError):
        return error
    line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return TemplateError(
        f"the chat template failed{line}: {type(error).__name__}: {_one_line(error)}"
    )


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:500]


def _with_reasoning(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fills the fields that templates read reasoning from, as transformers does."""
    if not isinstance(message, Mapping):
        raise InvalidRequestError(f"messages: got a {type(message).__name__}, expected mappings")
    for field in _REASONING_FIELDS:
        if message.get(field) is not None:
            return {"thinking": message[field], **message, "reasoning_content": message[field]}
    return dict(message)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of nothing but JSON's types: objects with methods of their own stay outside."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the chat holds a value that is not JSON: {error}") from None
    return plain


def _read_config(bundle: Bundle) -> dict[str, Any]:
    text = bundle.read_text(CONFIG)
    if text is None:
        return {}
    try:
        config = json.loads(text)
    except ValueError as error:
        raise TemplateError(f"{bundle.folder / CONFIG}: {error}") from None
    if not isinstance(config, dict):
        raise TemplateError(f"{bundle.folder / CONFIG}: expected a JSON object")
    return config


def _embedded_template(value: Any) -> str | None:
    """A template is a string, or a list of named ones of which we take the default."""
    if isinstance(value, list):
        named = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    tokens = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            tokens[name] = text
    return tokens
