"""The model of a bundle: sessions of tokens, completion and chat in text."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from .answer import Request
from .bundle import Bundle
from .chat.events import EventSplitter
from .chat.markers import THINK_END, THINK_START, Markers
from .chat.prompt import prompt_ids
from .chat.template import ChatTemplate
from .chat.thinking_budget import ThinkingBudget
from .chat.tools import Tool
from .conversation import Conversation, Message, Setting
from .errors import InvalidRequestError, UnsupportedBundleError, is_whole
from .event_stream import EventStream
from .generation import Generation
from .generation_config import read_generation_config
from .generation_options import DEFAULT_CONTEXT, AnswerOptions, GenerationOptions
from .runtime import Runtime
from .sampling import Sampler, SamplingOptions
from .session import Session, require_ids
from .speculation import Choice, Pace, Speculation
from .stop_strings import StopFilter
from .targets import open_runtime
from .tokenizer import Detokenizer, Tokenizer

if TYPE_CHECKING:
    from .structured import Constraint, Vocabulary

__all__ = ["Message", "Model", "load"]


_LONGEST_OPENING = 16
"""Tokens at a prompt's end that hold `<think>` and white space, spelled however."""


def load(path: Path | str, threads: int | None = None) -> Model:
    """Opens a bundle and makes it ready to run.

    Args:
        path: the bundle's folder.
        threads: threads to compute with; by default one per physical core.

    Raises:
        BundleError: the bundle is missing, malformed or damaged, or its graph does not load.
        UnsupportedBundleError: its format or target is not one that this version runs.
        InvalidRequestError: `threads` is below 1.
    """
    return Model(Bundle(path), threads)


