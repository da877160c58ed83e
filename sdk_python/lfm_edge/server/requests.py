"""What the APIs' requests have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field

from ..errors import InvalidRequestError
from ..generation_options import AnswerOptions
from .limits import MAX_MESSAGES, MAX_TOOLS

__all__ = ["Asked", "JsonObject", "Messages", "Tools", "given", "sampling", "text_of"]

JsonObject = dict[str, Any]
Messages = Annotated[list[JsonObject], Field(min_length=1, max_length=MAX_MESSAGES)]
Tools = Annotated[list[JsonObject], Field(max_length=MAX_TOOLS)]


class Asked(BaseModel):
    """A request; what it has beyond its fields is passed over."""

    model_config = ConfigDict(extra="ignore", strict=False)

    model: str = ""
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logit_bias: dict[int, float] | None = None
    thinking_budget: Annotated[int, Field(ge=0)] | None = None


def sampling(asked: Asked, **options: Any) -> AnswerOptions:
    """The options that all APIs call alike, with others; those that were not given are left out."""
    names = (
        *("temperature", "top_p", "top_k", "min_p", "logit_bias"),
        *("repetition_penalty", "frequency_penalty", "presence_penalty"),
    )
    own = {name: getattr(asked, name) for name in names}
    own["seed"] = None if asked.seed is None else asked.seed % 2**64  # clients send negative ones
    return cast(AnswerOptions, given(**own, **options))


def given(**values: Any) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def text_of(content: object, where: str) -> str:
    """The text of a message's content, whether it is one or a list of parts.

    Raises:
        InvalidRequestError: a part is no text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise InvalidRequestError(f"{where}: expected a text or a list of parts")
    texts = []
    for part in content:
        text = part.get("text", part.get("refusal")) if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise InvalidRequestError(f"{where}: got a part of type {kind}; this model reads text")
        texts.append(text)
    return "".join(texts)
