"""A toy model with the graph contract of a real one, as a bundle and as plain NumPy.

One layer: `h = x + attention(x) + conv(x)`, `logits = h[-1] @ W + bias`; single head, no RoPE.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from lfm_edge.bundle import (
    FORMAT_VERSION,
    MANIFEST,
    Function,
    GoldenVectors,
    Graph,
    Manifest,
    Model,
    Quantization,
    StateTensor,
    WeightFormat,
    file_entry,
)
from numpy.typing import NDArray
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<|pad|>", "<|startoftext|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"]
PAD, BOS, EOS, IM_START, THINK, END_THINK = range(6)
FIRST_BYTE = len(SPECIAL)
VOCAB = 300
"""More than the tokenizer has, as in a bundle with synthetic weights."""
HIDDEN = 16
MAX_CONTEXT = 2048
STATE_SHAPES: dict[str, list[int | str | None]] = {
    "key": [1, 1, "capacity", HIDDEN],
    "value": [1, 1, "capacity", HIDDEN],
    "conv": [1, HIDDEN, 2],
}
TEMPLATE = """{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

Array = NDArray[np.float32]


class ToyModel:
    """Random weights, and what the model computes, written down plainly.

    Args:
        bias: added to the logits of these tokens.
    """

    def __init__(self, bias: dict[int, float] | None = None) -> None:
        random = np.random.default_rng(7)

        def draw(*shape: int) -> Array:
            return random.normal(size=shape).astype(np.float32)

        self.embedding = draw(VOCAB, HIDDEN)
        self.query, self.key, self.value = (draw(HIDDEN, HIDDEN) / 4 for _ in range(3))
        self.kernel = draw(HIDDEN, 1, 3)
        self.head = draw(HIDDEN, VOCAB)
        self.bias = np.zeros(VOCAB, np.float32)
        for token, value in (bias or {}).items():
            self.bias[token] = value

    def logits(self, ids: list[int]) -> Array:
        """Logits after the last of `ids` [vocab]."""
        x = self.embedding[ids].astype(np.float64)
        scores = (x[-1] @ self.query) @ (x @ self.key).T / np.sqrt(HIDDEN)
        weights = np.exp(scores - scores.max())
        attention = weights / weights.sum() @ (x @ self.value)
        padded = np.concatenate([np.zeros((2, HIDDEN)), x])[-3:]
        conv = (padded * self.kernel[:, 0].T).sum(0)
        return ((x[-1] + attention + conv) @ self.head + self.bias).astype(np.float32)

    def greedy(self, ids: list[int], count: int) -> list[int]:
        """The `count` tokens that follow `ids`."""
        text = list(ids)
        for _ in range(count):
            text.append(int(self.logits(text).argmax()))
        return text[len(ids) :]

    def graph(self) -> onnx.ModelProto:
        """The same as a graph with state."""
        weights: dict[str, NDArray[Any]] = {
            "embedding": self.embedding,
            "query": self.query,
            "key": self.key,
            "value": self.value,
            "kernel": self.kernel,
            "head": self.head,
            "bias": self.bias,
            "one": np.array([1], np.int32),
            "axis": np.array([1], np.int64),
            "last": np.array([-1], np.int64),
        }
        node = helper.make_node
        nodes = [
            node("Gather", ["embedding", "input_ids"], ["x"]),
            *(node("MatMul", ["x", name], [name[0]]) for name in ("query", "key", "value")),
            node("ReduceSum", ["attention_mask", "axis"], ["length64"], keepdims=0),
            node("Cast", ["length64"], ["length"], to=T.INT32),
            node("Sub", ["length", "one"], ["seqlens"]),
            node("Squeeze", ["length"], ["total"]),
            node(
                "GroupQueryAttention",
                ["q", "k", "v", "past_key", "past_value", "seqlens", "total"],
                ["attention", "present_key", "present_value"],
                domain="com.microsoft",
                num_heads=1,
                kv_num_heads=1,
            ),
            node("Transpose", ["x"], ["channels"], perm=[0, 2, 1]),
            node(
                "CausalConvWithState",
                ["channels", "kernel", "", "past_conv"],
                ["convolved", "present_conv"],
                domain="com.microsoft",
            ),
            node("Transpose", ["convolved"], ["conv"], perm=[0, 2, 1]),
            node("Sum", ["x", "attention", "conv"], ["h"]),
            node("Gather", ["h", "last"], ["h_last"], axis=1),
            node("MatMul", ["h_last", "head"], ["unbiased"]),
            node("Add", ["unbiased", "bias"], ["logits"]),
        ]
        info = helper.make_tensor_value_info
        state = STATE_SHAPES
        graph = helper.make_graph(
            nodes,
            "toy",
            [
                info("input_ids", T.INT64, [1, "S"]),
                info("attention_mask", T.INT64, [1, "total_length"]),
                *(info(f"past_{name}", T.FLOAT, shape) for name, shape in state.items()),
            ],
            [
                info("logits", T.FLOAT, [1, 1, VOCAB]),
                *(info(f"present_{name}", T.FLOAT, shape) for name, shape in state.items()),
            ],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def byte_level_tokenizer() -> Tokenizer:
    """Special tokens, the 256 bytes in the order of their characters, and a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ã", "©"), ("æ", "Ĺ")]
    tokens = SPECIAL + alphabet + ["".join(pair) for pair in merges]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def write_toy_bundle(
    folder: Path, toy: ToyModel | None = None, files: dict[str, str | None] | None = None
) -> Path:
    """Writes the toy as a valid bundle.

    Args:
        folder: where to.
        toy: the model.
        files: text of further files, or None for one of the usual ones that shall be missing.
    """
    toy = toy or ToyModel()
    folder.mkdir(parents=True)
    onnx.save(toy.graph(), folder / "model.onnx")
    texts = {
        "tokenizer.json": byte_level_tokenizer().to_str(),
        "tokenizer_config.json": json.dumps({"bos_token": "<|startoftext|>"}),
        "chat_template.jinja": TEMPLATE,
    } | (files or {})
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    write_manifest(folder, toy_manifest(toy))
    return folder


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes a manifest with the sizes and hashes of the files that are there."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    entries = {path.relative_to(folder).as_posix(): file_entry(path) for path in sorted(files)}
    manifest = msgspec.structs.replace(manifest, files=entries)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def toy_manifest(toy: ToyModel) -> Manifest:
    """The manifest of a toy, without files."""
    return Manifest(
        format_version=FORMAT_VERSION,
        producer="tests",
        model=Model(
            family="toy",
            name="toy",
            vocab_size=VOCAB,
            hidden_size=HIDDEN,
            num_hidden_layers=1,
            max_context=MAX_CONTEXT,
            bos_token_id=BOS,
            eos_token_ids=[EOS],
            pad_token_id=PAD,
        ),
        graph=Graph(
            target="onnx-portable",
            file="model.onnx",
            functions=[Function("main", "input_ids", "logits", attention_mask="attention_mask")],
            state=[
                StateTensor(
                    name=f"0.{kind}",
                    kind=kind,  # type: ignore[arg-type]
                    layer=0,
                    dtype="float32",
                    shape=shape,  # type: ignore[arg-type]
                    input=f"past_{kind}",
                    output=f"present_{kind}",
                )
                for kind, shape in STATE_SHAPES.items()
            ],
        ),
        quantization=Quantization(method="f32", head="f32", formats=[WeightFormat("f32", 32, 0)]),
        golden=_golden(toy),
        files={},
    )


def _golden(toy: ToyModel) -> GoldenVectors:
    ids = np.random.default_rng(1).integers(0, VOCAB, 32).tolist()
    probes = list(range(0, VOCAB, 6))[:50]
    rows = [toy.logits(ids[: count + 1]) for count in range(len(ids))]
    tops = [np.argsort(-row)[:8] for row in rows]
    return GoldenVectors(
        ids=ids,
        top_ids=[top.tolist() for top in tops],
        top_logits=[row[top].tolist() for row, top in zip(rows, tops, strict=True)],
        probe_ids=probes,
        probe_logits=[row[probes].tolist() for row in rows],
        tolerance=1e-3,
    )
