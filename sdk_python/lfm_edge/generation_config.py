"""A checkpoint's own sampling defaults and end tokens: `generation_config.json`.

One rule for every value: absent or null means transformers' default, which is greedy decoding
(`do_sample` false) and, where something samples, temperature 1, `top_k` 50, `top_p` 1, no `min_p`
and no repetition penalty. A temperature without `do_sample` samples nothing. `top_k` -1 is off, as
0 is; `top_p` is off above 1, and 0 leaves the likeliest token alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from .bundle import Bundle
from .errors import BundleError, InvalidRequestError
from .file_names import GENERATION_CONFIG
from .sampling import SamplingOptions

__all__ = [
    "GenerationDefaults",
    "parse_generation_config",
    "read_generation_config",
]

_DEFAULT_TOP_K = 50
_DEFAULT = SamplingOptions(top_k=_DEFAULT_TOP_K)


class _GenerationConfig(msgspec.Struct):
    """The fields of transformers' file that concern us."""

    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None


@dataclass(frozen=True)
class GenerationDefaults:
    """What a `generation_config.json` says.

    Attributes:
        sampling: how answers are drawn where nothing else is asked for.
        eos_token_ids: the tokens that it lists as ends of an answer; the model may lack some.
        pad_token_id: the token that it pads with.
    """

    sampling: SamplingOptions = _DEFAULT
    eos_token_ids: tuple[int, ...] = ()
    pad_token_id: int | None = None


def parse_generation_config(text: str) -> GenerationDefaults:
    """Reads the text of a `generation_config.json`.

    Raises:
        InvalidRequestError: it is malformed or holds a value of the wrong type or out of range.
    """
    try:
        config = msgspec.json.decode(text, type=_GenerationConfig)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRequestError(" ".join(str(error).split())) from None
    ids = config.eos_token_id
    eos = () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)
    return GenerationDefaults(_sampling(config), eos, config.pad_token_id)


def read_generation_config(bundle: Bundle) -> tuple[SamplingOptions, frozenset[int]]:
    """The sampling defaults, and the tokens that end an answer, of the manifest and of the file.

    Raises:
        BundleError: the file is malformed or holds a value out of range.
    """
    text = bundle.read_text(GENERATION_CONFIG)
    try:
        defaults = GenerationDefaults() if text is None else parse_generation_config(text)
    except InvalidRequestError as error:
        raise BundleError(f"{bundle.folder / GENERATION_CONFIG}: {error}") from None
    model = bundle.manifest.model
    ends = {*model.eos_token_ids, *defaults.eos_token_ids}
    return defaults.sampling, frozenset(end for end in ends if 0 <= end < model.vocab_size)


def _sampling(config: _GenerationConfig) -> SamplingOptions:
    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    top_k = _DEFAULT_TOP_K if config.top_k is None else config.top_k
    top_p = given(config.top_p, 1.0)
    options = SamplingOptions(
        temperature=given(config.temperature, 1.0),
        top_k=0 if top_k == -1 else top_k,
        top_p=min(top_p or 1.0, 1.0),
        min_p=given(config.min_p, 0.0),
        repetition_penalty=given(config.repetition_penalty, 1.0),
    )
    return options if config.do_sample and top_p else replace(options, temperature=0.0)
