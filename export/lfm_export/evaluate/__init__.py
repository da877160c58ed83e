"""What a bundle lost: its perplexity and divergence from its source, on a text.

The integers' part is told from the kernels': a walk reads the text with the bundle's own weights in
exact arithmetic, the runtime reads it as it will anywhere.
"""

from .evaluate import EvaluateOptions, evaluate_bundle, evaluate_sequences
from .result import EvaluateResult, Figures

__all__ = ["EvaluateOptions", "EvaluateResult", "Figures", "evaluate_bundle", "evaluate_sequences"]
