"""A GGUF file as a checkpoint: its weights, and the files that it was converted from."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lfm_edge.file_names import (
    CHAT_TEMPLATE,
    CHAT_TEMPLATES,
    GENERATION_CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..gguf.names import FINAL_NORMS, hub_name
from ..gguf.tokenizer import NORMAL, GgufTokens, tokenizer_json
from .base import Checkpoint, companions, quoted
from .gguf_config import read_config
from .gguf_file import GgufFile, GgufTensor

__all__ = ["GgufCheckpoint"]

_MOST_EXPERTS = 1 << 18  # of all stacks: each costs memory here, and none in the file's header
_LONGEST_NAME = 100
_PRE_TOKENIZERS = ("lfm2", "llama-bpe", "llama3", "llama-v3")
_SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
_TEMPLATE = "tokenizer.chat_template"


class GgufCheckpoint(Checkpoint):
    """Reads one file; the header at once, the weights when asked."""

    def __init__(self, path: Path) -> None:
        """Opens `path` and checks its header.

        Raises:
            CheckpointError: the file is truncated or malformed, or holds no model of ours.
        """
        self._file = GgufFile(path)
        self.name = _name(self._file)
        self._made = tempfile.TemporaryDirectory(prefix="lfm-edge-gguf-")
        try:
            self.config = read_config(self._file)
            self._tensors = _hub_tensors(self._file)
            self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
            folder = Path(self._made.name)
            _write_files(self._file, self.config, folder)
            self.files = companions(folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file and removes what was made of it."""
        self._file.close()
        self._made.cleanup()

    def stored_format(self, name: str) -> str | None:
        """`q8` for what the file holds as Q8_0, `q4` for Q4_0."""
        tensor = self._tensors[name]
        return tensor.integers if len(tensor.shape) == 2 else None

    def read_integers(self, name: str, start: int, stop: int) -> QuantizedTensor:
        """Its integers and scales, and nothing else."""
        return self._tensors[name].rows(start, stop).read_integers()

    def _read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return self._tensors[name].rows(start, stop).read()

    def _check_tensor(self, name: str, wanted: tuple[int, ...]) -> None:
        super()._check_tensor(name, wanted)
        self._tensors[name].require_readable()

    def _stored_name(self, name: str) -> str:
        return self._tensors[name].name

    def _location(self, name: str) -> str:
        tensor = self._tensors.get(name)
        return f"{self._file.path}: tensor {quoted(tensor.name if tensor else name)}"


def _name(file: GgufFile) -> str:
    """What the file calls its model, or else its own name."""
    name = file.keys.get("general.name")
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_NAME:
        return name
    return os.fsencode(file.path.resolve().stem).decode(errors="replace")


def _hub_tensors(file: GgufFile) -> dict[str, GgufTensor]:
    """Every tensor by its name on the Hub, where it has one; experts apart."""
    if all(name in file.tensors for name in FINAL_NORMS):
        raise file.error(f"holds both {' and '.join(FINAL_NORMS)}, which are the same norm")
    tensors: dict[str, GgufTensor] = {}
    experts = 0
    for stored, tensor in file.tensors.items():
        name = hub_name(stored)
        if name is None:
            tensors[stored] = tensor
        elif "{}" not in name:
            tensors[name] = (
                _with_kernel_axis(tensor) if name.endswith("conv.conv.weight") else tensor
            )
        elif len(tensor.shape) != 3:
            raise file.error(
                f"tensor {quoted(stored)} has shape {list(tensor.shape)}, "
                "expected [experts, rows, columns]"
            )
        else:
            experts += tensor.shape[0]
            if experts > _MOST_EXPERTS:
                raise file.error(f"stores more than {_MOST_EXPERTS:,} experts; the file is damaged")
            for expert in range(tensor.shape[0]):
                tensors[name.format(expert)] = tensor.part(expert)
    return tensors


def _with_kernel_axis(tensor: GgufTensor) -> GgufTensor:
    """Convolution taps `[hidden, 1, kernel]`, as the Hub has them."""
    return replace(tensor, shape=(tensor.shape[0], 1, *tensor.shape[1:]))


def _write_files(file: GgufFile, config: Mapping[str, Any], folder: Path) -> None:
    """The files beside the weights, as far as the keys tell what they held."""
    _write_tokenizer(file, config, folder)
    for key, value in file.keys.items():
        if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}."):
            _write_template(file, key, value, folder)
    sampling = {
        name: round(value, 6) if isinstance(value, float) else value
        for key, name in _SAMPLING.items()
        if (value := file.single(f"general.sampling.{key}")) is not None
    }
    if sampling:
        defaults = {"do_sample": sampling.get("temperature") != 0, **sampling}
        (folder / GENERATION_CONFIG).write_text(json.dumps(defaults), encoding="utf-8")


def _write_tokenizer(file: GgufFile, config: Mapping[str, Any], folder: Path) -> None:
    tokens = _tokens(file)
    if tokens is None:
        return
    bos, eos, pad = config["bos_token_id"], config["eos_token_id"][:1], config["pad_token_id"]
    named = {"tokenizer_class": "PreTrainedTokenizerFast"} | {
        f"{name}_token": _token(file, tokens, token)
        for name, token in (("bos", bos), ("eos", next(iter(eos), None)), ("pad", pad))
        if token is not None
    }
    begins = file.single("tokenizer.ggml.add_bos_token") in (None, True)
    try:
        text = tokenizer_json(tokens, bos if begins else None)
    except ValueError as error:
        raise file.error(f"tokenizer: {error}") from None
    (folder / TOKENIZER).write_text(text, encoding="utf-8")
    (folder / TOKENIZER_CONFIG).write_text(json.dumps(named), encoding="utf-8")


def _write_template(file: GgufFile, key: str, value: Any, folder: Path) -> None:
    name = key.removeprefix(_TEMPLATE).removeprefix(".")
    if not isinstance(value, str) or (name and not name.isidentifier()):
        raise file.error(f"{quoted(key)} is no chat template under a plain name")
    path = folder / (f"{CHAT_TEMPLATES}/{name}.jinja" if name else CHAT_TEMPLATE)
    path.parent.mkdir(exist_ok=True)
    path.write_text(value, encoding="utf-8")


def _tokens(file: GgufFile) -> GgufTokens | None:
    """The tokenizer, or None where the file has none."""
    keys = file.keys
    model, pre = (file.single(f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if model in (None, "none", "no_vocab"):
        return None
    if model != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise file.error(
            f"has a tokenizer {quoted(str(model))} with pre-tokenizer {quoted(str(pre))}, "
            f"expected gpt2 with {' or '.join(_PRE_TOKENIZERS)}"
        )
    tokens, merges = (keys.get(f"tokenizer.ggml.{name}") for name in ("tokens", "merges"))
    if not isinstance(tokens, list) or not isinstance(merges, list):
        raise file.error("tokenizer.ggml.tokens and merges are not two lists of texts")
    types = keys.get("tokenizer.ggml.token_type", np.full(len(tokens), NORMAL))
    if (
        not isinstance(types, np.ndarray)
        or types.dtype.kind not in "iu"
        or len(types) != len(tokens)
    ):
        raise file.error(
            f"tokenizer.ggml.token_type: expected a type of each of {len(tokens)} tokens"
        )
    return GgufTokens(tokens, types.tolist(), merges)


def _token(file: GgufFile, tokens: GgufTokens, index: int) -> str:
    if index >= len(tokens.tokens):
        raise file.error(
            f"a special token has id {index}, but there are {len(tokens.tokens)} tokens"
        )
    return tokens.tokens[index]
