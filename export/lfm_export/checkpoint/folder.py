"""A local folder in Hugging Face's layout: config.json beside one or more safetensors files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..notes import Note, unheard
from .base import Checkpoint, companions, quoted, require_file, shown
from .foreign import explain_folder, is_adapter
from .hub_names import hub_names, require_stack, stack_of
from .safetensors_file import SafetensorsFile, StoredTensor

__all__ = ["FolderCheckpoint", "shards_within"]

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


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
            self._remarks: list[str] = []
            stored = _open_tensors(
                folder, _weights(folder, self.config), stack, self._remarks.append
            )
            self._tensors = hub_names(stored, self._remarks.append)
            self._open_files = stack.pop_all()
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}

    def close(self) -> None:
        """Closes the safetensors files."""
        self._open_files.close()

    def check(self, tensors: Mapping[str, tuple[int, ...]], note: Note = unheard) -> None:
        """The same, and that their types can be read; notes which of two of one name counts."""
        super().check(tensors, note)
        for remark in self._remarks:
            note(remark)

    def _check_tensor(self, name: str, wanted: tuple[int, ...]) -> None:
        stack = self._tensors.get(stack_of(name))
        if stack is not None and name not in self._tensors:
            require_stack(stack)
        super()._check_tensor(name, wanted)
        self._tensors[name].require_readable()

    def _read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        return self._tensors[name].rows(start, stop).read()

    def _stored_name(self, name: str) -> str:
        return self._tensors[name].name

    def _location(self, name: str) -> str:
        tensor = self._tensors[name]
        return f"{tensor.file.path}: tensor {quoted(tensor.name)}"


def _read_object(path: Path) -> dict[str, Any]:
    require_file(path)
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
    for name in (_SINGLE, _INDEX):
        if (folder / name).is_symlink():
            require_file(folder / name)  # which it is not
    explanation = explain_folder(folder) or "holds no weights"
    raise CheckpointError(f"{folder}: {explanation} (neither {_SINGLE} nor {_INDEX} is there)")


def _open_tensors(
    folder: Path, path: Path, stack: ExitStack, note: Note
) -> Mapping[str, StoredTensor]:
    """Every stored tensor under its stored name; `stack` closes the files."""
    if path.suffix != ".json":
        return _open(path, stack).tensors
    files: dict[str, SafetensorsFile] = {}
    for shard in _shards(path):
        if not (folder / shard).exists():
            raise CheckpointError(
                f"{folder / shard}: is missing, but {path.name} names it; download it again"
            )
        files[shard] = _open(folder / shard, stack)
    tensors: dict[str, StoredTensor] = {}
    twice: list[str] = []
    for file in files.values():  # all that they hold: transformers takes only their names from it
        for name, tensor in file.tensors.items():
            twice += [name] if name in tensors else []
            tensors[name] = tensor
    if twice:
        note(
            f"{path}: {len(twice)} tensors are stored in two of its files, and the last counts, as "
            f"in transformers: {shown(twice)}"
        )
    return tensors


def _open(path: Path, stack: ExitStack) -> SafetensorsFile:
    file = SafetensorsFile(path)
    stack.callback(file.close)
    return file


def _shards(path: Path) -> list[str]:
    """The files that an index names, in order; each lies in the index's folder or within it."""
    shards = _read_object(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(f"{path}: has no weight_map from tensors to files")
    for name, shard in shards.items():
        if not isinstance(shard, str) or not all(map(_is_plain, _parts(shard))):
            raise CheckpointError(
                f"{path}: places tensor {quoted(name)} in {quoted(str(shard))}, "
                "expected a file in the same folder, or in one within it"
            )
    return list(dict.fromkeys("/".join(_parts(shard)) for shard in sorted(set(shards.values()))))


def _parts(path: str) -> list[str]:
    """Of a file that an index names; `./` before it says nothing."""
    return path.removeprefix("./").split("/")


def shards_within(folder: Path) -> list[str]:
    """The shards that lie in folders of their own.

    Raises:
        CheckpointError: the config or the index is missing or malformed.
    """
    path = _weights(folder, _read_object(folder / "config.json"))
    return [shard for shard in _shards(path) if "/" in shard] if path.suffix == ".json" else []


def _is_plain(name: str) -> bool:
    return name.isprintable() and name not in ("", ".", "..") and not set(name) & {"/", "\\"}
