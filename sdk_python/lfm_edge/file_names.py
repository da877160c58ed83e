"""The names of a bundle's files, for who writes them and who reads them.

All but the first two are the names that a checkpoint's own files have.
"""

from __future__ import annotations

__all__ = [
    "CHAT_TEMPLATE",
    "CHAT_TEMPLATES",
    "DEVICE",
    "GENERATION_CONFIG",
    "MANIFEST",
    "SPECIAL_TOKENS",
    "TOKENIZER",
    "TOKENIZER_CONFIG",
]

MANIFEST = "manifest.json"
DEVICE = "device.bin"
"""Tokenizer and chat format as a phone reads them."""
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
CHAT_TEMPLATE = "chat_template.jinja"
CHAT_TEMPLATES = "additional_chat_templates"
"""The folder of further templates."""
GENERATION_CONFIG = "generation_config.json"
