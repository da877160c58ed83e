"""Templates with the behaviours that LFM checkpoints' own are known for, in our words."""

from __future__ import annotations

from tests.sdk.chat_templates import TEMPLATES

__all__ = ["VARIANTS"]

_LISTED = """
{%- if tools -%}
    {%- set head.text = head.text + ("\\n" if head.text else "") + TOOLS_BEFORE -%}
    {%- for tool in tools -%}
        {%- set written = tool if tool is string else (tool | tojson) -%}
        {%- set head.text = head.text + written + (", " if not loop.last else "") -%}
    {%- endfor -%}
    {%- set head.text = head.text + TOOLS_AFTER -%}
{%- endif -%}
{%- if head.text -%}{{- "<|im_start|>system\\n" + head.text + "<|im_end|>\\n" -}}{%- endif -%}
"""

_FIRST_SYSTEM = """{{- bos_token -}}
{%- set head = namespace(text="", last=-1) -%}
{%- if messages[0]["role"] == "system" -%}
    {%- set head.text = messages[0]["content"] -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
"""

_GENERATION = (
    """{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\nPREFILL" -}}{%- endif -%}"""
)


def _tools(before: str, after: str) -> str:
    return _LISTED.replace("TOOLS_BEFORE", before).replace("TOOLS_AFTER", after)


_LFM2 = (
    _FIRST_SYSTEM
    + _tools('"List of tools: <|tool_list_start|>["', '"]<|tool_list_end|>"')
    + """
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" -}}
    {%- set body = message["content"] -%}
    {%- if body is not string -%}{%- set body = body | tojson -%}{%- endif -%}
    {%- if message["role"] == "tool" -%}
        {%- set body = "<|tool_response_start|>" + body + "<|tool_response_end|>" -%}
    {%- endif -%}
    {{- body + "<|im_end|>\\n" -}}
{%- endfor -%}
"""
    + _GENERATION.replace("PREFILL", "")
)

_INSTRUCT = (
    "{%- set keep_past_thinking = keep_past_thinking | default(false) -%}"
    + _FIRST_SYSTEM
    + _tools('"List of tools: ["', '"]"')
    + """
{%- for message in messages -%}
    {%- if message["role"] == "assistant" -%}{%- set head.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" -}}
    {%- set body = message["content"] -%}
    {%- if body is not string -%}{%- set body = body | tojson -%}{%- endif -%}
    {%- set past = not keep_past_thinking and loop.index0 != head.last -%}
    {%- if message["role"] == "assistant" and past and "</think>" in body -%}
        {%- set body = body.split("</think>")[-1] | trim -%}
    {%- endif -%}
    {{- body + "<|im_end|>\\n" -}}
{%- endfor -%}
"""
    + _GENERATION.replace("PREFILL", "")
)

_A1B = (
    """{{- bos_token -}}
{%- set preserve_thinking = preserve_thinking | default(false) -%}
{%- macro value_text(value) -%}
    {%- if value is string -%}{{- "'" + value + "'" -}}
    {%- elif value is mapping -%}{{- value | tojson -}}
    {%- else -%}{{- value | string -}}{%- endif -%}
{%- endmacro -%}
{%- macro body_text(body) -%}
    {%- if body is string -%}{{- body -}}
    {%- else -%}
        {%- for part in body -%}
            {%- if part["type"] == "image" -%}{{- "<image>" -}}
            {%- elif part["type"] == "text" -%}{{- part["text"] -}}
            {%- else -%}{{- part | tojson -}}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- macro calls_text(calls) -%}
    {%- set all = namespace(texts=[]) -%}
    {%- for call in calls -%}
        {%- set one = namespace(texts=[]) -%}
        {%- for name, value in call["function"]["arguments"].items() -%}
            {%- set one.texts = one.texts + [name + "=" + value_text(value)] -%}
        {%- endfor -%}
        {%- set text = call["function"]["name"] + "(" + one.texts | join(", ") + ")" -%}
        {%- set all.texts = all.texts + [text] -%}
    {%- endfor -%}
    {{- "<|tool_call_start|>[" + all.texts | join(", ") + "]<|tool_call_end|>" -}}
{%- endmacro -%}
{%- set head = namespace(text="", last=-1) -%}
{%- if messages[0]["role"] == "system" -%}
    {%- if messages[0]["content"] is defined -%}
        {%- set head.text = body_text(messages[0]["content"]) -%}
    {%- endif -%}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {%- set head.text = head.text + ("\\n" if head.text else "") + DATE -%}
    {%- set head.text = head.text + "List of tools: " + (tools | tojson) -%}
{%- endif -%}
{%- if head.text -%}{{- "<|im_start|>system\\n" + head.text + "<|im_end|>\\n" -}}{%- endif -%}
{%- for message in messages -%}
    {%- if message["role"] == "user" -%}{%- set head.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" -}}
    {%- if message["role"] == "assistant" -%}
        {%- generation -%}
        {%- set keep = preserve_thinking or loop.index0 > head.last -%}
        {%- if message["thinking"] is defined and keep -%}
            {{- "<think>" + message["thinking"] + "</think>" -}}
        {%- endif -%}
        {%- if CALLS_FIRST and message["tool_calls"] is defined -%}
            {{- calls_text(message["tool_calls"]) -}}
        {%- endif -%}
        {%- if message["content"] is defined -%}
            {%- set body = body_text(message["content"]) -%}
            {%- if "</think>" in body and not keep -%}
                {%- set body = body.split("</think>")[-1] | trim -%}
            {%- endif -%}
            {{- body -}}
        {%- endif -%}
        {%- if not CALLS_FIRST and message["tool_calls"] is defined -%}
            {{- calls_text(message["tool_calls"]) -}}
        {%- endif -%}
        {{- "<|im_end|>\\n" -}}
        {%- endgeneration -%}
    {%- elif message["content"] is defined -%}
        {{- body_text(message["content"]) + "<|im_end|>\\n" -}}
    {%- endif -%}
{%- endfor -%}
"""
    + _GENERATION
)


