"""The model of a bundle: sessions of tokens, completion and chat in text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from .bundle import Bundle
from .chat.events import EventSplitter
from .chat.markers import Markers
from .chat.prompt import prompt_ids
from .chat.template import ChatTemplate
from .chat.thinking_budget import ThinkingBudget
from .chat.tools import Tool
from .conversation import Conversation, Message, Setting
from .errors import InvalidRequestError
from .event_stream import EventStream
from .generation import Generation
from .generation_options import AnswerOptions, GenerationOptions
from .request_maker import RequestMaker
from .token_ids import require_ids

__all__ = ["Message", "Model", "load"]


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


class Model(RequestMaker):
    """An opened bundle that is ready to run, as `load` gives it; safe to share between threads.

    Args:
        bundle: the bundle.
        threads: see `load`.
        runtime: what runs it, if not the one that its target has on this machine.

    Raises:
        LfmError: as `load`.
    """

    @cached_property
    def template(self) -> ChatTemplate:
        """The bundle's chat template; raises TemplateError where it has none."""
        return ChatTemplate.of_bundle(self.bundle)

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
        self.tokenizer.refuse_longer(prompt, self._capacity(options))
        ids = self.tokenizer.encode(prompt, add_special_tokens=True)
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
        """Raises what `events` would raise for these options, whatever it is asked.

        Args:
            **options: see `AnswerOptions`.

        Raises:
            InvalidRequestError: one is out of range.
        """
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


def _as_tool(tool: Tool | Mapping[str, Any]) -> Tool:
    return tool if isinstance(tool, Tool) else Tool.from_json(tool)


def _as_json(tool: Tool | Mapping[str, Any]) -> Mapping[str, Any]:
    return tool.to_json() if isinstance(tool, Tool) else tool
