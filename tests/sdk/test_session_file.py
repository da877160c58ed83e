"""Saved sessions: opened as they were, or refused in one line; nothing half-written."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from lfm_edge import (
    ContextFullError,
    InvalidRequestError,
    Session,
    SessionFileError,
    session_file,
)
from safetensors.numpy import load_file, save_file

from tests.sdk.interrupting import interrupt_at
from tests.sdk.toy import HIDDEN, VOCAB

IDS = np.random.default_rng(3).integers(0, VOCAB, 40).tolist()


@pytest.fixture
def file(model: lfm_edge.Model, tmp_path: Path) -> Path:
    session = model.session(64)
    session.prefill(IDS[:9])
    session.save(tmp_path / "saved")
    return tmp_path / "saved"


def refusal(model: lfm_edge.Model, path: Path) -> str:
    with pytest.raises(SessionFileError) as caught:
        Session.open(model, path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def metadata(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    found: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return found


def test_an_opened_session_goes_on_as_the_saved_one(model: lfm_edge.Model, file: Path) -> None:
    plain = model.session(64)
    plain.prefill(IDS[:9])
    opened = Session.open(model, file)
    assert (opened.ids, opened.capacity, opened.to_replay) == (IDS[:9], 64, 0)
    np.testing.assert_array_equal(opened.prefill(IDS[9:20]), plain.prefill(IDS[9:20]))
    opened.rewind(9)  # the file's conv state is one to go back to
    assert opened.to_replay == 0
    assert Session.open(model, file, context=9).capacity == 9
    with pytest.raises(ContextFullError, match="holds 9 tokens, but the context 8"):
        Session.open(model, file, context=8)
    with pytest.raises(InvalidRequestError, match="context: got 0"):
        Session.open(model, file, context=0)


def test_an_empty_session_and_one_that_went_back(model: lfm_edge.Model, tmp_path: Path) -> None:
    session = model.session(64)
    session.save(tmp_path / "saved")
    assert Session.open(model, tmp_path / "saved").ids == []
    session.prefill(IDS[:9])
    session.prefill(IDS[9:20])
    session.rewind(12)
    session.save(tmp_path / "saved")
    opened = Session.open(model, tmp_path / "saved")
    assert (opened.ids, opened.to_replay) == (IDS[:12], 3)
    np.testing.assert_array_equal(opened.decode(7), session.decode(7))


def test_a_file_holds_what_is_held_and_no_more(model: lfm_edge.Model, tmp_path: Path) -> None:
    session = model.session(2000)
    session.prefill(np.resize(IDS, 1500))
    session.save(tmp_path / "saved")
    state = 1500 * 2 * HIDDEN * 4 + HIDDEN * 2 * 4
    assert (tmp_path / "saved").stat().st_size <= (state + 4 * 1500) * 1.01


def test_every_damaged_byte_is_found(model: lfm_edge.Model, file: Path) -> None:
    whole = file.read_bytes()
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :])
        refusal(model, file)
    for size in range(0, len(whole), 13):
        file.write_bytes(whole[:size])
        refusal(model, file)
    file.write_bytes(whole + b"\0")
    refusal(model, file)


def test_what_is_no_session_of_this_bundle(
    model: lfm_edge.Model, make_model: Callable[..., lfm_edge.Model], file: Path, tmp_path: Path
) -> None:
    assert "another bundle" in refusal(make_model({7: 1.0}), file)
    assert "no such file" in refusal(model, tmp_path / "none")
    assert "no such file" in refusal(model, tmp_path)
    tensors, found = load_file(file), metadata(file)
    for change, message in (
        ({"version": "2"}, "version '2' of the format"),
        ({"format": "other"}, "no saved session"),
        ({"capacity": "-3"}, "capacity is '-3'"),
        ({"capacity": "8"}, "ids of shape"),
        ({"capacity": "9" * 30}, "capacity is"),
        ({"capacity": "65"}, "not what was written"),
        ({"conv_position": "10"}, "conv_position is '10'"),
        ({"conv_position": "-1"}, "tensor state.0.conv is odd"),
    ):
        save_file(tensors, file, found | change)
        assert message in refusal(model, file)
    save_file(tensors, file)
    assert "no saved session" in refusal(model, file)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"state.0.key": tensors["state.0.key"][:, :, :8].copy()}, "0.key has shape"),
        ({"state.0.key": tensors["state.0.key"].astype(np.float16)}, "0.key is F16"),
        ({"ids": tensors["ids"].astype(np.int64)}, "ids is I64"),
        ({"ids": tensors["ids"] + VOCAB}, "not what was written"),
        ({"more": tensors["ids"]}, "tensor more is odd"),
    ]
    for tensor, message in changes:
        save_file({**tensors, **tensor}, file, found)
        assert message in refusal(model, file)
    del tensors["state.0.value"]
    save_file(tensors, file, found)
    assert "state.0.value is missing" in refusal(model, file)


def test_nothing_half_written_is_left(model: lfm_edge.Model, file: Path, tmp_path: Path) -> None:
    session, earlier, count = model.session(64), file.read_bytes(), 0
    session.prefill(IDS[9:20])
    for path in (tmp_path / "no folder" / "saved", tmp_path):
        with pytest.raises(SessionFileError, match=str(path)) as caught:
            session.save(path)
        assert "\n" not in str(caught.value)
    interrupted = True
    while interrupted:
        count += 5
        interrupted = interrupt_at(count, lambda: session.save(file))
        assert list(tmp_path.iterdir()) == [file]
        assert file.read_bytes() == earlier or Session.open(model, file).ids == IDS[9:20]
        if session.ids != IDS[9:20]:
            session.reset()
            session.prefill(IDS[9:20])
    assert Session.open(model, file).ids == IDS[9:20]


def test_a_file_leads_back_to_where_the_last_answer_began(
    model: lfm_edge.Model, tmp_path: Path
) -> None:
    session = model.session(64)
    session.prefill(IDS[:9])
    for token in IDS[9:20]:
        session.decode(token)
    session.save(tmp_path / "saved")
    opened = Session.open(model, tmp_path / "saved")
    assert (opened.ids, opened.to_replay) == (IDS[:20], 11)
    assert opened.resume([*IDS[:10], 7]) == [IDS[9], 7]
    # With no turn's end in it, the end itself is kept.
    session.reset()
    for token in IDS[:20]:
        session.decode(token)
    session.save(tmp_path / "saved")
    assert Session.open(model, tmp_path / "saved").to_replay == 0


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "no/such/folder"])
def test_a_name_that_cannot_be_is_told(model: lfm_edge.Model, tmp_path: Path, name: str) -> None:
    session = model.session(16)
    session.prefill([1, 2])
    for use in (session.save, lambda path: Session.open(model, path)):
        with pytest.raises(SessionFileError) as caught:
            use(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_kept_whatever_it_holds(model: lfm_edge.Model, tmp_path: Path) -> None:
    text = "é\u2028\U0001faea'\n"
    session = model.session(16)
    session.save(tmp_path / "saved", attached=text)
    with session_file.opened(tmp_path / "saved", model.bundle) as saved:
        assert saved.attached == text
    assert Session.open(model, tmp_path / "saved").ids == []
    # What is hashed does not depend on which characters this Python's Unicode knows.
    digest = session_file._Digest({"attached": "\U0001faea'"})
    assert digest.hex() == hashlib.sha256(b"[('attached', \"\\U0001faea'\")]").hexdigest()
