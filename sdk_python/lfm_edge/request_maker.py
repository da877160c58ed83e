"""From options to a request: what an answer is made with."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .answer import Request
from .bundle import Bundle
from .chat.markers import THINK_END, THINK_START, Markers
from .errors import InvalidRequestError, UnsupportedBundleError, is_whole
from .generation_config import read_generation_config
from .generation_options import DEFAULT_CONTEXT
from .runtime import Runtime
from .sampling import Sampler, SamplingOptions
from .session import Session
from .speculation import Choice, Pace, Speculation
from .stop_strings import StopFilter
from .targets import open_runtime
from .tokenizer import Detokenizer, Tokenizer

if TYPE_CHECKING:
    from .structured import Constraint, Vocabulary

__all__ = ["RequestMaker"]

_LONGEST_OPENING = 16
"""Tokens at a prompt's end that hold `<think>` and white space, spelled however."""


class RequestMaker:
    """An opened bundle, and what its answers have in common.

    Args:
        bundle: the bundle.
        threads: to compute with; by default one per physical core.
        runtime: what runs it, if not the one that its target has on this machine.

    Raises:
        LfmError: as `load`.
    """

    def __init__(
        self, bundle: Bundle, threads: int | None = None, runtime: Runtime | None = None
    ) -> None:
        self.bundle = bundle
        """The folder and its manifest (`bundle.manifest`)."""
        self.runtime = runtime or open_runtime(bundle, threads)
        """What runs the graph."""
        self.defaults: SamplingOptions
        """How tokens are drawn unless an answer says otherwise: the bundle's own defaults."""
        self.eos_ids: frozenset[int]
        """The tokens that end an answer."""
        self._pace = Pace()
        self.defaults, self.eos_ids = read_generation_config(bundle)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer; raises BundleError where it has none."""
        return Tokenizer(self.bundle)

    def session(self, context: int | None = None) -> Session:
        """An empty session that holds up to `context` tokens.

        Args:
            context: by default the smaller of 4096 and the bundle's maximum.

        Raises:
            InvalidRequestError: `context` is below 1 or above the bundle's maximum.
        """
        return Session(self.runtime, self._context(context))

    def _context(self, context: int | None) -> int:
        """The capacity that a session has for this `context`."""
        most = self.bundle.manifest.model.max_context
        if context is None:
            return min(DEFAULT_CONTEXT, most)
        if not (is_whole(context) and 1 <= context <= most):
            shown = f"{context:,}" if is_whole(context) else repr(context)
            raise InvalidRequestError(
                f"context: got {shown}, expected 1 to {most:,}, the most this bundle holds"
            )
        return int(context)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """The tokens as grammars see them."""
        from .structured import Vocabulary  # noqa: PLC0415 (loads llguidance, takes its time)

        if not self.eos_ids:
            raise InvalidRequestError(
                f"{self.bundle.folder}: the model has no end token, so an answer of a given form "
                "would never end"
            )
        return Vocabulary(self.tokenizer, self.runtime.vocab_size, self.eos_ids)

    def _capacity(self, options: Mapping[str, Any]) -> int:
        """How many tokens an answer's session will hold, or more where that is not known yet."""
        session, context = options.get("session"), options.get("context")
        if isinstance(session, Session):
            return session.capacity
        if callable(session) and context is None:
            return self.bundle.manifest.model.max_context
        return self._context(context)

    def _request(
        self,
        prompt: list[int],
        *,
        may_think: bool,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        context: int | None = None,
        session: Session | Callable[[list[int]], Session] | None = None,
        cancel: threading.Event | None = None,
        logprobs: int | None = None,
        speculation: Choice | None = None,
        schema: Mapping[str, Any] | bool | None = None,
        regex: str | None = None,
        choices: Sequence[str] | None = None,
        grammar: str | None = None,
        **sampling: Any,
    ) -> Request:
        model = self.bundle.manifest.model
        if isinstance(session, Session) and context is not None:
            raise InvalidRequestError("context: a session was given, which has its own")
        form = {"schema": schema, "regex": regex, "choices": choices, "grammar": grammar}
        if callable(session):
            session = session(prompt)
        if session is None:
            session = self.session(context)
        if not isinstance(session, Session):
            raise InvalidRequestError(
                f"session: got a {type(session).__name__}, expected one of Model.session"
            )
        return Request(
            session,
            prompt,
            sampler=self._sampler(sampling),
            detokenizer=Detokenizer(self.tokenizer, {model.bos_token_id, model.pad_token_id}),
            stops=StopFilter(() if stop is None else stop),
            eos_ids=self.eos_ids,
            max_tokens=max_tokens,
            cancel=cancel or threading.Event(),
            constraint=self._constraint(form, prompt, may_think=may_think),
            logprobs=logprobs,
            speculation=self._speculation(session, speculation),
        )

    def _speculation(self, session: Session, choice: Choice | None) -> Speculation | None:
        if choice is None:
            choice = "auto"
        if choice is False or (choice == "auto" and not self.runtime.access.ahead):
            return None
        if not self.runtime.access.ahead:
            raise UnsupportedBundleError(
                f"speculation: {self.bundle.folder} cannot check several tokens in one run; "
                "export it with --target onnx"
            )
        return Speculation(session, self._pace, choice)

    def _constraint(
        self, form: Mapping[str, Any], prompt: Sequence[int], *, may_think: bool
    ) -> Constraint | None:
        given = {name: value for name, value in form.items() if value is not None}
        if not given:
            return None
        from . import structured  # noqa: PLC0415 (loads llguidance)

        if len(given) > 1:
            raise InvalidRequestError(
                f"got {' and '.join(given)}, but an answer has one form; choose one"
            )
        ((name, value),) = given.items()
        grammars: dict[str, Callable[[Any], str]] = {
            "schema": structured.schema_grammar,
            "regex": structured.regex_grammar,
            "choices": structured.choice_grammar,
            "grammar": structured.lark_grammar,
        }
        opening, closing = map(self.tokenizer.added_id, (THINK_START, THINK_END))
        begun, thinking = self._opens_reasoning(prompt), None
        if opening is not None and closing is not None and (may_think or begun):
            thinking = structured.Thinking(opening, closing, begun)
        return structured.Constraint(self._vocabulary, grammars[name](value), thinking)

    def _opens_reasoning(self, prompt: Sequence[int]) -> bool:
        """Whether an answer to this prompt starts in reasoning."""
        return Markers.opens_reasoning(self.tokenizer.decode(prompt[-_LONGEST_OPENING:]))

    def _closing(self, *, bound: bool) -> list[int]:
        """The tokens that close reasoning; with an empty line, where the answer's form is free."""
        return self.tokenizer.encode(THINK_END if bound else f"{THINK_END}\n\n")

    def _sampler(self, sampling: Mapping[str, Any]) -> Sampler:
        given = {name: value for name, value in sampling.items() if value is not None}
        known = {field.name for field in dataclasses.fields(SamplingOptions)}
        if unknown := sorted(given.keys() - known):
            raise TypeError(f"unknown option {unknown[0]!r}")
        return Sampler(dataclasses.replace(self.defaults, **given), self.runtime.vocab_size)
