"""`lfm-edge agent` as a program: a real server, a real model, lines of a pipe and of a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from lfm_edge.extras import missing_dependency

from tests.processes import MAIN
from tests.sdk.agent.conftest import SERVER
from tests.sdk.agent.server import COUNT, NAMES

FORCED = ["--tool-choice", "required", "--thinking-budget", 2, "--max-tokens", 40]
SAFE = ",".join(name for name in NAMES if name not in {"die", "slow", "big"})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mcp.json"
    server = {"command": sys.executable, "args": [SERVER, "stdio"]}
    path.write_text(json.dumps({"mcpServers": {"sixty": server}}))
    return path


def agent(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "agent", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_tools_are_listed_and_the_end_of_input_ends_it(bundle: Path, config: Path) -> None:
    code, out, err = agent(bundle, "--mcp", config, "--yes", "add", stdin="/tools\n/help\n")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line[2:] for line in lines[:COUNT]] == NAMES
    assert [line[2:] for line in lines[:COUNT] if line.startswith("*")] == ["add"]
    assert any(line.startswith("/tools") for line in lines[COUNT:])


def test_a_forced_call_that_is_cut_off_is_told(bundle: Path, config: Path) -> None:
    given = ["--mcp", config, "--tool-choice", "required", "--max-tokens", 1, "--seed", 1]
    code, out, err = agent(bundle, *given, stdin="go\n")
    assert (code, err) == (0, "")
    assert "stopped: the answer ended before the required call; raise --max-tokens" in out


def test_forced_calls_are_asked_run_and_logged(bundle: Path, config: Path, tmp_path: Path) -> None:
    log, cache = tmp_path / "calls.jsonl", tmp_path / "prompt"
    given = ["--mcp", config, "--log", log, "--prompt-cache", cache, *FORCED, "--seed", 1]
    code, out, err = agent(bundle, *given, "--yes", SAFE, stdin="go\n")
    assert (code, err) == (0, "")
    assert re.search(r"^call: \w+\(\{.*\}\)$", out, re.MULTILINE)
    assert re.search(r"^result: ", out, re.MULTILINE)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines
    tools = [line["tool"] for line in lines]
    assert {line["decision"] for line in lines} <= {"allowed", "refused", "invalid"}
    # The same calls again, not allowed and answered by "n": refused. Everything is appended.
    code, out, _ = agent(bundle, *given, stdin="go\nn\n")
    assert code == 0
    assert "[y]es, [n]o" in out
    later = [json.loads(line) for line in log.read_text().splitlines()][len(lines) :]
    assert later[0]["tool"] == tools[0]
    assert later[0]["decision"] == "refused"


WRONG: dict[str, tuple[Any, list[Any], str]] = {
    "no file": (None, [], "gone.json: No such file"),
    "no JSON": ("{", [], "mcp.json: .*mcpServers"),
    "no server": ('{"mcpServers": {}}', [], "mcp.json: names no server"),
    "a server that cannot start": (
        '{"mcpServers": {"x": {"command": "no-such-program"}}}',
        [],
        "server x: cannot start: no-such-program: no such command",
    ),
    "a server that ends": (
        json.dumps({"mcpServers": {"x": {"command": sys.executable, "args": ["-c", "1/0"]}}}),
        [],
        r"server x: cannot start: .*\(ZeroDivisionError: division by zero\)",
    ),
    "an unknown tool": ("real", ["--yes", "add,ad"], "--yes: there is no tool 'ad'"),
    "a log that is a folder": ("real", ["--log", "."], ".: Is a directory"),
    "a log nowhere": ("real", ["--log", "/no/where/log"], "/no/where/log: No such file"),
    "a cache nowhere": ("real", ["--prompt-cache", "/no/where"], "/no/where: cannot be written"),
    "context": ("real", ["--context", "9999999"], "context: got 9,999,999"),
}


@pytest.mark.parametrize(("text", "options", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_gives_one_line(
    bundle: Path, config: Path, text: str | None, options: list[str], message: str
) -> None:
    if text is None:
        config = config.with_name("gone.json")
    elif text != "real":
        config.write_text(text)
    code, out, err = agent(bundle, "--mcp", config, *options, stdin="hi\n")
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: .*{message}.*\n", err), err


def test_the_bundle_is_looked_at_too(config: Path, tmp_path: Path) -> None:
    code, out, err = agent(tmp_path / "gone", "--mcp", config)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "no such folder" in err


def test_an_unknown_command_of_a_pipe_ends_it(bundle: Path, config: Path) -> None:
    code, _, err = agent(bundle, "--mcp", config, stdin="/tool\n")
    assert (code, err) == (2, "error: there is no command /tool; /help lists them\n")


def test_a_missing_package_says_which_extra() -> None:
    assert str(missing_dependency("mcp")) == (
        "mcp is not installed; run: pip install 'lfm-edge[agent]'"
    )


def read_until(terminal: int, pattern: str) -> str:
    text, begun = "", time.monotonic()
    while not re.search(pattern, text):
        assert time.monotonic() - begun < 120, text
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 4096).decode(errors="replace")
    return text


def test_ctrl_c_at_a_terminal_stops_and_goes_back_to_the_prompt(
    bundle: Path, config: Path, tmp_path: Path
) -> None:
    mine, theirs = pty.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "agent", bundle, "--mcp", config],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        read_until(mine, "> ")
        os.write(mine, b"tell me a long story\n")
        read_until(mine, "story\r?\n[^>]*[a-z]")
        process.send_signal(signal.SIGINT)
        text = read_until(mine, r"ended by \w+\][^>]*> ")
        assert "ended by cancelled" in text
        os.write(mine, b"/nonsense\n")
        assert "there is no command /nonsense" in read_until(mine, r"lists them\s+> ")
        os.write(mine, b"\x04")
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(mine)
    history = tmp_path / "lfm-edge" / "history"
    assert "tell me a long story" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_call_in_progress_is_recorded_when_the_program_ends(
    bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config, log = tmp_path / "mcp.json", tmp_path / "log"
    script = str(Path(__file__).with_name("odd_server.py"))
    server = {"command": sys.executable, "args": [script, "slow"]}
    config.write_text(json.dumps({"mcpServers": {"odd": server}}))
    given = [bundle, "--mcp", config, "--log", log, "--yes", "ok", *FORCED]
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "agent", *map(str, given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        while not (log.exists() and log.read_text()):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        process.stdin.close()
        code = process.wait()
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["tool"], line["arguments"], line["decision"]) == ("ok", {}, "allowed")
    if number == signal.SIGTERM:
        assert code == 128 + number
        assert line["error"] == "the user stopped it"
    else:
        assert line["error"] == "the program ended during this call"
