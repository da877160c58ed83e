"""Which tokens a `tokenizer_config.json` names, as transformers 5 reads it.

Follows `_from_pretrained` and `__init__` of transformers' `tokenization_utils_base.py`. A token is
its text, or an object with its `content` and properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["named_tokens", "with_special_tokens_map"]

_STANDARD = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_NO_TOKENS = frozenset({"add_bos_token", "add_eos_token"})
_TYPED = {"__type": "AddedToken"}


def with_special_tokens_map(
    config: Mapping[str, Any], special_tokens: Mapping[str, Any]
) -> dict[str, Any]:
    """A tokenizer_config.json that was written before it and special_tokens_map.json became one.

    Args:
        config: tokenizer_config.json; with an `added_tokens_decoder` it says everything itself.
        special_tokens: special_tokens_map.json.
    """
    if "added_tokens_decoder" in config:
        return dict(config)
    typed = {
        name: {**value, **_TYPED} if isinstance(value, dict) and name.endswith("_token") else value
        for name, value in special_tokens.items()
    }
    return {**config, **typed}


def named_tokens(config: Mapping[str, Any]) -> dict[str, Any]:
    """The special tokens that have a name, such as `bos_token`, by which templates know them.

    Args:
        config: tokenizer_config.json.

    Returns:
        Each token's text or object by its name.
    """
    named = {name: config[name] for name in _STANDARD if config.get(name) is not None}
    own = {
        name: value
        for name, value in config.items()
        if name.endswith("_token")
        and name not in _NO_TOKENS.union(_STANDARD)
        and (
            isinstance(value, str) or (isinstance(value, dict) and _TYPED.items() <= value.items())
        )
    }
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens")
    if isinstance(extra, dict):
        own |= extra
    if not own and isinstance(config.get("model_specific_special_tokens"), dict):
        own = config["model_specific_special_tokens"]
    return {**named, **own}
