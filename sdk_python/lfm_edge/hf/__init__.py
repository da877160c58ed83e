"""A bundle as a model of transformers: `generate`, `pipeline`, lm-evaluation-harness.

    from lfm_edge.hf import LfmEdgeForCausalLM

    model = LfmEdgeForCausalLM.from_pretrained("OUT")
    model.generate(**tokenizer("def area(radius):", return_tensors="pt"), max_new_tokens=64)

This is the one part of the SDK that needs torch and transformers; importing it without them is a
MissingDependencyError.
"""

from ..extras import missing_dependency

try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in {"torch", "transformers"}:
        raise
    raise missing_dependency(error.name, extra="hf") from None

from .cache import LfmEdgeCache
from .model import LfmEdgeConfig, LfmEdgeForCausalLM

__all__ = ["LfmEdgeCache", "LfmEdgeConfig", "LfmEdgeForCausalLM"]
