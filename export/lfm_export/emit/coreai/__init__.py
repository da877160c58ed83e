"""Apple's Core AI, experimental, see docs/coreai.md."""

from .target import CoreAI

__all__ = ["CoreAI"]
