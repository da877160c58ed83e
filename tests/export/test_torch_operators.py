"""Our operators in torch: their plain forms, and modules of them as ONNX graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from lfm_export.torch import (
    TRANSLATIONS,
    CachedAttention,
    GatedShortConv,
    SparseMoe,
    pack,
    pack_gate_up,
)
from lfm_export.torch.packed import unpack, unpack_gate_up
from lfm_ops.library import library_path
from lfm_ops.reference import rope_frequencies, rope_table
from torch.nn import functional as F  # noqa: N812 (its usual name)

from tests.support import export, logits_of, random_model, saved, tiny_dense, tiny_moe

BOUND = 2e-4
CAPACITY, TOKENS = 64, 24

CONFIGS: dict[str, Any] = {
    "dense": tiny_dense(conv_L_cache=4, conv_bias=True),
    "dense, odd widths": tiny_dense(
        hidden_size=44, head_dim=16, intermediate_size=77, block_auto_adjust_ff_dim=False
    ),
    "moe": tiny_moe(),
    "moe, odd widths, no expert bias": tiny_moe(
        hidden_size=44, head_dim=16, moe_intermediate_size=20, use_expert_bias=False
    ),
    "moe, scaled, weights as they are": tiny_moe(norm_topk_prob=False, routed_scaling_factor=2.5),
}


class OwnModel(torch.nn.Module):
    """What a user might write: LFM blocks, and plain torch between them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, config = model.model, model.config
        self.moes = torch.nn.ModuleList()
        operators: Any = torch.nn.ModuleList()
        self.operators = operators
        for layer in self.model.layers:
            if layer.is_attention_layer:
                self.operators.append(CachedAttention.of(layer.self_attn))
            else:
                self.operators.append(GatedShortConv.of(layer.conv))
            sparse = hasattr(layer.feed_forward, "experts")
            own = SparseMoe.of(layer.feed_forward, config) if sparse else layer.feed_forward
            self.moes.append(own)
        head_dim = operators[1].q_norm.shape[0]
        tables = rope_table(CAPACITY, rope_frequencies(head_dim, 1_000_000.0))
        self.register_buffer("cos", torch.from_numpy(tables[0]))
        self.register_buffer("sin", torch.from_numpy(tables[1]))

    def empty(self) -> list[torch.Tensor]:
        """The state before the first token."""
        state = []
        for operator in self.operators:
            if isinstance(operator, CachedAttention):
                dim = operator.q_norm.shape[0]
                heads = (len(operator.qkv_proj) // dim - operator.num_heads) // 2
                state += [torch.zeros(1, heads, CAPACITY, dim) for _ in range(2)]
            else:
                hidden, _, kernel = operator.taps.shape
                state.append(torch.zeros(1, hidden, kernel - 1))
        return state

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, state: list[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        hidden, past, present = self.model.embed_tokens(ids), list(state), []
        for layer, operator, feed_forward in zip(
            self.model.layers, self.operators, self.moes, strict=True
        ):
            normed = layer.operator_norm(hidden)
            if isinstance(operator, CachedAttention):
                rope, cache = (self.cos, self.sin), (past.pop(0), past.pop(0))
                out, *new = operator(normed, rope, mask, *cache)
            else:
                out, *new = operator(normed, past.pop(0))
            present += new
            hidden = hidden + out
            hidden = hidden + feed_forward(layer.ffn_norm(hidden))
        logits = F.linear(self.model.embedding_norm(hidden), self.model.embed_tokens.weight)
        return logits, present


def exported(own: OwnModel, path: Path) -> ort.InferenceSession:
    ids, mask = torch.tensor([[1, 2, 3]]), torch.ones(1, 5, dtype=torch.int64)
    tokens, total = torch.export.Dim("tokens"), torch.export.Dim("total")
    torch.onnx.export(
        own.eval(),
        (ids, mask, own.empty()),
        path,
        dynamo=True,
        custom_translation_table=TRANSLATIONS,
        dynamic_shapes=({1: tokens}, {1: total}, [{} for _ in own.empty()]),
        verbose=False,
    )
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(library_path()))
    return ort.InferenceSession(str(path), options)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_module_of_ones_own_gives_the_logits_of_our_export(name: str, tmp_path: Path) -> None:
    truth = random_model(CONFIGS[name])
    ids = np.random.default_rng(1).integers(0, truth.config.vocab_size, TOKENS)
    export(saved(truth, tmp_path / "source"), tmp_path / "bundle", quant="f32")
    session = lfm_edge.load(tmp_path / "bundle", threads=1).session(CAPACITY)
    ours = np.stack([session.decode(int(token)) for token in ids])

    own = OwnModel(truth)
    with torch.no_grad():
        ones = torch.ones(1, TOKENS, dtype=torch.int64)
        plain = own(torch.from_numpy(ids)[None], ones, own.empty())[0][0].numpy()
    assert np.abs(plain - logits_of(truth, ids)).max() <= BOUND

    graph = exported(own, tmp_path / "own.onnx")
    nodes = [node for node in onnx.load(tmp_path / "own.onnx").graph.node if node.domain]
    wanted = {"CachedAttention": 2, "GatedShortConv": 2}
    if "moe" in name:
        wanted["SparseMoe"] = 3
    found = [node.op_type for node in nodes]
    assert {kind: found.count(kind) for kind in found} == wanted
    assert {node.domain for node in nodes} == {"ai.lfm"}

    state: list[Any] = [tensor.numpy() for tensor in own.empty()]
    got, names = [], [port.name for port in graph.get_inputs()]
    for start, stop in ((0, 9), (9, 10), (10, TOKENS)):
        values = [ids[None, start:stop], np.ones((1, stop), np.int64), *state]
        logits, *state = graph.run(None, dict(zip(names, values, strict=True)))
        got.append(logits[0])
    assert np.abs(np.concatenate(got) - ours).max() <= BOUND


def test_packed_weights_unpack_to_what_they_were() -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((32, 32), (33, 65), (1, 1), (96, 44)):
        gate, up = torch.randn(2, rows, columns, generator=generator)
        assert torch.equal(unpack(pack(gate), rows, columns), gate)
        both = unpack_gate_up(pack_gate_up(gate, up), rows, columns)
        assert torch.equal(both[0], gate)
        assert torch.equal(both[1], up)


def test_the_operators_keep_the_rules_of_torch() -> None:
    """Shapes as traced are those that are computed, and no input is changed or given out."""
    for own, moe in ((OwnModel(random_model(tiny_dense())), False), (moe_model(), True)):
        conv, attention = own.operators[0], own.operators[1]
        x, past = torch.randn(1, 5, 64), torch.randn(1, 64, 2)
        weights = conv.in_proj, conv.in_bias, conv.taps, conv.conv_bias, conv.out_proj
        torch.library.opcheck(
            torch.ops.lfm.gated_short_conv.default, (x, *weights, conv.out_bias, past)
        )
        cache = own.empty()[1:3]
        mask = torch.ones(1, 7, dtype=torch.int64)
        norms = attention.q_norm, attention.k_norm
        torch.library.opcheck(
            torch.ops.lfm.cached_attention.default,
            (torch.randn(1, 5, 128), *norms, own.cos, own.sin, mask, *cache, 4, 3, 0.25, 1e-5),
        )
        if moe:
            block = own.moes[1]
            tensors = block.router, block.expert_bias, block.gate_up, block.down
            torch.library.opcheck(torch.ops.lfm.sparse_moe.default, (x, *tensors, 32, 3, True, 1.0))


def moe_model() -> OwnModel:
    return OwnModel(random_model(tiny_moe()))
