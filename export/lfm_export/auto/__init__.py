"""Formats chosen by what they lose: measured damage, weighed by bytes, within a budget."""

from .budget import Budget
from .choose import choose_formats, fewest_bits

__all__ = ["AUTO", "Budget", "choose_formats", "fewest_bits"]

AUTO = "auto"
"""What `--quant` calls it."""
