"""Stored tensors under the names of the Hub, each expert apart: the only place that renames.

Follows `convert_and_load_state_dict_in_model` of transformers' `core_model_loading.py`: tensors are
taken in the order of their names, and of two of one name the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..notes import Note
from .base import quoted, shown
from .safetensors_file import StoredTensor

__all__ = ["hub_names", "require_stack", "stack_of"]

_MOST_EXPERTS = 4096
_MOST_EXPERTS_IN_STACKS = 1 << 18  # two stacks of as many experts as a model may have in all
_EXPERT = re.compile(r"(.+\.feed_forward\.experts)\.(\d+)\.(w[123])\.weight", re.ASCII)


def hub_names(stored: Mapping[str, StoredTensor], note: Note) -> dict[str, StoredTensor]:
    """The same tensors by the names that `architecture.py` uses.

    Args:
        stored: the tensors by the names in their files.
        note: hears which are stored under two names.

    Raises:
        CheckpointError: an expert is stored twice, or in an order in which transformers would
            take it for another; or there are more than any model has.
    """
    _require_few_experts(stored)
    tensors: dict[str, StoredTensor] = {}
    last: dict[str, tuple[int, str]] = {}
    twice: list[str] = []
    for stored_name in sorted(stored, key=_natural):
        tensor = stored[stored_name]
        for name, part in _experts_apart(_hub_name(stored_name), tensor):
            expert = _EXPERT.fullmatch(name)
            if name not in tensors:
                tensors[name] = part
            elif expert:
                raise tensor.file.error(
                    f"stores {quoted(name)} twice, once as {quoted(stored_name)}"
                )
            else:
                twice.append(stored_name)
            if expert:
                _require_order(expert, last, tensor)
    if twice:
        note(
            f"{len(twice)} tensors are stored under another name too, which counts: {shown(twice)}"
        )
    return tensors


def _natural(name: str) -> list[tuple[int, int, str]]:
    """The order of names in which transformers takes tensors: numbers by their value."""
    return [
        (0, *_number(part)) if part.isascii() and part.isdigit() else (1, 0, part)
        for part in name.split(".")
    ]


def _number(digits: str) -> tuple[int, str]:
    """What orders numbers by their value, however many digits they have."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _require_order(
    expert: re.Match[str], last: dict[str, tuple[int, str]], tensor: StoredTensor
) -> None:
    """The names say nothing to transformers: it numbers a layer's experts as they come."""
    matrix, number = f"{expert[1]}.{expert[3]}", _number(expert[2])
    if number < last.get(matrix, number):
        raise tensor.file.error(
            f"names some experts of {expert[1]} with model. and others without it, which "
            "transformers would take in another order; rename them all alike"
        )
    last[matrix] = number


def _hub_name(name: str) -> str:
    """With one prefix, and with the name that transformers gives LFM3's gates when it saves."""
    return _with_one_prefix(name.replace(".self_attn.g_proj.", ".self_attn.gate_proj."))


def _with_one_prefix(name: str) -> str:
    """`transformers` saves a base model without the prefix, and drops one that is there twice."""
    if name.startswith(("model.model.", "model.lm_head.")):
        return name.removeprefix("model.")
    return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"


def stack_of(name: str) -> str:
    """What a stack is called that would hold an expert's matrix, or the name itself."""
    expert = _EXPERT.fullmatch(name)
    if expert is None:
        return name
    return f"{expert[1]}.{'down_proj' if expert[3] == 'w2' else 'gate_up_proj'}"


def require_stack(tensor: StoredTensor) -> None:
    """Checks that a stored stack can be taken apart.

    Raises:
        CheckpointError: it has another shape or a type that cannot be read.
    """
    tensor.require_readable()
    if not _is_stack(tensor):
        raise tensor.file.error(
            f"tensor {quoted(tensor.name)} has shape {list(tensor.shape)}, "
            "expected [experts, 2 * width, hidden] or [experts, hidden, width]"
        )


def _is_stack(tensor: StoredTensor) -> bool:
    shape = tensor.shape
    return len(shape) == 3 and shape[1] % 2 == 0 and shape[0] <= _MOST_EXPERTS


def _require_few_experts(stored: Mapping[str, StoredTensor]) -> None:
    """Each expert of a stack costs memory, though a header may name millions in a few bytes."""
    count = 0
    for name, tensor in stored.items():
        count += tensor.shape[0] if _holds_experts(name, tensor) else 0
        if count > _MOST_EXPERTS_IN_STACKS:
            raise tensor.file.error(
                f"stores more than {_MOST_EXPERTS_IN_STACKS:,} experts in stacks like "
                f"{quoted(name)}; the checkpoint is damaged"
            )


def _holds_experts(name: str, tensor: StoredTensor) -> bool:
    prefix, _, kind = name.rpartition(".")
    stacked = prefix.endswith(".feed_forward.experts") and kind in ("gate_up_proj", "down_proj")
    return stacked and tensor.is_readable and _is_stack(tensor)


def _experts_apart(name: str, tensor: StoredTensor) -> Iterator[tuple[str, StoredTensor]]:
    """A tensor of stacked experts as one `w1`, `w3` or `w2` per expert, others as they are.

    `gate_up_proj` is `[experts, 2 * width, hidden]` with the gate (`w1`) first, `down_proj` is
    `[experts, hidden, width]`.
    """
    if not _holds_experts(name, tensor):
        yield name, tensor
        return
    prefix, _, kind = name.rpartition(".")
    for expert in range(tensor.shape[0]):
        whole = tensor.part(expert)
        if kind == "down_proj":
            yield f"{prefix}.{expert}.w2.weight", whole
            continue
        rows = whole.shape[0]
        yield f"{prefix}.{expert}.w1.weight", whole.rows(0, rows // 2)
        yield f"{prefix}.{expert}.w3.weight", whole.rows(rows // 2, rows)
