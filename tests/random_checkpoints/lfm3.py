"""A dense model's `config.json` made into one of LFM3, with what that family alone reads."""

from __future__ import annotations

from typing import Any

from .choices import ABSENT, Choices, present

__all__ = ["as_lfm3"]

_FULL, _SLIDING = "full_attention", "sliding_attention"


def as_lfm3(
    choices: Choices, kinds: tuple[str, ...], head_dim: int, width: int, values: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changes in the sizes (`Dims`), and the new `config.json`.

    Args:
        choices: go on where the dense model's end.
        kinds: of its layers.
        head_dim: of its heads; this family has 128 where the field is missing.
        width: of its feed-forward, after the older family's adjustment.
        values: the dense model's fields; those that mean nothing here stay as decoys.
    """
    types = [choices.one(kind, _SLIDING) if kind == _FULL else kind for kind in kinds]
    named = values.get("architectures")
    if _SLIDING in types and values.get("is_causal", True) is None:
        choices.may_refuse("sliding layers that attend both ways")
    kernel = values.get("conv_L_cache", 7)
    bias = choices.usual(ABSENT, False, True, percent=60)
    sandwich = choices.usual(ABSENT, True, False, percent=60)
    gated = choices.usual(ABSENT, True, False, percent=60)
    changed = {
        **values,
        "model_type": "lfm3",
        "architectures": [name.replace("Lfm2", "Lfm3") for name in named] if named else named,
        "layer_types": types,
        "intermediate_size": width,
        "head_dim": head_dim,
        "attention_bias": bias,
        "sliding_window": choices.one(1, 3, 8, ABSENT),
        "use_sandwich_norm": sandwich,
        "use_attention_gate": gated,
        "pad_token_id": values.get("pad_token_id", 0),  # by default beyond such a vocabulary
        "rope_parameters": ABSENT,
        "rope_scaling": ABSENT,
        **_rope(choices),
    }
    if "architectures" not in values:
        changed["architectures"] = ABSENT
    dims = {
        "lfm3": True,
        "kinds": tuple(types),
        "kernel": kernel,
        "tied": values.get("tie_word_embeddings", True),
        "attention_bias": bias is True,
        "sandwich": sandwich is not False,
        "gated": gated is not False,
    }
    return dims, present(changed)


def _rope(choices: Choices) -> dict[str, Any]:
    def of(*rules: dict[str, Any]) -> dict[str, Any]:
        return dict(zip((_FULL, _SLIDING), rules, strict=True))

    half = {"rope_type": "proportional", "partial_rotary_factor": 0.5}
    return choices.one(
        {},
        {"rope_parameters": None},
        {"rope_parameters": of(half, {"rope_theta": 100.0})},
        {"rope_parameters": of({"rope_theta": 1e4, **half}, {"type": "default"})},
        {"rope_scaling": of({"type": "linear", "factor": 2.0}, {}), "rope_parameters": None},
        {"rope_scaling": {}, "rope_parameters": of({}, {"rope_type": "yarn", "factor": 4.0})},
    )
