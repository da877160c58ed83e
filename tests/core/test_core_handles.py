"""Handles of the device core: events that wait, turns given up, closing, and what is given back."""

from __future__ import annotations

import ctypes
import gc
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from lfm_edge.errors import InvalidRequestError, SessionTakenError

from tests.core.lfm_core import Handle, library, native_ids

pytestmark = pytest.mark.usefixtures("no_handle_is_left")

CLOCK = "2025-03-09T07:05:01"
PROMPT = "def read_lines(path):\n"


def test_an_event_waits_for_a_buffer_that_holds_it(session: Handle) -> None:
    with library().open("generate", session, {"text": PROMPT, "max_tokens": 3}) as events:
        texts = list(iter(lambda: library().text("next", events, room=1), None))
    assert [json.loads(text)["type"] for text in texts] == ["text"] * 3 + ["end"]


def test_the_newer_of_two_answers_has_the_session(session: Handle) -> None:
    with (
        library().open("generate", session, {"text": PROMPT, "max_tokens": 9}) as old,
        library().open("generate", session, {"text": PROMPT, "max_tokens": 9}) as new,
    ):
        library().text("next", old)
        assert [event["type"] for event in library().events(new)][-1] == "end"
        with pytest.raises(SessionTakenError, match="the session went on without this answer"):
            list(library().events(old))
        assert library().text("next", old) is None  # the error ended it


def test_turns_that_are_given_up_leave_no_trace(model: Handle) -> None:
    with library().open("conversation_open", model, {"clock": CLOCK}) as conversation:
        with library().open("conversation_send", conversation, '"a"', None) as events:
            library().text("next", events)
        with library().open("conversation_send", conversation, '"a"', None) as events:
            library().call("stop", events)
            end = library().json("next", events)
            assert (end["reason"], end["usage"]["generated"]) == ("cancelled", 0)
        assert library().json("conversation_messages", conversation) == []
        with library().open("conversation_send", conversation, '"a"', {"seed": 1}) as events:
            library().text("next", events)
            library().call("stop", events)
            assert list(library().events(events))[-1]["reason"] == "cancelled"
        roles = [m["role"] for m in library().json("conversation_messages", conversation)]
        assert roles == ["user", "assistant"]
        library().call("conversation_set_messages", conversation, [])
        assert library().json("conversation_messages", conversation) == []


def test_closed_handles_are_refused_and_may_be_closed_again(folder: Path) -> None:
    model = library().open("model_open", folder, None)
    session = library().open("session_open", model, 64)
    events = library().open("generate", session, {"text": PROMPT, "max_tokens": 2})
    for handle in (model, model, session, 0, 2**63):
        library().close(handle)
    # What the answer stands on lives on.
    assert [event["type"] for event in library().events(events)] == ["text", "text", "end"]
    library().close(events)
    for name, handle, kind in (
        ("model_info", model, "model"),
        ("session_info", session, "session"),
        ("session_info", events, "session"),
        ("conversation_messages", 0, "conversation"),
        ("next", events, "stream of events"),
    ):
        with pytest.raises(InvalidRequestError, match=f"handle {handle}: is no open {kind}"):
            library().text(name, handle)


def test_an_answer_is_closed_while_another_thread_computes_it(model: Handle) -> None:
    with library().open("conversation_open", model, None) as conversation:
        begun = threading.Event()
        ends: list[Any] = []

        def pull(handle: Handle) -> None:
            try:
                while (event := library().text("next", handle)) is not None:
                    begun.set()
                    ends.append(json.loads(event)["type"])
            except InvalidRequestError as error:
                ends.append(str(error))

        for _ in range(5):
            begun.clear()
            options = {"seed": 3, "temperature": 1.5, "banned": [7]}
            events = library().open("conversation_send", conversation, '"a"', options)
            thread = threading.Thread(target=pull, args=(events,))
            thread.start()
            begun.wait()
            library().close(events)
            thread.join()
            assert ends[-1] in ("end", f"handle {events}: is no open stream of events")
            assert library().json("conversation_messages", conversation) == []


def _resident() -> int:
    """Bytes of this process's own memory."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) << 10


def test_a_session_takes_memory_as_it_fills(folder: Path, model: Handle) -> None:
    ids = native_ids(range(16))
    with library().open("session_open", model, 4096) as warm:
        library().call("session_prefill", warm, *ids, None)
        before = _resident()
        with library().open("session_open", model, 4096) as session:
            library().call("session_prefill", session, *ids, None)
            taken = _resident() - before
    state = library().json("bundle_plan", folder, 4096)["state"]
    assert taken < state / 4  # a huge page would hold a head's tokens by the thousand


def test_fifty_conversations_give_everything_back(model: Handle, tmp_path: Path) -> None:
    def one(index: int) -> None:
        with library().open("conversation_open", model, {"system": "Be brief."}) as conversation:
            options = {"max_tokens": 8, "seed": index}
            with library().open("conversation_send", conversation, '"Hi."', options) as events:
                assert len(list(library().events(events))) > 1
            with library().open("conversation_send", conversation, '"Go on."', None) as events:
                library().text("next", events)
                library().call("stop", events)
            with library().open("conversation_session", conversation) as session:
                library().call("session_rewind", session, 3)
                library().open("session_fork", session).__exit__()
            with library().open("conversation_fork", conversation) as fork:
                library().call("conversation_warm", fork, ctypes.byref(ctypes.c_int64()))
            library().call("conversation_save", conversation, tmp_path / "saved")
        library().open("conversation_load", model, tmp_path / "saved", 0).__exit__()

    for index in range(5):
        one(index)
    gc.collect()
    handles, before = library().open_handles, _resident()
    for index in range(50):
        one(index)
    gc.collect()
    assert library().open_handles == handles
    assert _resident() < before * 1.05
