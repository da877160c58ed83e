"""The description of a model names the tensors that transformers makes, for every rule of width."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lfm_edge.bundle import manifest_schema
from lfm_export.architecture import Attention, Mlp, Rope, ShortConv, SparseMoe, describe
from lfm_export.checkpoint.shapes import SHAPES
from lfm_export.errors import ArchitectureError
from lfm_ops.reference import rope_frequencies
from transformers import AutoModelForCausalLM, Lfm3Config

from tests.support import Config, tiny_dense, tiny_lfm3, tiny_moe

SCHEMA = Path(__file__).parents[2] / "docs" / "bundle.schema.json"


@pytest.mark.parametrize(
    "config",
    [
        tiny_dense(),
        tiny_dense(block_ffn_dim_multiplier=1.7, block_multiple_of=64),
        tiny_dense(block_auto_adjust_ff_dim=False),
        tiny_dense(conv_bias=True, conv_L_cache=5),
        tiny_dense(tie_word_embeddings=False),
        tiny_moe(),
        tiny_moe(use_expert_bias=False, num_dense_layers=2),
        tiny_lfm3(),
        tiny_lfm3(attention_bias=True, conv_bias=True, tie_word_embeddings=False),
        tiny_lfm3(use_sandwich_norm=False, use_attention_gate=False),
    ],
)
def test_tensors_are_those_of_transformers(config: Config) -> None:
    model = AutoModelForCausalLM.from_config(config)
    wanted = sum(tensor.numel() for tensor in model.parameters())
    wanted += sum(b.numel() for name, b in model.named_buffers() if "expert_bias" in name)
    architecture = describe(config.to_dict())
    assert architecture.num_parameters() == wanted
    ours = architecture.tensors()
    for name, tensor in model.named_parameters():
        if ".experts." not in name:
            assert ours[name.replace(".g_proj.", ".gate_proj.")] == tuple(tensor.shape)


def test_the_names_of_older_configs_are_understood() -> None:
    config = {
        "model_type": "lfm2",
        "hidden_size": 64,
        "vocab_size": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "full_attn_idxs": [1],
        "block_ff_dim": 192,
        "block_multiple_of": 32,
        "tie_embedding": False,
        "rope_theta": 5000.0,
        "max_position_embeddings": 128,
        "eos_token_id": [7, 2],
    }
    architecture = describe(config)
    operators = [layer.operator for layer in architecture.layers]
    assert [type(part) for part in operators] == [ShortConv, Attention, ShortConv]
    assert isinstance(operators[1], Attention)
    assert operators[1].rope == Rope(tuple(rope_frequencies(16, 5000.0).tolist()), theta=5000.0)
    mlp = architecture.layers[0].feed_forward
    assert isinstance(mlp, Mlp)
    assert mlp.gate.rows == 128
    assert architecture.embedding.head is not None
    assert architecture.eos_token_ids == (7, 2)


def test_the_published_mixture_of_experts() -> None:
    kinds = "ccAcccAcccAcccAcccAccAcc"
    config = tiny_moe(
        hidden_size=2048,
        vocab_size=128_000,
        intermediate_size=7168,
        moe_intermediate_size=1792,
        num_hidden_layers=24,
        num_attention_heads=32,
        num_key_value_heads=8,
        num_dense_layers=2,
        num_experts=32,
        num_experts_per_tok=4,
        layer_types=["conv" if kind == "c" else "full_attention" for kind in kinds],
    )
    architecture = describe(config.to_dict())
    assert round(architecture.num_parameters() / 1e9, 2) == 8.47
    assert sum(isinstance(layer.operator, ShortConv) for layer in architecture.layers) == 18
    assert sum(isinstance(layer.feed_forward, SparseMoe) for layer in architecture.layers) == 22


def test_the_published_model_of_sliding_windows() -> None:
    """It is what the class has by default; the shape for synthetic weights is the same."""
    defaults = {"model_type": "lfm3", "num_hidden_layers": 24}
    given = Lfm3Config().to_dict()
    architecture = describe(given)
    assert describe(defaults).layers == architecture.layers
    assert describe(SHAPES["lfm3-1.7b"]).layers == architecture.layers
    assert round(architecture.num_parameters() / 1e9, 2) == 1.73
    kinds = [
        "conv" if isinstance(part, ShortConv) else part.window
        for part in (layer.operator for layer in architecture.layers)
    ]
    assert kinds == ["conv", *(["conv", 0, "conv", 256] * 5), "conv", 0, "conv"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sliding_window": None}, "sliding_window is null"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"use_attention_gate": 1}, "use_attention_gate is 1"),
        ({"rope_parameters": {}}, "rope_parameters.full_attention is missing"),
        ({"rope_parameters": {"full_attention": None}}, "rope_parameters.full_attention is null"),
        (
            {"rope_scaling": {"full_attention": {}}},
            "rope_scaling.sliding_attention is missing, expected an object",
        ),
        ({"layer_types": ["conv"] * 5 + ["mamba"]}, "conv or full_attention or sliding_attention"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_impossible_config_of_sliding_windows_is_named(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        describe(tiny_lfm3().to_dict() | changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": None}, "unknown model_type null"),
        ({"num_hidden_layers": None}, "num_hidden_layers is null"),
        ({"hidden_size": True}, "hidden_size is true"),
        ({"vocab_size": 2**40}, "vocab_size is"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok is 9, expected at most the 8 experts"),
        ({"norm_eps": -1}, "norm_eps is -1"),
        ({"use_expert_bias": "yes"}, 'use_expert_bias is "yes"'),
        ({"eos_token_id": "</s>"}, 'eos_token_id is "</s>"'),
        ({"layer_types": ["conv"] * 3 + ["mamba"]}, '"mamba"'),
    ],
)
def test_an_impossible_config_is_named(changes: dict[str, object], words: str) -> None:
    config = tiny_moe().to_dict() | changes
    with pytest.raises(ArchitectureError) as caught:
        describe(config)
    assert words in str(caught.value)


def test_the_schema_in_docs_is_that_of_the_types() -> None:
    """`make schema` writes it anew."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == manifest_schema()
