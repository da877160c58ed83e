"""Writes a checkpoint as a GGUF file for llama.cpp: Q4_0 matrices, everything else in float32.

    python benchmarks/gguf_export.py synthetic:lfm2.5-8b-a1b:8 OUT [--tokenizer build/tokenizer]

The matrices are those that llama.cpp's own quantizer makes Q4_0, and the embedding, which is the LM
head too: every weight then takes as many bits as with `lfm-edge export --quant q4 --head q4`. It
is written tensor by tensor, a few megabytes at a time. Names and keys are those of llama.cpp's
`conversion/lfm2.py`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from gguf import ExpertGatingFuncType, GGMLQuantizationType, GGUFWriter, LlamaFileType
from gguf.quants import quant_shape_to_byte_shape, quantize
from lfm_edge.errors import LfmError
from lfm_export.architecture import Architecture, Attention, Mlp, ShortConv, SparseMoe, describe
from lfm_export.checkpoint import Checkpoint, open_checkpoint
from lfm_export.errors import ArchitectureError
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines import GGUF_FILE
from benchmarks.gguf_tokenizer import add_tokenizer

ROWS_AT_ONCE = 4096
Q4_0, F32 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.F32

Tensors = Iterator[tuple[str, list[str], GGMLQuantizationType]]


def write_folder(checkpoint: Checkpoint, out: Path) -> None:
    """Writes `model.gguf` into the new folder `out`.

    Raises:
        ArchitectureError: not an LFM2 model with experts and tied embeddings.
        CheckpointError: a tensor cannot be read.
        OSError: `out` exists or cannot be written.
    """
    architecture = describe(checkpoint.config)
    if (
        checkpoint.config["model_type"] != "lfm2_moe"
        or not checkpoint.config["tie_word_embeddings"]
    ):
        raise ArchitectureError(f"{checkpoint.name}: expected lfm2_moe with tied embeddings")
    out.mkdir(parents=True)
    try:
        _write(checkpoint, architecture, out / GGUF_FILE)
    except BaseException:
        shutil.rmtree(out)
        raise


def _write(checkpoint: Checkpoint, architecture: Architecture, file: Path) -> None:
    with closing(GGUFWriter(file, "lfm2moe")) as writer:
        _add_keys(writer, checkpoint.config)
        add_tokenizer(writer, checkpoint.files, checkpoint.config["vocab_size"])
        tensors = list(_tensors(architecture))
        for name, parts, kind in tensors:
            shape = _shape(checkpoint, parts)
            stored = quant_shape_to_byte_shape(shape, kind) if kind == Q4_0 else shape
            dtype = np.dtype(np.uint8 if kind == Q4_0 else np.float32)
            size = int(np.prod(stored)) * dtype.itemsize
            writer.add_tensor_info(name, stored, dtype, size, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, parts, kind in tensors:
            writer.write_tensor_data(_values(checkpoint, parts, kind))


def _add_keys(writer: GGUFWriter, config: Mapping[str, Any]) -> None:
    attention = [kind == "full_attention" for kind in config["layer_types"]]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv([config["num_key_value_heads"] * here for here in attention])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    writer.add_leading_dense_block_count(config["num_dense_layers"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(2)


def _tensors(architecture: Architecture) -> Tensors:
    """Every tensor's name, what of the checkpoint it stacks, and its type."""
    yield "token_embd.weight", [architecture.embedding.tokens.name], Q4_0
    yield "token_embd_norm.weight", [architecture.final_norm.weight.name], F32
    for layer in architecture.layers:
        block = f"blk.{layer.index}"
        yield f"{block}.attn_norm.weight", [layer.operator_norm.weight.name], F32
        yield f"{block}.ffn_norm.weight", [layer.ffn_norm.weight.name], F32
        yield from _operator(block, layer.operator)
        yield from _feed_forward(block, layer.feed_forward)


def _operator(block: str, operator: Attention | ShortConv) -> Tensors:
    if isinstance(operator, ShortConv):
        yield f"{block}.shortconv.conv.weight", [operator.taps.name], F32
        yield f"{block}.shortconv.in_proj.weight", [operator.in_proj.name], Q4_0
        yield f"{block}.shortconv.out_proj.weight", [operator.out_proj.name], Q4_0
        return
    yield f"{block}.attn_q_norm.weight", [operator.q_norm.weight.name], F32
    yield f"{block}.attn_k_norm.weight", [operator.k_norm.weight.name], F32
    yield f"{block}.attn_q.weight", [operator.q_proj.name], Q4_0
    yield f"{block}.attn_k.weight", [operator.k_proj.name], Q4_0
    yield f"{block}.attn_v.weight", [operator.v_proj.name], Q4_0
    yield f"{block}.attn_output.weight", [operator.out_proj.name], Q4_0


def _feed_forward(block: str, feed_forward: Mlp | SparseMoe) -> Tensors:
    if isinstance(feed_forward, Mlp):
        yield f"{block}.ffn_gate.weight", [feed_forward.gate.name], Q4_0
        yield f"{block}.ffn_up.weight", [feed_forward.up.name], Q4_0
        yield f"{block}.ffn_down.weight", [feed_forward.down.name], Q4_0
        return
    router, experts = feed_forward.router, feed_forward.experts
    yield f"{block}.ffn_gate_inp.weight", [router.weight.name], F32
    if router.bias:
        yield f"{block}.exp_probs_b.bias", [router.bias.name], F32
    yield f"{block}.ffn_gate_exps.weight", [expert.gate.name for expert in experts], Q4_0
    yield f"{block}.ffn_up_exps.weight", [expert.up.name for expert in experts], Q4_0
    yield f"{block}.ffn_down_exps.weight", [expert.down.name for expert in experts], Q4_0


def _shape(checkpoint: Checkpoint, parts: list[str]) -> tuple[int, ...]:
    """As it is stored: convolution taps lose their axis of 1, experts gain one of their own."""
    shape = tuple(size for size in checkpoint.shapes[parts[0]] if size != 1)
    return (len(parts), *shape) if len(parts) > 1 else shape


def _values(
    checkpoint: Checkpoint, parts: list[str], kind: GGMLQuantizationType
) -> NDArray[np.generic]:
    quantized = []
    for part in parts:
        rows = checkpoint.shapes[part][0]
        for start in range(0, rows, ROWS_AT_ONCE):
            values = checkpoint.read(part, start, min(start + ROWS_AT_ONCE, rows))
            quantized.append(quantize(values, kind).reshape(-1))
    return np.concatenate(quantized)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", help="a checkpoint, as `lfm-edge export` takes it")
    parser.add_argument("out", type=Path, help="the folder to write; must not exist")
    parser.add_argument("--tokenizer", type=Path, help="a folder, for a synthetic source")
    options = parser.parse_args()
    logging.getLogger("gguf").setLevel(logging.WARNING)
    try:
        with open_checkpoint(options.source, tokenizer=options.tokenizer) as checkpoint:
            write_folder(checkpoint, options.out)
    except (LfmError, OSError) as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
