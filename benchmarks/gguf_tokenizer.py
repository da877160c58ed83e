"""A checkpoint's tokenizer and chat template as keys of a GGUF file.

Only for byte-level BPE behind the pre-tokenizer of Llama 3, which LFM checkpoints have and which
llama.cpp calls `lfm2`. Keys are those of llama.cpp's `gguf-py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

__all__ = ["add_tokenizer"]

NAMED = ("bos", "eos", "pad")


def add_tokenizer(writer: GGUFWriter, files: Mapping[str, Path], vocab_size: int) -> None:
    """Adds what `files` holds: tokenizer.json, tokenizer_config.json, chat_template.jinja.

    Ids that the tokenizer lacks, up to `vocab_size`, become unused tokens.
    """
    description = json.loads(files["tokenizer.json"].read_text())
    tokens = [f"<|unused_{token}|>" for token in range(vocab_size)]
    types = [int(TokenType.UNUSED)] * vocab_size
    for text, token in description["model"]["vocab"].items():
        tokens[token], types[token] = text, int(TokenType.NORMAL)
    for added in description["added_tokens"]:
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("lfm2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([_merge(pair) for pair in description["model"]["merges"]])
    config = json.loads(files["tokenizer_config.json"].read_text())
    for name in NAMED:
        add = getattr(writer, f"add_{name}_token_id")
        add(tokens.index(config[f"{name}_token"]))
    if "chat_template.jinja" in files:
        writer.add_chat_template(files["chat_template.jinja"].read_text())


def _merge(pair: Any) -> str:
    """Files have had pairs as text and as lists."""
    return pair if isinstance(pair, str) else " ".join(pair)
