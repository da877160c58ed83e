"""Targets, a folder each: what a checkpoint can be exported to."""

from .coreai import CoreAI
from .coreml import CoreML
from .gguf import Gguf
from .mlx import Mlx
from .onnx import Onnx
from .onnx_portable import OnnxPortable
from .target import Job, Option, Store, Target

__all__ = ["TARGETS", "Job", "Option", "Store", "Target"]

TARGETS: dict[str, Target] = {
    target.name: target for target in (Onnx(), OnnxPortable(), CoreML(), CoreAI(), Gguf(), Mlx())
}
"""By name; the first is the default."""
