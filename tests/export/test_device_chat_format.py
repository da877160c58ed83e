"""A chat format writes what its template writes, or there is none."""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

import lfm_edge
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.chat.prompt import _spelled, marker_ids, prompt_ids
from lfm_edge.chat.template import ChatTemplate
from lfm_edge.errors import InvalidRequestError, TemplateError
from lfm_edge.tokenizer import Tokenizer
from lfm_export.device.chat.conversations import Conversation, conversation
from lfm_export.device.chat.format import render_chat
from lfm_export.device.chat.marked import Marked
from lfm_export.device.chat_format import chat_section

from tests.export.chat_variants import VARIANTS
from tests.random_checkpoints.choices import Choices
from tests.random_checkpoints.templates import draw_templates
from tests.sdk.test_template import MACROS, PLAIN, TOOLS
from tests.sdk.toy import write_toy_bundle
from tests.support import DEMO_MODEL
from tools.write_chat_vectors import SPECIAL, VECTORS, conversations, prompt
from tools.write_printable import PRINTABLE, source

BOS = json.dumps({"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>"})
OPTIONS = {
    "shipped": ["preserve_thinking"],
    "thinking of the last answer": ["keep_past_thinking"],
    "thinking since the last user": ["preserve_thinking"],
    "prefilled": ["preserve_thinking"],
    "dated": ["preserve_thinking"],
    "calls last": ["preserve_thinking"],
    "XML calls": ["enable_thinking"],
}
FURTHER = range(9000, 9050)
"""Conversations that no format was proved on."""


@functools.cache
def section_of(source: str) -> dict[str, Any] | None:
    """Its format; None if it has none, which is noted in one line."""
    notes: list[str] = []
    section = chat_section(
        {"chat_template.jinja": source, "tokenizer_config.json": BOS}, notes.append
    )
    if section is None:
        assert [len(note.splitlines()) for note in notes] == [1]
        return None
    assert not notes
    found: dict[str, Any] = json.loads(section)
    return found


def by_template(template: ChatTemplate, chat: Conversation) -> str:
    """The prompt, or the error."""
    try:
        text = template.render(
            chat.messages,
            chat.tools,
            clock=chat.clock,
            add_generation_prompt=chat.add_generation_prompt,
            **chat.options,
        )
    except TemplateError as error:
        return f"error: {error}"
    return text or "error: the chat template made an empty prompt of these messages"


def by_format(section: dict[str, Any], chat: Conversation) -> Marked:
    """The prompt, or the error; InvalidRequestError where the format refuses."""
    try:
        return render_chat(
            section,
            chat.messages,
            chat.tools,
            chat.options,
            chat.clock,
            chat.add_generation_prompt,
        )
    except TemplateError as error:
        return Marked(f"error: {error}")


def check(source: str, section: dict[str, Any], seeds: range) -> None:
    """That a format writes what the template writes."""
    template = ChatTemplate(source, SPECIAL)
    for seed in seeds:
        chat = conversation(seed, section["templates"]["default"]["options"])
        expected = by_template(template, chat)
        try:
            got = by_format(section, chat).text
        except InvalidRequestError:
            assert chat.odd or expected.startswith("error: ")
            continue
        both_fail = chat.odd and got.startswith("error: ") and expected.startswith("error: ")
        assert got == expected or both_fail


@pytest.mark.parametrize("name", VARIANTS)
def test_what_lfm_templates_do_can_be_said(name: str) -> None:
    section = section_of(VARIANTS[name])
    assert section
    assert section["templates"]["default"]["options"] == OPTIONS.get(name, [])
    check(VARIANTS[name], section, FURTHER)


@pytest.mark.parametrize("seed", range(6))
def test_random_templates_can_be_said(seed: int) -> None:
    choices = Choices(Random(f"template {seed}").randbytes(400), [])
    files = draw_templates(choices).files
    source = next((text for name, text in files.items() if name.endswith(".jinja")), PLAIN)
    section = section_of(source)
    assert section
    check(source, section, FURTHER[:20])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (TOOLS, "of the messages .* it makes, behind .* where the data says"),
        (MACROS, "depends on those that follow"),
        ("{% for m in messages %}", "line 1: TemplateSyntaxError"),
        ("{{ messages | tojson }}", "depends on"),
        ("{{ messages[-1].content }}", "depends on"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "written"),
        ("{% for m in messages %}{{ m.content | replace('a', 'b') }}{% endfor %}", "becomes"),
        ("{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}", "depends on"),
        ("{{ raise_exception('never') }}", "never"),
        ("{% for m in messages %}{{ '\\ud800' ~ m.content }}{% endfor %}", "no character"),
        (
            "{% for m in messages %}{{ m.content }}"
            "{% if m.role == 'user' and loop.index == 5 %}x{% endif %}{% endfor %}",
            "it makes, behind",
        ),
        ("{% for m in messages %}{{ m.content }}{{ documents | length }}{% endfor %}", "fail"),
    ],
)
def test_what_cannot_be_said_is_noted_in_one_line(source: str, reason: str) -> None:
    notes: list[str] = []
    files: dict[str, Path | str] = {"chat_template.jinja": source, "tokenizer_config.json": BOS}
    assert chat_section(files, notes.append) is None
    assert len(notes) == 1
    assert "\n" not in notes[0]
    assert re.search(reason, notes[0])


