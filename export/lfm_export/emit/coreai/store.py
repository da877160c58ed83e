"""The graph in Apple's Core AI format, through `coreai-torch`. Experimental.

The whole model is in memory, as a torch module and again as Core AI's program: so its size has a
limit. This module needs the extra `coreai` and is imported only where the target is asked for.
"""

from __future__ import annotations

import warnings
from typing import Literal, cast

import coreai_torch
import torch
from coreai.runtime import AIModelAssetMetadata
from lfm_edge.bundle import Function, Graph, StateTensor
from torch.export.graph_signature import InputKind

from ...architecture import Attention, Embedding, Linear, Mlp, Norm, Rope, Router, ShortConv
from ...weights import Part, Weights
from ..quiet import quiet
from ..target import Job
from .modules import (
    AttentionStep,
    DecoderStep,
    ExpertsStep,
    Matrix,
    MlpStep,
    RmsNorm,
    ShortConvStep,
)

__all__ = ["CoreAIStore"]

_FILE = "model.aimodel"
# There is no function for several tokens: gathered experts gain nothing from them.
_POSITION = "position"
_DECODE = Function("decode", "input_ids", "logits", position=_POSITION, tokens=1)

CacheType = Literal["float32", "float16"]
_CACHES: dict[str, tuple[CacheType, torch.dtype]] = {
    "f32": ("float32", torch.float32),
    "f16": ("float16", torch.float16),
}


class CoreAIStore:
    """Builds a torch module of the weights as they come, and has it translated.

    `decode` takes `input_ids` and `position`, int32 `[1, 1]` and `[1]`, and the states; it returns
    `logits` `[1, vocab]`.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        operators = [layer.operator for layer in job.architecture.layers]
        ropes = {part.rope for part in operators if isinstance(part, Attention)}
        assert len(ropes) <= 1, ropes
        rope = (ropes.pop() if ropes else Rope((1.0,))).table(job.context)
        self._model = DecoderStep(job.architecture, rope)
        self._cache, self._torch_cache = _CACHES[job.options["kv"]]
        self._state: dict[str, StateTensor] = {}

    def put(self, part: Part, weights: Weights) -> None:
        """Makes modules of one part."""
        description, layer = part.description, part.layer
        if isinstance(description, Embedding):
            self._model.tokens = Matrix(weights.matrix(description.tokens))
            head = description.head
            self._model.head = self._model.tokens if head is None else Matrix(weights.matrix(head))
        elif isinstance(description, Attention | ShortConv):
            assert layer is not None
            self._put_operator(layer.index, description, weights)
            self._put_norm(layer.operator_norm, weights)
        elif isinstance(description, Norm):
            self._put_norm(description, weights)
        elif part.expert is not None:
            assert isinstance(description, Mlp)
            experts = cast(ExpertsStep, self._model.feed_forwards[-1])
            experts.put(part.expert, [weights.matrix(linear) for linear in _linears(description)])
        else:
            assert layer is not None
            self._put_norm(layer.ffn_norm, weights)
            self._model.feed_forwards.append(_feed_forward(description, weights))

    def finish(self) -> Graph:
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
                input_names=[_DECODE.input_ids, _POSITION],
                output_names=[_DECODE.logits],
                state_names=[tensor.name for tensor in self._states(program)],
                entrypoint_name=_DECODE.name,
            )
            metadata = AIModelAssetMetadata()
            metadata.model_description = f"Written by {self._job.producer}"
            converter.to_coreai().save_asset(self._job.folder / _FILE, metadata)
        return Graph(
            target=self._job.target,
            file=_FILE,
            functions=[_DECODE],
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

    def _put_operator(self, layer: int, part: Attention | ShortConv, weights: Weights) -> None:
        step = (
            self._attention(part, weights)
            if isinstance(part, Attention)
            else _short_conv(part, weights)
        )
        self._model.operators.append(step)
        for name, buffer in step.named_buffers(recurse=False):
            kind = cast(Literal["key", "value", "conv"], name)
            self._state[f"operators.{layer}.{kind}"] = StateTensor(
                name=f"{layer}.{kind}",
                kind=kind,
                layer=layer,
                dtype="float32" if kind == "conv" else self._cache,
                shape=list(buffer.shape),
                input=None,
                output=None,
            )

    def _put_norm(self, part: Norm, weights: Weights) -> None:
        self._model.add_norm(part, weights.vectors[part.weight.name])

    def _attention(self, part: Attention, weights: Weights) -> AttentionStep:
        linears = (part.q_proj, part.k_proj, part.v_proj, part.out_proj)
        norms = [
            RmsNorm(weights.vectors[norm.weight.name], norm.eps)
            for norm in (part.q_norm, part.k_norm)
        ]
        return AttentionStep(
            part,
            [_matrix(linear, weights) for linear in linears],
            norms,
            self._job.context,
            self._torch_cache,
        )


def _short_conv(part: ShortConv, weights: Weights) -> ShortConvStep:
    return ShortConvStep(
        part,
        _matrix(part.in_proj, weights),
        weights.vectors[part.taps.name],
        None if part.bias is None else weights.vectors[part.bias.name],
        _matrix(part.out_proj, weights),
    )


def _feed_forward(part: object, weights: Weights) -> MlpStep | ExpertsStep:
    """A dense one, or one whose experts are still to come."""
    if isinstance(part, Mlp):
        return MlpStep(*(Matrix(weights.matrix(linear)) for linear in _linears(part)))
    assert isinstance(part, Router)
    bias = None if part.bias is None else weights.vectors[part.bias.name]
    return ExpertsStep(part, weights.vectors[part.weight.name], bias)


def _linears(part: Mlp) -> tuple[Linear, Linear, Linear]:
    return part.gate, part.up, part.down


def _matrix(linear: Linear, weights: Weights) -> Matrix:
    bias = None if linear.bias is None else weights.vectors[linear.bias.name]
    return Matrix(weights.matrix(linear), bias)
