"""Held-out figures of a checkpoint: `python -m tools.train_demo_model.evaluate [FOLDER]`.

Perplexity, the unigram baseline's on the same tokens, each expert's share of the load, and how
much careless rounding to 4 bits costs.
"""

import argparse
import copy
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import Lfm2MoeForCausalLM

from .corpus import CORPORA, DEMO, Corpus, digest, held_out_text
from .tokenizer import BOS, END_OF_TEXT

DEMO_MODEL = Path(__file__).parents[2] / "export" / "lfm_export" / "demo_model"
WINDOW = 1024


def main() -> None:
    """Prints the figures of a checkpoint that has its training record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO_MODEL)
    arguments = parser.parse_args()
    record = json.loads((arguments.folder / "TRAINING.json").read_text())
    corpus = CORPORA[record["settings"].get("corpus", "demo")]
    print(json.dumps(measure(arguments.folder, record["unigram_counts"], corpus), indent=2))


def measure(folder: Path, unigram_counts: list[int], corpus: Corpus = DEMO) -> dict[str, Any]:
    """All held-out figures of a checkpoint folder."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = Lfm2MoeForCausalLM.from_pretrained(folder, dtype=torch.float32)
    windows = held_out_windows(tokenizer, corpus)
    with expert_loads(model) as loads:
        model_perplexity = perplexity(model, windows)
    baseline = unigram_perplexity(unigram_counts, windows)
    return {
        "digest": digest(held_out_text(corpus)),
        "tokens": sum(len(window) - 1 for window in windows),
        "perplexity": round(model_perplexity, 3),
        "unigram_perplexity": round(baseline, 3),
        "ratio": round(baseline / model_perplexity, 2),
        "expert_load": {name: _shares(load) for name, load in loads.items()},
        "perplexity_4_bit": {
            "per_tensor": round(perplexity(rounded_to_4_bits(model, None), windows), 3),
            "per_row": round(perplexity(rounded_to_4_bits(model, 0), windows), 3),
            "per_group_of_32": round(perplexity(rounded_to_4_bits(model, 32), windows), 3),
        },
    }


def held_out_windows(
    tokenizer: Tokenizer, corpus: Corpus = DEMO, length: int = WINDOW
) -> list[Tensor]:
    """The held-out files as windows of ids, each file `<|startoftext|> ... <|endoftext|>`.

    A window starts with the last id of the one before, so that every id but the first of a file
    is predicted exactly once.
    """
    windows: list[Tensor] = []
    for _, text in held_out_text(corpus):
        ids = [BOS, *tokenizer.encode(text, add_special_tokens=False).ids, END_OF_TEXT]
        starts = range(0, len(ids) - 1, length)
        windows += [torch.tensor(ids[start : start + length + 1]) for start in starts]
    return windows


@torch.no_grad()
def perplexity(model: nn.Module, windows: list[Tensor]) -> float:
    """The exponential of the mean loss of a transformers model over all predicted ids."""
    total, count = 0.0, 0
    for window in windows:
        logits = model(window[None, :-1], use_cache=False).logits[0].float()
        total += float(functional.cross_entropy(logits, window[1:], reduction="sum"))
        count += len(window) - 1
    return math.exp(total / count)


def unigram_perplexity(counts: list[int], windows: list[Tensor]) -> float:
    """Perplexity of the training tokens' own distribution (add-one) on the predicted ids."""
    smoothed = torch.tensor(counts, dtype=torch.float64) + 1
    logs = (smoothed / smoothed.sum()).log()
    targets = torch.cat([window[1:] for window in windows])
    return math.exp(-float(logs[targets].mean()))


@contextmanager
def expert_loads(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Counts how often each expert of each MoE layer is chosen while the context lasts."""
    loads: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if hasattr(module, "expert_bias"):
            loads[name] = torch.zeros(len(module.expert_bias))
            gate = module.get_submodule("gate")

            def count(_: nn.Module, __: Any, output: Any, load: Tensor = loads[name]) -> None:
                load += torch.bincount(output[2].flatten(), minlength=len(load))

            hooks.append(gate.register_forward_hook(count))
    try:
        yield loads
    finally:
        for hook in hooks:
            hook.remove()


def rounded_to_4_bits(model: nn.Module, group: int | None) -> nn.Module:
    """A copy whose matrices are rounded to -8..7 times a scale, with no further care.

    One scale for each `group` inputs, for each row (0), or for the whole matrix (None).
    """
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            if weight.dim() < 2 or name.endswith(("gate.weight", "conv.conv.weight")):
                continue
            matrices = weight if weight.dim() == 3 else weight[None]
            for matrix in matrices:
                columns = matrix.numel() if group is None else group or matrix.shape[-1]
                blocks = matrix.reshape(-1, columns)
                scale = (blocks.abs().amax(1, keepdim=True) / 7).clamp(min=1e-12)
                matrix.copy_(((blocks / scale).round() * scale).view_as(matrix))
    return copied


def _shares(load: Tensor) -> list[float]:
    return [round(share, 4) for share in (load / load.sum()).tolist()]


if __name__ == "__main__":
    main()
