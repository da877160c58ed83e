"""The graph of operators of ONNX and `com.microsoft` only: it needs no library of ours."""

from .target import OnnxPortable

__all__ = ["OnnxPortable"]
