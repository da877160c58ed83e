"""The engines that are compared; each wraps one runtime so that all are driven alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["ENGINES", "Engine"]

Tokens = npt.NDArray[np.int32]
Logits = npt.NDArray[np.float32]


class Engine(Protocol):
    """A loaded model and one conversation of it.

    `prefill` and `decode` append tokens and return the last one's logits [vocab]; `reset` forgets
    all tokens.
    """

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""

    def decode(self, token: int) -> Logits:
        """Appends one token."""

    def reset(self) -> None:
        """Starts afresh."""


class LfmEdge:
    """A bundle of ours, run by `lfm_edge`."""

    def __init__(self, folder: str, threads: int, capacity: int) -> None:
        # Only this engine's process imports it: the others' memory must not hold it.
        import lfm_edge  # noqa: PLC0415

        self.session = lfm_edge.load(folder, threads=threads).session(context=capacity)

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""
        return self.session.prefill(ids)

    def decode(self, token: int) -> Logits:
        """Appends one token."""
        return self.session.decode(token)

    def reset(self) -> None:
        """Starts afresh."""
        self.session.reset()


class GenAi:
    """A folder with a `genai_config.json`, run by ONNX Runtime GenAI.

    A token is decoded by `append_tokens`, so that every engine is fed the same ones; it takes as
    long as `generate_next_token`, which samples besides.
    """

    def __init__(self, folder: str, threads: int, capacity: int) -> None:
        import onnxruntime_genai as og  # noqa: PLC0415 (see LfmEdge)

        config = og.Config(folder)
        options = {"intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self.model = og.Model(config)
        self.params = og.GeneratorParams(self.model)
        self.params.set_search_options(max_length=capacity, batch_size=1, do_sample=False)
        self.new_generator = og.Generator
        self.reset()

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""
        self.generator.append_tokens(ids)
        logits: Logits = self.generator.get_logits()
        return logits.reshape(-1)

    def decode(self, token: int) -> Logits:
        """Appends one token."""
        return self.prefill(np.array([token], np.int32))

    def reset(self) -> None:
        """Starts afresh: GenAI cannot rewind this family."""
        self.generator = self.new_generator(self.model, self.params)


ENGINES: dict[str, Callable[[str, int, int], Engine]] = {"lfm-edge": LfmEdge, "genai": GenAi}
