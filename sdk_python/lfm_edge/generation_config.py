"""A checkpoint's own sampling defaults and end tokens: `generation_config.json`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .bundle import Bundle
from .errors import BundleError, InvalidRequestError
from .sampling import SamplingOptions

__all__ = ["read_generation_config"]

FILE = "generation_config.json"

TokenId = Annotated[int, msgspec.Meta(ge=0)]


class _GenerationConfig(msgspec.Struct):
    """The fields of transformers' file that concern us; null means absent."""

    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    eos_token_id: TokenId | list[TokenId] | None = None


def read_generation_config(bundle: Bundle) -> tuple[SamplingOptions, frozenset[int]]:
    """The sampling defaults, and the tokens that end an answer, of the manifest and of the file.

    Without the file, or where it neither samples nor names a temperature, the default is greedy.

    Raises:
        BundleError: the file is malformed or holds a value out of range.
    """
    eos_ids = frozenset(bundle.manifest.model.eos_token_ids)
    text = bundle.read_text(FILE)
    if text is None:
        return SamplingOptions(), eos_ids
    try:
        config = msgspec.json.decode(text, type=_GenerationConfig)
        defaults = _sampling(config)
    except (msgspec.MsgspecError, InvalidRequestError) as error:
        raise BundleError(f"{bundle.folder / FILE}: {error}") from None
    return defaults, eos_ids.union(_as_list(config.eos_token_id))


def _as_list(ids: int | list[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else ids


def _sampling(config: _GenerationConfig) -> SamplingOptions:
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if config.do_sample is False:
        given["temperature"] = 0.0
    elif config.do_sample:
        given.setdefault("temperature", 1.0)
    return SamplingOptions(**given)
