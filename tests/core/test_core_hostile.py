"""What edited bundles and odd callers get of the device core: one line, never another result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge.errors import BundleError, InvalidRequestError, SessionFileError

from tests.core.lfm_core import Handle, library

Manifest = dict[str, Any]


def edited(folder: Path, copy: Path, edit: Callable[[Manifest], None]) -> Path:
    """A copy of the bundle whose manifest says something else."""
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    edit(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def replaced(name: str, text: str, copy: Path) -> Callable[[Manifest], None]:
    """Writes another file, and lists it as if it had always been so."""

    def edit(manifest: Manifest) -> None:
        data = text.encode()
        (copy / name).write_bytes(data)
        entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest["files"][name] = entry

    return edit


def problems(bundle: Path) -> tuple[str | None, str | None]:
    with library().open("model_open", bundle, None) as model:
        info = library().json("model_info", model)
    plan = library().json("bundle_plan", bundle, 64)
    assert plan["chat"] == info["chat"]
    return info["text"], info["chat"]


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json", "tokenizer.json"])
def test_tables_of_other_files_are_not_used(folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "bundle"
    text = (folder / name).read_text()
    other = text.replace("assistant", "helper") if name.endswith("jinja") else f"{text}\n"
    edited(folder, copy, replaced(name, other, copy))
    wanted = f"{copy}/device.bin: was made of another {name}; export the model anew"
    assert problems(copy) == (wanted, wanted)


def test_tables_of_files_that_are_gone_are_not_used(folder: Path, tmp_path: Path) -> None:
    copy = edited(folder, tmp_path / "b", lambda m: m["files"].pop("chat_template.jinja"))
    text, chat = problems(copy)
    assert text == chat
    assert str(chat).endswith("was made of another chat_template.jinja; export the model anew")


@pytest.mark.parametrize("token", [2**31, 2**32 + 1, 2**53])
@pytest.mark.parametrize("name", ["bos_token_id", "pad_token_id"])
def test_token_ids_have_32_bits(folder: Path, tmp_path: Path, name: str, token: int) -> None:
    copy = edited(folder, tmp_path / "b", lambda m: m["model"].update({name: token}))
    with pytest.raises(BundleError, match=f"<= 2147483647 - at `.*{name}`") as wanted:
        lfm_edge.load(copy)
    with pytest.raises(BundleError) as found:
        library().open("model_open", copy, None)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize("word", ["x\nerror: all is well\x1b[31m", "a\0b"])
def test_an_error_is_one_line_whatever_a_manifest_says(
    folder: Path, tmp_path: Path, word: str
) -> None:
    def edit(manifest: Manifest) -> None:
        manifest["graph"]["state"][0]["dtype"] = word

    copy = edited(folder, tmp_path / "b", edit)
    with pytest.raises(BundleError) as found:
        library().open("model_open", copy, None)
    assert str(found.value).isprintable()
    assert "state" in str(found.value)


def test_a_path_that_is_no_text_is_told(folder: Path) -> None:
    with pytest.raises(BundleError) as found:
        library().json("bundle_plan", os.fsencode(folder) + b"\xff\n", 0)
    assert str(found.value).isprintable()
    assert "\ufffd\\n" in str(found.value)


def test_a_saved_session_is_its_owner_s_and_replaces_no_pipe(
    session: Handle, reference: lfm_edge.Model, tmp_path: Path
) -> None:
    library().call("session_save", session, tmp_path / "saved")
    assert stat.S_IMODE((tmp_path / "saved").stat().st_mode) == 0o600
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SessionFileError) as found:
        library().call("session_save", session, pipe)
    with pytest.raises(SessionFileError) as wanted:
        reference.session(16).save(pipe)
    assert str(found.value) == str(wanted.value)
    assert pipe.is_fifo()


def test_messages_are_objects(model: Handle, reference: lfm_edge.Model, tmp_path: Path) -> None:
    with library().open("conversation_open", model, None) as chat:
        with pytest.raises(
            InvalidRequestError, match=r"messages\[0\]: got a int, expected a mapping"
        ):
            library().call("conversation_set_messages", chat, [5])
        with pytest.raises(InvalidRequestError) as found:
            library().open("conversation_send", chat, "5", None)
    with pytest.raises(InvalidRequestError, match="template_options: got"):
        library().open("conversation_open", model, {"template_options": [5]})
    talk = reference.conversation()
    with pytest.raises(InvalidRequestError) as wanted:
        talk.send(5)  # type: ignore[arg-type]
    assert str(found.value) == str(wanted.value)
    talk.messages = [5]  # type: ignore[list-item]
    for run in (talk.regenerate, lambda: talk.edit(0, "a"), lambda: talk.save(tmp_path / "a")):
        with pytest.raises(
            InvalidRequestError, match=r"messages\[0\]: got a int, expected a mapping"
        ):
            run()


def test_flags_are_flags(model: Handle) -> None:
    request = {"messages": [{"role": "user", "content": "a"}], "trust_markers": "yes"}
    with pytest.raises(InvalidRequestError, match="trust_markers: got 'yes'"):
        library().ids("prompt", model, request)
    for answer in ({"tokens": 5}, {"special_tokens": [1]}, {"in_reasoning": 5}):
        with pytest.raises(InvalidRequestError, match=f"{next(iter(answer))}: got"):
            library().json("split_events", answer)
