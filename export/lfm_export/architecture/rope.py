"""The rules of RoPE that a `config.json` can name, each down to its frequencies.

Source: `transformers`, `modeling_rope_utils.py`; float32 where it computes in float32. Rules that
depend on the length of a text are taken as far as the model's own context, or refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from lfm_ops.reference import Array, rope_frequencies

from ..errors import ArchitectureError
from ..notes import Note
from .config import Config, quoted
from .parts import Rope

__all__ = ["layer_ropes", "rope"]

_DEFAULT_THETA = 1_000_000.0
_LAYER_TYPES = ("full_attention", "conv")
_LAYER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {
        "rope_type": "proportional",
        "rope_theta": _DEFAULT_THETA,
        "partial_rotary_factor": 0.5,
    },
}
_WITH_ORIGINAL_LENGTH = ("llama3", "yarn", "longrope")
_ORIGINAL = "original_max_position_embeddings"
_POSITIONS = "max_position_embeddings"


def rope(config: Config, head_dim: int, note: Note) -> Rope:
    """The RoPE of a model whose heads are `head_dim` wide.

    Raises:
        ArchitectureError: an unknown rule, one that no fixed table can hold, or a wrong value.
    """
    name, given = _parameters(config, note)
    if (
        given.get("rope_type", given.get("type")) in _WITH_ORIGINAL_LENGTH
        and _ORIGINAL in config.values
    ):  # beside the object it beats what is in it
        given = {**given, _ORIGINAL: config.values[_ORIGINAL]}
    return _rope(config, name, given, head_dim, note)


def layer_ropes(
    config: Config, kinds: Sequence[str], head_dim: int, note: Note
) -> Mapping[str, Rope]:
    """The RoPE of each kind of layer, where the objects are nested by kind.

    Raises:
        ArchitectureError: as `rope`, or a kind has no object of its own.
    """
    name, given = _chosen(config)
    given = _LAYER_DEFAULTS if given is None else given
    found = {}
    for kind in kinds:
        parameters = given.get(kind)
        if not isinstance(parameters, Mapping):
            what = f"is {quoted(parameters)}" if kind in given else "is missing"
            raise ArchitectureError(
                f"config.json: {name}.{kind} {what}, expected an object: that of the {kind} layers"
            )
        found[kind] = _rope(config, f"{name}.{kind}", parameters, head_dim, note)
    return found


def _rope(config: Config, name: str, given: Mapping[str, Any], head_dim: int, note: Note) -> Rope:
    """That of one object."""
    if head_dim % 2:
        raise ArchitectureError(f"config.json: head_dim is {head_dim}, expected an even number")
    defaults: dict[str, Any] = {
        "rope_theta": config.values.get("rope_theta", _DEFAULT_THETA),
        _POSITIONS: config.integer(_POSITIONS),
    }
    if config.values.get("partial_rotary_factor") is not None:
        defaults["partial_rotary_factor"] = config.values["partial_rotary_factor"]
    kind = given.get("rope_type", given.get("type", "default"))
    if kind in _WITH_ORIGINAL_LENGTH:
        defaults[_ORIGINAL] = defaults[_POSITIONS]
    parameters = Config(given, defaults, name)
    if not isinstance(kind, str) or kind not in _RULES:
        raise ArchitectureError(
            f"config.json: {name} names rope_type {quoted(kind)}, expected {', '.join(_RULES)}"
        )
    _check_partial(parameters, kind, head_dim, note)
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            base = rope_frequencies(head_dim, parameters.number("rope_theta"))
            frequencies, factor = _RULES[kind](parameters, base)
            plain = factor == 1.0 and np.array_equal(frequencies, base)
    except (ZeroDivisionError, OverflowError, ValueError):
        frequencies, factor, plain = np.full(1, np.nan, np.float32), 1.0, False
    if not np.isfinite([*frequencies, factor]).all():
        raise ArchitectureError(f"config.json: {name} {quoted(given)} gives no finite frequencies")
    return Rope(
        tuple(frequencies.astype(np.float32).tolist()),
        factor,
        parameters.number("rope_theta") if plain else None,
    )


def _chosen(config: Config) -> tuple[str, Mapping[str, Any] | None]:
    """The object that counts, and its name: `rope_scaling` unless it is null or empty."""
    name = "rope_scaling" if config.values.get("rope_scaling") else "rope_parameters"
    given = config.values.get(name)
    if given is not None and not isinstance(given, Mapping):
        raise config.error(name, "an object")
    return name, given


def _parameters(config: Config, note: Note) -> tuple[str, Mapping[str, Any]]:
    """The object that counts, which is for all layers."""
    name, given = _chosen(config)
    if given is None:
        return name, {}
    nested = [key for key in given if key in _LAYER_TYPES]
    if nested and not {"rope_type", "rope_theta"} <= given.keys():
        raise ArchitectureError(
            f"config.json: {name} is nested by layer type ({', '.join(nested)}), which this family "
            "does not read; expected rope_type and rope_theta in the object itself"
        )
    for key in nested:
        note(f"config.json: {name}.{key} is passed over; rope_type and rope_theta beside it count")
    return name, given


def _check_partial(parameters: Config, kind: str, head_dim: int, note: Note) -> None:
    """A part of the head cannot be rotated alone: these families know only whole heads."""
    name = "partial_rotary_factor"
    if name not in parameters.values or kind == "proportional":
        return
    if kind == "default":
        if parameters.values[name] != 1:
            note(
                f"config.json: {name} {quoted(parameters.values[name])} is passed over, as "
                "transformers does for this family: whole heads are rotated"
            )
    elif int(head_dim * parameters.number(name)) != head_dim:
        raise parameters.error(name, f"1.0: with rope_type {kind} whole heads are rotated")


def _default(_: Config, base: Array) -> tuple[Array, float]:
    return base, 1.0


def _dynamic(parameters: Config, base: Array) -> tuple[Array, float]:
    """It changes only behind `max_position_embeddings`, where no session of ours gets."""
    parameters.number("factor")
    if len(base) == 1:
        raise ValueError("heads of 2 have no dynamic rule")
    return base, 1.0


def _linear(parameters: Config, base: Array) -> tuple[Array, float]:
    return base / np.float32(parameters.number("factor")), 1.0


def _proportional(parameters: Config, base: Array) -> tuple[Array, float]:
    """The slower frequencies of a head stand still."""
    factor = parameters.number("factor") if "factor" in parameters.values else 1.0
    share = 1.0
    if "partial_rotary_factor" in parameters.values:
        share = parameters.number("partial_rotary_factor")
    rotated = int(share * 2 * len(base) // 2)
    if rotated > len(base):
        raise parameters.error("partial_rotary_factor", "at most 1.0")
    kept = base.copy()
    kept[rotated:] = 0
    return kept / np.float32(factor), 1.0


def _llama3(parameters: Config, base: Array) -> tuple[Array, float]:
    """Long waves are stretched, short ones kept, those between blended."""
    factor = np.float32(parameters.number("factor"))
    low, high = parameters.number("low_freq_factor"), parameters.number("high_freq_factor")
    length = parameters.integer(_ORIGINAL)
    wavelength = np.float32(2 * math.pi) / base
    stretched = np.where(wavelength > np.float32(length / low), base / factor, base)
    smooth = (np.float32(length) / wavelength - np.float32(low)) / np.float32(high - low)
    blended = (1 - smooth) * stretched / factor + smooth * stretched
    between = (wavelength >= np.float32(length / high)) & (wavelength <= np.float32(length / low))
    return np.where(between, blended, stretched), 1.0


def _yarn(parameters: Config, base: Array) -> tuple[Array, float]:
    """Fast frequencies are kept, slow ones stretched, with a ramp between."""
    dim, theta = 2 * len(base), parameters.number("rope_theta")
    length = parameters.integer(_ORIGINAL)
    factor = _stretch(parameters, required=True)

    def ramp_end(rotations: float) -> float:
        return dim * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    first = ramp_end(_optional(parameters, "beta_fast") or 32.0)
    last = ramp_end(_optional(parameters, "beta_slow") or 1.0)
    if "truncate" not in parameters.values or parameters.flag("truncate"):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    if first == last:
        last += 0.001
    steps = np.arange(len(base), dtype=np.float32)
    kept = 1 - np.clip((steps - np.float32(first)) / np.float32(last - first), 0, 1)
    slow = np.float32(1) / (np.float32(factor) * (np.float32(1) / base))
    return slow * (1 - kept) + base * kept, _yarn_attention(parameters, factor)


def _yarn_attention(parameters: Config, factor: float) -> float:
    given = _optional(parameters, "attention_factor")
    if given is not None:
        return given
    scale, scale_all = (_optional(parameters, name) for name in ("mscale", "mscale_all_dim"))

    def magnitude(scale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

    return magnitude(scale) / magnitude(scale_all) if scale and scale_all else magnitude(1.0)


def _longrope(parameters: Config, base: Array) -> tuple[Array, float]:
    """Two sets of factors, the second for texts longer than the original length."""
    length, positions = parameters.integer(_ORIGINAL), parameters.integer(_POSITIONS)
    if length < positions:
        raise ArchitectureError(
            f"config.json: rope_type longrope changes its frequencies for texts of more than "
            f"{length} tokens, which no fixed table can do; set max_position_embeddings to {length}"
        )
    short = parameters.values.get("short_factor")
    if not isinstance(short, list) or len(short) != len(base):
        raise parameters.error("short_factor", f"a list of {len(base)} numbers")
    factors = [Config({"short_factor": value}).number("short_factor") for value in short]
    if "long_factor" not in parameters.values:
        raise parameters.error("long_factor", "a list of numbers")
    attention = _optional(parameters, "attention_factor")
    factor = _stretch(parameters, required=False)
    if attention is None:
        attention = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(length))
    return np.float32(1) / (np.array(factors, np.float32) / base), attention


def _stretch(parameters: Config, required: bool) -> float:
    """`factor`, or where it is null by how much the context has grown."""
    if parameters.values.get("factor") is None and ("factor" in parameters.values or not required):
        return parameters.integer(_POSITIONS) / parameters.integer(_ORIGINAL)
    return parameters.number("factor")


def _optional(parameters: Config, name: str) -> float | None:
    return None if parameters.values.get(name) is None else parameters.number(name, positive=False)


_RULES: Mapping[str, Callable[[Config, Array], tuple[Array, float]]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "llama3": _llama3,
    "longrope": _longrope,
    "proportional": _proportional,
}
