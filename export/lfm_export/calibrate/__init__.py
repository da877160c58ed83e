"""Quantization by what a model reads of a text: errors count where they show in its outputs.

A walk of its own before the export: it keeps the integers and scales of every matrix in a folder,
from which an export of any target takes them.
"""

from .calibrate import Calibration, calibrate, calibration_text
from .own_text import OWN, kept_text, own_text

__all__ = ["OWN", "Calibration", "calibrate", "calibration_text", "kept_text", "own_text"]
