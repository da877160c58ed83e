"""`lfm-edge chat`: its commands in a pipe, and what a person at a terminal sees."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lfm_edge
import pytest
from lfm_edge.chat import InvalidToolCall, Text, ToolCall
from lfm_edge.repl import Transcript

from tests.processes import MAIN
from tests.sdk.test_cli import Run, run  # noqa: F401 (a fixture)
from tests.sdk.toy import BOS, END_THINK, EOS, PAD, THINK, ToyModel, write_toy_bundle

NEVER = {PAD: -1e4, BOS: -1e4, EOS: -1e4, THINK: -1e4, END_THINK: -1e4}
GREEDY = ("--max-tokens", 5, "--temperature", 0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "bundle", ToyModel(NEVER))


def answers(bundle: Path, *turns: str) -> list[str]:
    """What the model answers to these turns, one after the other."""
    model = lfm_edge.load(bundle)
    chat: list[lfm_edge.Message] = []
    for turn in turns:
        chat.append({"role": "user", "content": turn})
        text = "".join(model.chat(chat, max_tokens=5, temperature=0))
        chat.append({"role": "assistant", "content": text})
    return [message["content"] for message in chat if message["role"] == "assistant"]


def shown(*lines: str) -> str:
    return "".join(line + "\n" for line in lines)


def test_a_turn_is_edited_and_answered_anew(run: Run, bundle: Path) -> None:  # noqa: F811
    first, second = answers(bundle, "one", "two")
    (other,) = answers(bundle, "uno")
    _, due = answers(bundle, "uno", "due")
    _, tre = answers(bundle, "uno", "tre")
    lines = shown("one", "two", "/retry", "/edit 1 uno", "due", "/edit tre")
    code, out, err = run("chat", bundle, *GREEDY, stdin=lines)
    assert (code, err) == (0, "")
    assert out == shown(first, second, second, other, due, tre)


def test_a_conversation_is_kept_and_opened(run: Run, bundle: Path, tmp_path: Path) -> None:  # noqa: F811
    first, second = answers(bundle, "one", "two")
    file = tmp_path / "kept chat"
    code, out, err = run("chat", bundle, *GREEDY, stdin=shown("one", f"/save {file}", "/tokens"))
    assert (code, err) == (0, "")
    assert re.fullmatch(re.escape(first) + r"\nsaved 2 messages\n\d+ of 2,048 tokens\n", out)
    code, out, err = run("chat", bundle, *GREEDY, stdin=shown(f"/open {file}", "two"))
    assert (code, out, err) == (0, shown("opened 2 messages", second), "")


def test_help_lists_the_commands(run: Run, bundle: Path) -> None:  # noqa: F811
    code, out, _ = run("chat", bundle, stdin="/help\n")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["/edit", "/retry", "/save", "/open", "/tokens", "/reset", "/help", "/exit"]


def test_a_path_is_no_command(run: Run, bundle: Path) -> None:  # noqa: F811
    (answer,) = answers(bundle, "/etc/hosts is what?")
    code, out, _ = run("chat", bundle, *GREEDY, stdin="/etc/hosts is what?\n")
    assert (code, out) == (0, shown(answer))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/nonsense", "there is no command /nonsense; /help lists them"),
        ("/", "there is no command /; /help lists them"),
        ("/edit", "/edit: expected a text"),
        ("/edit 7 x", "edit: got turn 6, but the user has said 0 things"),
        ("/edit 0 x", "/edit: turns are counted from 1"),
        ("/retry", "there is no message to answer"),
        ("/save", "/save: expected the name of a file"),
        ("/save /no/where/x", "/no/where/x: cannot be written"),
        ("/open", "/open: expected the name of a file"),
        ("/open /no/where/x", "/no/where/x: no such file"),
    ],
)
def test_a_wrong_command_in_a_pipe_gives_one_line(
    run: Run,  # noqa: F811
    bundle: Path,
    line: str,
    message: str,
) -> None:
    code, out, err = run("chat", bundle, stdin=f"{line}\nnever read\n")
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: .*{re.escape(message)}.*\n", err)


def test_reasoning_stays_out_of_a_pipe(run: Run, tmp_path: Path) -> None:  # noqa: F811
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel({THINK: 100.0, END_THINK: 50.0}))
    options = ("--temperature", 0, "--thinking-budget", 4, "--max-tokens", 12)
    code, out, _ = run("chat", bundle, *options, stdin="a\n")
    model = lfm_edge.load(bundle)
    events = model.events(
        [{"role": "user", "content": "a"}], temperature=0, thinking_budget=4, max_tokens=12
    )
    text = "".join(event.text for event in events if isinstance(event, lfm_edge.chat.Text))
    assert (code, out) == (0, text + "\n")


class Terminal:
    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.descriptor, self.process = descriptor, process

    def write(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def read_until(self, pattern: str) -> str:
        text, begun = "", time.monotonic()
        while not re.search(pattern, text):
            assert time.monotonic() - begun < 60, text
            if select.select([self.descriptor], [], [], 1)[0]:
                text += os.read(self.descriptor, 4096).decode(errors="replace")
        return text


@contextmanager
def at_terminal(bundle: Path, state: Path, *options: object) -> Iterator[Terminal]:
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "chat", str(bundle), *map(str, options)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "XDG_STATE_HOME": str(state), "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(mine, process)
    finally:
        process.kill()
        process.wait()
        os.close(mine)


ENDED = r"ended by length\][\s\S]*> "
"""The prompt that follows: until the line is edited again, the terminal itself takes Ctrl-D."""


def test_figures_mistakes_and_the_history_at_a_terminal(bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with at_terminal(bundle, state, *GREEDY) as terminal:
        terminal.read_until("> ")
        terminal.write("one\n")
        figures = terminal.read_until(ENDED)
        assert re.search(
            r"\[0 tokens reused, \d+ processed, first token after [\d.]+ s; 5 generated, "
            r"[\d.]+ a second; ended by length\]",
            figures,
        )
        terminal.write("/nonsense\n")
        terminal.read_until(r"there is no command /nonsense; /help lists them[\s\S]*> ")
        terminal.write("two\n")
        assert not re.search(r"\[0 tokens reused", terminal.read_until(ENDED))
        terminal.write("\x04")
        assert terminal.process.wait(60) == 0
    history = state / "lfm-edge" / "history"
    assert history.read_text().splitlines()[-3:] == ["one", "/nonsense", "two"]
    assert history.stat().st_mode & 0o777 == 0o600
    with at_terminal(bundle, state, *GREEDY) as terminal:
        terminal.read_until("> ")
        terminal.write("\x10\n")  # the line before
        terminal.read_until("two")
        terminal.read_until(r"ended by length\]")


def test_a_history_that_cannot_be_kept_is_no_mistake(bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("a file")
    with at_terminal(bundle, state, *GREEDY) as terminal:
        terminal.read_until("> ")
        terminal.write("/exit\n")
        assert terminal.process.wait(60) == 0


def test_reasoning_is_dimmed_at_a_terminal(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel({THINK: 100.0, END_THINK: 50.0}))
    options = ("--temperature", 0, "--thinking-budget", 3, "--max-tokens", 9)
    with at_terminal(bundle, tmp_path, *options) as terminal:
        terminal.read_until("> ")
        terminal.write("a\n")
        assert re.search(r"\x1b\[2m.+\x1b\[0m", terminal.read_until(r"ended by \w+\]"), re.DOTALL)


def test_a_terminal_obeys_nothing_that_a_model_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", written)
    call = ToolCall("f", {"a": "\x1b[2J\n"})
    Transcript().show([Text("a\x1b[2J\tb\r\n\x9b"), call, InvalidToolCall("\x1b[", "no\x07")])
    assert written.getvalue() == (
        "a\\x1b[2J\tb\\r\n\\x9b\n"
        'call: f({"a": "\\u001b[2J\\n"})\n'
        "unreadable call: \\x1b[ (no\\x07)\n"
    )


def test_ctrl_c_ends_the_answer_alone(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "bundle", ToyModel({**NEVER, 80: 100.0, 81: 99.0}))
    with at_terminal(bundle, tmp_path, "--context", 2048, "--temperature", 1) as terminal:
        terminal.read_until("> ")
        terminal.write("one\n")
        terminal.read_until("one\r?\n[^>]")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until(r"ended by (cancelled|loop)\]")
        terminal.write("/exit\n")
        assert terminal.process.wait(60) == 0
