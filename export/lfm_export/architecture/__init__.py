"""From `config.json` to a neutral description of the model: a list of layers.

A layer is an operator (attention or gated short convolution) and a feed-forward (dense or sparse).
Every part names its own tensors, so that readers, quantizers, references and emitters all walk
the same description and none of them knows a family. A new family is one more function in
`families.py` and, at most, one more kind of part in `parts.py`.

Source of the rules: `transformers`, models `lfm2`, `lfm2_moe` and `lfm3`; docs/checkpoints.md
lists them.
"""

from .families import describe
from .parts import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Linear,
    Mlp,
    Norm,
    Rope,
    Router,
    ShortConv,
    SparseMoe,
    Vector,
    tensors_of,
)

__all__ = [
    "Architecture",
    "Attention",
    "Embedding",
    "Layer",
    "Linear",
    "Mlp",
    "Norm",
    "Rope",
    "Router",
    "ShortConv",
    "SparseMoe",
    "Vector",
    "describe",
    "tensors_of",
]
