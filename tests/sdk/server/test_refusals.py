"""Who may not ask, and what cannot be asked: always an error in the API's form, never a crash."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from lfm_edge.chat.tools import Tool

from tests.sdk.server.conftest import Served

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "Hi"}
DEEP = "[" * 100_000


def ok(**more: Any) -> str:
    return json.dumps({"messages": [USER], "max_tokens": 2, **more})


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MALFORMED = {
    "empty": "",
    "no JSON": "{",
    "deep": DEEP,
    "deep value": '{"messages": ' + DEEP,
    "a list": "[]",
    "no messages": "{}",
    "empty messages": ok(messages=[]),
    "a text for messages": ok(messages="Hi"),
    "a message that is a text": ok(messages=["Hi"]),
    "no role": ok(messages=[{"content": "Hi"}]),
    "a number for a role": ok(messages=[{"role": 7, "content": "Hi"}]),
    "an image": ok(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
    "a number for content": ok(messages=[{"role": "user", "content": 7}]),
    "half a character": '{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "half a character in a tool": ok(tools=[{"function": {"name": "\ud800"}}]),
    "calls that are no list": ok(messages=[{"role": "assistant", "tool_calls": 7}, USER]),
    "arguments that are no JSON": ok(
        messages=[{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}, USER]
    ),
    "many messages": ok(messages=[USER] * 3000),
    "a long prompt": ok(messages=[{"role": "user", "content": "word " * 9000}]),
    "hot": ok(temperature=-1),
    "not a number": '{"messages": [{"role": "user", "content": "Hi"}], "temperature": NaN}',
    "a text for temperature": ok(temperature="hot"),
    "top_p": ok(top_p=2),
    "none": ok(n=0),
    "many": ok(n=129),
    "no tokens": ok(max_tokens=0),
    "a bias of no token": ok(logit_bias={"99999999": 1}),
    "a bias that is no number": ok(logit_bias={"a": 1}),
    "too large a bias": ok(logit_bias={"5": 1000}),
    "an empty stop": ok(stop=[""]),
    "many stops": ok(stop=["a"] * 99),
    "too many logprobs": ok(logprobs=True, top_logprobs=99),
    "a tool that is none": ok(tools=[{}]),
    "a schema that is none": ok(tools=[{"function": {"name": "f", "parameters": {"type": 7}}}]),
    "a choice without tools": ok(tool_choice="required"),
    "an unknown choice": ok(tools=[TOOL], tool_choice={"function": {"name": "g"}}),
    "a malformed choice": ok(tools=[TOOL], tool_choice={"function": 7}),
    "an allowed tool that is unknown": ok(
        tools=[TOOL], tool_choice={"type": "allowed_tools", "tools": [{"name": "g"}]}
    ),
    "allowed tools of no mode": ok(
        tools=[TOOL], tool_choice={"type": "allowed_tools", "mode": "none", "tools": []}
    ),
    "no list of allowed tools": ok(tools=[TOOL], tool_choice={"type": "allowed_tools"}),
    "no allowed tool": ok(
        tools=[TOOL], tool_choice={"type": "allowed_tools", "mode": "required", "tools": []}
    ),
    "an unknown format": ok(response_format={"type": "xml"}),
    "a format without a schema": ok(response_format={"type": "json_schema"}),
    "an unsupported schema": ok(
        response_format={"type": "json_schema", "json_schema": {"schema": {"not": {}}}}
    ),
    "a format and a call": ok(
        tools=[TOOL], tool_choice="required", response_format={"type": "json_object"}
    ),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_told_what_is_wrong(served: Served, body: str) -> None:
    for streaming in (False, True):
        if streaming and body.startswith('{"messages"'):
            body = '{"stream": true, ' + body[1:]
        answer = served.http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        assert "\n" not in error["message"]


def test_a_full_context_has_openais_code(served: Served) -> None:
    answer = served.post(CHAT, messages=[{"role": "user", "content": "word " * 9000}])
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_what_is_not_there(served: Served) -> None:
    assert served.http.get("/v1/nothing").status_code == 404
    assert served.http.get(CHAT).status_code == 405
    assert "error" in served.http.get(CHAT).json()
    assert served.http.get("/page/../app.py").status_code == 404


def test_large_bodies_are_refused_told_or_not(served: Served) -> None:
    body = ok(messages=[{"role": "user", "content": "x" * (1 << 20)}])
    assert served.http.post(CHAT, content=body).status_code == 413

    def chunks() -> Any:
        yield from (body[i : i + 4096].encode() for i in range(0, len(body), 4096))

    kind = {"Content-Type": "application/json"}
    assert served.http.post(CHAT, content=chunks(), headers=kind).status_code == 413


def test_what_is_no_json_is_not_read_as_such(served: Served) -> None:
    """A form of another page could send it without asking first."""
    answer = served.http.post(CHAT, content=ok(), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "[",
        "evil@localhost",
        "localhost/evil",
    ],
)
def test_another_name_for_this_machine_is_refused(served: Served, host: str) -> None:
    assert served.http.get("/v1/models", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_its_own_names_are_not(served: Served, host: str) -> None:
    assert served.http.get("/v1/models", headers={"Host": host}).status_code == 200


def test_no_host_at_all_is_refused(served: Served) -> None:
    where = urlsplit(served.url)
    with socket.create_connection((where.hostname, where.port)) as plain:
        plain.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert b" 403 " in plain.recv(4096).splitlines()[0]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
def test_a_page_elsewhere_may_not_ask(served: Served, origin: str) -> None:
    answer = served.http.post(
        CHAT, content=ok(), headers={"Origin": origin, "Content-Type": "application/json"}
    )
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert served.http.options(CHAT, headers=asked).status_code == 403


def test_one_origin_of_several_does_not_let_the_others_pass(served: Served) -> None:
    origins = [("Origin", served.url), ("Origin", "https://evil.example")]
    assert served.http.get("/v1/models", headers=origins).status_code == 403


def test_a_websocket_is_refused(served: Served) -> None:
    headers = {
        **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert served.http.get(CHAT, headers=headers).status_code == 403


def test_the_servers_own_page_may(served: Served) -> None:
    answer = served.http.get("/v1/models", headers={"Origin": served.url})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_an_allowed_page_may(serve: Callable[..., Served]) -> None:
    page = "https://chat.example"
    server = serve(origins=[page], api_key="k", context=256)
    asked = {
        "Origin": page,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    before = server.http.options(CHAT, headers=asked)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == page
    answer = server.http.get("/v1/models", headers={"Origin": page, "Authorization": "Bearer k"})
    assert answer.headers["access-control-allow-origin"] == page
    other = server.http.options(CHAT, headers={**asked, "Origin": "https://evil.example"})
    assert other.headers.get("access-control-allow-origin") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic secret"},
        {"Authorization": "secret"},
        {"x-api-key": "secre"},
        {"x-api-key": b"secret\xe9"},
    ],
)
def test_without_the_key_nothing_is_answered(
    serve: Callable[..., Served], headers: dict[str, Any]
) -> None:
    server = serve(api_key="secret", context=256)
    for path in ("/v1/models", "/metrics", "/v1/nothing"):
        assert server.http.get(path, headers=headers).status_code == 401
    assert server.http.get("/health", headers=headers).status_code == 200
    for right in ({"Authorization": "Bearer secret"}, {"x-api-key": "secret"}):
        assert server.http.get("/v1/models", headers=right).status_code == 200


def test_bound_elsewhere_any_name_will_do_with_the_key(serve: Callable[..., Served]) -> None:
    server = serve(host="0.0.0.0", api_key="secret", context=256)
    headers = {"Host": "laptop.lan:8080", "Authorization": "Bearer secret"}
    assert server.http.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "body",
    {
        "a long text": ok(messages=[{"role": "user", "content": "a" * 900_000}]),
        "markers": ok(messages=[{"role": "user", "content": "<|im_end|>" * 90_000}]),
        "tools": ok(
            tools=[
                {"function": {"name": f"f{i}", "parameters": {"properties": {"a" * 2000: {}}}}}
                for i in range(400)
            ]
        ),
    }.items(),
    ids=lambda case: case[0],
)
def test_what_no_context_holds_is_refused_before_it_is_read(
    served: Served, body: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it would keep everybody waiting."""
    tokenizer = served.service.model.tokenizer

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(tokenizer, "_read", never)
    monkeypatch.setattr(Tool, "from_json", never)
    kind = {"Content-Type": "application/json"}
    answer = served.http.post(CHAT, content=body[1], headers=kind)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    monkeypatch.undo()


def test_tools_are_checked_outside_the_event_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many of them take seconds, in which nobody else would be answered."""
    threads = []
    check = Tool.from_json.__func__  # type: ignore[attr-defined]

    def checked(cls: type[Tool], value: Any) -> Tool:
        threads.append(threading.current_thread().name)
        return check(cls, value)

    monkeypatch.setattr(Tool, "from_json", classmethod(checked))
    assert served.post(CHAT, **json.loads(ok(tools=[TOOL]))).status_code == 200
    assert threads
    assert all("answers" in name for name in threads)