def _a1b(prefill: str = "", date: str = '""', calls_first: bool = True) -> str:
    text = _A1B.replace("PREFILL", prefill).replace("DATE", date)
    return text.replace("CALLS_FIRST", "true" if calls_first else "false")


_TODAY = '"Today\'s date: " + strftime_now("%Y-%m-%d") + "\\n\\n"'

_XML = """{{- bos_token -}}
{%- for message in messages -%}
    {%- if message.role not in ["system", "user", "assistant", "tool"] -%}
        {{- raise_exception("Unknown role: " + message.role) -}}
    {%- endif -%}
    {{- "<|im_start|>" ~ message.role ~ "\\n" -}}
    {%- if message.role == "assistant" and message.reasoning_content -%}
        {{- "<think>\\n" ~ message.reasoning_content | trim ~ "\\n</think>\\n\\n" -}}
    {%- endif -%}
    {%- if message.content -%}{{- message.content | trim -}}{%- endif -%}
    {%- if message.role == "assistant" and message.tool_calls -%}
        {%- for call in message.tool_calls -%}
            {%- set call = call.function if call.function is defined else call -%}
            {{- "\\n<tool_call>\\n<function=" ~ call.name ~ ">\\n" -}}
            {%- for name, value in call.arguments.items() -%}
                {{- "<parameter=" ~ name ~ ">\\n" -}}
                {{- value if value is string else value | tojson -}}
                {{- "\\n</parameter>\\n" -}}
            {%- endfor -%}
            {{- "</function>\\n</tool_call>" -}}
        {%- endfor -%}
    {%- endif -%}
    {{- "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
    {%- if enable_thinking is defined and enable_thinking is false -%}
        {{- "<think>\\n\\n</think>\\n\\n" -}}
    {%- endif -%}
{%- endif -%}
"""

_DEFAULT_SYSTEM = """{{- bos_token -}}
{%- if messages[0].role != "system" -%}
    {{- "<|im_start|>system\\nYou are a helpful assistant trained by Liquid AI.<|im_end|>\\n" -}}
{%- endif -%}
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\\n" + message.content | trim + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}
"""

_JSON_CALLS = """{{- bos_token -}}
{%- if tools is not none -%}
    {{- "<|im_start|>system\\n" + (tools | tojson(indent=2)) -}}
    {{- "<|im_end|>\\n" -}}
{%- endif -%}
{%- for message in messages -%}
    {{- "<|im_start|>" + message.role + "\\n" -}}
    {%- if message.content -%}
        {{- message.content -}}
        {%- if message.tool_calls -%}{{- "\\n" -}}{%- endif -%}
    {%- endif -%}
    {%- for call in message.tool_calls or [] -%}
        {{- '<|tool_call_start|>{"name": ' + call.function.name | tojson + ', "arguments": ' -}}
        {{- call.function.arguments | tojson(sort_keys=true) + "}<|tool_call_end|>" -}}
    {%- endfor -%}
    {{- "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}
"""

VARIANTS = {
    **TEMPLATES,
    "wrapped tools and results": _LFM2,
    "thinking of the last answer": _INSTRUCT,
    "thinking since the last user": _a1b(),
    "prefilled": _a1b(prefill="<think>"),
    "dated": _a1b(date=_TODAY),
    "calls last": _a1b(calls_first=False),
    "XML calls": _XML,
    "default system prompt": _DEFAULT_SYSTEM,
    "JSON calls": _JSON_CALLS,
}
"""By what they do; the first four are those of the tests of tool calls."""
