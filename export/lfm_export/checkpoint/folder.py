"""A local folder in Hugging Face's layout: config.json beside one or more safetensors files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..notes import Note, unheard
from .base import Checkpoint, companions, quoted
from .foreign import explain_folder, is_adapter
from .safetensors_file import SafetensorsFile, StoredTensor

__all__ = ["FolderCheckpoint"]

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_MOST_EXPERTS = 4096


class FolderCheckpoint(Checkpoint):
    """Reads a folder; the headers at once, the weights when asked."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Opens `folder` and checks that its files are whole.

        Args:
            folder: holds `config.json` and `model.safetensors`, or shards and their index.
            name: what to call it; by default the folder's name.

        Raises:
            CheckpointError: a file is missing, truncated or malformed.
        """
        self.name = name or os.fsencode(folder.resolve().name).decode(errors="replace")
        _refuse_other_kinds(folder)
        self.config = _read_object(folder / "config.json")
        self.files = companions(folder)
        with ExitStack() as stack:
            self._tensors = _hub_names(_open_tensors(folder, _weights(folder, self.config), stack))
            self._open_files = stack.pop_all()
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}

    def close(self) -> None:
        """Closes the safetensors files."""
        self._open_files.close()

    def check(self, tensors: Mapping[str, tuple[int, ...]], note: Note = unheard) -> None:
        """The same, and that their types can be read."""
        super().check(tensors, note)
        for name in tensors:
            self._tensors[name].require_readable()

    def _read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return self._tensors[name].rows(start, stop).read()

    def _stored_name(self, name: str) -> str:
        return self._tensors[name].name

    def _location(self, name: str) -> str:
        tensor = self._tensors[name]
        return f"{tensor.file.path}: tensor {quoted(tensor.name)}"


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: is not JSON; download it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: is not a JSON object; download it again")
    return value


def _refuse_other_kinds(folder: Path) -> None:
    if is_adapter(folder):
        raise CheckpointError(
            f"{folder}: is an adapter (adapter_config.json): merge it into its model first, with "
            "PEFT's merge_and_unload and save_pretrained; where that is done, remove the file"
        )
    own = any((folder / name).exists() for name in ("config.json", _SINGLE, _INDEX))
    if not own and (explanation := explain_folder(folder)):
        raise CheckpointError(f"{folder}: {explanation}")


def _weights(folder: Path, config: Mapping[str, Any]) -> Path:
    """The file of the weights, or the index of their shards."""
    named = config.get("transformers_weights")
    if named is not None:
        if (
            not isinstance(named, str)
            or not _is_plain(named)
            or not named.endswith((".safetensors", ".safetensors.index.json"))
        ):
            raise CheckpointError(
                f"{folder}: transformers_weights in config.json is {quoted(str(named))}, "
                "expected a safetensors file in the folder or the index of its shards"
            )
        return folder / named
    for name in (_SINGLE, _INDEX):
        if (folder / name).exists():
            return folder / name
    explanation = explain_folder(folder) or "holds no weights"
    raise CheckpointError(f"{folder}: {explanation} (neither {_SINGLE} nor {_INDEX} is there)")


def _open_tensors(folder: Path, path: Path, stack: ExitStack) -> Mapping[str, StoredTensor]:
    """Every stored tensor under its stored name; `stack` closes the files."""
    if path.suffix != ".json":
        return _open(path, stack).tensors
    shards = _weight_map(path)
    files: dict[str, SafetensorsFile] = {}
    for shard in sorted(set(shards.values())):
        if not (folder / shard).exists():
            raise CheckpointError(
                f"{folder / shard}: is missing, but {path.name} names it; download it again"
            )
        files[shard] = _open(folder / shard, stack)
    tensors: dict[str, StoredTensor] = {}
    for file in files.values():  # all that they hold: transformers takes only their names from it
        for name, tensor in file.tensors.items():
            if name in tensors:
                raise file.error(f"stores {quoted(name)}, which {tensors[name].file.path} does too")
            tensors[name] = tensor
    return tensors


def _open(path: Path, stack: ExitStack) -> SafetensorsFile:
    file = SafetensorsFile(path)
    stack.callback(file.close)
    return file


def _weight_map(path: Path) -> dict[str, str]:
    shards = _read_object(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(f"{path}: has no weight_map from tensors to files")
    for name, shard in shards.items():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise CheckpointError(
                f"{path}: places tensor {quoted(name)} in {quoted(str(shard))}, "
                "expected the plain name of a file in the same folder"
            )
    return shards


def _is_plain(name: str) -> bool:
    return name.isprintable() and name not in ("", ".", "..") and not set(name) & {"/", "\\"}


def _hub_names(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors under the names of the Hub, each expert apart: the only place that renames."""
    tensors: dict[str, StoredTensor] = {}
    for stored_name, tensor in stored.items():
        for name, part in _experts_apart(_with_one_prefix(stored_name), tensor):
            if name in tensors:
                raise tensor.file.error(
                    f"stores {quoted(name)} twice, once as {quoted(stored_name)}"
                )
            tensors[name] = part
    return tensors


def _with_one_prefix(name: str) -> str:
    """`transformers` saves a base model without the prefix, and drops one that is there twice."""
    if name.startswith(("model.model.", "model.lm_head.")):
        return name.removeprefix("model.")
    return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"


def _experts_apart(name: str, tensor: StoredTensor) -> Iterator[tuple[str, StoredTensor]]:
    """A tensor of stacked experts as one `w1`, `w3` or `w2` per expert, others as they are.

    `gate_up_proj` is `[experts, 2 * width, hidden]` with the gate (`w1`) first, `down_proj` is
    `[experts, hidden, width]`.
    """
    prefix, _, kind = name.rpartition(".")
    if not prefix.endswith(".feed_forward.experts") or kind not in ("gate_up_proj", "down_proj"):
        yield name, tensor
        return
    if len(tensor.shape) != 3 or tensor.shape[1] % 2 or tensor.shape[0] > _MOST_EXPERTS:
        raise tensor.file.error(
            f"tensor {quoted(tensor.name)} has shape {list(tensor.shape)}, "
            "expected [experts, 2 * width, hidden] or [experts, hidden, width]"
        )
    for expert in range(tensor.shape[0]):
        whole = tensor.part(expert)
        if kind == "down_proj":
            yield f"{prefix}.{expert}.w2.weight", whole
            continue
        rows = whole.shape[0]
        yield f"{prefix}.{expert}.w1.weight", whole.rows(0, rows // 2)
        yield f"{prefix}.{expert}.w3.weight", whole.rows(rows // 2, rows)
