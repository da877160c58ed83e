"""What every checkpoint can do."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from lfm_edge.file_names import (
    CHAT_TEMPLATE,
    CHAT_TEMPLATES,
    GENERATION_CONFIG,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
)
from lfm_ops.quantized import QuantizedTensor
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..notes import Note, unheard
from .foreign import explain_adapter, explain_scales, explain_tensor

__all__ = [
    "COMPANION_FILES",
    "Checkpoint",
    "companions",
    "quoted",
    "require_file",
    "shown",
]

COMPANION_FILES = (
    TOKENIZER,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    "added_tokens.json",
    CHAT_TEMPLATE,
    "chat_template.json",
    GENERATION_CONFIG,
)
_LFS = b"version https://git-lfs.github.com/spec/"
_LONGEST_QUOTE = 200
_IGNORED_IF_TIED = "lm_head.weight"
_MOST_SHOWN = 6


def quoted(text: str) -> str:
    """A name out of a file, safe to stand in a one-line message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")


def shown(names: Collection[str]) -> str:
    """The first few names out of a file, for a one-line message."""
    first = list(names)[:_MOST_SHOWN]
    plain = (
        name if name and name.isprintable() and len(name) <= _LONGEST_QUOTE else quoted(name)
        for name in first
    )
    return ", ".join(plain) + (", ..." if len(names) > _MOST_SHOWN else "")


def companions(folder: Path) -> dict[str, Path]:
    """The files beside the weights that say how to use them, as far as `folder` has them.

    Raises:
        CheckpointError: a folder, a pipe or a link to nothing has the name of one.
    """
    paths = {name: folder / name for name in COMPANION_FILES}
    for path in sorted((folder / CHAT_TEMPLATES).glob("*.jinja")):
        paths[f"{CHAT_TEMPLATES}/{path.name}"] = path
    found = {name: path for name, path in paths.items() if path.exists() or path.is_symlink()}
    for path in found.values():
        require_file(path)
    return found


def require_file(path: Path) -> None:
    """Checks that what has a name is a file; reading a pipe would wait for ever.

    Raises:
        CheckpointError: it is none, or stands for one that git has not fetched.
    """
    if not path.exists():
        reason = "leads nowhere" if path.is_symlink() else "No such file or directory"
        raise CheckpointError(f"{path}: cannot be read: {reason}; download it again")
    if not path.is_file():
        raise CheckpointError(f"{path}: is not a file; remove it or download it again")
    if _is_lfs_pointer(path):
        raise CheckpointError(
            f"{path}: is only a pointer of Git LFS; run git lfs pull there, or download it again"
        )


