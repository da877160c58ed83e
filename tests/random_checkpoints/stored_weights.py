"""Random weights for a model's sizes, in one of the spellings that people store them in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from .choices import Choices
from .configs import Dims

__all__ = ["StoredWeights", "draw_weights", "write_weights"]

Tensors = dict[str, torch.Tensor]

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


@dataclass(frozen=True)
class StoredWeights:
    """How the tensors of a model are stored, and what is wrong with them."""

    seed: int
    dtype: str
    """`mixed` changes from tensor to tensor."""
    prefix: str
    """`model.` as usual, none, that of a wrapper, or `mixed`, with or without the experts."""
    experts: str
    """`apart`, `stacked`, or `mixed`: the two matrices of a layer in different ways."""
    head: str
    """`as config`, `equal`, `differs`, `only` (no embedding), or `missing`."""
    extras: tuple[str, ...]
    bad: str
    """A value that no weight should have, or none."""
    place: int
    """Which matrix has it."""
    lacks: int
    """Which tensor is missing, or -1."""
    shards: int
    folder: str
    """Where the shards lie, within the checkpoint's."""
    again: bool
    """Whether the last shard stores a tensor of the first again, with other values."""


def draw_weights(choices: Choices, dims: Dims) -> StoredWeights:
    """A spelling; usually one that loads."""
    head = choices.usual("as config", "equal", "differs", "only") if dims.tied else "as config"
    if not dims.tied and choices.rarely(2):
        head = "missing"
    if head == "missing":
        choices.may_refuse("the head of an untied model is missing")
    prefix = choices.usual("model.", "", "mixed", "model.on all")
    if choices.rarely(2):
        prefix = "mixed with experts"
        choices.may_refuse("experts with and without a prefix")
    if choices.rarely(2):
        prefix = choices.one("_orig_mod.", "base_model.model.", "module.")
        choices.may_refuse(f"tensors named {prefix}")
    bad = choices.one("nan", "inf", "-inf", "1e7") if choices.rarely(3) else ""
    if bad:
        choices.may_refuse(f"{bad} in a weight")
    lacks = choices.number(0, 5) if choices.rarely(1) else -1
    if lacks >= 0:
        choices.may_refuse("a tensor is missing")
    extras = tuple(dict.fromkeys(choices.several(_EXTRAS, 1, 2))) if choices.rarely(25) else ()
    if choices.rarely(1):
        extras += ("lora",)
        choices.may_refuse("LoRA tensors beside the weights")
    return StoredWeights(
        seed=choices.number(0, 9),
        dtype=choices.one("bf16", "f32", "f16", "f64", "mixed"),
        prefix=prefix,
        experts=choices.one("apart", "stacked", "mixed"),
        head=head,
        extras=extras,
        bad=bad,
        place=choices.number(0, 9),
        lacks=lacks,
        shards=choices.usual(1, 2, 3),
        folder=choices.usual("", "part/"),
        again=choices.rarely(30),
    )


_EXTRAS = ("inv_freq", "expert_bias", "value head", "layer beyond", "integers", "scales", "float8")