class Model:
    """An opened bundle that is ready to run, as `load` gives it; safe to share between threads.

    Args:
        bundle: the bundle.
        threads: see `load`.
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

    @cached_property
    def template(self) -> ChatTemplate:
        """The bundle's chat template; raises TemplateError where it has none."""
        return ChatTemplate.of_bundle(self.bundle)

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
            raise InvalidRequestError(
                f"context: got {context!r}, expected 1 to {most:,}, the most this bundle holds"
            )
        return int(context)

    def generate(
        self, prompt: str | Sequence[int], **options: Unpack[GenerationOptions]
    ) -> Generation:
        """Continues `prompt`, a text or its ids, and yields the new text in pieces.

        The text shows special tokens, except those that begin, end and pad. A text's ids begin with
        the token that begins one; ids are taken as they are.

        Args:
            prompt: the text; the tokenizer's first token is put before it unless it has it.
            **options: see `GenerationOptions`.

        Raises:
            InvalidRequestError: the prompt is empty or an option is out of range.
            UnknownTokenError: an id lies outside the vocabulary.
            ContextFullError: the context does not hold the prompt.
            BundleError: the bundle has no usable tokenizer or its graph fails to run.
        """
        if not len(prompt):
            raise InvalidRequestError("the prompt is empty; expected some text")
        if not isinstance(prompt, str):
            ids = require_ids(prompt, self.runtime.vocab_size).tolist()
            return Generation(self._request(ids, may_think=False, **options))
        most = self._capacity(options) + 1  # it may begin with the token twice
        ids = self.tokenizer.encode(prompt, add_special_tokens=True, most=most)
        bos = self.bundle.manifest.model.bos_token_id
        if bos is not None and ids[:1] != [bos]:
            ids.insert(0, bos)
        if ids[:2] == [bos, bos]:  # the prompt began with it already
            del ids[0]
        return Generation(self._request(ids, may_think=False, **options))

    def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool | Mapping[str, Any]] | None = None,
        template_options: Mapping[str, Any] | None = None,
        trust_markers: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> Generation:
        """Answers `messages` through the checkpoint's own template, in pieces of text.

        Args:
            messages: the turns so far.
            tools: functions that the model may call, or their JSON Schemas.
            template_options: further variables of the template, such as `preserve_thinking`.
            trust_markers: whether the text of a control token (`<|im_end|>`) in what a user or a
                tool wrote is that token, as in transformers. By default it is ordinary text.
            **options: see `GenerationOptions`.

        Raises:
            InvalidRequestError: there are no messages or an option is out of range.
            TemplateError: the template is missing, malformed or refuses the messages.
            ContextFullError: the context does not hold the prompt.
            BundleError: the bundle has no usable tokenizer or its graph fails to run.
        """
        ids = self.prompt_ids(
            messages,
            tools,
            template_options,
            trust_markers=trust_markers,
            most=self._capacity(options),
        )
        return Generation(self._request(ids, may_think=True, **options))

    def events(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool | Mapping[str, Any]] | None = None,
        template_options: Mapping[str, Any] | None = None,
        trust_markers: bool = False,
        clock: datetime | None = None,
        thinking_budget: int | None = None,
        **options: Unpack[GenerationOptions],
    ) -> EventStream:
        """Answers `messages` as `chat` does, divided into reasoning, text and tool calls.

        Args:
            messages: the turns so far.
            tools: functions that the model may call, or their JSON Schemas.
            template_options: further variables of the template, such as `preserve_thinking`.
            trust_markers: see `chat`.
            clock: the time that the template sees; None: now.
            thinking_budget: most tokens of reasoning, which is then closed; None sets no limit.
            **options: see `GenerationOptions`.

        Raises:
            InvalidRequestError: there are no messages, a tool is malformed or an option is out of
                range.
            TemplateError: the template is missing, malformed or refuses the messages.
            ContextFullError: the context does not hold the prompt.
            BundleError: the bundle has no usable tokenizer or its graph fails to run.
        """
        known = [_as_tool(tool) for tool in tools or ()]
        ids = self.prompt_ids(
            messages,
            tools,
            template_options,
            clock,
            trust_markers=trust_markers,
            most=self._capacity(options),
        )
        request = self._request(ids, may_think=True, **options)
        markers = Markers.of(self.tokenizer.added_id)
        splitter = EventSplitter(markers, known, in_reasoning=self._opens_reasoning(ids))
        budget = None
        if thinking_budget is not None:
            budget = ThinkingBudget(thinking_budget, self._closing(bound=bool(request.constraint)))
        return EventStream(request, splitter, budget)

    def check(self, **options: Unpack[AnswerOptions]) -> None:
        """Raises what `events` would raise for these options, whatever it is asked."""
        budget = options.pop("thinking_budget", None)
        if budget is not None:
            ThinkingBudget(budget, self._closing(bound=False))
        self._request([], may_think=True, **options)

    def conversation(
        self,
        system: str | None = None,
        tools: Sequence[Tool | Mapping[str, Any]] | None = None,
        template_options: Mapping[str, Any] | None = None,
        context: int | None = None,
    ) -> Conversation:
        """A chat that remembers what was said, and reads nothing twice that it need not.

        Args:
            system: instructions that stand before the conversation.
            tools: functions that the model may call, or their JSON Schemas.
            template_options: further variables of the template, such as `preserve_thinking`.
            context: see `session`.

        Raises:
            InvalidRequestError: a tool is malformed or `context` is out of range.
        """
        setting = Setting(
            tools=None if tools is None else [_as_tool(tool) for tool in tools],
            template_options=template_options,
            clock=datetime.now(),
        )
        messages = [] if system is None else [{"role": "system", "content": system}]
        return Conversation(self, messages, self.session(context), setting)

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

    def prompt_ids(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool | Mapping[str, Any]] | None = None,
        template_options: Mapping[str, Any] | None = None,
        clock: datetime | None = None,
        *,
        trust_markers: bool = False,
        most: int | None = None,
    ) -> list[int]:
        """The tokens that the template makes of `messages`, up to where the answer begins.

        Args:
            messages: as `chat`, and so are the next two.
            tools: JSON Schemas.
            template_options: variables.
            clock: the time that the template sees; None: now.
            trust_markers: see `chat`.
            most: how many there may be; None sets no limit.

        Raises:
            InvalidRequestError: there are no messages.
            TemplateError: as `chat`.
            ContextFullError: there are more than `most`.
            BundleError: the bundle has no usable tokenizer.
        """
        if not messages:
            raise InvalidRequestError("the chat is empty; expected at least one message")
        if tools is not None and (
            not isinstance(tools, Sequence)
            or not all(isinstance(tool, Tool | Mapping) for tool in tools)
        ):
            raise InvalidRequestError("tools: expected a list of JSON Schemas of functions")
        return prompt_ids(
            self.template,
            self.tokenizer,
            messages,
            None if tools is None else [_as_json(tool) for tool in tools],
            template_options,
            trust_markers=trust_markers,
            clock=clock,
            most=most,
        )

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


def _as_tool(tool: Tool | Mapping[str, Any]) -> Tool:
    return tool if isinstance(tool, Tool) else Tool.from_json(tool)


def _as_json(tool: Tool | Mapping[str, Any]) -> Mapping[str, Any]:
    return tool.to_json() if isinstance(tool, Tool) else tool
