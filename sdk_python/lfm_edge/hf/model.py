"""The model that transformers sees: token ids in, logits out, its sessions as the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from ..errors import InvalidRequestError
from ..file_names import GENERATION_CONFIG
from ..model import Model, load
from .cache import LfmEdgeCache

__all__ = ["LfmEdgeConfig", "LfmEdgeForCausalLM"]


class LfmEdgeConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What transformers asks of a model's numbers; a bundle's manifest gives them."""

    model_type = "lfm_edge"
    """What transformers knows it by."""
    vocab_size: int = 0
    """Logits of a token."""
    hidden_size: int = 0
    """Features of a token between layers."""
    num_hidden_layers: int = 0
    """Layers of either kind."""
    max_position_embeddings: int = 0
    """The most tokens of a row: the `context` of its session."""


class LfmEdgeForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[no-untyped-call]
    """A bundle behind the interface of transformers, on the CPU, for inference.

    A batch is one session a row, read one after the other; `attention_mask` says which columns are
    padding, on either side of a row's tokens, and a padded row gives the same logits as alone.
    Greedy decoding, sampling and, where the target's state can be copied, beam search work;
    assisted decoding is refused by `generate`.

    The graph gives the logits of the last token. Whoever wants those of all (`logits_to_keep` 0,
    as lm-evaluation-harness does) has them token by token, at the speed of decoding.

    Args:
        model: an opened bundle.
        context: the most tokens of a row; see `Model.session`.

    Raises:
        InvalidRequestError: `context` is out of range.
    """

    config_class = LfmEdgeConfig
    """The class of its `config`."""
    _is_stateful = True  # `generate` then refuses what would check several tokens in one run

    def __init__(self, model: Model, context: int | None = None) -> None:
        manifest = model.bundle.manifest.model
        config = LfmEdgeConfig(
            vocab_size=manifest.vocab_size,
            hidden_size=manifest.hidden_size,
            num_hidden_layers=manifest.num_hidden_layers,
            max_position_embeddings=model.session(context).capacity,
        )
        config.bos_token_id = manifest.bos_token_id
        config.eos_token_id = sorted(model.eos_ids) or None
        config.pad_token_id = manifest.pad_token_id
        config.name_or_path = str(model.bundle.folder)
        super().__init__(config)
        self.lfm_edge = model
        """The bundle as the SDK runs it."""
        self.generation_config = _generation_config(model.bundle.folder, config)
        """The checkpoint's own defaults, with the bundle's end tokens."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, bundle: Path | str, *, threads: int | None = None, context: int | None = None
    ) -> LfmEdgeForCausalLM:
        """Opens a bundle.

        Args:
            bundle: the folder that `lfm-edge export` wrote.
            threads: see `lfm_edge.load`.
            context: the most tokens of a row; by default the smaller of 4096 and the bundle's.

        Raises:
            BundleError: the bundle is missing, malformed or damaged, or its graph does not load.
            UnsupportedBundleError: its format or target is not one that this version runs.
            InvalidRequestError: `threads` or `context` is out of range.
        """
        return cls(load(bundle, threads), context)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses, whatever `args` and `kwargs` are: a bundle is written by `lfm-edge export`.

        Raises:
            InvalidRequestError: always.
        """
        del args, kwargs
        raise InvalidRequestError(
            f"save_pretrained: a bundle's weights stay in its folder; copy {self.name_or_path}"
        )

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the logits, whatever the weights' format."""
        return torch.float32

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: LfmEdgeCache | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        whole: bool = False,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """The logits `[batch, tokens, vocab]` of `input_ids`; zeros where those are padding.

        Args:
            input_ids: `[batch, tokens]`.
            attention_mask: `[batch, tokens or more]`, of which the last columns count; 1 for a
                token, 0 for padding. None: no padding.
            past_key_values: what the tokens follow on.
            labels: `[batch, tokens]`, for `loss`; -100 where it does not count.
            use_cache: whether `past_key_values` are returned; by default they are.
            logits_to_keep: of how many last columns the logits are given; 0: all.
            whole: whether `input_ids` are all tokens from the first on, of which
                `past_key_values` keep what they have; otherwise they follow.
            return_dict: False gives a tuple.

        Raises:
            InvalidRequestError: the mask has holes or a row has no token, or another argument is
                out of range.
            UnknownTokenError: an id lies outside the vocabulary.
            ContextFullError: the context does not hold the tokens.
            BundleError: the graph failed to run.
        """
        rows = _rows(input_ids, attention_mask)
        columns = input_ids.shape[1]
        first = columns - _kept(logits_to_keep, columns)
        cache = past_key_values
        if cache is None:
            context = self.config.max_position_embeddings
            cache = LfmEdgeCache(self.lfm_edge, len(rows), context)
        cache.require_rows(len(rows))
        logits = np.zeros((len(rows), columns - first, self.config.vocab_size), np.float32)
        for row, place in enumerate(rows):
            wanted = max(0, place.stop - max(place.start, first))
            got = cache.read(row, input_ids[row, place].tolist(), wanted, whole=whole)
            if got:
                stop = place.stop - first
                logits[row, stop - wanted : stop] = got
        given, loss = torch.from_numpy(logits), None
        if labels is not None:
            loss = self.loss_function(given, labels, vocab_size=self.config.vocab_size)
        kept = None if use_cache is False else cache
        output = CausalLMOutputWithPast(loss=loss, logits=given, past_key_values=kept)  # type: ignore[arg-type]
        return output.to_tuple() if return_dict is False else output

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        next_sequence_length: int | None = None,
        past_key_values: LfmEdgeCache | None = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What `generate` passes to `forward` for one step.

        That is everything so far, since a session itself finds what it need not read again; but
        where `generate` was given only what follows on its cache, it is what is new.

        Args:
            input_ids: `[batch, tokens]`, all so far.
            next_sequence_length: how many of them are new to `generate`.
            past_key_values: what was read of them.
            is_first_iteration: whether this is the first step.
            **kwargs: passed on.
        """
        whole = True
        if past_key_values is not None and is_first_iteration:
            whole = next_sequence_length is not None  # `generate` has something to cut off
        elif past_key_values is not None:
            whole = input_ids.shape[1] > past_key_values.get_seq_length()
        if not whole and next_sequence_length is not None:
            input_ids = input_ids[:, -next_sequence_length:]
        return {
            "input_ids": input_ids,
            "past_key_values": past_key_values,
            "whole": whole and past_key_values is not None,
            **kwargs,
        }

    def _prefill(self, *args: Any, **kwargs: Any) -> Any:
        config = next(given for given in args if isinstance(given, GenerationConfig))
        if config.prefill_chunk_size is not None:
            raise InvalidRequestError(
                "prefill_chunk_size: a session cuts long prompts itself; leave it out"
            )
        return super()._prefill(*args, **kwargs)  # type: ignore[misc]

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `forward` makes the cache


def _generation_config(folder: Path, config: LfmEdgeConfig) -> GenerationConfig:
    """The checkpoint's own, with the end tokens of bundle and file."""
    found = GenerationConfig()  # type: ignore[no-untyped-call]
    if (folder / GENERATION_CONFIG).exists():
        found = GenerationConfig.from_pretrained(folder)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = getattr(config, name)
        if value is not None:
            setattr(found, name, value)
    return found


