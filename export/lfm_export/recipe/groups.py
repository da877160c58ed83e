"""Which matrices have one format, because operators take them as one."""

from __future__ import annotations

from collections.abc import Iterator

from ..architecture import Architecture, Attention, Linear, Mlp, SparseMoe, tensors_of

__all__ = ["groups_of", "linears_of"]


def groups_of(architecture: Architecture) -> Iterator[tuple[Linear, ...]]:
    """All matrices in order, those together that operators take as one.

    These are queries, keys and values; gate and up; and of a sparse feed-forward those of all its
    experts.
    """
    yield from ((linear,) for linear in linears_of(architecture.embedding))
    for layer in architecture.layers:
        operator, feed_forward = layer.operator, layer.feed_forward
        if isinstance(operator, Attention):
            yield operator.q_proj, operator.k_proj, operator.v_proj
            yield from ((linear,) for linear in (operator.gate_proj, operator.out_proj) if linear)
        else:
            yield from ((linear,) for linear in linears_of(operator))
        mlps: tuple[Mlp, ...] = (
            feed_forward.experts if isinstance(feed_forward, SparseMoe) else (feed_forward,)
        )
        yield tuple(linear for mlp in mlps for linear in (mlp.gate, mlp.up))
        yield tuple(mlp.down for mlp in mlps)


def linears_of(part: object) -> list[Linear]:
    """The matrices of a part, in order."""
    return [tensor for tensor in tensors_of(part) if isinstance(tensor, Linear)]
