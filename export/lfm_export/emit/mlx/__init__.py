"""A folder as mlx-lm loads it."""

from .target import Mlx

__all__ = ["Mlx"]
