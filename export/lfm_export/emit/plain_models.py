"""What runtimes cannot do that know these families by name, and take no more than their sizes.

llama.cpp and mlx-lm hold the wiring of a model themselves; what a `config.json` could change in it
beyond what the released models have, they do not read. A wrong result is worse than an error.
"""

from __future__ import annotations

from ..architecture import Architecture, Attention
from ..errors import ExportError

__all__ = ["check_plain", "refusal"]

_KNOWN = ("lfm2", "lfm2_moe")


def refusal(target: str, what: str) -> ExportError:
    """The error for what a target's runtime cannot do."""
    return ExportError(
        f"--target {target}: {what}, which its runtime cannot do; --target onnx takes the model"
    )


def check_plain(architecture: Architecture, target: str) -> None:
    """Refuses families that such a runtime does not know, and attention that it would mistake.

    Raises:
        ExportError: names what the runtime cannot do.
    """
    if architecture.family not in _KNOWN:
        raise refusal(target, f"the model's family is {architecture.family}")
    operators = [layer.operator for layer in architecture.layers]
    attention = [part for part in operators if isinstance(part, Attention)]
    if not attention:
        raise refusal(target, "the model has no attention layer")
    for part in attention:
        if part.rope.theta is None:
            raise refusal(target, "the model's RoPE follows another rule than the default one")
        if part.num_heads * part.head_dim != architecture.hidden_size:
            raise refusal(
                target,
                f"the model's {part.num_heads} heads of {part.head_dim} are together not as wide "
                f"as its stream, {architecture.hidden_size}",
            )
