"""The model of a bundle: sessions of tokens, completion and chat in text."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from .bundle import Bundle
from .chat.prompt import prompt_ids
from .chat.template import ChatTemplate
from .errors import InvalidRequestError
from .generation import Generation
from .generation_config import read_generation_config
from .generation_options import DEFAULT_CONTEXT, GenerationOptions
from .runtime import Runtime
from .sampling import Sampler, SamplingOptions
from .session import Session
from .stop_strings import StopFilter
from .targets import open_runtime
from .tokenizer import Detokenizer, Tokenizer

__all__ = ["Message", "Model", "load"]

Message = Mapping[str, Any]
"""One turn of a chat: `role`, `content`, and what else the template reads."""


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

    `runtime` is what runs it, if not the one that its target has on this machine.
    """

    def __init__(
        self, bundle: Bundle, threads: int | None = None, runtime: Runtime | None = None
    ) -> None:
        self.bundle = bundle
        self.runtime = runtime or open_runtime(bundle, threads)
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
        most = self.bundle.manifest.model.max_context
        if context is None:
            context = min(DEFAULT_CONTEXT, most)
        if not 1 <= context <= most:
            raise InvalidRequestError(
                f"context: got {context:,}, expected 1 to {most:,}, the most this bundle holds"
            )
        return Session(self.runtime, context)

    def generate(self, prompt: str, **options: Unpack[GenerationOptions]) -> Generation:
        """Continues `prompt` and yields the new text in pieces.

        The text shows special tokens, except those that begin, end and pad.

        Raises:
            InvalidRequestError: the prompt is empty or an option is out of range.
            ContextFullError: the context does not hold the prompt.
            BundleError: the bundle has no usable tokenizer or its graph fails to run.
        """
        if not prompt:
            raise InvalidRequestError("the prompt is empty; expected some text")
        ids = self.tokenizer.encode(prompt, add_special_tokens=True)
        bos = self.bundle.manifest.model.bos_token_id
        if bos is not None and ids[:1] != [bos]:
            ids.insert(0, bos)
        if ids[:2] == [bos, bos]:  # the prompt began with it already
            del ids[0]
        return self._start(ids, **options)

    def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_options: Mapping[str, Any] | None = None,
        trust_markers: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> Generation:
        """Answers `messages` through the checkpoint's own template, in pieces of text.

        Args:
            messages: the turns so far.
            tools: JSON Schemas of functions that the model may call.
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
        if not messages:
            raise InvalidRequestError("the chat is empty; expected at least one message")
        ids = prompt_ids(
            self.template,
            self.tokenizer,
            messages,
            tools,
            template_options,
            trust_markers=trust_markers,
        )
        return self._start(ids, **options)

    def _start(
        self,
        prompt: list[int],
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        context: int | None = None,
        session: Session | None = None,
        cancel: threading.Event | None = None,
        **sampling: Any,
    ) -> Generation:
        model = self.bundle.manifest.model
        if session is not None and context is not None:
            raise InvalidRequestError("context: a session was given, which has its own")
        return Generation(
            session or self.session(context),
            prompt,
            sampler=self._sampler(sampling),
            detokenizer=Detokenizer(self.tokenizer, {model.bos_token_id, model.pad_token_id}),
            stops=StopFilter(() if stop is None else stop),
            eos_ids=self.eos_ids,
            max_tokens=max_tokens,
            cancel=cancel,
        )

    def _sampler(self, sampling: Mapping[str, Any]) -> Sampler:
        given = {name: value for name, value in sampling.items() if value is not None}
        known = {field.name for field in dataclasses.fields(SamplingOptions)}
        if unknown := sorted(given.keys() - known):
            raise TypeError(f"unknown option {unknown[0]!r}")
        return Sampler(dataclasses.replace(self.defaults, **given), self.runtime.vocab_size)
