"""What one answer can be asked for: the one list that the API and the command line read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from .session import Session
from .speculation import Choice

__all__ = ["AGENT_CONTEXT", "DEFAULT_CONTEXT", "AnswerOptions", "Described", "GenerationOptions"]

DEFAULT_CONTEXT = 4096
AGENT_CONTEXT = 16384
"""More: dozens of tools alone are thousands of tokens."""


@dataclass(frozen=True)
class Described:
    """How the command line shows an option that it has."""

    metavar: str
    help: str


class GenerationOptions(TypedDict, total=False):
    """What `Model.generate` and `Model.chat` take; those of sampling default to the bundle's.

    None stands for the default everywhere. `SamplingOptions` says what those of sampling do.
    """

    max_tokens: Annotated[int | None, Described("N", "Most tokens of an answer.")]
    """Most tokens of the answer; by default the context is the only limit."""
    temperature: Annotated[float | None, Described("X", "Randomness; 0: the likeliest token.")]
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: Annotated[int | None, Described("K", "Keep the K likeliest; 0: all.")]
    """Keeps the k likeliest tokens; 0 keeps all."""
    top_p: Annotated[float | None, Described("P", "Keep the likeliest that add up to P.")]
    """Keeps the fewest tokens whose probabilities add up to p; 1 keeps all."""
    min_p: Annotated[float | None, Described("P", "Keep those with P of the best chance.")]
    """Keeps tokens at least this likely, as a fraction of the likeliest one's probability."""
    repetition_penalty: Annotated[float | None, Described("X", "Above 1: avoid what the text has.")]
    """Above 1: tokens of the prompt and the answer become less likely."""
    frequency_penalty: Annotated[
        float | None, Described("X", "Above 0: avoid what the answer has, each time more.")
    ]
    """Taken from a token's logit for each time that the answer has it."""
    presence_penalty: Annotated[float | None, Described("X", "Above 0: avoid what the answer has.")]
    """Taken from a token's logit once the answer has it."""
    logit_bias: Mapping[int, float] | None
    """Added to the logits of these token ids, from -100 to 100."""
    banned: Collection[int] | None
    """Token ids that are never drawn."""
    seed: Annotated[int | None, Described("N", "Same seed, same text.")]
    """The same seed gives the same tokens; None draws a fresh one."""
    stop: Annotated[
        str | Sequence[str] | None, Described("TEXT", "End before this text; repeatable.")
    ]
    """Strings that end the text and are not part of it."""
    schema: Mapping[str, Any] | bool | None
    """The answer is JSON that this JSON Schema accepts; docs/structured_output.md has the subset.

    A model that reasons first does so freely; the same holds for the next three, of which an answer
    takes one."""
    regex: str | None
    """A regular expression in the syntax of Rust's `regex`."""
    choices: Sequence[str] | None
    """The answer is one of these."""
    grammar: str | None
    """The answer follows this grammar, in llguidance's dialect of Lark."""
    logprobs: int | None
    """How many of the likeliest tokens to list for each of the answer's, in `Answer.logprobs`; 0:
    the log probability of the answer's own alone. By default nothing is computed."""
    speculation: Choice | None
    """Whether tokens are guessed from the text so far and run together, which changes no token of
    the answer: "auto", the default, where it pays; or always, or never; or always so many at a
    time. Target `onnx` only; see `lfm_edge.speculation`."""
    context: Annotated[
        int | None, Described("N", f"Room for tokens ({DEFAULT_CONTEXT}; agent: {AGENT_CONTEXT}).")
    ]
    """Capacity of the session made for this answer, see `Model.session`; or of those that `session`
    gives, where it is a function."""
    session: Session | Callable[[list[int]], Session] | None
    """A session to use instead, or what gives one for a prompt's ids; of what it holds, the longest
    beginning of the prompt is kept."""
    cancel: threading.Event | None
    """Ends the answer once it is set, from any thread."""


class AnswerOptions(GenerationOptions, total=False):
    """What `Model.events` and a conversation's turns take: `GenerationOptions`, and this."""

    thinking_budget: Annotated[int | None, Described("N", "Most tokens of reasoning.")]
    """Most tokens of reasoning, which is then closed; None sets no limit."""
