"""The server under load: 32 clients, 500 requests, a third of them hung up, some malformed."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import lfm_edge
import pytest
from lfm_edge.chat import sandbox
from lfm_edge.memory import own_memory

from tests.sdk.server.conftest import Served, serving
from tests.support import DEMO_MODEL, export

CHAT = "/v1/chat/completions"
TOPICS = ("a list", "a class", "a tuple", "a loop", "a file", "a set", "a module")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> lfm_edge.Model:
    out = tmp_path_factory.mktemp("shipped") / "bundle"
    export(DEMO_MODEL, out, quant="q4")
    return lfm_edge.load(out)


def asked(number: int, **options: Any) -> dict[str, Any]:
    system = {"role": "system", "content": "Answer in short. " * (number % 5 * 10)}
    user = {"role": "user", "content": f"What is {TOPICS[number % len(TOPICS)]}?"}
    return {"messages": [system, user], "temperature": 0, "max_tokens": 24, **options}


def expected(model: lfm_edge.Model, number: int) -> str:
    """The same answer without a server."""
    events = model.events(asked(number)["messages"], temperature=0, max_tokens=24)
    kinds = lfm_edge.chat.Text | lfm_edge.chat.Reasoning
    return "".join(event.text for event in events if isinstance(event, kinds))


def ask(server: Served, number: int, want: list[str]) -> None:
    kind = number % 6
    url = server.url + CHAT
    if kind in {0, 3}:  # hangs up
        stream = asked(number, stream=True, max_tokens=500, logit_bias={"7": -100})
        with httpx.stream("POST", url, json=stream, timeout=600) as answer:
            next(answer.iter_lines())
    elif kind == 1 and number % 4 == 1:
        answer = httpx.post(url, json={"messages": number}, timeout=600)
        assert answer.status_code == 400
    elif kind in {1, 2}:
        answer = httpx.post(url, json=asked(number), timeout=600)
        assert answer.status_code == 200
        message = answer.json()["choices"][0]["message"]
        assert (
            message.get("reasoning_content", "") + (message["content"] or "") == want[number % 35]
        )
    else:
        answer = httpx.post(url, json=asked(number, stream=True), timeout=600)
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
        text = "".join(d.get("reasoning_content", "") + d.get("content", "") for d in deltas)
        assert text == want[number % 35]


def settled(server: Served) -> int:
    """Private bytes of this process, the clients among it, with the prompt cache emptied.

    What the allocator keeps for the next request is given back first: it is held by nothing.
    """
    while server.service.engine.running or server.service.engine.waiting:
        time.sleep(0.01)
    server.service.cache.clear()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return own_memory().private_bytes


def test_no_request_is_lost_or_mixed_up_and_nothing_stays(shipped: lfm_edge.Model) -> None:
    want = [expected(shipped, number) for number in range(35)]  # 5 systems x 7 topics
    before_threads = set(threading.enumerate())
    with serving(shipped, context=1024, cache_bytes=64 << 20) as server:
        with ThreadPoolExecutor(32) as clients:
            list(clients.map(lambda number: ask(server, number, want), range(100)))
            before = settled(server)
            list(clients.map(lambda number: ask(server, number, want), range(500)))
            after = settled(server)
        print(f"private bytes after a warm-up {before:,}, after 500 requests {after:,}")
        assert after <= 1.05 * before
    # Idle renderers of templates, at most one for each slot, wait for any model of this program.
    assert len(sandbox._idle) <= 4
    sandbox._end_all()
    for thread in set(threading.enumerate()) - before_threads:
        thread.join(10)
    assert set(threading.enumerate()) <= before_threads
