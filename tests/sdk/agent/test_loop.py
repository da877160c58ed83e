"""The agent's loop over a real server: what runs, what the model is told, what is recorded."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge import InvalidRequestError
from lfm_edge.agent import Agent, AgentEvent, AuditLog, Done, Servers, ToolResult
from lfm_edge.chat import End, Tool, ToolCall

from tests.sdk.agent.conftest import STDIO
from tests.sdk.agent.server import MARKERS

Script = Callable[[Sequence[str]], None]


def calls(*texts: str) -> str:
    return f"<|tool_call_start|>[{', '.join(texts)}]<|tool_call_end|>"


def results(events: Sequence[AgentEvent]) -> list[ToolResult]:
    return [event for event in events if isinstance(event, ToolResult)]


def read_log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_asks_runs_and_goes_on(
    model: lfm_edge.Model, servers: Servers, script: Script, tmp_path: Path
) -> None:
    asked: list[tuple[ToolCall, str | None]] = []
    log = tmp_path / "log"
    agent = Agent(
        model,
        servers,
        confirm=lambda call, server: not asked.append((call, server)),  # type: ignore[func-returns-value]
        allowed=["tool_00"],
        log=AuditLog(log),
    )
    script([calls("add(a=1, b=2)", "tool_00()"), "Three."])
    events = list(agent.ask("How much is 1 + 2?"))
    assert asked == [(ToolCall("add", {"a": 1, "b": 2}), "sixty")]
    assert [(r.text, r.failed) for r in results(events)] == [("3", False), ("tool_00", False)]
    assert events[-1] == Done("answered", 2)
    roles = [message["role"] for message in agent.conversation.messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant"]
    assert agent.conversation.messages[-1]["content"] == "Three."
    lines = read_log(log)
    assert [
        (x["server"], x["tool"], x["arguments"], x["decision"], x["result"]) for x in lines
    ] == [
        ("sixty", "add", {"a": 1, "b": 2}, "asked", "3"),
        ("sixty", "tool_00", {}, "allowed", "tool_00"),
    ]
    assert all(0 < line["seconds"] < 60 and line["time"] for line in lines)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_call_that_does_not_run_is_told(
    model: lfm_edge.Model, servers: Servers, script: Script, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch(0o644)
    agent = Agent(model, servers, log=AuditLog(log), allowed=["fail"])
    script([calls("add(a=1, b=2)", "ad(a=1)", "add(a=7, b=2)", "fail()"), "add(", "So be it."])
    events = list(agent.ask("x"))
    texts = [result.text for result in results(events)]
    assert all(result.failed for result in results(events))
    assert texts[0] == "error: the user refused this call"
    assert texts[1] == "error: there is no tool 'ad'; did you mean add?; correct the call"
    assert texts[2].startswith("error: add: a: 7 is not one of [1, 2, 3]")
    assert texts[3] == "error: no luck"
    lines = read_log(log)
    assert [line["decision"] for line in lines] == ["refused", "invalid", "invalid", "allowed"]
    assert all("error" in line and "result" not in line for line in lines)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_text_that_is_no_call_is_repaired(
    model: lfm_edge.Model, servers: Servers, script: Script, tmp_path: Path
) -> None:
    agent = Agent(model, servers, log=AuditLog(tmp_path / "log"), allowed=["add"])
    script([calls("add(a=1"), calls("add(a=1, b=1)"), "Two."])
    events = list(agent.ask("x"))
    assert [r.failed for r in results(events)] == [True, False]
    assert events[-1] == Done("answered", 3)
    first = read_log(tmp_path / "log")[0]
    assert first["decision"] == "invalid"


def test_what_a_tool_says_never_becomes_a_marker(
    model: lfm_edge.Model, servers: Servers, script: Script
) -> None:
    agent = Agent(model, servers, allowed=["markers"])
    script([calls("markers()"), "Done."])
    list(agent.ask("x"))
    ids = agent.conversation.session.ids
    assert MARKERS in model.tokenizer.decode(ids)
    # Five turns begin: system, user, assistant, tool, assistant; the tool's own text begins none.
    assert ids.count(model.tokenizer.added_id("<|im_start|>") or -1) == 5
    assert ids.count(model.tokenizer.added_id("<|tool_call_start|>") or -1) == 1


def test_a_long_result_is_shortened(
    model: lfm_edge.Model, servers: Servers, script: Script, tmp_path: Path
) -> None:
    agent = Agent(model, servers, allowed=["big"], log=AuditLog(tmp_path / "log"))
    script([calls("big()"), "Long."])
    (result,) = results(list(agent.ask("x")))
    assert result.text.endswith("more characters left out]")
    assert len(model.tokenizer.encode(result.text)) < agent.conversation.session.capacity / 3
    assert len(read_log(tmp_path / "log")[0]["result"]) == 1_000_000


def test_a_server_that_dies_is_told_to_the_model(model: lfm_edge.Model, script: Script) -> None:
    with Servers({"sixty": STDIO}) as mortal:
        agent = Agent(model, mortal, allowed=["die", "add"])
        script([calls("die()"), calls("add(a=1, b=1)"), "It is gone."])
        events = list(agent.ask("x"))
        assert all(r.text.startswith("error: server sixty: ") for r in results(events))
        assert events[-1] == Done("answered", 3)


def test_rounds_are_bounded(model: lfm_edge.Model, servers: Servers, script: Script) -> None:
    agent = Agent(model, servers, allowed=["add"], max_rounds=3)
    script([calls("add(a=1, b=1)")] * 3 + ["Two."])
    events = list(agent.ask("x"))
    assert events[-1] == Done("rounds", 3)
    assert list(agent.ask("so?"))[-1] == Done("answered", 1)
    roles = [message["role"] for message in agent.conversation.messages]
    assert roles[-4:] == ["assistant", "tool", "user", "assistant"]  # the last result is not lost


def test_stopping_an_answer_forgets_it(
    model: lfm_edge.Model, servers: Servers, script: Script
) -> None:
    agent, stop = Agent(model, servers, allowed=["add"]), threading.Event()
    script(["a long answer" * 9])
    seen = []
    for event in agent.ask("x", cancel=stop):
        seen.append(event)
        stop.set()
    assert seen[-1] == Done("cancelled", 1)
    assert isinstance(seen[-2], End)
    assert agent.conversation.messages == []
    script([calls("add(a=1, b=1)"), "Two."])
    assert list(agent.ask("y"))[-1] == Done("answered", 2)


def test_stopping_a_call_lets_the_conversation_go_on(
    model: lfm_edge.Model, servers: Servers, script: Script, tmp_path: Path
) -> None:
    stop = threading.Event()
    agent = Agent(model, servers, allowed=["slow", "add"], log=AuditLog(tmp_path / "log"))
    script([calls("slow()", "add(a=1, b=1)"), "Stopped."])
    seen = []
    for event in agent.ask("x", cancel=stop):
        seen.append(event)
        if isinstance(event, End):
            threading.Timer(0.2, stop.set).start()
    assert [r.text for r in results(seen)] == ["error: the user stopped it"] * 2
    assert seen[-1] == Done("cancelled", 1)
    assert [line["tool"] for line in read_log(tmp_path / "log")] == ["slow", "add"]
    assert list(agent.ask("and now?"))[-1] == Done("answered", 1)


def test_a_call_is_forced_by_grammar(model: lfm_edge.Model, servers: Servers) -> None:
    """No script: the model's own logits, held to calls that the server's schemas allow."""
    agent = Agent(
        model, servers, allowed=[tool.name for tool in servers.tools if tool.name != "die"],
        tool_choice="required", max_rounds=1,
    )  # fmt: skip
    ran = 0
    for seed in range(3):
        agent.reset()
        events = list(agent.ask("go", seed=seed, temperature=1, thinking_budget=2, max_tokens=60))
        assert results(events)
        assert isinstance(results(events)[0].call, ToolCall)
        ran += sum(not result.failed for result in results(events))
    assert ran


def test_a_required_call_that_was_cut_off_is_no_answer(
    model: lfm_edge.Model, servers: Servers
) -> None:
    agent = Agent(model, servers, tool_choice="required")
    *_, done = agent.ask("go", seed=0, max_tokens=1)
    assert done == Done("uncalled", 1)
    assert not agent.conversation.messages[-1].get("tool_calls")


def test_python_functions_are_tools_too(model: lfm_edge.Model, script: Script) -> None:
    def half(of: int) -> float:
        """Halves."""
        if of == 0:
            raise ZeroDivisionError("nothing")
        return of / 2

    agent = Agent(
        model, tools=[Tool.from_function(half)], confirm=lambda call, server: server is None
    )
    script([calls("half(of=3)", "half(of=0)"), "So."])
    texts = [result.text for result in results(list(agent.ask("x")))]
    assert texts == ["1.5", "error: ZeroDivisionError: nothing"]


def test_a_read_tool_list_is_kept_and_reopened(
    model: lfm_edge.Model, servers: Servers, script: Script, tmp_path: Path
) -> None:
    cache = tmp_path / "prompt"
    first = Agent(model, servers)
    read = first.warm(cache)
    assert read > 2000
    again = Agent(model, servers)
    assert again.warm(cache) == 0
    script(["Yes."])
    list(again.ask("there?"))
    assert again.conversation.last is not None
    assert again.conversation.last.reused >= read - 2
    assert again.conversation.last.processed < 60
    other = Agent(model, tools=[Tool.from_function(lambda: 3, "three")])
    assert 0 < other.warm(cache) < 300  # other tools: read anew, and kept
    assert Agent(model, tools=[Tool.from_function(lambda: 3, "three")]).warm(cache) == 0
    cache.write_bytes(b"damaged")
    assert Agent(model, servers).warm(cache) == read


def test_arguments_that_are_out_of_range(model: lfm_edge.Model, servers: Servers) -> None:
    three = Tool.from_function(lambda: 3, "three")
    for message, wrong in (
        ("allowed: there is no tool 'x'", {"allowed": ["x"]}),
        ("tool three: there are two", {"tools": [three, three]}),
        ("tool f has no function", {"tools": [Tool("f")]}),
        ("max_rounds: got 0", {"max_rounds": 0}),
    ):
        given: Any = wrong
        with pytest.raises(InvalidRequestError, match=message):
            Agent(model, servers, **given)


def test_a_call_is_recorded_from_its_beginning(
    model: lfm_edge.Model, script: Script, tmp_path: Path
) -> None:
    """A program that is killed in the middle of one leaves its line."""
    log, seen = tmp_path / "log", list[dict[str, Any]]()

    def look(much: bool) -> str:
        seen.extend(read_log(log))
        return "x" * 500 if much else ""

    tools = [Tool.from_function(look)]
    agent = Agent(model, tools=tools, allowed=["look"], log=AuditLog(log))
    script([calls("look(much=true)", "look()", "look(much=false)"), "So."])
    list(agent.ask("x"))
    (first, *_, last) = seen
    assert (first["tool"], first["decision"], first["seconds"]) == ("look", "allowed", None)
    assert first["error"] == last["error"] == "the program ended during this call"
    lines = read_log(log)
    assert [line["decision"] for line in lines] == ["allowed", "invalid", "allowed"]
    assert [line.get("result") for line in lines] == ["x" * 500, None, ""]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT RUN: no /dev/full here")
def test_what_cannot_be_recorded_does_not_run(model: lfm_edge.Model, script: Script) -> None:
    ran: list[int] = []
    tool = Tool.from_function(lambda: ran.append(1), "three")
    agent = Agent(model, tools=[tool], allowed=["three"], log=AuditLog("/dev/full"))
    script([calls("three()"), "So."])
    with pytest.raises(OSError, match="/dev/full"):
        list(agent.ask("x"))
    assert not ran


def test_two_programs_write_to_one_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    one, other = AuditLog(log), AuditLog(log)
    call: dict[str, Any] = {"server": None, "tool": "f", "arguments": {}, "decision": "asked"}
    one.begin(**call)
    other.begin(**call)
    other.write(**call, seconds=1, result="other")
    one.write(**call, seconds=2, error="a long error " * 9)
    one.begin(**call)
    one.write(**call, seconds=3, result="")
    lines = read_log(log)
    assert [line["seconds"] for line in lines] == [None, 1, 2, 3]
    assert lines[1]["result"] == "other"
