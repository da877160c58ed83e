"""Whatever a template thinks of, it ends within bounds of memory and time, in one line."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from lfm_edge import TemplateError
from lfm_edge.chat import sandbox
from lfm_edge.chat.template import ChatTemplate

DOUBLE = (
    "{% set n = namespace(s='ab') %}{% for i in range(90) %}{% set n.s = EXPRESSION %}{% endfor %}x"
)
NESTED = (
    "{% set n = namespace(s=[1]) %}{% for i in range(90) %}{% set n.s = [n.s, n.s] %}{% endfor %}"
)
ROW = "{% set n = namespace(s='ab' * 4000000) %}"
FOR_EVER = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
HOSTILE = {
    "center": "{{ ''|center(8000000000) }}",
    "center, not constant": "{{ messages[0].role|center(8000000000) }}",
    "ljust": "{{ messages[0].role.ljust(8000000000) }}",
    "zfill": "{{ messages[0].role.zfill(8000000000) }}",
    "expandtabs": "{{ '\\t'.expandtabs(2000000000)|length }}",
    "indent": "{{ 'a\\nb'|indent(8000000000) }}",
    "format": "{{ '%8000000000d' % 1 }}",
    "format filter": "{{ '%8000000000d'|format(1) }}",
    "str.format": "{{ '{:>8000000000}'.format(1) }}",
    "replace": ROW + "{{ n.s.replace('', n.s)|length }}",
    "join": ROW + "{{ range(99999)|join(n.s)|length }}",
    "tojson indent": "{{ [1, [2]]|tojson(indent=8000000000) }}",
    "batch": "{{ [1]|batch(8000000000, 'x')|list|length }}",
    "slice": "{{ [1]|slice(8000000000)|list|length }}",
    "lipsum": "{{ lipsum(n=100000000) }}",
    "round": "{{ 1|round(8000000000, 'ceil') }}",
    "plus doubles": DOUBLE.replace("EXPRESSION", "n.s + n.s"),
    "tilde doubles": DOUBLE.replace("EXPRESSION", "n.s ~ n.s"),
    "join doubles": DOUBLE.replace("EXPRESSION", "[n.s, n.s]|join"),
    "replace doubles": DOUBLE.replace("EXPRESSION", "n.s|replace('ab', 'abab')"),
    "percent doubles": DOUBLE.replace("EXPRESSION", "'%s%s' % (n.s, n.s)"),
    "format doubles": DOUBLE.replace("EXPRESSION", "'{0}{0}'.format(n.s)"),
    "block doubles": DOUBLE.replace("EXPRESSION", "n.s").replace(
        "{% set n.s = n.s %}", "{% set s %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = s %}"
    ),
    "lists double": DOUBLE.replace("'ab'", "[1]").replace("EXPRESSION", "n.s + n.s"),
    "numbers square": DOUBLE.replace("'ab'", "99999").replace("EXPRESSION", "n.s * n.s"),
    "a list of itself, shown": NESTED + "{{ n.s }}",
    "a list of itself, as JSON": NESTED + "{{ n.s|tojson }}",
    "a list of itself, compared": NESTED + "{% set a = n.s %}" + NESTED + "{{ a == n.s }}",
    "loops": FOR_EVER,
    "loops that write nothing": "{% set x %}" + FOR_EVER + "{% endset %}",
    "macros": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "recursive loop": "{% for a in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}",
}


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of time that tests can wait for."""
    monkeypatch.setattr(sandbox, "MAX_SECONDS", 1.0)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_in_one_line(strict: None, name: str) -> None:
    with pytest.raises(TemplateError, match="chat template") as caught:
        ChatTemplate(HOSTILE[name]).render([{"role": "user"}])
    assert "\n" not in str(caught.value)
    assert ChatTemplate("{{ messages[0].role }}").render([{"role": "user"}]) == "user"


def test_memory_is_named() -> None:
    with pytest.raises(TemplateError, match="more than 512 MB of memory"):
        ChatTemplate("{{ messages[0].role|center(8000000000) }}").render([{"role": "a"}])


def test_time_is_named(strict: None) -> None:
    with pytest.raises(TemplateError, match="more than 1 seconds"):
        ChatTemplate(FOR_EVER).render([])


def test_a_hostile_template_takes_nothing_of_this_process(strict: None) -> None:
    before = psutil.Process().memory_info().rss
    with pytest.raises(TemplateError):
        ChatTemplate("{{ messages[0].role|center(8000000000) }}").render([{"role": "a"}])
    assert psutil.Process().memory_info().rss - before < 64 << 20


def test_threads_render_beside_an_endless_template(strict: None) -> None:
    endless, plain = ChatTemplate(FOR_EVER), ChatTemplate("{{ messages[0].n * 3 }}")
    failed: list[str] = []

    def hostile() -> None:
        try:
            endless.render([])
        except TemplateError as error:
            failed.append(str(error))

    thread = threading.Thread(target=hostile)
    thread.start()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: plain.render([{"n": n}]), range(50)))
    assert results == [str(3 * n) for n in range(50)]
    thread.join()
    assert failed == ["the chat template takes more than 1 seconds"]


def test_processes_are_kept_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate("x")
    template.render([])
    kept = list(sandbox._idle)
    template.render([])
    assert sandbox._idle == kept
    for worker in kept:
        worker.end()
    assert template.render([]) == "x"