def _kept(logits_to_keep: int, columns: int) -> int:
    if not isinstance(logits_to_keep, int) or logits_to_keep < 0:
        raise InvalidRequestError(
            f"logits_to_keep: got {logits_to_keep}, expected a number of last tokens, 0 for all"
        )
    return min(logits_to_keep or columns, columns)


def _rows(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> list[slice]:
    """Where each row's tokens stand, between padding."""
    if input_ids.ndim != 2 or input_ids.numel() == 0:
        raise InvalidRequestError(
            f"input_ids: got shape {list(input_ids.shape)}, expected [batch, tokens], neither of "
            "them 0"
        )
    batch, columns = input_ids.shape
    if attention_mask is None:
        return [slice(0, columns)] * batch
    if (
        attention_mask.ndim != 2
        or attention_mask.shape[1] < columns
        or len(attention_mask) != batch
    ):
        raise InvalidRequestError(
            f"attention_mask: got shape {list(attention_mask.shape)}, expected "
            f"[{batch}, {columns} or more]"
        )
    found = []
    for row, mask in enumerate(attention_mask.tolist()):
        held = [column for column, value in enumerate(mask) if value]
        if not held or not any(mask[-columns:]):
            raise InvalidRequestError(f"attention_mask: row {row} masks every token of input_ids")
        if held[-1] - held[0] >= len(held):
            raise InvalidRequestError(
                f"attention_mask: row {row} has padding between its tokens; pad prompts on the "
                'left (tokenizer.padding_side = "left")'
            )
        offset = len(mask) - columns
        found.append(slice(max(0, held[0] - offset), held[-1] + 1 - offset))
    return found


AutoConfig.register(LfmEdgeConfig.model_type, LfmEdgeConfig)
AutoModelForCausalLM.register(LfmEdgeConfig, LfmEdgeForCausalLM)  # `pipeline` asks there
