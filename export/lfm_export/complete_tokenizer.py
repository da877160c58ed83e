"""Adds to a tokenizer the tokens that transformers adds when it loads one.

`tokenizer.json` is not all: `added_tokens_decoder` and the named special tokens of
`tokenizer_config.json`, and in older folders `special_tokens_map.json` and `added_tokens.json`, may
list further tokens or give known ones other properties. Follows `_from_pretrained` of
transformers' `tokenization_utils_base.py` and `TokenizersBackend.__init__`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from lfm_edge.special_tokens import named_tokens, with_special_tokens_map
from tokenizers import AddedToken, Tokenizer

__all__ = ["complete_tokenizer"]


def complete_tokenizer(
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    special_tokens: Mapping[str, Any],
    added_tokens: Mapping[str, Any],
) -> list[str]:
    """Adds to `tokenizer` what only the other files list.

    Args:
        tokenizer: as tokenizer.json has it.
        config: tokenizer_config.json.
        special_tokens: special_tokens_map.json, which counts where `config` has no
            `added_tokens_decoder`.
        added_tokens: added_tokens.json, likewise.

    Returns:
        The texts of the tokens that were added or changed.

    Raises:
        TypeError, ValueError, AttributeError: a token is malformed.
    """
    listed: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in config:
        if not isinstance(config["added_tokens_decoder"], dict):
            raise TypeError(
                f"added_tokens_decoder is {config['added_tokens_decoder']!r}, expected an object"
            )
        listed = {int(i): _listed(t) for i, t in config["added_tokens_decoder"].items()}
    config = with_special_tokens_map(config, special_tokens)
    named, extra = list(named_tokens(config).values()), _further(config)
    if "added_tokens_decoder" not in config:
        special = {_text(token) for token in (*named, *extra)}
        for text, index in added_tokens.items():
            listed[operator.index(index)] = AddedToken(
                text, normalized=text not in special, special=text in special
            )
        listed |= tokenizer.get_added_tokens_decoder()
    before = {repr(token) for token in tokenizer.get_added_tokens_decoder().values()}
    new = [token for _, token in sorted(listed.items()) if repr(token) not in before]
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    known |= {token.content for token in new}
    for token in (*named, *extra):
        if _text(token) not in known:
            new.append(_token(token))
            known.add(_text(token))
    names = {_text(token) for token in named}
    for token in new:
        token.special = token.special or token.content in names
    tokenizer.add_tokens(new)
    after = tokenizer.get_added_tokens_decoder().values()
    return [token.content for token in after if repr(token) not in before]


def _further(config: Mapping[str, Any]) -> list[Any]:
    """The special tokens without a name."""
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    if not isinstance(extra, (list, dict)):
        raise TypeError(f"extra_special_tokens is {extra!r}, expected a list or an object")
    return extra if isinstance(extra, list) else []


def _text(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else str(token)


def _listed(value: Any) -> AddedToken:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} in added_tokens_decoder, expected an object")
    return _token(value)


def _token(value: Any) -> AddedToken:
    """A token as the files write it: its text, or an object with its properties."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    if not isinstance(value, dict):
        raise TypeError(f"{value!r}, expected a text or an object")
    properties = {name: item for name, item in value.items() if name != "__type"}
    return AddedToken(**{"special": True, **properties})
