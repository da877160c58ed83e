"""A checkpoint whose matrices are integers already: they are kept, whatever was asked for.

Rounding them again would lose and could win nothing. Only float32 (`--quant f32`) takes what they
stand for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from lfm_ops.formats import format_named

from .architecture import Architecture, Attention, Linear, Mlp, SparseMoe, tensors_of
from .checkpoint import Checkpoint
from .notes import Note
from .quantize import Scheme

__all__ = ["keep_integers"]


def keep_integers(
    scheme: Scheme, architecture: Architecture, checkpoint: Checkpoint, note: Note
) -> Scheme:
    """The scheme that holds every matrix of integers as `checkpoint` stores it.

    Operators take some matrices together (queries, keys and values; gate and up): such have one
    format, that of the most bits. Integers of 4 bits are held exactly in 8.

    Args:
        scheme: what was asked for; it counts for matrices that are stored as floats.
        architecture: the model's.
        checkpoint: it says how each matrix is stored.
        note: hears how many are kept.
    """
    if scheme.linear == "f32":
        return scheme
    tables = {linear.name for linear in _linears(architecture.embedding)}
    methods: dict[str, str] = {}
    weights: Counter[str] = Counter()
    kept = 0
    for group in _groups(architecture):
        stored = [checkpoint.stored_format(linear.name) for linear in group]
        asked = scheme.head if group[0].name in tables else scheme.linear
        method = max((name or asked for name in stored), key=lambda name: format_named(name).bits)
        kept += sum(name is not None for name in stored)
        for linear in group:
            methods[linear.name] = method
            if linear.name not in tables:
                weights[method] += linear.rows * linear.columns
    if not kept:
        return scheme
    usual = weights.most_common(1)[0][0]
    head = methods[architecture.embedding.tokens.name]
    others = {
        name: method
        for name, method in methods.items()
        if method != (head if name in tables else usual)
    }
    found = Counter(methods.values())
    note(
        f"{checkpoint.name}: {kept} matrices are integers already and are kept as they are ("
        + ", ".join(f"{count} in {name}" for name, count in sorted(found.items()))
        + ")"
    )
    return replace(scheme, linear=usual, head=head, others=others)


def _groups(architecture: Architecture) -> Iterator[list[Linear]]:
    """The matrices, those together that operators take as one."""
    yield from ([linear] for linear in _linears(architecture.embedding))
    for layer in architecture.layers:
        operator, feed_forward = layer.operator, layer.feed_forward
        if isinstance(operator, Attention):
            yield [operator.q_proj, operator.k_proj, operator.v_proj]
            yield from ([linear] for linear in (operator.gate_proj, operator.out_proj) if linear)
        else:
            yield from ([linear] for linear in _linears(operator))
        mlps: tuple[Mlp, ...] = (
            feed_forward.experts if isinstance(feed_forward, SparseMoe) else (feed_forward,)
        )
        yield [linear for mlp in mlps for linear in (mlp.gate, mlp.up)]
        yield [mlp.down for mlp in mlps]


def _linears(part: object) -> list[Linear]:
    return [tensor for tensor in tensors_of(part) if isinstance(tensor, Linear)]
