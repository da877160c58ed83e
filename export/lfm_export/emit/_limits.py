"""What the operators of the ONNX targets cannot do, said before anything is written."""

from __future__ import annotations

from ..architecture import Architecture, Attention, ShortConv
from ..errors import ExportError

__all__ = ["check_onnx"]

_HEAD_MULTIPLE = 16  # of our CachedAttention, and of ONNX Runtime's GroupQueryAttention
_WIDEST_HEAD = 4096
_MOST_HEADS = 4096
_LONGEST_KERNEL = 16  # of our GatedShortConv


def check_onnx(architecture: Architecture, target: str) -> None:
    """Compares a model with the limits of an ONNX target.

    Raises:
        ExportError: names the value, and a target that takes it.
    """
    for layer in architecture.layers:
        part = layer.operator
        if isinstance(part, Attention):
            wide = part.head_dim > _WIDEST_HEAD or part.num_heads > _MOST_HEADS
            if wide or part.head_dim % _HEAD_MULTIPLE:
                raise ExportError(
                    f"--target {target}: {part.num_heads} heads of {part.head_dim} (head_dim), "
                    f"expected a multiple of {_HEAD_MULTIPLE}, at most {_WIDEST_HEAD}, and at most "
                    f"{_MOST_HEADS} heads; --target coreml and coreai take other sizes"
                )
        elif isinstance(part, ShortConv) and part.kernel_size > _LONGEST_KERNEL:
            raise ExportError(
                f"--target {target}: a kernel of {part.kernel_size} (conv_L_cache), "
                f"expected at most {_LONGEST_KERNEL}"
            )
