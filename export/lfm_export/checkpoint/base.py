"""What every checkpoint can do."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError

__all__ = ["COMPANION_FILES", "TEMPLATE_FOLDER", "Checkpoint", "companions", "quoted"]

COMPANION_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
TEMPLATE_FOLDER = "additional_chat_templates"
_LONGEST_QUOTE = 200
_IGNORED_IF_TIED = "lm_head.weight"


def quoted(text: str) -> str:
    """A name out of a file, safe to stand in a one-line message."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")


def companions(folder: Path) -> dict[str, Path]:
    """The files beside the weights that say how to use them, as far as `folder` has them."""
    paths = {name: folder / name for name in COMPANION_FILES}
    for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja")):
        paths[f"{TEMPLATE_FOLDER}/{path.name}"] = path
    return {name: path for name, path in paths.items() if path.is_file()}


class Checkpoint(abc.ABC):
    """The weights of a model and the files that came with them; safe to read from many threads.

    Attributes:
        name: where it came from: a folder's name, `org/name@commit`, or `synthetic:...`.
        config: the model's `config.json`.
        files: what `companions` finds, by name.
        shapes: every tensor's shape, under the names that `architecture.py` uses.
    """

    name: str
    config: Mapping[str, Any]
    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]

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

    def check(self, tensors: Mapping[str, tuple[int, ...]]) -> None:
        """Compares what is stored with what `Architecture.tensors` asks for.

        An `lm_head.weight` that a tied model stores all the same is not counted as extra.

        Raises:
            CheckpointError: names the first tensor that is missing, misshapen or extra.
        """
        for name, wanted in tensors.items():
            got = self.shapes.get(name)
            if got is None:
                raise CheckpointError(
                    f"{self.name}: tensor {name} {list(wanted)} is missing; "
                    "the weights are incomplete or do not belong to this config.json"
                )
            if got != wanted:
                raise CheckpointError(
                    f"{self._location(name)}: shape is {list(got)}, expected {list(wanted)} "
                    f"for {name}; the weights do not belong to this config.json"
                )
        for name in self.shapes:
            if name not in tensors and name != _IGNORED_IF_TIED:
                raise CheckpointError(
                    f"{self._location(name)}: extra tensor, which config.json does not describe; "
                    "the weights do not belong to this config.json"
                )

    @abc.abstractmethod
    def _read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """`read`, after the name and the rows were found to be right."""

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
