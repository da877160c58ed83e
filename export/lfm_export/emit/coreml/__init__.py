"""Core ML packages for iOS 18 and macOS 15, see docs/coreml.md."""

from .target import CoreML

__all__ = ["CoreML"]
