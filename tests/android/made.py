"""What the tests of the Kotlin library read: bundles, and what Python gets of them.

python -m tests.android.made build/android-bundles
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
from lfm_edge.chat import End, InvalidToolCall, Reasoning, Text, Tool, ToolCall
from lfm_edge.conversation import Conversation, Setting, Turn
from lfm_export.checkpoint import open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.export import ExportOptions, export_bundle

__all__ = ["BUNDLES", "following", "make"]

BUNDLES = {
    "onnx-f16": ExportOptions(),
    "onnx-int8": ExportOptions(own={"kv": "int8"}),
    "portable": ExportOptions(target="onnx-portable"),
}
PROMPT = "def read_lines(path):\n"
SAMPLING: dict[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.02,
    "repetition_penalty": 1.05,
    "seed": 7,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "What a file holds.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
}


def make(folder: Path) -> Path:
    """Writes bundles, saved sessions and `expected.json`, in place of an earlier `folder`."""
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    expected: dict[str, Any] = {}
    for name, options in BUNDLES.items():
        with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
            export_bundle(checkpoint, folder / name, options)
        model = lfm_edge.load(folder / name, threads=1)
        expected[name] = {
            **_tokens(model, folder / f"{name}.session"),
            "sampled": _sampled(model),
            **_turns(model, folder / f"{name}.conversation"),
        }
    expected["errors"] = _errors(lfm_edge.load(folder / "onnx-f16", threads=1), folder)
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")
    return folder


def following(session: lfm_edge.Session, ids: list[int], count: int) -> list[int]:
    """The likeliest `count` tokens behind `ids`, each read before the next."""
    logits, tokens = session.prefill(ids), list[int]()
    for _ in range(count):
        tokens.append(int(np.argmax(logits)))
        logits = session.decode(tokens[-1])
    return tokens


def _tokens(model: lfm_edge.Model, path: Path) -> dict[str, Any]:
    """200 greedy tokens; then a session that went back is saved, and 20 more behind it."""
    ids = model.tokenizer.encode(PROMPT, add_special_tokens=True)
    session = model.session(512)
    greedy = following(session, ids, 200)
    session.rewind(100)
    session.save(path)
    held = session.ids
    again = following(session, ids[1:], 20)
    return {"prompt": PROMPT, "ids": ids, "greedy": greedy, "held": held, "again": again}


def _sampled(model: lfm_edge.Model) -> dict[str, Any]:
    session, options = model.session(256), {**SAMPLING, "max_tokens": 60}
    answer = model.generate(PROMPT, session=session, **options)
    text = "".join(answer)
    return {
        "options": options,
        "text": text,
        "reason": answer.finish_reason,
        "generated": len(answer.ids),
        "ids": session.ids,
    }


def _turns(model: lfm_edge.Model, path: Path) -> dict[str, Any]:
    """A conversation's turns: how each was asked for, and what came of it; then it is saved.

    Last, what the saved one makes of its last turn: a file holds no snapshots, from which a graph
    that cannot go back goes on.
    """
    tools = [Tool.from_json(TOOL)]
    setting = Setting(tools=tools, template_options=None, clock=datetime(2025, 3, 9, 7, 5, 1))
    messages = [{"role": "system", "content": "You write Python."}]
    chat = Conversation(model, messages, model.session(1024), setting)
    warm = {"warm": chat.warm(), "position": chat.session.position}
    options: dict[str, Any] = {**SAMPLING, "max_tokens": 24, "thinking_budget": 5}
    turns: list[dict[str, Any]] = [
        warm,
        {"send": "Read a file.", **_said(chat, chat.send("Read a file.", **options))},
        {"send": "And a folder?", **_said(chat, chat.send("And a folder?", **options))},
        {"edit": "And a path?", **_said(chat, chat.edit(-1, "And a path?", **options))},
        {"regenerate": True, **_said(chat, chat.regenerate(**{**options, "seed": 8}))},
    ]
    chat.save(path)
    opened = Conversation.open(model, path)
    return {
        "turns": turns,
        "reopened": _said(opened, opened.regenerate(**{**options, "seed": 8})),
    }


def _said(chat: Conversation, turn: Turn) -> dict[str, Any]:
    found: dict[str, Any] = {"text": "", "reasoning": "", "calls": 0}
    for event in turn:
        match event:
            case Text(text):
                found["text"] += text
            case Reasoning(text):
                found["reasoning"] += text
            case ToolCall() | InvalidToolCall():
                found["calls"] += 1
            case End(reason, usage):
                found |= {"reason": reason, "reused": usage.reused, "processed": usage.processed}
                found |= {"generated": usage.generated, "reasoning_tokens": usage.reasoning}
    return {**found, "messages": chat.messages, "position": chat.session.position}


def _errors(model: lfm_edge.Model, folder: Path) -> dict[str, Any]:
    """Errors by what is wrong, as ErrorsTest.kt does it as well."""
    small = model.session(4)
    wrong: dict[str, Callable[[], object]] = {
        "no bundle": lambda: lfm_edge.load(folder / "nowhere"),
        "threads": lambda: lfm_edge.load(folder / "onnx-f16", threads=0),
        "context": lambda: model.session(10_000_000),
        "no context": lambda: model.session(0),
        "no context of a chat": lambda: model.conversation(context=0),
        "no context of a file": lambda: lfm_edge.Session.open(
            model, folder / "onnx-f16.session", context=0
        ),
        "no budget": lambda: model.conversation().check(thinking_budget=-1),
        "temperature": lambda: model.generate([1], temperature=-1.0),
        "max_tokens": lambda: model.generate([1], max_tokens=0),
        "logit_bias": lambda: model.generate([1], logit_bias={3: 200.0}),
        "banned": lambda: model.generate([1], banned=[9_999_999]),
        "empty prompt": lambda: model.generate(""),
        "long prompt": lambda: model.generate([1, 2, 3, 4, 5], session=small),
        "unknown token": lambda: model.session(16).prefill([1, 9_999_999]),
        "full": lambda: small.prefill([1, 2, 3, 4, 5]),
        "nothing to read": lambda: small.prefill([]),
        "rewind": lambda: small.rewind(3),
        "no session file": lambda: lfm_edge.Session.open(model, folder / "nowhere.session"),
        "no conversation": lambda: Conversation.open(model, folder / "onnx-f16.session"),
        "of another bundle": lambda: lfm_edge.Session.open(model, folder / "portable.session"),
        "no such turn": lambda: model.conversation().edit(0, "a"),
        "nothing to answer": lambda: model.conversation("b").regenerate(),
    }
    return {name: _error(act) for name, act in wrong.items()}


def _error(act: Callable[[], object]) -> dict[str, str]:
    try:
        act()
    except lfm_edge.LfmError as error:
        return {"kind": type(error).__name__, "message": str(error)}
    raise AssertionError("no error")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
