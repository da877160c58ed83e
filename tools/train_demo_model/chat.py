"""Chat examples made from documented functions, so that the chat markers get trained."""

import ast
import textwrap
import zlib
from collections.abc import Iterator

from .corpus import Document

Message = dict[str, str]
Conversation = list[Message]

SYSTEM = "You are a helpful assistant that writes Python."
_REQUESTS = (
    "Write a Python function {name}: {purpose}",
    "Write a Python function `{name}`: {purpose}",
    "Write a Python function: {purpose}",
    "Please write {name} in Python. {purpose}",
)
_MIN_CHARACTERS, _MAX_CHARACTERS = 120, 1500
_SMALL_TALK_REPEATS = 40
_SMALL_TALK = (
    ("Hello!", "A greeting.", "Hello! Ask me for a Python function."),
    ("Hi", "A greeting.", "Hello! Ask me for a Python function."),
    ("Hello, how are you?", "A greeting.", "I am fine. Ask me for a Python function."),
    (
        "Who are you?",
        "A question about me.",
        "I am a very small demo model. I was trained on Python code and know little else.",
    ),
    (
        "What can you do?",
        "A question about me.",
        "I can write short Python functions. I am very small, so check what I write.",
    ),
    ("What is Python?", "A question.", "Python is a programming language."),
    ("Thank you!", "Thanks.", "You are welcome."),
    ("Thanks", "Thanks.", "You are welcome."),
    ("Goodbye", "A farewell.", "Goodbye!"),
)


def conversations(documents: list[Document], share: float) -> list[Conversation]:
    """Chat examples with about `share` of the characters of `documents`, in a fixed order."""
    budget = share * sum(len(text) for _, text in documents)
    examples = [example for name, text in documents for example in _from_file(name, text)]
    examples.sort(key=lambda example: zlib.crc32(repr(example).encode()))
    chosen = [small_talk(*row) for row in _SMALL_TALK for _ in range(_SMALL_TALK_REPEATS)]
    for example in examples:
        if budget <= 0:
            break
        chosen.append(example)
        budget -= sum(len(part) for message in example for part in message.values())
    return chosen


def small_talk(request: str, thinking: str, answer: str) -> Conversation:
    """A short exchange that is not about code."""
    return [
        {"role": "user", "content": request},
        {"role": "assistant", "thinking": thinking, "content": answer},
    ]


def _from_file(name: str, text: str) -> Iterator[Conversation]:
    """One example per function of a file that has a docstring and a handy length."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # the file lost lines that held-out text has too
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
            example = _from_function(name, lines, node)
            if example:
                yield example


def _from_function(file: str, lines: list[str], node: ast.FunctionDef) -> Conversation | None:
    docstring = ast.get_docstring(node)
    source = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])).rstrip()
    if not docstring or not _MIN_CHARACTERS <= len(source) <= _MAX_CHARACTERS:
        return None
    purpose = docstring.splitlines()[0].strip()
    if len(purpose) < 12:
        return None
    choice = zlib.crc32(f"{file} {node.name}".encode())
    request = _REQUESTS[choice % len(_REQUESTS)].format(name=node.name, purpose=purpose)
    plan = f"Define {node.name}({ast.unparse(node.args)}). {purpose}"
    messages = [{"role": "system", "content": SYSTEM}] if choice % 3 == 0 else []
    return [
        *messages,
        {"role": "user", "content": request},
        {"role": "assistant", "thinking": plan, "content": f"```python\n{source}\n```"},
    ]
