"""Chat templates render as transformers renders them, and cannot do more than that."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import lfm_edge
import pytest
from lfm_edge import InvalidRequestError, TemplateError
from lfm_edge.chat.sandbox import MAX_PROMPT_CHARACTERS
from lfm_edge.chat.template import ChatTemplate
from transformers import PreTrainedTokenizerFast

from tests.sdk.toy import byte_level_tokenizer

SPECIAL = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}

PLAIN = """{{ bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'tool' %}
        {%- set shown = '<|tool_response_start|>' + message['content'] + '<|tool_response_end|>' %}
    {%- else %}
        {%- set shown = message['content'] %}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + shown + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

TOOLS = """{{- bos_token -}}
{%- set ns = namespace(system="", last_user=-1) -%}
{%- if messages[0].role == "system" -%}
    {%- set ns.system = messages[0].content -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {%- set ns.system = ns.system ~ ("\\n" if ns.system else "") ~ "List of tools: [" -%}
    {%- for tool in tools -%}
        {%- set ns.system = ns.system ~ (tool | tojson) ~ (", " if not loop.last else "") -%}
    {%- endfor -%}
    {%- set ns.system = ns.system ~ "]" -%}
{%- endif -%}
{%- if ns.system -%}<|im_start|>system
{{ ns.system }}<|im_end|>
{% endif -%}
{%- for message in messages if message.role == "user" -%}
    {%- set ns.last_user = loop.index0 -%}
{%- endfor -%}
{%- for message in messages -%}
    {{- "<|im_start|>" ~ message.role ~ "\\n" -}}
    {%- if message.role == "assistant" -%}
        {%- generation -%}
            {%- if message.thinking and (preserve_thinking or loop.last) -%}
                <think>{{ message.thinking }}</think>
            {%- endif -%}
            {{- message.content | trim -}}
            {%- for call in message.tool_calls or [] -%}
                {%- if loop.index > 2 -%}{%- break -%}{%- endif -%}
                <|tool_call_start|>[{{ call.function.name }}(
                {%- for name, value in call.function.arguments.items() -%}
                    {{ name }}={{ value | tojson }}{{ ", " if not loop.last }}
                {%- endfor -%}
                )]<|tool_call_end|>
            {%- endfor -%}
            <|im_end|>
        {%- endgeneration -%}
    {%- else -%}
        {{- message.content ~ "<|im_end|>" -}}
    {%- endif -%}
    {{- "\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
<think>{%- endif -%}
"""

MACROS = """{% macro turn(role, text, tag="") %}
<|im_start|>{{ role }}{{ " " ~ tag if tag else "" }}
{{ text }}<|im_end|>
{% endmacro %}
{{ bos_token }}{% for m in messages %}
    {% if m.role not in ["user", "assistant", "system", "tool"] %}
        {{ raise_exception("unknown role " ~ m.role) }}
    {% endif %}
    {% if m.content is string %}
{{ turn(m.role, m.content | trim | replace("&", "and"), "x" if loop.first else "") }}
    {% else %}
        {% for part in m.content if part.type == "text" %}
{{ turn(m.role, part.text | upper) }}
        {% endfor %}
    {% endif %}
{% endfor %}
{{ tools | tojson(indent=2) if tools else "no tools" }} {{ documents is none }}
{{ dict(a=1, b=[2, 3]) | tojson }} {{ unknown_variable }} {{ "%05.1f" | format(3.14159) }}
{{ messages | selectattr("role", "equalto", "user") | list | length }}{{ [1, 2] * 2 }}{{ "-" * 3 }}
"""

TOOL = {
    "type": "function",
    "function": {
        "name": "weather.get",
        "description": "It's <b>the</b> wéather & more",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hi <there> & 日本 'x' \"y\""}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1 ", "thinking": "it is one"},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "", "reasoning_content": "two", "tool_calls": [
            {"function": {"name": "weather.get", "arguments": {"city": "Zürich", "n": [1, None]}}},
            {"function": {"name": "b", "arguments": {}}},
            {"function": {"name": "c", "arguments": {"never": "shown"}}},
        ]},
        {"role": "tool", "content": "[{\"t\": 3.5}]"},
    ],
]  # fmt: skip
VARIATIONS: list[dict[str, Any]] = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False, "tools": [TOOL, TOOL]},
    {"add_generation_prompt": True, "tools": [TOOL], "preserve_thinking": True},
]


@pytest.fixture(scope="module")
def transformers_tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=byte_level_tokenizer(), **SPECIAL)


@pytest.mark.parametrize("template", [PLAIN, TOOLS, MACROS], ids=["plain", "tools", "macros"])
@pytest.mark.parametrize("chat", CHATS, ids=["short", "long"])
@pytest.mark.parametrize("variation", VARIATIONS, ids=["prompt", "tools", "thinking"])
def test_renders_as_transformers_does(
    transformers_tokenizer: PreTrainedTokenizerFast,
    template: str,
    chat: list[dict[str, Any]],
    variation: dict[str, Any],
) -> None:
    truth = transformers_tokenizer.apply_chat_template(
        chat, chat_template=template, tokenize=False, **variation
    )
    assert ChatTemplate(template, SPECIAL).render(chat, **variation) == truth