def test_templates_are_found_where_a_checkpoint_keeps_them(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": PLAIN}, {"name": "rag", "template": "?"}]
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"chat_template": named, "bos_token": "<s>"}), encoding="utf-8")
    notes: list[str] = []
    section = json.loads(chat_section({path.name: path}, notes.append) or b"null")
    assert list(section["templates"]) == ["tool_use"]
    chat = Conversation(
        [{"role": "user", "content": "a"}], [], {}, conversation(0, ()).clock, False, False
    )
    assert by_format(section, chat).text == "<s><|im_start|>user\na<|im_end|>\n"
    chat = Conversation(chat.messages, None, {}, chat.clock, False, False)
    with pytest.raises(TemplateError, match="the chat templates rag, tool_use, but no default one"):
        ChatTemplate({"tool_use": PLAIN, "rag": "?"}).render(chat.messages)
    assert "the chat templates rag, tool_use, but no default one" in by_format(section, chat).text
    assert chat_section({"tokenizer_config.json": "{}"}, notes.append) is None
    assert not notes


MUTATIONS = (
    *(("<|im_end|>", "<|END|>"), ("<|im_start|>", "["), ("assistant", "model"), ("user", "human")),
    *((" | trim", ""), ('", "', '"; "'), ("loop.last", "loop.first"), ("[-1]", "[0]")),
    *(
        ("is string", "is mapping"),
        (" not ", " "),
        ("true", "false"),
        ("\\n", ""),
        ("[1:]", "[2:]"),
    ),
    *((" | tojson", ""), ("'", '"'), ("thinking", "reasoning"), (" and ", " or "), ("-%}", "%}")),
    *(
        ("List of tools", "{{ tools | length }}"),
        ("content", "name"),
        ("+", "~"),
        ("is defined", ""),
    ),
    *((".items()", " | dictsort"), ("index0", "index"), (" is not ", " is "), ("tool", "user")),
)


@settings(max_examples=8, deadline=None)
@given(
    name=st.sampled_from(sorted(VARIANTS)),
    mutations=st.lists(
        st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 12)), min_size=1, max_size=2
    ),
)
def test_a_changed_template_is_said_right_or_not_at_all(
    name: str, mutations: list[tuple[tuple[str, str], int]]
) -> None:
    source = VARIANTS[name]
    for (old, new), place in mutations:
        parts = source.split(old)
        cut = 1 + place % max(1, len(parts) - 1)
        source = old.join(parts[:cut]) + (new if len(parts) > 1 else "") + old.join(parts[cut:])
    if section := section_of(source):
        check(source, section, FURTHER[:25])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    text = (DEMO_MODEL / "tokenizer.json").read_text(encoding="utf-8")
    folder = write_toy_bundle(
        tmp_path_factory.mktemp("demo") / "bundle", None, {"tokenizer.json": text}
    )
    return lfm_edge.load(folder, 1).tokenizer


@pytest.mark.parametrize("name", VARIANTS)
def test_the_bytes_of_others_give_the_ids_of_prompt_ids(name: str, tokenizer: Tokenizer) -> None:
    section = section_of(VARIANTS[name])
    assert section
    template, spelled = ChatTemplate(VARIANTS[name], SPECIAL), 0
    for seed in FURTHER:
        chat = conversation(seed, section["templates"]["default"]["options"])
        asked = {**chat.options, "add_generation_prompt": chat.add_generation_prompt}
        try:
            expected = prompt_ids(
                template, tokenizer, chat.messages, chat.tools, asked, clock=chat.clock
            )
            made = by_format(section, chat)
        except (TemplateError, InvalidRequestError):
            continue
        ids = ids_of(tokenizer, made, template)
        assert ids == expected
        spelled += ids != tokenizer.encode(made.text)
    assert spelled > 5


def ids_of(tokenizer: Tokenizer, made: Marked, template: ChatTemplate) -> list[int]:
    """As the device's tokenizer does: markers that begin in others' text are spelled out."""
    theirs = {at for begin, end in made.theirs for at in range(begin, end)}
    markers = marker_ids(tokenizer, template, None)
    tokens = tokenizer.encode_with_offsets(made.text)
    return _spelled(tokenizer, markers, made.text, tokens, theirs)


def test_the_vectors_are_what_templates_write() -> None:
    file = json.loads(VECTORS.read_text(encoding="utf-8"))
    chats = conversations()
    assert [one["messages"] for one in file["conversations"]] == [c.messages for c in chats]
    count = 0
    for one in file["formats"]:
        template = ChatTemplate(VARIANTS[one["name"]], SPECIAL)
        assert one["format"] == section_of(VARIANTS[one["name"]])
        for chat, expected in zip(chats, one["prompts"], strict=True):
            assert prompt(one["format"], chat) == expected
            if "text" in expected:
                assert by_template(template, chat) == expected["text"]
            count += 1
    assert count >= 500


@pytest.mark.skipif(
    unicodedata.unidata_version != "14.0.0", reason="NOT RUN: the table is that of another Unicode"
)
def test_the_core_knows_what_repr_writes_as_it_is() -> None:
    assert PRINTABLE.read_text(encoding="utf-8") == source()
