"""A GGUF file as a source: what it says of the model, its integers, its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfm_export.architecture import Attention, ShortConv, describe
from lfm_export.checkpoint import Checkpoint, open_checkpoint
from lfm_export.errors import CheckpointError
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.gguf.tokenizer import GgufTokens, tokenizer_json, tokens_of
from lfm_export.kept import keep_integers
from lfm_export.loading import architecture_of
from lfm_export.quantize import METHODS, Scheme
from lfm_export.weights import WeightStream
from tokenizers import Tokenizer

from tests.export.gguf_samples import KEYS, MATRICES, MOE_KEYS, MOE_TENSORS, TENSORS, by_hand, write
from tests.export.test_faults import refused
from tests.support import DEMO_MODEL, export


def source(path: Path, **changes: Any) -> Checkpoint:
    write(path, **changes)
    return open_checkpoint(str(path))


def test_the_keys_and_the_tensors_describe_the_model(tmp_path: Path) -> None:
    with source(tmp_path / "m.gguf") as checkpoint:
        architecture = architecture_of(checkpoint, lambda _: None)
    conv, attention = (layer.operator for layer in architecture.layers)
    assert isinstance(conv, ShortConv)
    assert isinstance(attention, Attention)
    assert (attention.num_heads, attention.num_kv_heads, attention.head_dim) == (4, 2, 16)
    assert (architecture.vocab_size, architecture.max_context) == (300, 128)
    assert attention.rope.theta == 1e6
    assert architecture.final_norm.eps == 1e-5
    assert architecture.eos_token_ids == (7,)
    assert architecture.embedding.head is None
    assert describe(checkpoint.config).layers[1].feed_forward.gate.rows == 96  # type: ignore[union-attr]


def test_every_weight_is_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    values = write(path, MOE_KEYS, MOE_TENSORS)
    with open_checkpoint(str(path)) as checkpoint:
        architecture_of(checkpoint, lambda _: None)
        for name, stored in {
            "model.embed_tokens.weight": values["token_embd.weight"],
            "model.embedding_norm.weight": values["token_embd_norm.weight"],
            "model.layers.0.conv.conv.weight": values["blk.0.shortconv.conv.weight"][:, None],
            "model.layers.0.conv.in_proj.weight": values["blk.0.shortconv.in_proj.weight"],
            "model.layers.0.feed_forward.w2.weight": values["blk.0.ffn_down.weight"],
            "model.layers.1.self_attn.q_proj.weight": values["blk.1.attn_q.weight"],
            "model.layers.1.self_attn.k_layernorm.weight": values["blk.1.attn_k_norm.weight"],
            "model.layers.1.feed_forward.gate.weight": values["blk.1.ffn_gate_inp.weight"],
            "model.layers.1.feed_forward.expert_bias": values["blk.1.exp_probs_b.bias"],
            "model.layers.1.feed_forward.experts.2.w1.weight": values["blk.1.ffn_gate_exps.weight"][
                2
            ],
            "model.layers.1.feed_forward.experts.3.w3.weight": values["blk.1.ffn_up_exps.weight"][
                3
            ],
            "model.layers.1.feed_forward.experts.0.w2.weight": values["blk.1.ffn_down_exps.weight"][
                0
            ],
        }.items():
            np.testing.assert_array_equal(checkpoint.read(name), stored)
            np.testing.assert_array_equal(checkpoint.read(name, 1, 3), stored[1:3])


def test_the_other_name_of_the_final_norm(tmp_path: Path) -> None:
    shapes = {**TENSORS, "output_norm.weight": TENSORS["token_embd_norm.weight"]}
    both = tmp_path / "both.gguf"
    write(both, shapes=shapes)
    with pytest.raises(CheckpointError, match=r"holds both token_embd_norm.*output_norm"):
        open_checkpoint(str(both))
    del shapes["token_embd_norm.weight"]
    with source(tmp_path / "m.gguf", shapes=shapes) as checkpoint:
        architecture_of(checkpoint, lambda _: None)
        assert checkpoint.shapes["model.embedding_norm.weight"] == (64,)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "another architecture": ({"general.architecture": "llama"}, "architecture 'llama'"),
    "lfm2-bidir": ({"general.architecture": "lfm2-bidir"}, "architecture 'lfm2-bidir'"),
    "one that attends both ways": ({"lfm2.attention.causal": False}, "causal"),
    "an embedding model": ({"lfm2.pooling_type": 1}, "embedding models"),
    "a sliding window": ({"lfm2.attention.sliding_window": 64}, "sliding_window"),
    "a part": ({"split.count": 3}, "--merge"),
    "another RoPE": ({"lfm2.rope.scaling.type": "yarn"}, "none or linear"),
    "half a head rotated": ({"lfm2.rope.dimension_count": 8}, "rope.dimension_count"),
    "no layers": ({"lfm2.block_count": 0}, "block_count is '0'"),
    "a number that is a text": ({"lfm2.block_count": "2"}, "block_count is '2'"),
    "key-value heads of another number of layers": (
        {"lfm2.attention.head_count_kv": [0, 2, 2]},
        "one for each of 2 layers",
    ),
    "key-value heads that differ": (
        {"lfm2.attention.head_count_kv": [1, 2]},
        "one number for all layers that attend",
    ),
    "another width": ({"lfm2.embedding_length": 128}, "64 columns"),
    "a tokenizer of another kind": ({"tokenizer.ggml.model": "llama"}, "expected gpt2"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_refused_by_name(name: str, tmp_path: Path) -> None:
    changes, words = OTHERS[name]
    path = tmp_path / "m.gguf"
    write(path, {**KEYS, **changes})
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ONE = [
    *(key for key in KEYS if not key.endswith(("head_count_kv", "head_count", "architecture"))),
    "split.count",
    "lfm2.attention.causal",
    "lfm2.rope.scaling.type",
    "lfm2.attention.key_length",
    "tokenizer.ggml.model",
    "general.sampling.temp",
]


@pytest.mark.parametrize("key", [key for key in ONE if key != "lfm2.feed_forward_length"])
def test_several_values_where_one_belongs(key: str, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", {**KEYS, key: [1, 2]})
    with pytest.raises(CheckpointError, match=f"'{key}' holds 2 values, expected one"):
        open_checkpoint(str(tmp_path / "m.gguf"))


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", {**KEYS, "general.architecture": "llama"})
    assert "architecture 'llama'" in refused("export", tmp_path / "m.gguf", tmp_path / "out")
    (tmp_path / "bad.gguf").write_bytes(by_hand(num_keys=2**60))
    assert "damaged" in refused("export", tmp_path / "bad.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_integers_are_kept_whatever_is_asked_for(kind: str, tmp_path: Path) -> None:
    notes: list[str] = []
    with source(tmp_path / "m.gguf", types=kind) as checkpoint:
        architecture = architecture_of(checkpoint, notes.append)
        scheme = keep_integers(Scheme.choose("q4", None), architecture, checkpoint, notes.append)
        method = {"Q8_0": "q8", "Q4_0": "q4"}[kind]
        assert (scheme.linear, scheme.head, scheme.others) == (method, method, {})
        found: dict[str, Any] = {}
        with WeightStream(
            architecture,
            checkpoint,
            scheme,
            lambda _, weights: found.update(weights.matrices),
            lambda _: None,
        ) as stream:
            stream.vector(architecture.final_norm.weight)
        for name, matrix in found.items():
            np.testing.assert_array_equal(matrix.dequantize(), checkpoint.read(name))
    assert len(found) == len(MATRICES)
    assert any(f"{len(MATRICES)} matrices are integers already" in note for note in notes)


def test_what_goes_together_has_the_wider_format(tmp_path: Path) -> None:
    """Integers of 4 bits are held exactly in 8; K-quants and floats are rounded as asked."""
    types = dict.fromkeys(MATRICES, "Q4_0") | {
        "blk.1.attn_v.weight": "Q8_0",
        "blk.0.ffn_down.weight": "F16",
        "token_embd.weight": "Q8_0",
    }
    with source(tmp_path / "m.gguf", types=types) as checkpoint:
        bundle = export_bundle(checkpoint, tmp_path / "out", ExportOptions())
        gguf = export_bundle(checkpoint, tmp_path / "gguf", ExportOptions(target="gguf"))
    quantization = bundle.manifest.quantization
    assert (quantization.method, quantization.head) == ("q4", "q8")
    assert [format.name for format in quantization.formats] == ["q4", "q8"]
    layer = "model.layers.1.self_attn"
    with (
        open_checkpoint(str(tmp_path / "m.gguf")) as before,
        open_checkpoint(str(gguf.graph_path)) as after,
    ):
        for name in before.shapes:
            wide = name in {f"{layer}.{kind}_proj.weight" for kind in "qkv"}
            if wide:
                assert after.stored_format(name) == "q8"
            if name != "model.layers.0.feed_forward.w2.weight":
                np.testing.assert_array_equal(before.read(name), after.read(name))
            else:
                rounded = METHODS["q4"](before.read(name)).dequantize()
                np.testing.assert_array_equal(rounded, after.read(name))


def test_float32_takes_what_the_integers_stand_for(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", types="Q4_0")
    bundle = export(tmp_path / "m.gguf", tmp_path / "out", quant="f32")
    assert [format.name for format in bundle.manifest.quantization.formats] == ["f32"]


def test_scales_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(path, types="Q8_0")
    with open_checkpoint(str(path)) as checkpoint:
        place = checkpoint._tensors["model.layers.1.self_attn.k_proj.weight"].offset  # type: ignore[attr-defined]
    content = bytearray(path.read_bytes())
    content[place + 68 : place + 70] = np.float16(np.nan).tobytes()
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_k\.weight.*row 1 of .* holds nan"):
        export(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


TOKENIZER = DEMO_MODEL / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizers() -> tuple[Tokenizer, Tokenizer]:
    """The shipped model's, and what GGUF's keys make of it."""
    stored = tokens_of(json.loads(TOKENIZER.read_text()), 4100)
    assert stored.tokens[4099] == "[PAD4099]"
    return Tokenizer.from_file(str(TOKENIZER)), Tokenizer.from_str(tokenizer_json(stored, bos=1))


@given(
    st.text() | st.sampled_from(["<|im_start|>user\nHi<|im_end|>", "<think>\n\nx</think> 12345"])
)
def test_the_tokenizer_behaves_as_the_one_that_was_converted(
    tokenizers: tuple[Tokenizer, Tokenizer], text: str
) -> None:
    one, other = tokenizers
    for special in (True, False):
        ids = one.encode(text, add_special_tokens=special).ids
        assert ids == other.encode(text, add_special_tokens=special).ids
        for skip in (True, False):
            assert one.decode(ids, skip_special_tokens=skip) == other.decode(
                ids, skip_special_tokens=skip
            )


def test_the_files_beside_the_weights(tmp_path: Path) -> None:
    keys = {
        **KEYS,
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.chat_template.tool_use": "{{ tools }}",
        "general.sampling.temp": 0.25,
        "general.sampling.top_k": 40,
        "tokenizer.ggml.bos_token_id": 1,
    }
    shapes = {**TENSORS, "token_embd.weight": (4096, 64)}
    path = tmp_path / "m.gguf"
    write(path, keys, shapes, tokenizer=TOKENIZER)
    bundle = export(path, tmp_path / "out")
    assert bundle.read_text("chat_template.jinja") == "{{ messages }}"
    assert bundle.read_text("additional_chat_templates/tool_use.jinja") == "{{ tools }}"
    assert '"temperature": 0.25' in (bundle.read_text("generation_config.json") or "")
    assert '"bos_token": "<|startoftext|>"' in (bundle.read_text("tokenizer_config.json") or "")
    assert bundle.manifest.model.eos_token_ids == [7]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokenizer.chat_template.../x": "t"}, "plain name"),
        ({"tokenizer.ggml.bos_token_id": 5000}, "id 5000"),
    ],
)
def test_files_that_cannot_be_made(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    shapes = {**TENSORS, "token_embd.weight": (4096, 64)}
    write(tmp_path / "m.gguf", {**KEYS, **changes}, shapes, tokenizer=TOKENIZER)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(str(tmp_path / "m.gguf"))


@pytest.mark.parametrize("merge", ["a", "a ", " a", "a b c"])
def test_a_merge_that_is_no_two_tokens(merge: str) -> None:
    with pytest.raises(ValueError, match="is no two tokens"):
        tokenizer_json(GgufTokens(["a", "b"], [1, 1], [merge]), None)