ODD_TOOLS: list[Any] = [
    {"name": "f"},
    {"parameters": None, "name": "f", "extra": [1, None, {"b": 1.5, "a": ""}]},
    {"type": "function", "function": {"name": "\u65e5 <b>", "strict": None, "parameters": {}}},
    {"function": {"parameters": {"required": [], "properties": {"z": {}, "a": True}}}},
    {},
]


@pytest.mark.parametrize("tools", [[tool] for tool in ODD_TOOLS] + [ODD_TOOLS, []])
def test_tools_reach_the_template_as_they_were_given(
    transformers_tokenizer: PreTrainedTokenizerFast, tools: list[Any]
) -> None:
    template = "{{ tools }}{{ tools|tojson }}{% for tool in tools %}{{ tool.name }}{% endfor %}"
    truth = transformers_tokenizer.apply_chat_template(
        CHATS[0], chat_template=template, tokenize=False, tools=tools
    )
    assert ChatTemplate(template, SPECIAL).render(CHATS[0], tools) == truth


def test_reasoning_is_found_under_each_of_its_names() -> None:
    template = ChatTemplate("{{ messages[0].thinking }}{{ messages[0].reasoning_content }}")
    for name in ("thinking", "reasoning", "reasoning_content"):
        assert template.render([{"role": "assistant", name: "x"}]) == "xx"


def test_strftime_now_knows_the_year() -> None:
    assert ChatTemplate("{{ strftime_now('%Y') }}").render([]).isdigit()


def test_the_template_of_the_bundle_is_used(model: lfm_edge.Model) -> None:
    assert model.template.render([{"role": "user", "content": "a"}]) == (
        "<|startoftext|><|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    "embedded",
    [
        "{{ eos_token }}!",
        [{"name": "o", "template": "?"}, {"name": "default", "template": "{{ eos_token }}!"}],
    ],
    ids=["string", "list"],
)
def test_a_template_may_stand_in_the_tokenizers_config(
    make_model: Callable[..., lfm_edge.Model], embedded: Any
) -> None:
    config = {"eos_token": {"content": "<|im_end|>", "special": True}, "chat_template": embedded}
    model = make_model(
        files={"chat_template.jinja": None, "tokenizer_config.json": json.dumps(config)}
    )
    assert model.template.render([]) == "<|im_end|>!"


@pytest.mark.parametrize("config", [None, "{}", '{"chat_template": 3}', '{"chat_template": []}'])
def test_a_bundle_without_a_template_says_so(
    make_model: Callable[..., lfm_edge.Model], config: str | None
) -> None:
    model = make_model(files={"chat_template.jinja": None, "tokenizer_config.json": config})
    with pytest.raises(TemplateError, match=r"no chat_template\.jinja"):
        model.chat([{"role": "user", "content": "a"}])


@pytest.mark.parametrize("config", ["{", "[]"])
def test_a_malformed_tokenizer_config_is_named(
    make_model: Callable[..., lfm_edge.Model], config: str
) -> None:
    with pytest.raises(TemplateError, match=r"tokenizer_config\.json"):
        _ = make_model(files={"tokenizer_config.json": config}).template


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{% if %}", "line 2: TemplateSyntaxError"),
        ("{{ messages[0].a.b }}", "UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ raise_exception('no\nway') }}", "refused the messages: no way"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ ''.__class__ }}{{ ''.__class__.mro() }}", "SecurityError|UndefinedError"),
        ("{{ ''['__class__'].__mro__ }}", "SecurityError|UndefinedError"),
        ("{{ '{0.__class__.__mro__}'.format(messages) }}", "SecurityError|UndefinedError"),
        ("{{ (messages|attr('__class__')).x }}", "SecurityError|UndefinedError"),
        ("{{ raise_exception.__globals__.x }}", "SecurityError|UndefinedError"),
        ("{{ strftime_now.__globals__['x'] }}", "SecurityError|UndefinedError"),
        ("{{ dict.mro() }}{{ dict.fromkeys.x }}", "UndefinedError"),
        ("{% set n = namespace() %}{% set n.__class__ = 1 %}", "stores '__class__'"),
        ("{{ namespace(__init__=1) }}", "stores '__init__'"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ messages[0].update(a=1) }}", "SecurityError"),
        ("{{ range(1000000) | list }}", "OverflowError"),
        ("{{ 'x' * 10000000000 }}", "more than 8,388,608 characters"),
        ("{{ 10000000000 * 'x' }}", "more than 8,388,608 characters"),
        ("{{ [1] * 10000000000 }}", "more than 8,388,608 characters"),
        ("{{ 9 ** 9 ** 9 }}", r"uses \*\*"),
        (
            "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
            "more than 8,388,608 characters",
        ),
        ("{% include 'x' %}", "TypeError|no loader"),
    ],
)
def test_a_bad_or_hostile_template_ends_in_one_line(source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message) as caught:
        ChatTemplate(source).render([{"role": "user", "content": "a"}])
    assert "\n" not in str(caught.value)


def test_a_long_prompt_below_the_limit_passes() -> None:
    count = MAX_PROMPT_CHARACTERS // 2
    assert len(ChatTemplate("{{ 'ab' * messages[0].n }}").render([{"n": count}])) == 2 * count


@pytest.mark.parametrize("messages", [[{"role": object()}], ["text"], [{"content": {1, 2}}]])
def test_only_json_values_reach_the_template(messages: Any) -> None:
    with pytest.raises(InvalidRequestError):
        ChatTemplate("x").render(messages)