def write_weights(folder: Path, dims: Dims, stored: StoredWeights) -> None:
    """Writes `model.safetensors`, or shards with an index."""
    tensors = _with_head(dims, stored, dict(_values(dims, stored.seed)))
    _spoil(tensors, stored)
    if stored.lacks >= 0:
        del tensors[sorted(tensors)[stored.lacks * 7 % len(tensors)]]
    tensors = _stack_experts(tensors, dims, stored.experts)
    tensors = {
        _prefixed(name, number, stored.prefix): _cast(value, number, stored.dtype)
        for number, (name, value) in enumerate(tensors.items())
    }
    tensors |= _extra_tensors(dims, stored.extras)
    if stored.shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for shard in range(stored.shards):
        file = f"{stored.folder}model-{shard + 1:05}-of-{stored.shards:05}.safetensors"
        part = dict(list(tensors.items())[shard :: stored.shards])
        if stored.again and shard == stored.shards - 1:
            name, value = next(iter(tensors.items()))
            part[name] = value + 1
        (folder / file).parent.mkdir(exist_ok=True)
        save_file(part, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index: dict[str, Any] = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def shapes(dims: Dims) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of a model under its name on the Hub."""
    hidden = dims.hidden
    yield _EMBEDDING, (dims.vocab, hidden)
    for index, kind in enumerate(dims.kinds):
        layer = f"model.layers.{index}"
        yield f"{layer}.operator_norm.weight", (hidden,)
        yield f"{layer}.ffn_norm.weight", (hidden,)
        if dims.sandwich:
            yield f"{layer}.post_operator_norm.weight", (hidden,)
            yield f"{layer}.post_ffn_norm.weight", (hidden,)
        if kind == "conv":
            yield f"{layer}.conv.conv.weight", (hidden, 1, dims.kernel)
            yield f"{layer}.conv.in_proj.weight", (3 * hidden, hidden)
            yield f"{layer}.conv.out_proj.weight", (hidden, hidden)
            if dims.conv_bias:
                yield f"{layer}.conv.conv.bias", (hidden,)
                yield f"{layer}.conv.in_proj.bias", (3 * hidden,)
                yield f"{layer}.conv.out_proj.bias", (hidden,)
        else:
            yield from _attention(f"{layer}.self_attn", dims)
        part = f"{layer}.feed_forward"
        if not dims.moe or index < dims.num_dense:
            yield from _mlp(part, dims.width, hidden)
            continue
        yield f"{part}.gate.weight", (dims.experts, hidden)
        if dims.expert_bias:
            yield f"{part}.expert_bias", (dims.experts,)
        for expert in range(dims.experts):
            yield from _mlp(f"{part}.experts.{expert}", dims.expert_width, hidden)
    yield "model.embedding_norm.weight", (hidden,)


def _attention(part: str, dims: Dims) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, heads = dims.hidden, dims.heads * dims.head_dim
    kv = dims.kv_heads * dims.head_dim
    out, norm = ("o", "norm") if dims.lfm3 else ("out", "layernorm")
    for name, shape in (
        ("q", (heads, hidden)),
        ("k", (kv, hidden)),
        ("v", (kv, hidden)),
        (out, (hidden, heads)),
    ):
        yield f"{part}.{name}_proj.weight", shape
        if dims.attention_bias:
            yield f"{part}.{name}_proj.bias", shape[:1]
    if dims.gated:
        yield f"{part}.gate_proj.weight", (dims.heads, hidden)
    yield f"{part}.q_{norm}.weight", (dims.head_dim,)
    yield f"{part}.k_{norm}.weight", (dims.head_dim,)


def _mlp(part: str, width: int, hidden: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{part}.w1.weight", (width, hidden)
    yield f"{part}.w3.weight", (width, hidden)
    yield f"{part}.w2.weight", (hidden, width)


def _values(dims: Dims, seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Values under which every tensor matters: norms off one, biases off zero."""
    random = np.random.default_rng(seed)
    for name, shape in shapes(dims):
        noise = torch.from_numpy(random.standard_normal(shape, np.float32))
        if "norm" in name:
            yield name, 1 + 0.2 * noise
        elif len(shape) > 1:
            yield name, noise / shape[-1] ** 0.5
        else:
            yield name, 0.2 * noise


def _with_head(dims: Dims, stored: StoredWeights, tensors: Tensors) -> Tensors:
    embedding = tensors[_EMBEDDING]
    other = embedding.flip(0) + 0.1
    if stored.head in ("equal", "only"):
        tensors[_HEAD] = embedding.clone()
    if stored.head == "differs" or (not dims.tied and stored.head == "as config"):
        tensors[_HEAD] = other
    if stored.head == "only":
        del tensors[_EMBEDDING]
    return tensors


def _spoil(tensors: Tensors, stored: StoredWeights) -> None:
    if not stored.bad:
        return
    names = [name for name, value in tensors.items() if value.ndim > 1 or stored.place > 7]
    tensor = tensors[names[stored.place * 5 % len(names)]]
    tensor.view(-1)[tensor.numel() // 3] = float(stored.bad)


def _stack_experts(tensors: Tensors, dims: Dims, how: str) -> Tensors:
    """transformers 5 saves an MoE layer's experts as two tensors, the Hub has them apart."""
    if how == "apart":
        return tensors
    for index in range(len(dims.kinds)):
        part = f"model.layers.{index}.feed_forward.experts"
        names = [f"{part}.{expert}" for expert in range(dims.experts)]
        if f"{names[0] if names else part}.w1.weight" not in tensors:
            continue
        if any(f"{n}.{w}.weight" not in tensors for n in names for w in ("w1", "w2", "w3")):
            continue  # one is missing on purpose
        down = torch.stack([tensors.pop(f"{name}.w2.weight") for name in names])
        tensors[f"{part}.down_proj"] = down
        if how == "stacked":
            pairs = [(tensors.pop(f"{n}.w1.weight"), tensors.pop(f"{n}.w3.weight")) for n in names]
            tensors[f"{part}.gate_up_proj"] = torch.stack([torch.cat(pair) for pair in pairs])
    return tensors


def _prefixed(name: str, number: int, prefix: str) -> str:
    if prefix == "model.":
        return name
    if prefix == "model.on all":
        return name if name.startswith("model.") else f"model.{name}"
    apart = ".experts." not in name  # which transformers would put in the order of full names
    mixed = prefix.startswith("mixed")
    if prefix == "" or (mixed and number % 2 and (apart or prefix == "mixed with experts")):
        return name.removeprefix("model.")
    return name if mixed else prefix + name


def _cast(value: torch.Tensor, number: int, dtype: str) -> torch.Tensor:
    if dtype == "mixed":
        dtype = list(_DTYPES)[number % len(_DTYPES)]
    return value.to(_DTYPES[dtype]).contiguous()


def _extra_tensors(dims: Dims, extras: tuple[str, ...]) -> Tensors:
    """Tensors that transformers leaves unread."""
    layer = f"model.layers.{len(dims.kinds)}"
    found: Tensors = {}
    if "inv_freq" in extras:
        found["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
        found["model.rotary_emb.inv_freq"] = torch.ones(8)
    if "expert_bias" in extras and not (dims.moe and dims.expert_bias and dims.num_dense == 0):
        found["model.layers.0.feed_forward.expert_bias"] = torch.ones(4)
    if "value head" in extras:
        found["v_head.summary.weight"] = torch.ones(1, dims.hidden)
        found["v_head.summary.bias"] = torch.full((1,), float("nan"))
    if "layer beyond" in extras:
        found[f"{layer}.ffn_norm.weight"] = torch.ones(dims.hidden)
    if "integers" in extras:
        found["model.position_ids"] = torch.arange(4)
    if "scales" in extras:
        found["model.layers.0.feed_forward.w1.scales"] = torch.ones(4)
        found["probe.qweight"] = torch.ones(4)
    if "float8" in extras:
        found["model.probe"] = torch.ones(4).to(torch.float8_e4m3fnuz)
    if "lora" in extras:
        found["model.layers.0.feed_forward.w1.lora_A.weight"] = torch.ones(4, dims.hidden)
        found["model.layers.0.feed_forward.w1.lora_B.weight"] = torch.ones(dims.width, 4)
    return found
