"""Renders chat templates; a program of its own, which `sandbox.py` starts and watches.

It reads one request a line, `{"source": ..., "values": ..., "longest": ...}` (with null for values
it compiles only; a `clock` is the time to tell), and answers each with `{"text": ...}` or
`{"error": ...}`. The environment is the one that transformers renders with, so templates written
for it work here. A template is foreign code: it sees plain JSON values only and runs in Jinja's
sandbox (no attribute that begins with an underscore, no change of its inputs). How much memory and
time it takes is the parent's affair.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import IO, Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.utils

__all__ = ["serve"]


class RefusalError(Exception):
    """A message for the user, complete as it is."""


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %} ... {% endgeneration %}`, by which training masks answers: its body."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which names the commonest ways to take all memory before they do."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, longest: int, **options: Any) -> None:
        super().__init__(**options)
        self._longest = longest

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        if operator == "**":
            raise RefusalError("the chat template uses **, which is not allowed")
        for value, count in ((left, right), (right, left)):
            if isinstance(value, (str, list, tuple)) and isinstance(count, int):
                _require_short(len(value) * count, self._longest)
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
            raise RefusalError(f"the chat template stores {name!r}, which is not allowed")
        super().__setitem__(name, value)


class _Dict:
    """What `dict` is in a template: Jinja hands out the class itself, with all its methods."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _environment(longest: int) -> _Environment:
    environment = _Environment(
        longest,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception,
        strftime_now=lambda pattern: datetime.now().strftime(pattern),
        namespace=_Namespace,
        dict=_Dict(),
    )
    return environment


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
    raise RefusalError(f"the chat template refused the messages: {_one_line(message)}")


def _require_short(characters: int, longest: int) -> None:
    if characters > longest:
        raise RefusalError(f"the chat template makes a text of more than {longest:,} characters")


@lru_cache(32)
def _compile(source: str, longest: int) -> jinja2.Template:
    return _environment(longest).from_string(source)


def _render(
    source: str, values: dict[str, Any] | None, longest: int, clock: str | None = None
) -> str:
    template = _compile(source, longest)
    if values is None:
        return ""
    if clock is not None:
        values["strftime_now"] = datetime.fromisoformat(clock).strftime
    pieces, length = [], 0
    for piece in template.generate(values):
        length += len(piece)
        _require_short(length, longest)
        pieces.append(piece)
    return "".join(pieces)


def _answer(request: dict[str, Any]) -> dict[str, str]:
    try:
        return {"text": _render(**request)}
    except RefusalError as refusal:
        return {"error": str(refusal)}
    except Exception as error:  # a template may raise whatever Python can
        line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        kind = type(error).__name__
        return {"error": f"the chat template failed{line}: {kind}: {_one_line(error)}"}


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:500]


def _processor_time_limiter() -> Callable[[int], None]:
    """Ends this program where nobody watches it any more: its parent was killed meanwhile."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return lambda _: None

    def limit(seconds: int) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        most = int(usage.ru_utime + usage.ru_stime) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))

    return limit


def serve(requests: IO[bytes], answers: IO[bytes], orphan_seconds: int = 60) -> None:
    """Answers requests, one after the other, until there are no more."""
    limit = _processor_time_limiter()
    for request in requests:
        limit(orphan_seconds)
        answers.write(json.dumps(_answer(json.loads(request))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
