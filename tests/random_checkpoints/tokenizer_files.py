"""`tokenizer.json`, `tokenizer_config.json` and the older files beside them, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

from .choices import ABSENT, Choices, present

__all__ = ["BOS", "MARKERS", "TokenizerFiles", "draw_tokenizer"]

BOS, PAD, START, END = "<|startoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
MARKERS = (
    PAD,
    BOS,
    START,
    END,
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|tool_list_start|>",
)
_EXTRA = "<|extra|>"
_MERGES = (
    *(("h", "e"), ("i", "n"), ("e", "r"), ("l", "l"), ("\u0120", "t"), ("\u0120t", "he")),
    *(
        ("\u0120", "a"),
        ("o", "n"),
        ("\u010a", "\u010a"),
        ("1", "2"),
        ("s", "t"),
        ("\u00c3", "\u00a9"),
    ),
)
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class TokenizerFiles:
    """The files as JSON values, None where a file is not there, and what they amount to."""

    tokenizer: dict[str, Any] | None
    config: dict[str, Any] | None
    special_tokens_map: dict[str, Any] | None
    added_tokens: dict[str, int] | None
    size: int
    """Ids that the tokenizer may give, with those that only the older files add."""
    ids: dict[str, int]

    @property
    def keeps_text(self) -> bool:
        """Whether ids decode to the very text they were made of."""
        files = self.tokenizer or {"normalizer": None, "added_tokens": ()}
        flags = ("single_word", "lstrip", "rstrip", "normalized")
        return files["normalizer"] is None and not any(
            token[flag] for token in files["added_tokens"] for flag in flags
        )

    @property
    def parts_markers(self) -> bool:
        """Whether the text around a marker never changes that it is one."""
        return not any(
            token["single_word"] for token in (self.tokenizer or {}).get("added_tokens", ())
        )


def draw_tokenizer(choices: Choices) -> TokenizerFiles:
    """Every file but the chat templates."""
    merges = _MERGES[: choices.number(0, len(_MERGES))]
    words = [*sorted(ByteLevel.alphabet()), *(left + right for left, right in merges)]
    first = choices.one(True, False)
    names = [*MARKERS, *words] if first else [*words, *MARKERS]
    ids = {name: index for index, name in enumerate(names)}
    added = [_added_token(choices, name, ids[name]) for name in MARKERS]
    outside = not first and choices.rarely(30)
    model = {
        "type": "BPE",
        "vocab": {n: i for n, i in ids.items() if not (outside and n in MARKERS)},
        "merges": [" ".join(pair) for pair in merges]
        if choices.rarely(40)
        else [list(pair) for pair in merges],
        **present(
            {
                "dropout": choices.one(None, ABSENT),
                "unk_token": choices.one(None, ABSENT),
                "continuing_subword_prefix": choices.usual(None, ABSENT, ""),
                "end_of_word_suffix": choices.usual(None, ABSENT, ""),
                "fuse_unk": choices.one(False, ABSENT),
                "byte_fallback": choices.one(False, ABSENT),
                "ignore_merges": choices.one(False, True, ABSENT),
            }
        ),
    }
    tokenizer = {
        "version": "1.0",
        "truncation": choices.usual(None, _truncation(choices), percent=15),
        "padding": choices.usual(None, _padding(choices, ids), percent=15),
        "added_tokens": added,
        "normalizer": choices.usual(
            None, {"type": "NFC"}, {"type": "NFKC"}, {"type": "Lowercase"}, percent=20
        ),
        "pre_tokenizer": _pre_tokenizer(choices),
        "post_processor": _post_processor(choices, ids),
        "decoder": _byte_level(choices),
        "model": model,
    }
    older = choices.rarely(25)
    config, extra = _config(choices, added, ids, older)
    tokens_map = _special_tokens_map(choices) if choices.rarely(20) else None
    added_file = {_EXTRA: len(ids)} if older and choices.rarely(40) else None
    for text in (*extra, *_texts(tokens_map), *(added_file or ())):
        ids.setdefault(text, len(ids))
    missing = choices.rarely(2)
    return TokenizerFiles(
        None if missing else tokenizer, config, tokens_map, added_file, len(ids), ids
    )


def _texts(tokens_map: dict[str, Any] | None) -> list[str]:
    values = (tokens_map or {}).values()
    return [value["content"] if isinstance(value, dict) else value for value in values]


def _added_token(choices: Choices, content: str, token_id: int) -> dict[str, Any]:
    thought = content in ("<think>", "</think>")
    return {
        "id": token_id,
        "content": content,
        "single_word": choices.rarely(2),
        "lstrip": choices.rarely(4),
        "rstrip": choices.rarely(4),
        "normalized": choices.rarely(5),
        "special": not choices.rarely(60 if thought else 8),
    }


def _truncation(choices: Choices) -> dict[str, Any]:
    return {
        "direction": choices.one("Right", "Left"),
        "max_length": choices.one(4, 16),
        "strategy": "LongestFirst",
        "stride": 0,
    }


def _padding(choices: Choices, ids: dict[str, int]) -> dict[str, Any]:
    return {
        "strategy": choices.one({"Fixed": 48}, "BatchLongest"),
        "direction": choices.one("Left", "Right"),
        "pad_to_multiple_of": choices.one(None, 8),
        "pad_id": ids[PAD],
        "pad_type_id": 0,
        "pad_token": PAD,
    }


def _byte_level(choices: Choices, regex: bool = True) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": choices.one(True, False),
        "use_regex": regex,
    }


def _pre_tokenizer(choices: Choices) -> dict[str, Any]:
    if choices.rarely(20):
        return _byte_level(choices)
    split = {
        "type": "Split",
        "pattern": {"Regex": _LLAMA3},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, _byte_level(choices, regex=False)]}


def _post_processor(choices: Choices, ids: dict[str, int]) -> dict[str, Any] | None:
    begin = {"SpecialToken": {"id": BOS, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [begin, text],
        "pair": [begin, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {BOS: {"id": BOS, "ids": [ids[BOS]], "tokens": [BOS]}},
    }
    both = {"type": "Sequence", "processors": [_byte_level(choices), template]}
    return choices.one(template, None, _byte_level(choices), both)


def _config(
    choices: Choices, added: list[dict[str, Any]], ids: dict[str, int], older: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    """`tokenizer_config.json`, and the tokens that it alone adds."""
    if choices.rarely(4):
        return None, []
    bos = choices.usual(BOS, None, ABSENT, percent=20)
    eos = choices.usual(END, "<|endoftext|>", None)
    extra: list[str] = []
    decoder: Any = ABSENT
    if not older:
        decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added}
        if choices.rarely(10):  # flags that differ from those in tokenizer.json
            changed = str(ids[choices.one("<think>", START, END)])
            special = not decoder[changed]["special"]
            decoder[changed] = {**decoder[changed], "special": special}
        if choices.rarely(5):
            decoder[str(len(ids))] = {**decoder[str(ids[END])], "content": _EXTRA}
            extra.append(_EXTRA)
    if choices.rarely(4):
        eos = "<|other|>"
        extra.append(eos)
    listed = choices.usual(ABSENT, [], ["<think>"], [START, END], [_EXTRA], percent=25)
    if listed is not ABSENT:
        extra += [text for text in listed if text not in extra]
    config = {
        "tokenizer_class": choices.usual(
            "PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizerFast", ABSENT
        ),
        "bos_token": _token(choices, bos),
        "eos_token": _token(choices, eos),
        "pad_token": _token(choices, choices.usual(PAD, None, ABSENT)),
        "unk_token": choices.usual(ABSENT, None),
        "added_tokens_decoder": decoder,
        choices.one("extra_special_tokens", "additional_special_tokens"): listed,
        "add_bos_token": choices.usual(ABSENT, True, False),
        "model_max_length": choices.usual(ABSENT, 1000000000000000019884624838656, 16),
        "clean_up_tokenization_spaces": choices.usual(ABSENT, True, False),
        "legacy": choices.usual(ABSENT, False, None),
        "sp_model_kwargs": choices.usual(ABSENT, {}),
        "spaces_between_special_tokens": choices.usual(ABSENT, False),
    }
    if choices.rarely(1):
        config["split_special_tokens"] = True
    return present(config), extra


def _token(choices: Choices, text: Any) -> Any:
    if not isinstance(text, str) or not choices.rarely(20):
        return text
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", "content": text, **flags}


def _special_tokens_map(choices: Choices) -> dict[str, Any]:
    def entry(text: str) -> Any:
        flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
        return choices.one(text, {"content": text, **flags})

    chosen = {
        "bos_token": choices.usual(BOS, "<|endoftext|>", START),
        "eos_token": choices.usual(END, "<|endoftext|>", _EXTRA),
        "pad_token": choices.usual(PAD, ABSENT),
    }
    return {name: entry(text) for name, text in present(chosen).items()}
