"""Trains the demo model: `python -m tools.train_demo_model.train`.

The learning rate warms up, stays, and decays to zero over the last `decay_steps`, so a
checkpoint from the steady part can be decayed at any time. All that decides the result is in
`settings.json`.
"""

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Lfm2MoeForCausalLM

from .chat import conversations
from .corpus import CORPORA, Corpus, digest, training_documents
from .data import Tokens, Windows, encode_conversations, encode_documents, shuffled_stream
from .evaluate import measure
from .export import install, write_checkpoint, write_json
from .loss import head_loss
from .model import DemoModel, demo_config
from .optimizer import optimizers
from .tokenizer import train_tokenizer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "train"
DEMO_MODEL = ROOT / "export" / "lfm_export" / "demo_model"
Settings = dict[str, Any]
Trainers = list[torch.optim.Optimizer]


def main() -> None:
    """Trains, or compares the training module with transformers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=HERE / "settings.json")
    parser.add_argument("--out", type=Path, default=DEMO_MODEL, help="checkpoint to write")
    parser.add_argument("--work", type=Path, default=WORK, help="resumable state")
    parser.add_argument("--check", action="store_true", help="compare with transformers, then stop")
    arguments = parser.parse_args()
    if arguments.check:
        print(f"largest difference of logits: {difference_to_transformers():.2e}")
        return
    settings: Settings = json.loads(arguments.settings.read_text())
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(settings["threads"])
    tokenizer, stream, facts = prepared_corpus(settings, arguments.work)
    print(json.dumps(facts), flush=True)
    model = train(settings, stream, arguments.work)
    finish(model, tokenizer, stream, settings, facts, arguments.out)


def finish(
    model: DemoModel,
    tokenizer: Tokenizer,
    stream: Tokens,
    settings: Settings,
    facts: Settings,
    out: Path,
) -> None:
    """Writes the checkpoint, measures it, adds the training record and installs all of it."""
    corpus = corpus_of(settings)
    packages = sorted({*corpus.packages, "torch", "transformers", "tokenizers"})
    beside = out.with_name(out.name + ".new")
    write_checkpoint(model, demo_config(), tokenizer, beside)
    counts = np.bincount(stream, minlength=demo_config().vocab_size).tolist()
    held_out = measure(beside, counts, corpus)
    record = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_tokens": settings["steps"] * settings["batch"] * settings["window"],
        "corpus": facts,
        "packages": {name: version(name) for name in packages}
        | {"python": platform.python_version()},
        "settings": settings,
        "held_out": held_out,
        "unigram_counts": counts,
    }
    write_json(beside / "TRAINING.json", record)
    install(beside, out)
    print(json.dumps(held_out, indent=2))


def corpus_of(settings: Settings) -> Corpus:
    """The text that the settings name; by default the demo model's."""
    return CORPORA[settings.get("corpus", "demo")]


def prepared_corpus(settings: Settings, work: Path) -> tuple[Tokenizer, Tokens, Settings]:
    """The tokenizer, the training stream, and what the record says about them."""
    documents = training_documents(corpus_of(settings))
    chats = conversations(documents, settings["chat_share"])
    path = work / "tokenizer.json"
    if path.exists():
        tokenizer = Tokenizer.from_file(str(path))
    else:
        tokenizer = train_tokenizer(text for _, text in documents)
        tokenizer.save(str(path))
    files = encode_documents(tokenizer, documents)
    talks = encode_conversations(tokenizer, HERE / "chat_template.jinja", chats)
    facts = {
        "digest": digest(documents),
        "files": len(documents),
        "characters": sum(len(text) for _, text in documents),
        "file_tokens": sum(map(len, files)),
        "chat_examples": len(chats),
        "chat_tokens": sum(map(len, talks)),
    }
    return tokenizer, shuffled_stream(files + talks, settings["seed"]), facts


