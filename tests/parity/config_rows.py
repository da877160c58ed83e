"""The rows on config.json in docs/checkpoints.md, each with the checkpoints that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.parity.checkpoint_case import ABSENT, DENSE, LFM3, MOE, Case


def runs(says: str | None = None, base: Mapping[str, Any] = DENSE, **config: Any) -> Case:
    return Case(config, says, None, base)


def refused(words: str, base: Mapping[str, Any] = DENSE, **config: Any) -> Case:
    return Case(config, None, words, base)


def unsupported(words: str, target: str = "onnx", **config: Any) -> Case:
    """A whole checkpoint that a target cannot run."""
    return Case(config, refused=words, tensors=dict, options={"target": target})


def scaled(**rope: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 1e4, **rope}}


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONGROPE = {"rope_type": "longrope", "short_factor": [1 + i / 4 for i in range(8)]} | {
    "long_factor": [2.0] * 8
}
KINDS = ("full_attention", "sliding_attention")
NESTED = {"full_attention": {"rope_type": "default", "rope_theta": 5.0}}

# transformers checks the types of some of these.
UNREAD: Mapping[str, list[Any]] = {
    "use_cache": ["x", 1, None, False],
    "initializer_range": ["x", None, -1],
    "id2label": [5, ["a"], {"a": "b"}],
    "label2id": [5],
    "num_labels": ["x", None],
    "tokenizer_class": [5, None],
    "output_hidden_states": ["x", True],
    "return_dict": [False, 5],
    "dtype": ["foo", 5, {"a": "float16"}],
    "_attn_implementation": ["flash_attention_2", 5],
    "transformers_version": [5],
    "gradient_checkpointing": [True, "x"],
}

CONFIG: Mapping[str, list[Case]] = {
    "model_type": [
        runs(base=LFM3),
        refused("unknown model_type null", model_type=None),
        refused('unknown model_type "lfm2_vl"', model_type="lfm2_vl"),
        refused("unknown model_type null", model_type=ABSENT),
    ],
    "architectures naming the language model, absent, null or empty": [
        runs(architectures=ABSENT),
        runs(architectures=None),
        runs(architectures=[]),
        runs(architectures=["X", "Lfm2ForCausalLM"]),
        runs(base=MOE),
    ],
    "architectures naming the base model": [
        runs("Lfm2Model has no LM head of its own", architectures=["Lfm2Model"]),
        runs("Lfm2MoeModel has no LM head of its own", MOE, architectures=["Lfm2MoeModel"]),
    ],
    "architectures naming anything else": [
        refused("Lfm2BidirectionalModel", architectures=["Lfm2BidirectionalModel"]),
        refused("Lfm2ForSequenceClassification", architectures=["Lfm2ForSequenceClassification"]),
        refused("Lfm2MoeForCausalLM", architectures=["Lfm2MoeForCausalLM"]),
        refused("expected Lfm3ForCausalLM", LFM3, architectures=["Lfm2ForCausalLM"]),
        refused("architectures is 3", architectures=3),
    ],
    "is_causal": [
        refused("is_causal is false", is_causal=False),
        refused("is_causal is 0", is_causal=0),
        *(runs(is_causal=value) for value in (True, None)),
        runs(base=LFM3, is_causal=True),
        runs(base=LFM3, is_causal=None, layer_types=["full_attention"] * 6),
        refused("is_causal is null", LFM3, is_causal=None),
    ],
    "is_encoder_decoder: true": [refused("is_encoder_decoder is true", is_encoder_decoder=True)],
    "per_layer_config": [
        refused("per_layer_config", per_layer_config={"0": {"hidden_size": 3}}),
        runs(per_layer_config={}),
    ],
    "text_config": [refused("nested in text_config", text_config={"hidden_size": 64})],
    "attribute_map": [
        refused(
            'attribute_map is {"hidden_size": "width"}', attribute_map={"hidden_size": "width"}
        ),
        runs(attribute_map={}),
    ],
    "auto_map": [runs("never run", auto_map={"AutoModelForCausalLM": "modeling_x.Model"})],
    "quantization_config": [
        refused('"bitsandbytes"', quantization_config={"quant_method": "bitsandbytes"}),
        refused('"fp8"', quantization_config={"quant_method": "fp8"}),
        refused('"gptq"', quantization_config={"quant_method": "gptq", "bits": 4}),
        refused("quantization_config", quantization_config={}),
        runs(quantization_config=None),
    ],
    "quantization": [
        refused("an MLX model", quantization={"bits": 4, "group_size": 64}),
        runs(quantization={}),
    ],
    "transformers_weights": [
        refused("../x.safetensors", transformers_weights="../x.safetensors"),
        refused("model.bin", transformers_weights="model.bin"),
        runs(transformers_weights="model.safetensors"),
    ],
    "dtype, torch_dtype": [runs(dtype="bfloat16"), runs(torch_dtype="float16")],
    "a field that is missing": [
        *(Case({name: ABSENT}) for name in ("vocab_size", "hidden_size", "block_multiple_of")),
        *(Case({name: ABSENT}) for name in ("max_position_embeddings", "tie_word_embeddings")),
        runs(num_attention_heads=ABSENT, head_dim=16, num_key_value_heads=ABSENT),
        runs(num_hidden_layers=ABSENT, layer_types=ABSENT, full_attn_idxs=[1, 30]),
        *(Case({name: ABSENT}, base=MOE) for name in ("num_dense_layers", "num_experts")),
        runs(base=MOE, num_experts_per_tok=ABSENT, num_experts=8, intermediate_size=ABSENT),
        runs(base=MOE, moe_intermediate_size=ABSENT),
        *(Case({name: ABSENT}, base=LFM3) for name in ("sliding_window", "head_dim")),
    ],
    "a field that is null": [
        *(
            Case({name: None}, refused=f"{name} is null")
            for name in ("hidden_size", "norm_eps", "conv_bias", "head_dim", "block_ff_dim")
        ),
        refused("tie_embedding is null", tie_embedding=None),
        refused("num_experts is null", MOE, num_experts=None),
        refused("use_expert_bias is null", MOE, use_expert_bias=None),
    ],
    "a field of the wrong type or size": [
        refused("hidden_size is 64.0", hidden_size=64.0),
        refused("hidden_size is true", hidden_size=True),
        refused('norm_eps is "1e-5"', norm_eps="1e-5"),
        refused("norm_eps is 0", norm_eps=0.0),
        refused("conv_bias is 1", conv_bias=1),
        refused("vocab_size is 0", vocab_size=0),
        refused("routed_scaling_factor is Infinity", MOE, routed_scaling_factor=float("inf")),
    ],
    "a field that touches neither logits nor ids nor prompts": [
        *(Case(unread={name: value}) for name, values in UNREAD.items() for value in values),
    ],
    "sizes beyond reason": [
        refused("num_hidden_layers is 2000000000", num_hidden_layers=2_000_000_000),
        refused("num_hidden_layers is 0", num_hidden_layers=0, layer_types=[]),
        refused("num_experts is 2000000000", MOE, num_experts=2_000_000_000),
        refused("head_dim is 2000000000", head_dim=2_000_000_000),
        refused("head_dim is 500000000", hidden_size=2_000_000_000),
        refused("head_dim is 0", num_attention_heads=2_000_000_000, num_key_value_heads=1),
        refused("block_ffn_dim_multiplier is 1e+308", block_ffn_dim_multiplier=1e308),
        refused("rope_theta is 1000", **scaled(rope_theta=10**400)),
        refused(
            "num_experts is 4096, expected at most 131072 in all 1024 layers",
            MOE,
            num_experts=4096,
            num_hidden_layers=1024,
            layer_types=["conv"] * 1024,
        ),
    ],
    "max_position_embeddings": [
        runs("a session holds 1048576 tokens", max_position_embeddings=2_000_000_000),
        refused("max_position_embeddings is 256.0", max_position_embeddings=256.0),
    ],
    "layer_types": [
        runs(layer_types=["attention", "conv", "conv", "full_attention"]),
        runs(layer_types=["conv"] * 4, full_attn_idxs=[0, 1]),
        refused("layer_types is a list of 3", layer_types=["conv"] * 3),
        refused('layer_types holds "mamba"', layer_types=["conv"] * 3 + ["mamba"]),
        refused('"sliding_attention"', layer_types=["conv"] * 3 + ["sliding_attention"]),
        runs(base=LFM3, layer_types=["attention", "conv", *KINDS, *KINDS]),
        runs(base=LFM3, layer_types=["conv"] * 6),
        refused("layer_types is null", MOE, layer_types=None),
        refused("layer_types is null", MOE, layer_types=ABSENT, full_attn_idxs=[1]),
    ],
    "full_attn_idxs": [
        runs(layer_types=None, full_attn_idxs=[1, 3]),
        runs(layer_types=ABSENT, full_attn_idxs=[0, 99, -1]),
        runs(layer_types=ABSENT, full_attn_idxs=[]),
        runs(layer_types=ABSENT),
        refused("full_attn_idxs is 3", layer_types=ABSENT, full_attn_idxs=3),
        refused('full_attn_idxs is ["1"]', full_attn_idxs=["1"]),
    ],
    "intermediate_size, block_ff_dim": [
        runs(block_ff_dim=96),
        runs(block_ff_dim=100, block_ffn_dim_multiplier=1.5),
        runs(block_auto_adjust_ff_dim=False),
        runs(base=MOE, block_ff_dim=32),
    ],
    "tie_embedding, tie_word_embeddings": [
        runs(tie_embedding=False),
        runs(tie_embedding=True, tie_word_embeddings=False),
        runs(tie_word_embeddings=False),
        runs(base=LFM3, tie_embedding=False),
        refused("tie_embedding is 0", tie_embedding=0),
    ],
    "head_dim": [
        runs(head_dim=32),
        runs(head_dim=16, num_attention_heads=8),
        refused("head_dim is 7", head_dim=7),
        unsupported("4 heads of 24 (head_dim)", head_dim=24),
        unsupported("8 heads of 8 (head_dim)", num_attention_heads=8),
        unsupported("4 heads of 24 (head_dim)", "onnx-portable", head_dim=24),
    ],
    "num_attention_heads, num_key_value_heads": [
        refused("num_attention_heads is 4", num_key_value_heads=3),
        refused("expected [320, 48]", hidden_size=48, num_attention_heads=3, num_key_value_heads=1),
    ],
    "conv_L_cache": [
        runs(conv_L_cache=16),
        refused("conv_L_cache is 1", conv_L_cache=1),
        unsupported("kernel of 17", conv_L_cache=17),
    ],
    "norm_eps, block_norm_eps": [
        runs(norm_eps=0.25),
        runs("block_norm_eps 0.25 is passed over", block_norm_eps=0.25),
        runs(base=LFM3, rms_norm_eps=0.25, norm_eps=0.5),
    ],
    "num_dense_layers": [
        runs(base=MOE, num_dense_layers=0),
        runs(base=MOE, num_dense_layers=99),
        refused("num_dense_layers is -1", MOE, num_dense_layers=-1),
    ],
    "num_experts_per_tok": [refused("num_experts_per_tok is 5", MOE, num_experts_per_tok=5)],
    "use_expert_bias, norm_topk_prob, routed_scaling_factor": [
        runs(base=MOE, use_expert_bias=False),
        runs(base=MOE, norm_topk_prob=False, routed_scaling_factor=0.5),
    ],
    "bos_token_id, eos_token_id, pad_token_id": [
        runs(eos_token_id=[7, 11, 7], bos_token_id=None, pad_token_id=None),
        runs(eos_token_id=None),
        runs(eos_token_id=ABSENT),
        runs("pad_token_id -1 is passed over", pad_token_id=-1),
        runs("eos_token_id 99999 is passed over", eos_token_id=[7, 99999]),
        refused("eos_token_id is [7, null]", eos_token_id=[7, None]),
        refused('eos_token_id is "7"', eos_token_id="7"),
        refused("bos_token_id is [1]", bos_token_id=[1]),
    ],
    "sliding_window": [
        runs(base=LFM3, sliding_window=1),
        runs(base=LFM3, sliding_window=50),
        runs(base=LFM3, sliding_window=2**31 - 1),
        runs(base=LFM3, sliding_window=None, layer_types=["conv", "full_attention"] * 3),
        refused("sliding_window is null", LFM3, sliding_window=None),
        refused("sliding_window is 0", LFM3, sliding_window=0),
    ],
    "use_sandwich_norm, use_attention_gate, attention_bias": [
        runs(base=LFM3, use_sandwich_norm=False),
        runs(base=LFM3, use_attention_gate=False, attention_bias=True),
        refused("use_attention_gate is null", LFM3, use_attention_gate=None),
    ],
    "block_dim, conv_dim, num_heads; attention_bias, hidden_act and others unread": [
        runs("attention_bias true is passed over", attention_bias=True),
        runs('hidden_act "relu" is passed over', hidden_act="relu"),
        runs("sliding_window 8 is passed over", sliding_window=8),
        runs("use_pos_enc false is passed over", use_pos_enc=False),
        runs("block_dim 128 is passed over", block_dim=128),
        runs(block_dim=64, conv_dim=64, num_heads=4, initializer_range=0.5, anything=[1]),
    ],
    "rope_parameters, rope_scaling, rope_theta: which counts": [
        runs(rope_theta=50.0),
        runs(rope_parameters=ABSENT, rope_theta=50.0),
        runs(rope_parameters=None, rope_theta=50),
        runs(rope_parameters={}, rope_theta=50.0),
        runs(rope_parameters=ABSENT),
        runs(rope_parameters={"rope_type": "default"}, rope_theta=50.0),
        runs(rope_scaling={"type": "linear", "factor": 2.0}, rope_theta=50.0),
        runs(rope_scaling={"rope_theta": 50.0}),
        runs(rope_scaling=None, rope_theta=None),
        runs(rope_scaling={}),
        runs(base=LFM3, rope_theta=50.0),
        runs(base=LFM3, rope_parameters={kind: {} for kind in KINDS}, rope_theta=50.0),
        runs(base=LFM3, rope_scaling={kind: {"type": "linear", "factor": 2.0} for kind in KINDS}),
        refused("rope_theta is null", rope_parameters=None, rope_theta=None),
        refused('rope_theta is "1e6"', **scaled(rope_theta="1e6")),
        refused("rope_parameters is [1]", rope_parameters=[1]),
        refused('rope_scaling is "linear"', rope_scaling="linear"),
    ],
    "rope_type, type": [
        runs(**scaled(type="linear", factor=2.0)),
        runs(**scaled(type="yarn", rope_type="default")),
        refused("rope_type null", **scaled(rope_type=None, type="default")),
        refused('rope_type "su"', **scaled(type="su")),
        refused('rope_type "axial"', **scaled(rope_type="axial")),
    ],
    "nested by layer type": [
        refused("nested by layer type (full_attention)", rope_parameters=NESTED),
        runs(base=LFM3, rope_parameters={**NESTED, KINDS[1]: {"rope_theta": 9.0}}),
        runs(base=LFM3, rope_parameters={**NESTED, KINDS[1]: YARN}),
        refused("rope_parameters.sliding_attention is missing", LFM3, rope_parameters=NESTED),
        refused("rope_parameters.full_attention is missing", LFM3, **scaled(rope_type="default")),
        runs("full_attention is passed over", **scaled(rope_type="default", **NESTED)),
    ],
    "partial_rotary_factor": [
        runs("partial_rotary_factor 0.5", **scaled(rope_type="default", partial_rotary_factor=0.5)),
        runs("partial_rotary_factor 0.5", partial_rotary_factor=0.5),
        runs(
            "partial_rotary_factor 0.25",
            LFM3,
            partial_rotary_factor=0.25,
            rope_parameters={KINDS[0]: {"rope_type": "proportional"}, KINDS[1]: {}},
        ),
        runs(**scaled(rope_type="linear", factor=2.0, partial_rotary_factor=1.0)),
        refused(
            "partial_rotary_factor is 0.5",
            **scaled(rope_type="linear", factor=2.0, partial_rotary_factor=0.5),
        ),
    ],
    "linear": [
        runs(**scaled(rope_type="linear", factor=4)),
        refused("factor is missing", **scaled(rope_type="linear")),
        refused("factor is 0", **scaled(rope_type="linear", factor=0)),
    ],
    "dynamic": [
        runs(**scaled(rope_type="dynamic", factor=2.0)),
        refused("factor is missing", **scaled(rope_type="dynamic")),
    ],
    "llama3": [
        runs(**scaled(**LLAMA3)),
        runs(original_max_position_embeddings=16, **scaled(**LLAMA3)),
        refused("low_freq_factor is null", **scaled(**LLAMA3 | {"low_freq_factor": None})),
    ],
    "yarn": [
        runs(**scaled(**YARN)),
        runs(original_max_position_embeddings=32, **scaled(**YARN)),
        runs(**scaled(**YARN, attention_factor=0.5, beta_fast=8, beta_slow=2, truncate=False)),
        runs(**scaled(**YARN, mscale=1.0, mscale_all_dim=0.5)),
        runs(**scaled(**YARN | {"factor": None})),
        runs(**scaled(rope_type="yarn", factor=4.0)),
        refused("factor is missing", **scaled(rope_type="yarn")),
        refused("no finite frequencies", **scaled(**YARN | {"rope_theta": 1.0})),
    ],
    "longrope": [
        runs(**scaled(**LONGROPE)),
        runs(**scaled(**LONGROPE, factor=3.0)),
        refused(
            "set max_position_embeddings to 64",
            **scaled(**LONGROPE, original_max_position_embeddings=64),
        ),
        refused("short_factor is [1]", **scaled(**LONGROPE | {"short_factor": [1]})),
    ],
    "proportional": [
        runs(**scaled(rope_type="proportional", partial_rotary_factor=0.5)),
        runs(**scaled(rope_type="proportional", factor=2.0)),
    ],
}
