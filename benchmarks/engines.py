"""The engines that are compared; each wraps one runtime so that all are driven alike."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .repeated_state import repeated

__all__ = ["ENGINES", "GGUF_FILE", "Engine"]

GGUF_FILE = "model.gguf"
LLAMA_CPP_BATCH = 512  # the prompt in one piece
LLAMA_CPP_Q8_0 = 8  # of its types of numbers
LLAMA_CPP_READS = 2048
LLAMA_CPP_ERROR = 4  # of its levels of log messages

Tokens = npt.NDArray[np.int32]
Logits = npt.NDArray[np.float32]


class Engine(Protocol):
    """A loaded model and one conversation of it.

    `prefill` and `decode` append tokens and return the last one's logits [vocab].
    """

    about: str
    """What computes, in which version, and what of the CPU it uses."""

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""

    def decode(self, token: int) -> Logits:
        """Appends one token."""

    def begin_with(self, ids: Tokens) -> None:
        """Reads what stands before everything else."""

    def reset(self) -> None:
        """Goes back to what it began with, or to nothing."""


class LfmEdge:
    """A bundle of ours, run by `lfm_edge`."""

    def __init__(self, folder: str, threads: int, capacity: int) -> None:
        # Only this engine's process imports it: the others' memory must not hold it.
        import lfm_edge  # noqa: PLC0415
        from lfm_ops.library import instruction_set  # noqa: PLC0415

        self.session = lfm_edge.load(folder, threads=threads).session(context=capacity)
        packages = f"lfm-edge {version('lfm-edge')}, onnxruntime {version('onnxruntime')}"
        self.about = f"{packages}, {instruction_set()}"
        self.begun = 0

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""
        return self.session.prefill(ids)

    def decode(self, token: int) -> Logits:
        """Appends one token."""
        return self.session.decode(token)

    def begin_with(self, ids: Tokens) -> None:
        """Reads what stands before everything else."""
        self.session.prefill(ids)
        self.begun = len(ids)

    def reset(self) -> None:
        """Goes back to it, or to nothing."""
        self.session.rewind(self.begun)


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
        self.begun = np.empty(0, np.int32)
        self.about = f"onnxruntime-genai {version('onnxruntime-genai')}"
        self.reset()

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""
        self.generator.append_tokens(ids)
        logits: Logits = self.generator.get_logits()
        return logits.reshape(-1)

    def decode(self, token: int) -> Logits:
        """Appends one token."""
        return self.prefill(np.array([token], np.int32))

    def begin_with(self, ids: Tokens) -> None:
        """Reads what stands before everything else."""
        self.begun = ids
        self.reset()

    def reset(self) -> None:
        """Reads it again: GenAI cannot rewind this family."""
        self.generator = self.new_generator(self.model, self.params)
        if len(self.begun):
            self.generator.append_tokens(self.begun)


class LlamaCpp:
    """A folder with a `model.gguf`, run by llama.cpp on the CPU; all else at its default.

    `cache_type` is that of keys and values, by llama.cpp's number. Of what stands before everything
    else it reads at most `reads` tokens, and repeats what the state holds of them.
    """

    def __init__(
        self,
        folder: str,
        threads: int,
        capacity: int,
        cache_type: int | None = None,
        reads: int = sys.maxsize,
    ) -> None:
        import llama_cpp  # noqa: PLC0415 (see LfmEdge)

        self.api = llama_cpp
        self.silence = llama_cpp.llama_log_callback(_print_errors)
        llama_cpp.llama_log_set(self.silence, None)
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        path = os.fsencode(Path(folder, GGUF_FILE))
        model = llama_cpp.llama_model_load_from_file(path, model_params)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = capacity
        params.n_batch = params.n_ubatch = min(capacity, LLAMA_CPP_BATCH)
        params.n_threads = params.n_threads_batch = threads
        if cache_type is not None:
            params.type_k = params.type_v = cache_type
        self.context = model and llama_cpp.llama_init_from_model(model, params)
        if not self.context:
            raise RuntimeError(f"{folder}: llama.cpp cannot load it")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        system = llama_cpp.llama_print_system_info().decode().strip(" |")
        self.about = f"llama-cpp-python {llama_cpp.__version__}, {system}"
        self.begun: Any = None
        self.reads = reads

    def prefill(self, ids: Tokens) -> Logits:
        """Appends many tokens."""
        tokens = (self.api.llama_token * len(ids))(*ids.tolist())
        # Without an array of its own, a batch follows what came before and gives the last logits.
        code = self.api.llama_decode(self.context, self.api.llama_batch_get_one(tokens, len(ids)))
        if code:
            raise RuntimeError(f"llama_decode: code {code}")
        logits = self.api.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(logits, (self.vocab_size,)).copy()

    def decode(self, token: int) -> Logits:
        """Appends one token."""
        return self.prefill(np.array([token], np.int32))

    def begin_with(self, ids: Tokens) -> None:
        """Reads what stands before everything else, and keeps the state."""
        read = ids[: self.reads]
        for at in range(0, len(read), LLAMA_CPP_BATCH):
            self.prefill(read[at : at + LLAMA_CPP_BATCH])
        size = self.api.llama_state_seq_get_size(self.context, 0)
        self.begun = (ctypes.c_uint8 * size)()
        self.api.llama_state_seq_get_data(self.context, self.begun, size, 0)
        if len(read) < len(ids):
            longer = repeated(bytes(self.begun), len(ids))
            self.begun = (ctypes.c_uint8 * len(longer)).from_buffer_copy(longer)

    def reset(self) -> None:
        """Takes the kept state, if any: llama.cpp cannot rewind this family."""
        self.api.llama_memory_clear(self.memory, True)
        if self.begun is None:
            return
        size = len(self.begun)
        if self.api.llama_state_seq_set_data(self.context, self.begun, size, 0) != size:
            raise RuntimeError("llama_state_seq_set_data: the state was not restored")


def _print_errors(level: int, text: bytes, _: object) -> None:
    if level == LLAMA_CPP_ERROR:
        print(text.decode(), end="", file=sys.stderr)


ENGINES: dict[str, Callable[[str, int, int], Engine]] = {
    "lfm-edge": LfmEdge,
    "llama.cpp": LlamaCpp,
    "llama.cpp, q8_0 cache": partial(LlamaCpp, cache_type=LLAMA_CPP_Q8_0),
    "llama.cpp, q8_0 cache, repeated": partial(
        LlamaCpp, cache_type=LLAMA_CPP_Q8_0, reads=LLAMA_CPP_READS
    ),
    "genai": GenAi,
}