def train(settings: Settings, stream: Tokens, work: Path) -> DemoModel:
    """Runs all steps, or those left since the last saved state."""
    model = DemoModel(demo_config())
    model.initialise(settings["seed"])
    trainers = optimizers(model, settings)
    rates = [[group["lr"] for group in trainer.param_groups] for trainer in trainers]
    windows = Windows(stream, settings)
    state = work / "state.pt"
    first = load_state(state, model, trainers)
    steady = settings["steps"] - settings["decay_steps"]
    mean_loss, began = 0.0, time.monotonic()
    for step in range(first, settings["steps"]):
        factor = rate_factor(step, settings)
        for trainer, base in zip(trainers, rates, strict=True):
            for group, rate in zip(trainer.param_groups, base, strict=True):
                group["lr"] = rate * factor
        loss = training_step(model, trainers, windows.batch_of(step), settings)
        done = step + 1
        mean_loss += (loss - mean_loss) * max(0.02, 1 / (done - first))
        if done % 20 == 0:
            speed = (done - first) * settings["batch"] * settings["window"]
            speed /= time.monotonic() - began
            report = f"step {done} loss {mean_loss:.4f} rate {factor:.3f} tokens/s {speed:.0f}"
            print(report, flush=True)
        if done == steady or done % 100 == 0:
            name = f"steady-{done}.pt" if done == steady else "state.pt"
            save_state(work / name, model, trainers, done)
    return model


def rate_factor(step: int, settings: Settings) -> float:
    """Warm-up, then 1, then linearly down to 0 over the last `decay_steps`."""
    rising = (step + 1) / settings["warmup_steps"]
    falling = (settings["steps"] - step) / settings["decay_steps"]
    return float(min(1.0, rising, falling))


def training_step(
    model: DemoModel, trainers: Trainers, batch: tuple[Tensor, Tensor], settings: Settings
) -> float:
    """One step on a batch of inputs and targets; gives the loss."""
    total = 0.0
    rows = max(1, settings["micro_tokens"] // batch[0].shape[1])
    for tokens, targets in zip(*(torch.split(part, rows) for part in batch), strict=True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings["bf16"]):
            hidden = model.hidden(tokens).flatten(0, 1)
        if settings["bf16"]:
            hidden = hidden.bfloat16()
        loss = head_loss(hidden, model.head, targets.flatten())
        loss = loss * (targets.numel() / batch[1].numel())
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"])
    for trainer in trainers:
        trainer.step()
        trainer.zero_grad()
    model.update_expert_bias(settings["bias_rate"])
    return total


def save_state(path: Path, model: DemoModel, trainers: Trainers, step: int) -> None:
    """Saves all that training needs to go on, whole or not at all."""
    beside = path.with_suffix(".new")
    optimizer_states = [trainer.state_dict() for trainer in trainers]
    torch.save({"model": model.state_dict(), "optimizers": optimizer_states, "step": step}, beside)
    beside.rename(path)


def load_state(path: Path, model: DemoModel, trainers: Trainers) -> int:
    """Restores a saved state, if there is one; gives the number of steps done."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for trainer, saved in zip(trainers, state["optimizers"], strict=True):
        trainer.load_state_dict(saved)
    return int(state["step"])


def difference_to_transformers() -> float:
    """The largest difference of logits to transformers' module, on random weights."""
    config = demo_config()
    ours = DemoModel(config)
    ours.initialise(seed=1, std=0.06)
    for block in ours.moe_blocks():
        torch.nn.init.normal_(block.expert_bias, std=0.2)
    theirs = Lfm2MoeForCausalLM(config)
    tied = {"lm_head.weight": ours.model.embed_tokens.weight}
    theirs.load_state_dict(ours.state_dict() | tied)
    tokens = torch.randint(0, config.vocab_size, (3, 200))
    with torch.no_grad():
        return float((ours(tokens) - theirs(tokens).logits).abs().max())


if __name__ == "__main__":
    main()
