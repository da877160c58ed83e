"""The fast graph, of our own operators (domain `ai.lfm`, see docs/ops.md)."""

from .target import Onnx

__all__ = ["Onnx"]
