"""The rows on weights in docs/checkpoints.md, each with the checkpoints that show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from tests.parity.checkpoint_case import DENSE, LFM3, MOE, Case, Change, Tensors


def renamed(rename: Callable[[str], str]) -> Change:
    return lambda tensors: {rename(name): value for name, value in tensors.items()}


def as_type(kind: torch.dtype) -> Change:
    return lambda tensors: {name: value.to(kind) for name, value in tensors.items()}


def added(**more: torch.Tensor) -> Change:
    return lambda tensors: tensors | more


def replaced(name: str, **more: torch.Tensor) -> Change:
    """Without the tensor `name`, in whose place there are others."""
    return lambda tensors: without(name)(tensors) | more


def packed(kind: torch.dtype, scales: str) -> Change:
    """A matrix of another type, and the scales beside it."""
    return lambda tensors: tensors | {PROJECTION: tensors[PROJECTION].to(kind), scales: VECTOR}


def without(part: str) -> Change:
    return lambda tensors: {name: value for name, value in tensors.items() if part not in name}


def with_head(scale: float) -> Change:
    return lambda tensors: tensors | {"lm_head.weight": scale * tensors[EMBEDDING].clone()}


def with_value(name: str, row: int, value: float) -> Change:
    def change(tensors: Tensors) -> Tensors:
        changed = tensors[name].clone()
        changed[row].view(-1)[-1] = value
        return tensors | {name: changed}

    return change


def experts_apart(tensors: Tensors) -> Tensors:
    """The experts as the Hub stores them."""
    apart = {name: value for name, value in tensors.items() if ".experts." not in name}
    for name, stack in tensors.items():
        prefix, _, kind = name.rpartition(".")
        for expert, matrix in enumerate(stack if ".experts." in name else []):
            if kind == "down_proj":
                apart[f"{prefix}.{expert}.w2.weight"] = matrix.clone()
            else:
                gate, up = matrix.chunk(2)
                apart[f"{prefix}.{expert}.w1.weight"] = gate.clone()
                apart[f"{prefix}.{expert}.w3.weight"] = up.clone()
    return apart


def experts_partly_bare(*bare: int) -> Change:
    """Experts apart, some of them without the prefix."""

    def change(tensors: Tensors) -> Tensors:
        return {
            name.removeprefix("model.")
            if any(f".experts.{expert}." in name for expert in bare)
            else name: value
            for name, value in experts_apart(tensors).items()
        }

    return change


def one_expert_more(tensors: Tensors) -> Tensors:
    apart = experts_apart(tensors)
    return apart | {
        f"{EXPERTS}.4.{matrix}.weight": apart[f"{EXPERTS}.0.{matrix}.weight"].clone()
        for matrix in ("w1", "w2", "w3")
    }


def a_fifth_layer(tensors: Tensors) -> Tensors:
    return tensors | {
        name.replace("layers.0.", "layers.4."): value.clone()
        for name, value in tensors.items()
        if "layers.0." in name
    }


def twice(tensors: Tensors) -> Tensors:
    """Two tensors with other values under the names of a base model."""
    return tensors | {
        name.removeprefix("model."): tensors[name].flip(0).contiguous() + 0.1
        for name in (EMBEDDING, NORM)
    }


def only_head(tensors: Tensors) -> Tensors:
    return {("lm_head.weight" if name == EMBEDDING else name): v for name, v in tensors.items()}


EMBEDDING = "model.embed_tokens.weight"
MODULE = "model.layers.0.conv.in_proj"
PROJECTION = f"{MODULE}.weight"
EXPERTS = "model.layers.1.feed_forward.experts"
NORM = "model.layers.1.ffn_norm.weight"
VECTOR = torch.ones(16)


def stored(change: Change, base: Mapping[str, Any] = DENSE, says: str | None = None) -> Case:
    return Case(says=says, base=base, tensors=change)


def unfit(words: str, change: Change, base: Mapping[str, Any] = DENSE, **config: Any) -> Case:
    return Case(config, refused=words, base=base, tensors=change)


def bad(name: str, row: int, value: float, quant: str, base: Mapping[str, Any] = DENSE) -> Case:
    words = f"row {row} of {name} holds {value:g}"
    change = with_value(name, row, value)
    return Case(refused=words, base=base, tensors=change, options={"quant": quant})


def files(words: str, *names: str) -> Case:
    """A folder that holds these in place of config.json and weights."""
    return Case(refused=words, files=dict.fromkeys(names, b"{}"))


INF, NAN = float("inf"), float("nan")

WEIGHTS: Mapping[str, list[Case]] = {
    "experts stacked or apart": [stored(lambda tensors: tensors, MOE), stored(experts_apart, MOE)],
    "gate_proj, g_proj": [
        Case(base=LFM3),
        Case(base=LFM3, tensors=renamed(lambda name: name.replace(".g_proj.", ".gate_proj."))),
    ],
    "no model. prefix, or one too many": [
        stored(renamed(lambda name: name.removeprefix("model."))),
        stored(renamed(lambda name: f"model.{name}")),
        stored(renamed(lambda name: name.removeprefix("model.")), MOE),
    ],
    "float64, float32, float16, bfloat16": [
        stored(as_type(kind))
        for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    ],
    "another type of a tensor of the model": [
        unfit("is I8", lambda t: t | {PROJECTION: t[PROJECTION].to(torch.int8)}),
        unfit("is F8_E4M3", lambda t: t | {NORM: t[NORM].to(torch.float8_e4m3fn)}),
    ],
    "lm_head.weight beside a tied embedding, equal": [stored(with_head(1.0))],
    "lm_head.weight beside a tied embedding, different": [
        stored(with_head(0.5), says="lm_head.weight is stored and differs"),
        stored(with_head(-1.0), MOE, says="lm_head.weight is stored and differs"),
    ],
    "lm_head.weight alone in a tied model": [stored(only_head), stored(only_head, MOE)],
    "lm_head.weight or embedding missing in an untied model": [
        unfit("tie_word_embeddings false", without("lm_head"), tie_word_embeddings=False),
        unfit(f"{EMBEDDING} [320, 64] is missing", without("embed"), tie_word_embeddings=False),
    ],
    "tensors that the model does not have": [
        stored(added(**{"model.layers.1.self_attn.rotary_emb.inv_freq": VECTOR}), says="inv_freq"),
        stored(
            added(**{"v_head.summary.weight": VECTOR, "score.weight": VECTOR.clone()}),
            says="v_head",
        ),
        stored(added(**{"model.layers.1.feed_forward.expert_bias": VECTOR}), says="expert_bias"),
        stored(added(**{"model.layers.1.self_attn.q_proj.bias": VECTOR}), says="q_proj.bias"),
        stored(added(**{"lm_head.bias": VECTOR}), says="lm_head.bias"),
        *(
            stored(added(**{name: VECTOR.clone()}), says=name.rpartition(".")[2])
            for name in ("probe.scales", f"{MODULE}.scales", "visual.qweight", "v.weight_scale")
        ),
        *(
            stored(added(probe=VECTOR.to(kind)), says="probe")
            for kind in (torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.bool, torch.complex64)
        ),
        stored(added(probe=torch.ones([1] * 20)), says="probe"),
        stored(added(**{f"{EXPERTS}.down_proj": VECTOR.to(torch.uint8)}), says="down_proj"),
    ],
    "one tensor under two names": [
        stored(twice, says="2 tensors are stored under another name too, which counts"),
        unfit("twice", lambda t: t | experts_apart(t), MOE),
    ],
    "experts of a layer with and without the prefix": [
        stored(experts_partly_bare(0, 1), MOE),
        unfit("rename them all alike", experts_partly_bare(1), MOE),
    ],
    "layers beyond num_hidden_layers": [
        stored(a_fifth_layer, says="model.layers.4.*"),
        stored(a_fifth_layer, MOE, says="model.layers.4.*"),
    ],
    "experts beyond num_experts": [
        unfit("num_experts", one_expert_more, MOE),
        unfit(
            "num_experts",
            lambda t: experts_apart(t) | {f"{EXPERTS}.shared.w1.weight": torch.ones(32, 64)},
            MOE,
        ),
    ],
    "a tensor missing or misshapen": [
        unfit(f"{NORM} [64] is missing", without(NORM)),
        unfit("expert_bias [4] is missing", without("expert_bias"), MOE),
        unfit("shape is [63]", lambda tensors: tensors | {NORM: tensors[NORM][:63].clone()}),
    ],
    "NaN, infinity, beyond 65504": [
        *(bad(PROJECTION, 3, value, "q4") for value in (NAN, INF, -INF, 1e7, -65600.0)),
        *(bad(PROJECTION, 5, value, "q8") for value in (NAN, 1e7)),
        *(bad(PROJECTION, 191, value, "f32") for value in (NAN, -1e7)),
        *(bad(NORM, 9, value, "q4") for value in (NAN, 1e7)),
        *(bad(EMBEDDING, 319, NAN, quant) for quant in ("q4", "q8", "f32")),
        bad("model.layers.1.feed_forward.expert_bias", 2, INF, "q4", MOE),
        bad("model.layers.1.feed_forward.gate.weight", 2, NAN, "q8", MOE),
    ],
    "names of PEFT, torch.compile, data parallel, FSDP": [
        unfit("merge_and_unload", renamed(lambda name: f"base_model.model.{name}")),
        unfit("model._orig_mod", renamed(lambda name: f"_orig_mod.{name}")),
        unfit("model.module", renamed(lambda name: f"module.{name}")),
        unfit("sharding wrapper", renamed(lambda name: f"_fsdp_wrapped_module.{name}")),
        unfit(
            "an adapter's", added(**{"model.layers.1.feed_forward.w1.lora_B.weight": VECTOR}), MOE
        ),
        unfit("an adapter's", added(**{f"{MODULE}.lora_A.weight": VECTOR})),
    ],
    "tensors of bitsandbytes, GPTQ, AWQ, FP8, compressed-tensors": [
        unfit("bitsandbytes", packed(torch.uint8, f"{PROJECTION}.absmax")),
        unfit("bitsandbytes", packed(torch.int8, f"{MODULE}.SCB")),
        unfit("GPTQ or AWQ", replaced(PROJECTION, **{f"{MODULE}.qweight": VECTOR})),
        unfit("FP8", packed(torch.float8_e4m3fn, f"{PROJECTION}_scale_inv")),
        unfit("FP8", added(**{f"{PROJECTION}_scale_inv": VECTOR})),
        unfit("FP8", added(**{f"{EXPERTS}.gate_up_proj_scale_inv": VECTOR}), MOE),
        unfit("compressed-tensors", replaced(PROJECTION, **{f"{PROJECTION}_packed": VECTOR})),
    ],
    "tensors of MLX": [
        unfit("MLX", packed(torch.uint32, f"{MODULE}.scales")),
        unfit("MLX", renamed(lambda name: name.replace(".experts.", ".switch_mlp.")), MOE),
        unfit(
            "MLX",
            lambda tensors: {
                name: value.transpose(1, 2).contiguous() if value.ndim == 3 else value
                for name, value in tensors.items()
            },
        ),
    ],
    "an adapter's folder": [
        files("merge it into its model", "adapter_config.json", "adapter_model.safetensors"),
    ],
    "a folder without config.json or safetensors weights": [
        files("GGUF", "lfm2-q4.gguf"),
        files("pytorch_model.bin", "config.json", "pytorch_model.bin"),
        files("pytorch_model.bin", "config.json", "pytorch_model.bin.index.json"),
        files("FSDP", "__0_0.distcp", ".metadata"),
        files("DeepSpeed", "config.json", "mp_rank_00_model_states.pt"),
        files("consolidated", "config.json", "consolidated.00.pth"),
        files("bundle already; lfm-edge generate", "manifest.json", "model.onnx"),
        files("index", "config.json", "model-00001-of-00002.safetensors"),
        files("another name", "config.json", "weights.safetensors"),
        files("holds no weights", "config.json"),
        files("config.json: cannot be read"),
    ],
}
