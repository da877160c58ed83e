"""One GGUF file, which llama.cpp runs."""

from .target import Gguf

__all__ = ["Gguf"]
