"""What people name that is no checkpoint to export: what it is by its looks, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lfm_edge.file_names import MANIFEST

__all__ = [
    "explain_adapter",
    "explain_file",
    "explain_folder",
    "explain_scales",
    "explain_tensor",
    "is_adapter",
]

_UNQUANTIZED = "start from the unquantized checkpoint"
_SAVE = "save it with transformers' save_pretrained, as safetensors, and export that"

_FILES = {
    ".safetensors": "is one file of a checkpoint; name the folder that holds it and config.json",
    ".bin": f"is a file of PyTorch's; {_SAVE}",
    ".pt": f"is a file of PyTorch's; {_SAVE}",
    ".pth": f"is a file of PyTorch's; {_SAVE}",
    ".ckpt": f"is a training checkpoint; {_SAVE}",
    ".onnx": "is an exported graph; start from the safetensors checkpoint",
}
# In this order: what a folder without weights that we read may hold instead.
_CONTENTS = (
    (MANIFEST, "is a bundle already; lfm-edge generate, chat and eval take it"),
    ("*.gguf", "holds GGUF files; name one of them"),
    ("*.distcp", f"holds shards of an FSDP training run; merge them, then {_SAVE}"),
    ("*/*.distcp", f"holds shards of an FSDP training run; merge them, then {_SAVE}"),
    (
        "*_model_states.pt",
        f"holds shards of a DeepSpeed run; merge them with zero_to_fp32, {_SAVE}",
    ),
    (
        "global_step*",
        f"holds shards of a DeepSpeed run; merge them with zero_to_fp32, then {_SAVE}",
    ),
    (
        "consolidated*",
        f"holds consolidated weights, not transformers' own; convert them, then {_SAVE}",
    ),
    ("pytorch_model*.bin", f"holds pytorch_model.bin, which is not read; {_SAVE}"),
    ("pytorch_model.bin.index.json", f"holds pytorch_model.bin, which is not read; {_SAVE}"),
    ("*.pt", f"holds a file of PyTorch's; {_SAVE}"),
    ("*.pth", f"holds a file of PyTorch's; {_SAVE}"),
    ("*.ckpt", f"holds a training checkpoint; {_SAVE}"),
    ("tf_model.h5", f"holds TensorFlow weights; {_SAVE}"),
    ("flax_model.msgpack", f"holds Flax weights; {_SAVE}"),
    ("*.npz", f"holds weights of MLX or NumPy; {_UNQUANTIZED} that they were converted from"),
    ("checkpoint-*", "holds the checkpoints of a training run; name one of them"),
    ("*-of-*.safetensors", "holds shards without model.safetensors.index.json; download it again"),
    ("*.safetensors", "holds safetensors under another name; expected model.safetensors"),
)
# What stands in the names of tensors that would change the whole weights beside them.
_ADAPTERS = (
    (
        r"\.lora_|^lora_",
        "an adapter's; merge it into its model first, with PEFT's merge_and_unload",
    ),
    (
        r"^base_model\.model\.|\.base_layer\.|\.modules_to_save\.",
        "a PEFT model's, unmerged; merge it with merge_and_unload, then save_pretrained",
    ),
)
_SCALES = (
    (
        r"(\.|_)(weight_scale|weight_scale_inv|weight_scale_2|input_scale|scale_inv)$",
        f"of an FP8 or compressed-tensors model; {_UNQUANTIZED}",
    ),
)
# And of those that stand in the place of whole weights.
_REPLACEMENTS = (
    (r"(^|\.)_orig_mod\.", "a compiled model's; save model._orig_mod with save_pretrained"),
    (r"^module\.", "a data-parallel wrapper's; save model.module with save_pretrained"),
    (
        r"(^|\.)(_fsdp_wrapped_module|_forward_module)\.",
        f"a sharding wrapper's; unwrap the model, then {_SAVE}",
    ),
    (r"\.(qweight|qzeros|g_idx)$", f"of GPTQ or AWQ; {_UNQUANTIZED}"),
    (
        r"\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format)$|\.quant_state\.",
        f"of bitsandbytes; {_UNQUANTIZED}",
    ),
    (r"\.(weight_packed|weight_zero_point)$", f"of compressed-tensors; {_UNQUANTIZED}"),
    (r"\.switch_mlp\.|\.(scales|biases)$", f"of an MLX model; {_UNQUANTIZED}"),
    (r"\.(W_q|_data|_scale)$|\._weight_", f"of a quantized model; {_UNQUANTIZED}"),
)


def is_adapter(folder: Path) -> bool:
    """Whether `transformers` would load it as an adapter on another model."""
    return (folder / "adapter_config.json").is_file()


def explain_file(path: Path) -> str:
    """What a file is that was named in place of a folder."""
    return _FILES.get(path.suffix.lower(), "is a file; name a folder that holds config.json")


def explain_folder(folder: Path) -> str | None:
    """What a folder without our kind of weights holds, as far as its names tell."""
    for pattern, explanation in _CONTENTS:
        if any(folder.glob(pattern)):
            return explanation
    return None


def explain_adapter(names: Iterable[str]) -> tuple[str, str] | None:
    """The first tensor of an adapter, and what to do with it."""
    return _explained(names, _ADAPTERS)


def explain_scales(names: Iterable[str]) -> tuple[str, str] | None:
    """The first tensor that scales the weights of its module, and whose it is."""
    return _explained(names, _SCALES)


def explain_tensor(names: Iterable[str]) -> tuple[str, str] | None:
    """The first tensor that shows incomplete weights to be another tool's, and whose they are."""
    return _explained(names, (*_ADAPTERS, *_SCALES, *_REPLACEMENTS))


def _explained(names: Iterable[str], kinds: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    for name in names:
        for pattern, explanation in kinds:
            if re.search(pattern, name):
                return name, explanation
    return None
