"""Tools of real MCP servers, over stdio and HTTP."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest
from lfm_edge import InvalidRequestError, LfmError
from lfm_edge.agent import CallError, CallStoppedError, ServerConfig, Servers, read_config

from tests.sdk.agent.conftest import STDIO
from tests.sdk.agent.server import COUNT, MARKERS, NAMES

GO = threading.Event()  # never set


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_tools_are_found_and_run(transport: str, request: pytest.FixtureRequest) -> None:
    config = STDIO if transport == "stdio" else request.getfixturevalue("http_server")
    with Servers({"sixty": config}) as servers:
        assert [tool.name for tool in servers.tools] == NAMES
        assert len(servers.tools) == COUNT
        assert servers.server_of("add") == "sixty"
        assert servers.call("add", {"a": 2, "b": 3}, GO) == "5"
        assert servers.call("tool_41", {}, GO) == "tool_41"
        assert servers.call("markers", {}, GO) == MARKERS
        assert servers.call("picture", {}, GO) == "[image, image/png]"
        assert len(servers.call("big", {}, GO)) == 1_000_000
        with pytest.raises(CallError, match=r"^no luck$"):
            servers.call("fail", {}, GO)


def test_names_that_clash_are_made_distinct() -> None:
    with Servers({"one": STDIO, "two of them": STDIO}) as servers:
        names = [tool.name for tool in servers.tools]
        assert len(set(names)) == 2 * COUNT
        assert {"one.add", "two_of_them.add"} <= set(names)
        assert servers.server_of("two_of_them.add") == "two of them"
        assert servers.call("two_of_them.add", {"a": 1, "b": 1}, GO) == "2"


def test_a_server_that_dies_is_a_failed_call_and_the_others_go_on() -> None:
    with Servers({"one": STDIO, "two": STDIO}) as servers:
        for tool in ("one.die", "one.add"):
            with pytest.raises(CallError, match=r"^server one: .+") as caught:
                servers.call(tool, {"a": 1, "b": 1}, GO)
            assert "\n" not in str(caught.value)
        assert servers.call("two.add", {"a": 1, "b": 2}, GO) == "3"


def test_a_call_is_given_up_when_it_is_stopped(servers: Servers) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(CallStoppedError):
        servers.call("slow", {}, stop)
    assert time.monotonic() - begun < 50  # the tool itself takes 60 seconds


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ServerConfig(command="no-such-program"),
            "server x: cannot start: no-such-program: no such command",
        ),
        (
            ServerConfig(
                command=sys.executable, args=["-c", "import sys; sys.exit('broken pipes')"]
            ),
            r"server x: cannot start: .*\(broken pipes\)",
        ),
        (ServerConfig(url="http://127.0.0.1:9/mcp"), "server x: cannot start: .+"),
    ],
)
def test_a_server_that_cannot_start(config: ServerConfig, message: str) -> None:
    with pytest.raises(LfmError) as caught:
        Servers({"fine": STDIO, "x": config})
    assert re.fullmatch(message, str(caught.value))


def test_the_environment_of_a_server(tmp_path: Path) -> None:
    code = "import os, sys; sys.exit(os.environ['LFM_TEST'] + str('HOME' in os.environ))"
    config = ServerConfig(command=sys.executable, args=["-c", code], env={"LFM_TEST": "given"})
    with pytest.raises(LfmError, match=f"\\(given{'HOME' in os.environ}\\)$"):
        Servers({"x": config})


def odd(*how: str) -> ServerConfig:
    script = str(Path(__file__).with_name("odd_server.py"))
    return ServerConfig(command=sys.executable, args=[script, *how])


def test_servers_start_side_by_side(tmp_path: Path) -> None:
    """Each of these two starts only once the other one has begun to."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    with Servers({"a": odd("together", one, two), "b": odd("together", two, one)}) as servers:
        assert [tool.name for tool in servers.tools] == ["a.ok", "b.ok"]


def test_what_a_server_prints_besides_messages_is_passed_over(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Servers({"a": odd("chatty")}) as servers:
        assert servers.call("ok", {}, GO) == "fine"
    assert capfd.readouterr() == ("", "")


def test_a_list_of_tools_that_never_ends() -> None:
    with Servers({"a": odd("endless")}) as servers:
        assert servers.tools == []


def test_a_result_without_text_is_its_structure() -> None:
    with Servers({"a": odd("structured")}) as servers:
        assert servers.call("ok", {}, GO) == '{"a": [1, "é"]}'


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfm_edge.agent.connection._START_SECONDS", 0.2)
    with pytest.raises(LfmError, match=r"server a: cannot start: .*within 0\.2 seconds"):
        Servers({"a": odd("together", os.devnull, "/no/such/file")})


FILES = {
    '{"mcpServers": {}}': "names no server",
    "{": "truncated",
    "[]": "expected .mcpServers|Expected `object`",
    '{"servers": {}}': "mcpServers",
    '{"mcpServers": {"a": {}}}': "server 'a': expected either a command or a url",
    '{"mcpServers": {"a": {"command": "x", "url": "http://y"}}}': "either a command or a url",
    '{"mcpServers": {"a": {"url": "file:///x"}}}': "url: got 'file:///x', expected http",
    '{"mcpServers": {"": {"command": "x"}}}': "expected a name",
    '{"mcpServers": {"a": {"command": "x", "args": "y"}}}': "args",
    '{"mcpServers": {"a": {"command": "x", "env": {"y": 3}}}}': r"server 'a': .*env",
    '{"mcpServers": {"a": {"type": "sse", "url": "http://y"}}}': "server 'a': type: got 'sse'",
    '{"mcpServers": {"a": {"command": "x", "disabled": true}}}': "names no server",
}


@pytest.mark.parametrize(("text", "message"), FILES.items())
def test_a_wrong_configuration_gives_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match=message) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_configuration_as_other_clients_write_it(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(
        '{"mcpServers": {"a": {"type": "stdio", "command": "x", "args": ["y"], "env": {"K": "v"}},'
        ' "b": {"type": "http", "url": "https://h/mcp", "headers": {}}}, "theme": 1}'
    )
    notes: list[str] = []
    assert read_config(path, notes.append) == {
        "a": ServerConfig(command="x", args=["y"], env={"K": "v"}),
        "b": ServerConfig(url="https://h/mcp"),
    }
    assert notes == ["server b: the field 'headers' is not known and has no effect"]


def test_a_disabled_server_is_not_started(tmp_path: Path) -> None:
    path, notes = tmp_path / "mcp.json", list[str]()
    path.write_text(
        '{"mcpServers": {"a": {"command": "x", "disabled": true}, "b": {"command": "y"}}}'
    )
    assert read_config(path, notes.append) == {"b": ServerConfig(command="y")}
    assert notes == ["server a: disabled"]
