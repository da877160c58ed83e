"""Token streams: the encoded corpus, and which windows of it a training step reads."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .chat import Conversation
from .corpus import Document
from .tokenizer import BOS, END_OF_TEXT

Tokens = npt.NDArray[np.uint16]


def encode_documents(tokenizer: Tokenizer, documents: list[Document]) -> list[Tokens]:
    """Each document as `<|startoftext|> ... <|endoftext|>`."""
    encoded = tokenizer.encode_batch([text for _, text in documents], add_special_tokens=False)
    return [np.array([BOS, *item.ids, END_OF_TEXT], dtype=np.uint16) for item in encoded]


def encode_conversations(
    tokenizer: Tokenizer, template: Path, conversations: list[Conversation]
) -> list[Tokens]:
    """Each conversation as the chat template renders it, the last turn ended."""
    bos = tokenizer.id_to_token(BOS)
    renderer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos)
    renderer.chat_template = template.read_text(encoding="utf-8")
    texts = [
        cast(str, renderer.apply_chat_template(cast(Any, item), tokenize=False))
        for item in conversations
    ]
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [np.array(item.ids, dtype=np.uint16) for item in encoded]


def shuffled_stream(pieces: list[Tokens], seed: int) -> Tokens:
    """All pieces in one stream, in an order that the seed fixes."""
    order = np.random.default_rng(seed).permutation(len(pieces))
    return np.concatenate([pieces[index] for index in order])


class Windows:
    """Which windows step `n` reads: a function of `n` alone, so training resumes exactly.

    Every epoch cuts the stream at another offset and shuffles the windows. Each `long_every`-th
    step reads the same number of tokens in windows `long_factor` times as long.
    """

    def __init__(self, stream: Tokens, settings: dict[str, Any]) -> None:
        self.stream = stream
        self.seed = int(settings["seed"])
        self.window = int(settings["window"])
        self.batch = int(settings["batch"])
        self.long_every = int(settings["long_every"])
        self.long_factor = int(settings["long_factor"])
        self.per_epoch = len(stream) // self.window - 1
        self._starts: tuple[int, npt.NDArray[np.int64]] | None = None

    def batch_of(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [batch, window] of a step."""
        if step % self.long_every == self.long_every - 1:
            length = self.window * self.long_factor
            generator = np.random.default_rng((self.seed, step))
            room = len(self.stream) - length
            starts = list(generator.integers(0, room, self.batch // self.long_factor))
        else:
            length = self.window
            first = step * self.batch
            starts = [self._start(first + index) for index in range(self.batch)]
        rows = np.stack([self.stream[start : start + length + 1] for start in starts])
        tokens = torch.from_numpy(rows.astype(np.int64))
        return tokens[:, :-1], tokens[:, 1:]

    def _start(self, index: int) -> int:
        epoch, place = divmod(index, self.per_epoch)
        if self._starts is None or self._starts[0] != epoch:
            generator = np.random.default_rng((self.seed, 1 << 32, epoch))
            offset = generator.integers(0, self.window)
            starts = generator.permutation(self.per_epoch) * self.window + offset
            self._starts = (epoch, starts)
        return int(self._starts[1][place])
