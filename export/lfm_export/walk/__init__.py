"""A walk: a model run one operation at a time over all of a text, never held whole.

The residual streams of all tokens lie in files, so memory is bounded whatever the text; a walk
that was killed goes on behind the last addition. Several lanes walk side by side: the model as it
is, and as it was or is being quantized. `evaluate` and `calibrate` are such walks.
"""

from .arrays import keep_arrays, kept_arrays
from .folder import BEFORE, OWN_TEXT, WalkFolder, check_state_folder
from .part import LaneWeights, Part, inputs_of
from .sequences import Sequences
from .source import SourceWeights, checkpoint_identity
from .text import TextReader
from .walk import Routes, Value, Walk, size_of

__all__ = [
    "BEFORE",
    "OWN_TEXT",
    "LaneWeights",
    "Part",
    "Routes",
    "Sequences",
    "SourceWeights",
    "TextReader",
    "Value",
    "Walk",
    "WalkFolder",
    "check_state_folder",
    "checkpoint_identity",
    "inputs_of",
    "keep_arrays",
    "kept_arrays",
    "size_of",
]
