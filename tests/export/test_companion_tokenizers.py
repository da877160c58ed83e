"""Tokenizer files in all their places give the ids that transformers gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.tokenizer import Tokenizer
from transformers import AutoTokenizer

from tests.export.companions import change
from tests.support import export

TEXT = "<|im_start|>Hello <mark>world</mark> <new> caf\u00e9\n\n  12345 \u65e5\u672c<|im_end|>"


TOKENIZER_FILES: dict[str, dict[str, dict[str, Any]]] = {
    "as it is": {},
    "truncation": {
        "tokenizer.json": {
            "truncation": {
                "direction": "Right",
                "max_length": 4,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        }
    },
    "padding": {
        "tokenizer.json": {
            "padding": {
                "strategy": {"Fixed": 64},
                "direction": "Left",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "<|pad|>",
            }
        }
    },
    "added_tokens_decoder": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "4098": {
                    "content": "<mark>",
                    "special": False,
                    "normalized": False,
                    "lstrip": False,
                    "rstrip": True,
                    "single_word": False,
                }
            }
        }
    },
    "another property": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                "14": {
                    "content": "<think>",
                    "special": True,
                    "normalized": False,
                    "lstrip": True,
                    "rstrip": True,
                    "single_word": False,
                }
            }
        }
    },
    "named": {"tokenizer_config.json": {"sep_token": "<new>", "mark_token": "<mark>"}},
    "extra_special_tokens": {"tokenizer_config.json": {"extra_special_tokens": ["<new>"]}},
    "extra_special_tokens by name": {
        "tokenizer_config.json": {"extra_special_tokens": {"a_token": "<new>"}}
    },
    "model_specific_special_tokens": {
        "tokenizer_config.json": {"model_specific_special_tokens": {"a_token": "<new>"}}
    },
    "model_specific_special_tokens beside another": {
        "tokenizer_config.json": {
            "model_specific_special_tokens": {"a_token": "<new>"},
            "mark_token": "<mark>",
        }
    },
    "named, as an object": {
        "tokenizer_config.json": {
            "mark_token": {"content": "<mark>", "lstrip": True, "__type": "AddedToken"},
            "other_token": {"content": "<new>"},
            "add_bos_token": "world",
        }
    },
    "another name in special_tokens_map.json": {
        "special_tokens_map.json": {"mark_token": {"content": "<mark>", "rstrip": True}}
    },
    "additional_special_tokens": {
        "tokenizer_config.json": {"additional_special_tokens": ["<new>"]}
    },
    "special_tokens_map.json": {
        "special_tokens_map.json": {
            "cls_token": {
                "content": "<mark>",
                "lstrip": True,
                "rstrip": False,
                "normalized": False,
                "single_word": False,
            }
        }
    },
    "added_tokens.json": {"added_tokens.json": {"<new>": 4096, "<mark>": 4097}},
    "added_tokens.json beside a decoder": {
        "added_tokens.json": {"<new>": 4096},
        "tokenizer_config.json": {"added_tokens_decoder": {}},
    },
    "a normalizer": {"tokenizer.json": {"normalizer": {"type": "NFKC"}}},
    "no post-processor": {"tokenizer.json": {"post_processor": None}},
    "cleaning up": {
        "tokenizer_config.json": {"clean_up_tokenization_spaces": True, "legacy": True}
    },
    "add_eos_token": {"tokenizer_config.json": {"add_eos_token": True, "add_bos_token": False}},
    "LlamaTokenizer": {"tokenizer_config.json": {"tokenizer_class": "LlamaTokenizerFast"}},
}


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_the_bundles_ids_are_those_of_the_auto_class(
    folder: Path, tmp_path: Path, name: str
) -> None:
    for file, values in TOKENIZER_FILES[name].items():
        change(folder / file, **values)
    bundle = export(folder, tmp_path / "out", quant="f32")
    truth, ours = AutoTokenizer.from_pretrained(folder), Tokenizer(bundle)
    assert ours.encode(TEXT * 20) == truth(TEXT * 20, add_special_tokens=False)["input_ids"]
    assert ours.encode(TEXT, add_special_tokens=True) == truth(TEXT)["input_ids"]
    variables = {
        key: value for key, value in truth.special_tokens_map.items() if isinstance(value, str)
    }
    assert ChatTemplate.of_bundle(bundle).variables == variables


@pytest.mark.parametrize("name", ["truncation", "padding"])
def test_golden_text_is_read_whole(folder: Path, tmp_path: Path, name: str) -> None:
    plain = export(folder, tmp_path / "plain", quant="f32").manifest.golden
    for file, values in TOKENIZER_FILES[name].items():
        change(folder / file, **values)
    assert export(folder, tmp_path / "out", quant="f32").manifest.golden == plain


def test_a_text_without_bos_gets_one(folder: Path, tmp_path: Path) -> None:
    change(folder / "tokenizer.json", post_processor=None)
    model = lfm_edge.Model(export(folder, tmp_path / "out", quant="f32"), 1)
    session = model.session()
    list(model.generate("Hello", max_tokens=1, session=session))
    assert session.ids == [1, *model.tokenizer.encode("Hello")]
