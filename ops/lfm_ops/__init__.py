"""The custom operators' library, their weight format and their plain NumPy references."""

from .library import library_path

__all__ = ["library_path"]
