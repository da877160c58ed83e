"""Checkpoints, read lazily: one tensor, or a few of its rows, at a time.

A checkpoint is a local Hugging Face folder, a GGUF file, a model of the Hub, or synthetic weights
in a known shape. All look alike: tensors under the names of the Hub, each expert apart, in float32.
"""

from .base import Checkpoint
from .folder import FolderCheckpoint
from .shapes import SHAPES
from .source import open_checkpoint
from .synthetic import SyntheticCheckpoint

__all__ = [
    "SHAPES",
    "Checkpoint",
    "FolderCheckpoint",
    "SyntheticCheckpoint",
    "open_checkpoint",
]
