"""Chat templates, in every place where a checkpoint may keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .choices import ABSENT, Choices

__all__ = ["Templates", "draw_templates"]


@dataclass(frozen=True)
class Templates:
    """What each place holds."""

    embedded: Any
    """`chat_template` of tokenizer_config.json: a string, a list, a dictionary, null or ABSENT."""
    files: dict[str, str]
    """Other files by their path in the folder."""


_BEGIN = ("{{- bos_token -}}", "{{ bos_token }}", "<|startoftext|>", "")
_TOOLS = (
    "",
    "{%- if tools %}<|im_start|>system\nList of tools: ["
    "{%- for tool in tools %}{{ tool | tojson }}{{ ', ' if not loop.last }}{%- endfor %}]"
    "<|im_end|>\n{%- endif %}",
    "{%- if tools is not none %}<|im_start|>system\n<|tool_list_start|>"
    "{{ tools | tojson(indent=2) }}<|im_end|>\n{% endif -%}",
)
_CONTENT = (
    "{{- message['content'] -}}",
    "{{ message.content | trim }}",
    "{%- if message.content is string %}{{ message.content }}{%- elif message.content %}"
    "{%- for part in message.content %}{{ part.text }}{%- endfor %}{%- endif %}",
    "{%- set text = message.content %}{%- if message.role == 'assistant' and '</think>' in text %}"
    "{%- set text = text.split('</think>')[-1] %}{%- endif %}{{- text }}",
    "{{- message.get('content', '') -}}",
    "{%- if message.content is none %}NOTHING{% else %}{{ message.content }}{% endif %}",
    "{{- '' + message.content -}}",
)
_ARGUMENTS = (
    "{%- for key, value in call.function.arguments.items() %}{{ key }}="
    '{{ "\'" ~ value ~ "\'" if value is string else value }}'
    "{{ ', ' if not loop.last }}{%- endfor %}",
    "{{ call.function.arguments | tojson }}",
    "{{ call['function']['arguments'] }}",
    "{%- for key in call.function.arguments | dictsort %}{{ key[0] }}:{{ key[1] }};{%- endfor %}",
)
_CALLS_IF = ("message.tool_calls", "message.tool_calls is defined", "'tool_calls' in message")
_THINKING = (
    "",
    "{%- if message.thinking %}<think>{{ message.thinking }}</think>{%- endif %}",
    "{%- if message.reasoning_content is defined %}<think>\n{{ message.reasoning_content }}\n"
    "</think>\n{%- endif %}",
    "{%- if message.thinking is defined and (preserve_thinking or loop.last) %}<think>"
    "{{ message.thinking }}</think>{%- endif %}",
)
_END = (
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>' }}{% endif %}",
    "{{- '<|im_start|>assistant\n' if add_generation_prompt }}",
)


def draw_templates(choices: Choices) -> Templates:
    """One or more templates; rarely none, or one that does not compile."""
    one, two, three = (_template(choices) for _ in range(3))
    files: dict[str, str] = {}
    place = choices.one("file", "string", "list", "dictionary", "directory", "both", "none")
    embedded: Any = ABSENT
    if place in ("string", "both"):
        embedded = one
    if place == "list":
        names = choices.one(
            ("default", "tool_use"), ("tool_use",), ("default",), ("rag", "default")
        )
        texts = (one, two)
        embedded = [{"name": n, "template": t} for n, t in zip(names, texts, strict=False)]
    if place == "dictionary":
        names = choices.one(("default", "tool_use"), ("default",), ("tool_use",))
        embedded = dict(zip(names, (one, two), strict=False))
    if place in ("file", "both"):
        files["chat_template.jinja"] = two
    if place == "directory":
        if choices.rarely(70):
            files["chat_template.jinja"] = one
        else:
            embedded = one
        for name in choices.several(("tool_use", "default", "rag"), 1, 2):
            files[f"additional_chat_templates/{name}.jinja"] = three
    if place == "none":
        embedded = choices.one(ABSENT, None)
    if choices.rarely(10):  # of processors; tokenizers do not read it
        files["chat_template.json"] = '{"chat_template": "FROM JSON"}'
    return Templates(embedded, files)


def _template(choices: Choices) -> str:
    if choices.rarely(1):
        choices.may_refuse("a template that does not compile")
        return "{% for message in messages %}{{ message.content }}"
    content, thinking = choices.one(*_CONTENT), choices.one(*_THINKING)
    calls = (
        f"{{%- if {choices.one(*_CALLS_IF)} %}}<|tool_call_start|>["
        "{%- for call in message.tool_calls %}{{ call.function.name }}("
        f"{choices.one(*_ARGUMENTS)}"
        "){{ ', ' if not loop.last }}{%- endfor %}]<|tool_call_end|>{%- endif %}"
    )
    body = thinking + content + calls if choices.rarely(60) else thinking + calls + content
    if choices.rarely(25):
        tag = choices.one(("{%- ", " %}"), ("{% ", " %}"), ("{% ", " -%}"))
        body = f"{tag[0]}generation{tag[1]}{body}{tag[0]}endgeneration{tag[1]}"
    refusal = (
        "{%- if message.role not in ('system', 'user', 'assistant', 'tool') %}"
        "{{ raise_exception('unknown role ' ~ message.role) }}{%- endif %}"
        if choices.rarely(30)
        else ""
    )
    skip = "{%- if loop.index0 > 40 %}{%- break %}{%- endif %}" if choices.rarely(10) else ""
    year = "{{ strftime_now('%Y') }}\n" if choices.rarely(10) else ""
    return (
        choices.one(*_BEGIN)
        + year
        + choices.one(*_TOOLS)
        + "{%- for message in messages %}"
        + refusal
        + skip
        + "{{- '<|im_start|>' + message.role + '\\n' }}"
        + body
        + "{{- '<|im_end|>\\n' }}{%- endfor %}"
        + choices.one(*_END)
    )
