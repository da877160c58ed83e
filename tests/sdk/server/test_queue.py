"""Many clients: order, interleaving, a full queue, and those that hang up."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import httpx
import lfm_edge
import pytest

from tests.sdk.server.conftest import Served, serving

CHAT = "/v1/chat/completions"


def body(text: str, **options: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **options}


def until(what: Callable[[], bool]) -> None:
    """Waits for what must come."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < 300, "it never came"
        time.sleep(0.005)


def on_and_on(**options: Any) -> dict[str, Any]:
    """A request whose answer neither ends nor goes round in circles."""
    endless = {"max_tokens": 1900, "temperature": 1, "seed": 1, "logit_bias": {"7": -100}}
    return body("Count.", **endless, **options)


@pytest.fixture
def slow(shipped: lfm_edge.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the graph take as long as those of a larger model."""
    bind = shipped.runtime.bind

    def binding(capacity: int) -> Any:
        state = bind(capacity)
        run = state.run

        def slowly(*arguments: Any) -> Any:
            time.sleep(0.02)
            return run(*arguments)

        monkeypatch.setattr(state, "run", slowly)
        return state

    monkeypatch.setattr(shipped.runtime, "bind", binding)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.usefixtures("slow")
def test_who_hangs_up_stops_the_answer(serve: Callable[..., Served], stream: bool) -> None:
    server = serve(slots=1, context=2048)
    engine = server.service.engine
    asked = on_and_on(stream=stream)
    if stream:
        with server.http.stream("POST", CHAT, json=asked) as answer:
            next(answer.iter_lines())
    else:
        server.post(CHAT, **body("Hi", max_tokens=1))  # loads what the first request needs
        with pytest.raises(httpx.ReadTimeout):
            server.http.post(CHAT, json=asked, timeout=2)
    until(lambda: engine.running == 0)
    cancelled = 'lfm_edge_answers_total{reason="cancelled"} 1.0'
    until(lambda: cancelled in server.service.metrics.text().decode())


def give_up(server: Served) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + CHAT, json=body("Hi"), timeout=2)


@pytest.mark.usefixtures("slow")
def test_who_hangs_up_gives_up_the_place_and_a_full_queue_refuses(
    serve: Callable[..., Served],
) -> None:
    server = serve(slots=1, waiting=1, context=2048)
    engine = server.service.engine
    long = on_and_on(stream=True)
    with server.http.stream("POST", CHAT, json=long) as answer:
        lines = answer.iter_lines()  # kept: where it ends, httpx hangs up
        next(lines)
        waiting = threading.Thread(target=give_up, args=[server])
        waiting.start()
        until(lambda: engine.waiting == 1)
        refused = httpx.post(server.url + CHAT, json=body("Hi"))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "queue_full"
        waiting.join()
        until(lambda: engine.waiting == 0)
    answered = server.post(CHAT, **body("Hi", max_tokens=2))
    assert answered.status_code == 200


@pytest.mark.usefixtures("slow")  # or the short answer ends before the long prompt begins
def test_a_long_prompt_lets_others_pass(serve: Callable[..., Served]) -> None:
    """Runs of the graph alternate between a long prompt's chunks and a short answer's tokens."""
    server = serve(slots=2, context=2048)
    order: list[int] = []
    runtime = server.service.model.runtime
    bind = runtime.bind

    def binding(capacity: int) -> Any:
        state = bind(capacity)
        inner, turns = state._state, state._turns  # type: ignore[attr-defined]
        run = inner.run

        def counted(ids: Any, position: int, replayed: int = 0) -> Any:
            order.append(len(ids))
            if len(ids) == 512:  # a busy machine may be slow to bring the other's next token
                until(lambda: len(turns._waiting) > 1)
            return run(ids, position, replayed)

        inner.run = counted
        return state

    runtime.bind = binding  # type: ignore[method-assign]
    short = on_and_on(stream=True)
    with server.http.stream("POST", CHAT, json=short) as answer:
        lines = answer.iter_lines()  # kept: where it ends, httpx hangs up
        next(lines)
        a_word = len(server.service.model.tokenizer.encode(" word" * 100)) / 100
        long = " word" * int(1900 / a_word)
        httpx.post(server.url + CHAT, json=body(long, max_tokens=1), timeout=120)
    chunks = [index for index, size in enumerate(order) if size == 512]
    assert len(chunks) >= 3
    between = [order[a + 1 : b] for a, b in pairwise(chunks)]
    assert all(1 in sizes for sizes in between)


def test_many_clients_get_each_their_own_answer(served: Served, shipped: lfm_edge.Model) -> None:
    """Eight clients, sixty requests: some stream, some hang up, some are malformed."""
    texts = [f"What is {word}?" for word in ("a list", "a class", "a tuple", "a loop", "a file")]
    want = [
        "".join(
            event.text
            for event in shipped.events(
                [{"role": "user", "content": text}], temperature=0, max_tokens=12
            )
            if isinstance(event, lfm_edge.chat.Text | lfm_edge.chat.Reasoning)
        )
        for text in texts
    ]

    def ask(number: int) -> None:
        kind, index = number % 4, number % len(texts)
        asked = body(texts[index], max_tokens=12, stream=kind != 0)
        if kind == 1:
            with httpx.stream("POST", served.url + CHAT, json=asked, timeout=120) as answer:
                next(answer.iter_lines())
            return
        if kind == 2 and number % 8 == 2:
            answer = httpx.post(served.url + CHAT, content=b'{"messages":', timeout=120)
            assert answer.status_code == 400
            return
        answer = httpx.post(served.url + CHAT, json=asked, timeout=120)
        assert answer.status_code == 200
        if kind == 0:
            message = answer.json()["choices"][0]["message"]
            assert message.get("reasoning_content", "") + (message["content"] or "") == want[index]
            return
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
        text = "".join(d.get("reasoning_content", "") + d.get("content", "") for d in deltas)
        assert text == want[index]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    until(lambda: served.service.engine.running == 0)


def test_its_threads_end_with_it(serve: Callable[..., Served], shipped: lfm_edge.Model) -> None:
    with serving(shipped, context=256) as server:
        assert server.post(CHAT, **body("Hi", max_tokens=2)).status_code == 200
    left = [thread.name for thread in threading.enumerate() if "answers" in thread.name]
    with serving(shipped, context=256):
        more = [thread.name for thread in threading.enumerate() if "answers" in thread.name]
    assert len(more) == len(left) + 4
    after = [thread.name for thread in threading.enumerate() if "answers" in thread.name]
    assert after == left


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses", "/v1/messages"])
def test_who_hangs_up_leaves_no_noise(
    serve: Callable[..., Served], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that is reset fails at the next write, and asyncio complains of the sixth."""
    server = serve(slots=2, context=2048)
    asked = {"prompt": "x", "input": "x", "stream": True, **on_and_on()}
    if path == "/v1/responses":
        del asked["messages"]
    content = json.dumps(asked).encode()
    where = urlsplit(server.url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    for _ in range(8):
        with socket.create_connection((where.hostname, where.port)) as client:
            client.sendall(head.encode() + content)
            assert b"200 OK" in client.recv(200)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: not server.service.engine.running and not server.service.engine.waiting)
    assert [record.getMessage() for record in caplog.records] == []
