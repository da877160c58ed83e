"""What runtimes do that know these families by name, and take no more than their sizes.

llama.cpp and mlx-lm hold the wiring of a model themselves; what a `config.json` could change in it
beyond what the released models have, they do not read. A wrong result is worse than an error.
"""

from __future__ import annotations

from ..architecture import Architecture, Attention, ShortConv, SparseMoe
from ..errors import ExportError

__all__ = ["check_plain"]


def check_plain(architecture: Architecture, target: str) -> None:
    """Refuses a model that such a runtime would take for another one.

    Raises:
        ExportError: names what the runtime cannot do.
    """

    def refuse(what: str) -> ExportError:
        return ExportError(
            f"--target {target}: {what}, which its runtime cannot do; take --target onnx"
        )

    if not any(isinstance(layer.operator, Attention) for layer in architecture.layers):
        raise refuse("the model has no attention layer")
    for layer in architecture.layers:
        operator, feed_forward = layer.operator, layer.feed_forward
        if isinstance(operator, Attention):
            if operator.rope.theta is None:
                raise refuse("RoPE's rule is another than the default one")
            if operator.num_heads * operator.head_dim != architecture.hidden_size:
                raise refuse(
                    f"{operator.num_heads} heads of {operator.head_dim} are not "
                    f"{architecture.hidden_size} wide (hidden_size)"
                )
        if isinstance(feed_forward, SparseMoe):
            router = feed_forward.router
            if not router.norm_topk_prob or router.routed_scaling_factor != 1.0:
                raise refuse("norm_topk_prob is false or routed_scaling_factor is not 1")
        if isinstance(operator, ShortConv) and operator.bias is not None:
            raise refuse("the convolutions have biases (conv_bias)")