def _is_lfs_pointer(path: Path) -> bool:
    """Whether it stands for a file that git has not fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS)) == _LFS
    except OSError:
        return False  # which whoever reads it reports


class Checkpoint(abc.ABC):
    """The weights of a model and the files that came with them; safe to read from many threads.

    Attributes:
        name: where it came from: a folder's name, `org/name@commit`, or `synthetic:...`.
        config: the model's `config.json`.
        files: what `companions` finds, by name.
        shapes: every tensor's shape, under the names that `architecture.py` uses.
        reopen: opens the same source again, also on another machine: it can be pickled. None where
            something else than `open_checkpoint` opened it.
    """

    name: str
    config: Mapping[str, Any]
    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]
    reopen: Callable[[], Checkpoint] | None = None

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows `start` to `stop` of a tensor's first axis in float32, in memory of their own.

        Raises:
            CheckpointError: the tensor is missing, cannot be read or has an unknown dtype.
            ValueError: the rows are not in the tensor.
        """
        shape = self.shapes.get(name)
        if not shape:
            raise CheckpointError(f"{self.name}: no tensor {quoted(name)} with rows to read")
        stop = shape[0] if stop is None else stop
        if not 0 <= start <= stop <= shape[0]:
            raise ValueError(f"rows {start}:{stop} of {name}, which has {shape[0]}")
        return self._read(name, start, stop)

    def stored_format(self, name: str) -> str | None:
        """Our format that holds a matrix just as it is stored, where that is integers."""
        del name
        return None

    def read_integers(self, name: str, start: int, stop: int) -> QuantizedTensor:
        """Rows `start` to `stop` of a matrix that has a `stored_format`, in that format.

        Raises:
            CheckpointError: the tensor cannot be read.
        """
        raise NotImplementedError(f"{self.name} stores no integers ({name}, {start}:{stop})")

    def check(self, tensors: Mapping[str, tuple[int, ...]], note: Note = unheard) -> None:
        """Compares what is stored with what `Architecture.tensors` asks for.

        Tensors that the model does not have are passed over, as `transformers` does, and noted;
        only an `lm_head.weight` that a tied model stores all the same is not worth a note.

        Raises:
            CheckpointError: names the first tensor that is missing, misshapen or another tool's.
        """
        extra = [name for name in self.shapes if name not in tensors and name != _IGNORED_IF_TIED]
        try:
            for name, wanted in tensors.items():
                self._check_tensor(name, wanted)
        except CheckpointError:
            self._explain(extra, explain_tensor)
            raise
        self._explain(extra, explain_adapter)
        self._explain(_within(extra, _modules(tensors)), explain_scales)
        self._refuse_more_experts(tensors, extra)
        if extra:
            names = _summary((self._stored_name(name) for name in extra), tensors)
            note(f"{self.name}: {len(extra)} tensors that the model does not have: {names}")

    def _check_tensor(self, name: str, wanted: tuple[int, ...]) -> None:
        """That a tensor of the model is there, as it must be."""
        got = self.shapes.get(name)
        if got is None:
            raise CheckpointError(
                f"{self.name}: tensor {name} {list(wanted)} is missing; "
                "the weights are incomplete or do not belong to this config.json"
            )
        if got != wanted:
            raise CheckpointError(
                f"{self._location(name)}: shape is {list(got)}, expected {list(wanted)} "
                f"for {name}; {_why_misshapen(got, wanted)}"
            )

    def _explain(
        self, extra: Iterable[str], explain: Callable[[Iterable[str]], tuple[str, str] | None]
    ) -> None:
        if found := explain(self._stored_name(name) for name in extra):
            name, explanation = found
            raise CheckpointError(f"{self.name}: tensor {quoted(name)} is {explanation}")

    def unfit(self, name: str, row: int, value: float) -> CheckpointError:
        """An error that names the row of a tensor where a weight is no usable number."""
        return CheckpointError(
            f"{self._location(name)}: row {row} of {name} holds {value:g}, expected weights "
            "within float16's range (65504); the checkpoint is damaged, or its training diverged"
        )

    def _refuse_more_experts(
        self, tensors: Mapping[str, tuple[int, ...]], extra: Iterable[str]
    ) -> None:
        """Of the experts of one layer none can be left out: `transformers` stacks them all."""
        for name in extra:
            layer, _, matrix = name.partition(".experts.")
            is_expert = matrix.endswith((".w1.weight", ".w2.weight", ".w3.weight"))
            if is_expert and f"{layer}.experts.0.w1.weight" in tensors:
                raise CheckpointError(
                    f"{self._location(name)}: one expert more than num_experts in config.json; "
                    "the weights do not belong to it"
                )

    @abc.abstractmethod
    def _read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """`read`, after the name and the rows were found to be right."""

    def _stored_name(self, name: str) -> str:
        """What the checkpoint's own files call a tensor."""
        return name

    def _location(self, name: str) -> str:
        """How a message names a tensor."""
        return f"{self.name}: tensor {quoted(name)}"

    def close(self) -> None:  # noqa: B027 - a checkpoint without open files has nothing to do
        """Closes the files; reading is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _modules(tensors: Iterable[str]) -> set[str]:
    """The names of what holds the model's weights, all experts of a layer among them."""
    linears = {name.removesuffix(".weight") for name in tensors}
    return linears | {name.partition(".experts.")[0] + ".experts" for name in linears}


def _within(names: Iterable[str], modules: Collection[str]) -> Iterator[str]:
    """Those of the tensors that lie in one of the modules, at whatever depth."""
    deepest = max((module.count(".") for module in modules), default=0) + 1
    for name in names:
        parts = name.split(".", deepest)
        if any(".".join(parts[:count]) in modules for count in range(1, len(parts))):
            yield name


def _why_misshapen(got: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(got) == 3 and (got[0], got[2], got[1]) == wanted:
        return "the order of the axes is that of an MLX model; start from what it was made from"
    return "the weights do not belong to this config.json"


def _summary(names: Iterable[str], tensors: Iterable[str]) -> str:
    """Names without their numbers, each once; a layer too many stands for all that is in it."""
    layers = {match[0] for name in tensors if (match := re.search(r"layers\.\d+\.", name))}
    found: dict[str, None] = {}
    for name in names:
        layer = re.search(r"layers\.\d+\.", name)
        if layer and layer[0] not in layers:
            found[f"{name[: layer.end()]}*"] = None
        else:
            found[re.sub(r"\.\d+(?=\.)", ".*", name)] = None
    return shown(found)
