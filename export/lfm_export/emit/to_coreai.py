"""The graph in Apple's Core AI format, through `coreai-torch`. Experimental.

The whole model is in memory, as a torch module and again as Core AI's program: so its size has a
limit. This module needs the extra `coreai` and is imported only where the target is asked for.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import coreai_torch
import torch
from coreai.runtime import AIModelAssetMetadata
from lfm_edge.bundle import Graph, StateTensor
from lfm_ops.quantized import BLOCK_SIZE
from torch.export.graph_signature import InputKind

from ..architecture import (
    Architecture,
    Attention,
    Embedding,
    Layer,
    Mlp,
    Norm,
    Rope,
    ShortConv,
    SparseMoe,
)
from ..errors import ExportError
from ..quantize import Scheme
from ..weights import Consumer, Weights
from ._onnx import StateType
from ._quiet import quiet
from ._torch_decoder import (
    AttentionStep,
    DecoderStep,
    ExpertsStep,
    LayerStep,
    Matrix,
    MlpStep,
    RmsNorm,
    ShortConvStep,
)

__all__ = ["CoreAIEmitter", "check_size"]

_MOST_BYTES = 2_000_000_000
_BYTES = {"f32": 4.0, "q8": 1 + 4 / BLOCK_SIZE, "q4": 0.5 + 4 / BLOCK_SIZE}  # of one weight

_CACHES: dict[StateType, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


def check_size(architecture: Architecture, scheme: Scheme) -> None:
    """Refuses a model that would not fit in an ordinary computer's memory while it is exported.

    Raises:
        ExportError: its weights take too many bytes.
    """
    embedding = architecture.embedding
    tables = (embedding.tokens, embedding.head) if embedding.head else (embedding.tokens,)
    in_tables = sum(table.rows * table.columns for table in tables)
    others = architecture.num_parameters() - in_tables
    size = in_tables * _BYTES[scheme.head] + others * _BYTES[scheme.linear]
    if size > _MOST_BYTES:
        raise ExportError(
            f"--target {CoreAIEmitter.target}: the weights take {size / 1e9:.1f} GB, and Core AI's "
            f"converter holds them in memory four times; expected at most {_MOST_BYTES / 1e9:.1f} "
            "GB, so take fewer bits or a smaller model"
        )


class CoreAIEmitter(Consumer):
    """A consumer of the walk that builds a torch module and has it translated.

    `decode` takes `input_ids` and `position`, int32 `[1, 1]` and `[1]`, and the states; it returns
    `logits` `[1, vocab]`. There is no `prefill`: gathered experts gain nothing from many tokens.
    """

    target = "coreai"
    file = "model.aimodel"
    function = "decode"

    _model: DecoderStep
    _layer: LayerStep
    _experts: ExpertsStep

    def __init__(self, architecture: Architecture, context: int, cache: StateType) -> None:
        self._context, self._cache = context, cache
        operators = [layer.operator for layer in architecture.layers]
        ropes = {part.rope for part in operators if isinstance(part, Attention)}
        assert len(ropes) <= 1, ropes
        self._rope = (ropes.pop() if ropes else Rope((1.0,))).table(context)
        self._state: dict[str, StateTensor] = {}

    def embedding(self, part: Embedding, weights: Weights) -> None:
        """Begins the model."""
        tokens = Matrix(weights.matrix(part.tokens))
        head = tokens if part.head is None else Matrix(weights.matrix(part.head))
        self._model = DecoderStep(tokens, head, self._rope)

    def operator(self, layer: Layer, weights: Weights) -> None:
        """Begins a layer."""
        part = layer.operator
        step = (
            self._attention(part, weights)
            if isinstance(part, Attention)
            else self._short_conv(part, weights)
        )
        self._layer = LayerStep(_norm(layer.operator_norm, weights), step)
        self._model.layers.append(self._layer)
        for name, buffer in step.named_buffers(recurse=False):
            self._declare(layer.index, name, buffer)

    def mlp(self, layer: Layer, part: Mlp, weights: Weights) -> None:
        """Ends a layer."""
        self._layer.ffn_norm = _norm(layer.ffn_norm, weights)
        self._layer.feed_forward = MlpStep(
            *(Matrix(weights.matrix(linear)) for linear in (part.gate, part.up, part.down))
        )

    def router(self, layer: Layer, part: SparseMoe, weights: Weights) -> None:
        """Ends a layer but for its experts."""
        self._layer.ffn_norm = _norm(layer.ffn_norm, weights)
        router = part.router
        self._experts = ExpertsStep(
            router, weights.vector(router.weight), weights.optional(router.bias)
        )
        self._layer.feed_forward = self._experts

    def expert(self, index: int, part: Mlp, weights: Weights) -> None:
        """Stores one expert."""
        matrices = [weights.matrix(linear) for linear in (part.gate, part.up, part.down)]
        self._experts.put(index, matrices)

    def end_of_experts(self) -> None:
        """Nothing is left to do: experts were stored as they came."""

    def final_norm(self, part: Norm, weights: Weights) -> None:
        """Ends the model."""
        self._model.final_norm = _norm(part, weights)

    def save(self, folder: Path, producer: str) -> Graph:
        """Translates the model, writes it and says how it is called."""
        example = (torch.zeros((1, 1), dtype=torch.int32), torch.zeros(1, dtype=torch.int32))
        with warnings.catch_warnings(), quiet("stdout"):
            warnings.simplefilter("ignore")  # of torch about itself
            program = torch.export.export(self._model.eval(), example)
            program = program.run_decompositions(coreai_torch.get_decomp_table())
            # RELEASE leaves out stack traces, which name the paths of this machine.
            converter = coreai_torch.TorchConverter(mode=coreai_torch.TorchConverter.Mode.RELEASE)
            converter.add_exported_program(
                program,
                input_names=["input_ids", "position"],
                output_names=["logits"],
                state_names=[tensor.name for tensor in self._states(program)],
                entrypoint_name=self.function,
            )
            metadata = AIModelAssetMetadata()
            metadata.model_description = f"Written by {producer}"
            converter.to_coreai().save_asset(folder / self.file, metadata)
        return Graph(
            target=self.target,
            file=self.file,
            functions=[self.function],
            state=list(self._state.values()),
        )

    def _states(self, program: torch.export.ExportedProgram) -> list[StateTensor]:
        """The states in the order of the program's inputs."""
        buffers = [
            spec.target
            for spec in program.graph_signature.input_specs
            if spec.kind == InputKind.BUFFER
        ]
        return [self._state[name] for name in buffers if name is not None]

    def _attention(self, part: Attention, weights: Weights) -> AttentionStep:
        linears = (part.q_proj, part.k_proj, part.v_proj, part.out_proj)
        projections = [
            Matrix(weights.matrix(linear), weights.optional(linear.bias)) for linear in linears
        ]
        norms = [_norm(norm, weights) for norm in (part.q_norm, part.k_norm)]
        return AttentionStep(part, projections, norms, self._context, _CACHES[self._cache])

    def _short_conv(self, part: ShortConv, weights: Weights) -> ShortConvStep:
        in_proj, out_proj = (
            Matrix(weights.matrix(linear), weights.optional(linear.bias))
            for linear in (part.in_proj, part.out_proj)
        )
        taps, bias = weights.vector(part.taps), weights.optional(part.bias)
        return ShortConvStep(part, in_proj, taps, bias, out_proj)

    def _declare(self, index: int, kind: Any, buffer: torch.Tensor) -> None:
        self._state[f"layers.{index}.operator.{kind}"] = StateTensor(
            name=f"{index}.{kind}",
            kind=kind,
            layer=index,
            dtype="float32" if kind == "conv" else self._cache,
            shape=list(buffer.shape),
            input=None,
            output=None,
        )


def _norm(norm: Norm, weights: Weights) -> RmsNorm:
    return RmsNorm(weights.vector(norm.weight), norm.eps)
