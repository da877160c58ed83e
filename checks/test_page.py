"""The page at `/` in a real browser."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checks.browser import BROWSER, Page, browsing
from tests.sdk.server.conftest import Served

if BROWSER is None:
    print("*** SKIPPED: the page in a browser (no chromium here) ***", file=sys.stderr)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here")

IDLE = "!document.getElementById('send').hidden && document.querySelector('.turn.assistant')"
ATTACK = "<img src=x onerror=document.title='broken'><script>document.title='broken'</script>"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browsing(tmp_path / "profile") as found:
        yield found


def say(page: Page, text: str) -> None:
    page.run(f"document.getElementById('text').value = {text!r}")
    page.run("document.getElementById('ask').requestSubmit()")
    page.wait(IDLE + " && !!document.querySelector('.figures')")


def texts(page: Page, kind: str) -> list[str]:
    found = f"[...document.querySelectorAll('.turn.{kind} .content')].map(e => e.textContent)"
    value = page.run(found)
    assert isinstance(value, list)
    return value


def click(page: Page, name: str) -> None:
    page.run(
        f"[...document.querySelectorAll('button')].find(b => b.textContent == {name!r}).click()"
    )


@needs_browser
def test_one_chats_edits_and_regenerates(served: Served, page: Page) -> None:
    page.open(served.url)
    page.wait(f"document.getElementById('model')?.textContent == {served.service.name!r}")
    say(page, ATTACK)
    assert texts(page, "user") == [ATTACK]
    assert page.run("document.title") == "LFM Edge"
    assert page.run("document.querySelectorAll('.turn img, .turn script').length") == 0
    assert "tokens" in page.run("document.querySelector('.figures').textContent")
    click(page, "Regenerate")
    page.wait(IDLE + " && !!document.querySelector('.figures')")
    assert (len(texts(page, "user")), len(texts(page, "assistant"))) == (1, 1)
    click(page, "Edit")
    page.run("document.querySelector('.turn textarea').value = 'What is a list?'")
    click(page, "Send again")
    page.wait(IDLE + " && !!document.querySelector('.figures')")
    assert texts(page, "user") == ["What is a list?"]
    assert page.log == []


@needs_browser
def test_reasoning_is_folded_and_calls_are_shown(served: Served, page: Page) -> None:
    """Forced by a script: the shipped model neither reasons nor calls by itself."""
    page.open(served.url)
    page.wait("!!document.getElementById('model')")
    page.run("""window.fetch = async () => new Response([
        {choices: [{delta: {reasoning_content: 'first <b>this</b>'}}]},
        {choices: [{delta: {content: 'then that'}}]},
        {choices: [{delta: {tool_calls: [{function: {name: 'f', arguments: '{"a": 1}'}}]}}]},
        {choices: [], usage: {prompt_tokens: 9, completion_tokens: 3,
                              prompt_tokens_details: {cached_tokens: 5}}},
    ].map(c => `data: ${JSON.stringify(c)}\\n\\n`).join('') + 'data: [DONE]\\n\\n')""")
    say(page, "Hi")
    assert page.run("document.querySelector('details').open") is False
    assert page.run("document.querySelector('.reasoning').textContent") == "first <b>this</b>"
    assert texts(page, "assistant") == ["then that"]
    assert page.run("document.querySelector('.call').textContent") == 'f({"a": 1})'
    assert "5 of 9 read before" in page.run("document.querySelector('.figures').textContent")


@needs_browser
def test_the_key_is_asked_for(serve: Callable[..., Served], page: Page) -> None:
    server = serve(api_key="secret", context=2048)
    page.open(server.url)
    page.wait("document.getElementById('key')?.hidden === false")
    page.run("document.getElementById('key').value = 'secret'")
    page.run("document.getElementById('key').dispatchEvent(new Event('change'))")
    say(page, "What is a list?")
    assert len(texts(page, "assistant")) == 1


def test_the_page_may_load_nothing_from_elsewhere(served: Served) -> None:
    answer = served.http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in ("style.css", "chat.js", "stream.js"):
        assert served.http.get(f"/page/{path}").status_code == 200
        assert "innerHTML" not in served.http.get(f"/page/{path}").text
