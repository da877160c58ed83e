"""Our operators for modules of one's own: `torch.ops.lfm.*`, and their way into an ONNX graph.

from lfm_export.torch import TRANSLATIONS, GatedShortConv

class Block(torch.nn.Module): ...  # of GatedShortConv, CachedAttention, SparseMoe and plain torch

torch.onnx.export(Block(), args, "block.onnx", dynamo=True, custom_translation_table=TRANSLATIONS)

In torch an operator computes by a plain form, in float32; in the graph it is one node of the
domain `ai.lfm` (docs/ops.md), which ONNX Runtime runs with `lfm_ops.library.library_path()`.
Weights are float32 in the packed layout from the beginning (`pack`), so nothing is rewritten on
the way.
"""

from lfm_edge.extras import missing_dependency

try:
    import onnxscript  # noqa: F401
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in {"onnxscript", "torch"}:
        raise
    raise missing_dependency(error.name, extra="torch") from None

from .modules import CachedAttention, GatedShortConv, SparseMoe
from .operators import cached_attention, gated_short_conv, sparse_moe
from .packed import pack, pack_gate_up
from .translations import TRANSLATIONS

__all__ = [
    "TRANSLATIONS",
    "CachedAttention",
    "GatedShortConv",
    "SparseMoe",
    "cached_attention",
    "gated_short_conv",
    "pack",
    "pack_gate_up",
    "sparse_moe",
]
