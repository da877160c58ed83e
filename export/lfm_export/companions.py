"""The small files beside the weights: read, checked and understood before the first weight.

They mean what transformers takes them to mean; `docs/checkpoints.md` has the table. What a runtime
could not know from the files alone is settled here: a tokenizer that transformers completes with
tokens of other files is written complete, and sampling defaults of an old `config.json` become a
`generation_config.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm_edge.bundle import is_bundle_path
from lfm_edge.errors import InvalidRequestError
from lfm_edge.file_names import (
    CHAT_TEMPLATES,
    GENERATION_CONFIG,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from lfm_edge.generation_config import GenerationDefaults, parse_generation_config
from lfm_edge.tokenizer import no_panics
from tokenizers import Tokenizer

from .architecture import Architecture
from .checkpoint import Checkpoint
from .checkpoint.base import quoted
from .complete_tokenizer import complete_tokenizer
from .errors import CheckpointError
from .golden_text import golden_ids
from .notes import listed

__all__ = ["Companions", "read_companions"]

_ADDED_TOKENS = "added_tokens.json"
_PROCESSOR_TEMPLATE = "chat_template.json"
_PLAIN_CLASSES = {"PreTrainedTokenizer", "TokenizersBackend", "PythonBackend", "LlamaTokenizer"}
_SAMPLING = ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_WITHOUT_EFFECT: Mapping[str, object] = {
    "num_beams": 1,
    "max_length": 20,
    "max_time": None,
    "encoder_repetition_penalty": 1,
    "encoder_no_repeat_ngram_size": 0,
    "dola_layers": None,
    "token_healing": False,
    "force_words_ids": [],
    "constraints": [],
    "penalty_alpha": 0,
    "typical_p": 1,
    "top_h": None,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "no_repeat_ngram_size": 0,
    "bad_words_ids": [],
    "suppress_tokens": [],
    "begin_suppress_tokens": [],
    "sequence_bias": [],
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "guidance_scale": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "max_new_tokens": None,
    "stop_strings": [],
    "watermarking_config": None,
}
"""What else a generation_config.json may ask for, and the value with which it asks for nothing."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Companions:
    """What the files beside the weights say.

    Attributes:
        files: what the bundle takes along, by name: a file to copy or a text to write.
        tokenizer: as transformers loads it, without truncation and padding.
        generation: the sampling defaults.
        eos_token_ids: what ends an answer, of config.json and generation_config.json together.
        pad_token_id: of config.json or else of generation_config.json.
    """

    files: Mapping[str, Path | str]
    tokenizer: Tokenizer | None
    generation: GenerationDefaults
    eos_token_ids: tuple[int, ...]
    pad_token_id: int | None

    def write(self, folder: Path) -> None:
        """Writes the files to the bundle's folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            else:
                shutil.copyfile(content, path)


def read_companions(checkpoint: Checkpoint, architecture: Architecture, note: Note) -> Companions:
    """Reads and checks the files of `checkpoint`; `note` hears what is passed over or changed.

    Raises:
        CheckpointError: a file is malformed, holds a value out of range, or does not fit the model.
    """
    files: dict[str, Path | str] = dict(checkpoint.files)
    tokenizer = _read_tokenizer(files, architecture.vocab_size, note)
    _check_templates(files, note)
    generation = _read_generation(files, checkpoint, note)
    pad = architecture.pad_token_id
    pad = generation.pad_token_id if pad is None else pad
    return Companions(
        files,
        tokenizer,
        generation,
        _end_tokens(architecture, generation, note),
        pad if pad is not None and 0 <= pad < architecture.vocab_size else None,
    )


def _read_tokenizer(files: dict[str, Path | str], vocab_size: int, note: Note) -> Tokenizer | None:
    """The tokenizer; where transformers adds tokens to it, `files` gets it whole."""
    config = _take_object(files, TOKENIZER_CONFIG)
    special = _take_object(files, SPECIAL_TOKENS)
    added = _take_object(files, _ADDED_TOKENS)
    files.pop(_ADDED_TOKENS, None)  # its tokens are in the tokenizer from here on
    path = files.get(TOKENIZER)
    if not isinstance(path, Path):
        note(
            f"no {TOKENIZER}: the bundle reads no text; save the tokenizer with "
            "transformers' save_pretrained to get one"
        )
        return None
    others = config.get("fast_tokenizer_files")
    named = [name for name in (others if isinstance(others, list) else []) if name != TOKENIZER]
    if named:
        raise CheckpointError(
            f"{TOKENIZER_CONFIG}: names other tokenizer files ({quoted(str(named[0]))}); save "
            f"the tokenizer with transformers' save_pretrained, so that there is one {TOKENIZER}"
        )
    tokenizer = _parse_tokenizer(path)
    try:
        with no_panics():
            new = complete_tokenizer(tokenizer, config, special, added)
    except (
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise CheckpointError(
            f"{TOKENIZER_CONFIG}, {SPECIAL_TOKENS} or {_ADDED_TOKENS}: a malformed token: {error}"
        ) from None
    _check_reads(tokenizer, path, vocab_size)
    if dropout := getattr(tokenizer.model, "dropout", None):
        note(f"{TOKENIZER}: dropout {dropout:.3g} is passed over: it is for training")
        tokenizer.model.dropout = None
        files[TOKENIZER] = tokenizer.to_str()
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        if index >= vocab_size:
            raise CheckpointError(
                f"{path}: token {token!r} has id {index}, but the model has {vocab_size} rows; "
                "resize its embeddings or use the tokenizer that belongs to it"
            )
    if new:
        files[TOKENIZER] = tokenizer.to_str()
        note(f"{TOKENIZER} is written with tokens that only other files list: {', '.join(new)}")
    kind = config.get("tokenizer_class")
    if isinstance(kind, str) and kind.removesuffix("Fast") not in _PLAIN_CLASSES:
        note(f"{TOKENIZER_CONFIG}: tokenizer_class {kind} is passed over; {TOKENIZER} counts")
    if config.get("split_special_tokens"):
        note(f"{TOKENIZER_CONFIG}: split_special_tokens is passed over")
    return tokenizer


def _check_reads(tokenizer: Tokenizer, path: Path, vocab_size: int) -> None:
    """That it reads a text, and adds only tokens around it that the model has."""
    try:
        with no_panics():
            ids = tokenizer.encode("a", add_special_tokens=True).ids
            golden_ids(tokenizer, vocab_size, None)
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: cannot read a text: {reason}; download it again") from None
    if far := [token for token in ids if token >= vocab_size]:
        raise CheckpointError(
            f"{path}: adds a token with id {far[0]} to a text, but the model has {vocab_size} "
            "rows; use the tokenizer that belongs to it"
        )


def _parse_tokenizer(path: Path) -> Tokenizer:
    text = _text(path)
    try:
        with no_panics():
            tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: is not a tokenizer: {reason}; download it again") from None
    kind = type(tokenizer.decoder).__name__
    if kind != "ByteLevel":
        raise CheckpointError(f"{path}: decoder {kind}, expected ByteLevel, as LFM models have")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _check_templates(files: dict[str, Path | str], note: Note) -> None:
    if files.pop(_PROCESSOR_TEMPLATE, None):
        note(f"{_PROCESSOR_TEMPLATE} is passed over: it belongs to a processor, not a tokenizer")
    for name in [name for name in files if name.startswith(f"{CHAT_TEMPLATES}/")]:
        if not is_bundle_path(name):
            note(f"{name!r} is passed over: expected a plain name")
            del files[name]
    for name, path in files.items():
        if name.endswith(".jinja") and isinstance(path, Path):
            _text(path)


def _read_generation(
    files: dict[str, Path | str], checkpoint: Checkpoint, note: Note
) -> GenerationDefaults:
    path = files.get(GENERATION_CONFIG)
    if isinstance(path, Path):
        where, text = str(path), _text(path)
        values: Mapping[str, Any] = _object(path)
    else:  # as transformers does without the file
        where, values = "config.json", checkpoint.config
        own = {name: values[name] for name in _SAMPLING if values.get(name) is not None}
        text = json.dumps(own)
        if own:
            files[GENERATION_CONFIG] = text
            note(f"no {GENERATION_CONFIG}: it is written from config.json's {', '.join(own)}")
    try:
        defaults = parse_generation_config(text)
    except InvalidRequestError as error:
        raise CheckpointError(f"{where}: {error}") from None
    for name, neutral in _WITHOUT_EFFECT.items():
        value = values.get(name)
        if value not in (None, neutral, [], {}):
            note(f"{Path(where).name}: {name} {json.dumps(value)[:60]} is passed over")
    return defaults


def _end_tokens(
    architecture: Architecture, generation: GenerationDefaults, note: Note
) -> tuple[int, ...]:
    theirs, own = dict.fromkeys(generation.eos_token_ids), architecture.eos_token_ids
    further = [token for token in own if token not in theirs]
    if theirs and further:
        note(
            f"config.json's end token {listed(further)} ends an answer too, "
            f"though {GENERATION_CONFIG} does not list it"
        )
    found = tuple(dict.fromkeys((*own, *theirs)))
    ends = tuple(token for token in found if 0 <= token < architecture.vocab_size)
    if unknown := [token for token in found if not 0 <= token < architecture.vocab_size]:
        note(f"end token {listed(unknown)} is passed over: the model has no row for it")
    if not ends:
        note("no end token in any file: an answer ends only at its limit")
    return ends


def _take_object(files: Mapping[str, Path | str], name: str) -> dict[str, Any]:
    path = files.get(name)
    return _object(path) if isinstance(path, Path) else {}


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: is not JSON; download it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: is not a JSON object; download it again")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: is not UTF-8 text; download it again") from None
