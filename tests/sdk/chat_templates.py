"""Templates that render calls in each of the ways that LFM checkpoints are known for."""

from __future__ import annotations

from pathlib import Path

import lfm_export

_TURNS = """
{%- for turn in messages -%}
    {{- "<|im_start|>" ~ turn.role ~ "\\n" -}}
    {%- if turn.thinking -%}{{- "<think>" ~ turn.thinking ~ "</think>" -}}{%- endif -%}
    {{- turn.content or "" -}}
    {%- if turn.tool_calls -%}
        {{- "<|tool_call_start|>[" -}}
        {%- for call in turn.tool_calls -%}
            {{- call.function.name ~ "(" -}}
            {%- for name, value in call.function.arguments.items() -%}
                {{- name ~ "=" -}}
                {%- if value is string -%}
                    {{- QUOTE ~ value ~ QUOTE -}}
                {%- elif value is mapping -%}
                    {{- value | tojson -}}
                {%- else -%}
                    {{- OTHERS -}}
                {%- endif -%}
                {{- "" if loop.last else ", " -}}
            {%- endfor -%}
            {{- ")" if loop.last else "), " -}}
        {%- endfor -%}
        {{- "]<|tool_call_end|>" -}}
    {%- endif -%}
    {{- "<|im_end|>\\n" -}}
{%- endfor -%}
"""


def _template(quote: str, others: str) -> str:
    return _TURNS.replace("QUOTE", quote).replace("OTHERS", others)


TEMPLATES = {
    "shipped": (Path(lfm_export.__file__).parent / "demo_model/chat_template.jinja").read_text(
        encoding="utf-8"
    ),
    "LFM2": _template("'\"'", "value | tojson"),
    "LFM2.5-Instruct": _template('"\'"', "value | tojson"),
    "LFM2.5-8B-A1B": _template('"\'"', "value | string"),
}
"""By checkpoint: strings in single quotes but for LFM2's, the rest as JSON or as Python prints."""
