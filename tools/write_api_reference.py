"""Writes docs/api from the docstrings of the public names: `python -m tools.write_api_reference`.

It reads the sources and imports nothing, so it writes the same on every version of Python.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import griffe
from griffe import DocstringSectionKind, ExprSubscript, ExprTuple, ParameterKind

__all__ = ["FOLDER", "attributes_of", "methods_of", "pages", "public"]

Item = griffe.Alias
"""Whatever griffe finds: an alias has the attributes of every kind of object."""

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "api"
_MODULES = {
    "lfm_edge": None,
    "lfm_edge.chat": None,
    "lfm_edge.structured": None,
    "lfm_edge.agent": None,
    "lfm_edge.hf": None,
    "lfm_edge.sampling": ["Sampler"],
    "lfm_edge.tokenizer": ["Detokenizer", "Tokenizer"],
    "lfm_edge.server.app": None,
}
"""The documented modules, and which of their names; None: those of `__all__`."""
_OWN_BASES = ("Answer", "RequestMaker", "SessionMaker", "Pieces", "msgspec.Struct", "TypedDict")
"""Bases that a page does not name: what they have is shown as the class's own."""
_LISTS = {
    DocstringSectionKind.parameters: "Arguments",
    DocstringSectionKind.raises: "Raises",
}
_DECORATORS = ("classmethod", "staticmethod", "contextmanager")
"""Those that change how a function is called."""
_WIDTH = 88


def public() -> Iterator[tuple[Item, list[Item]]]:
    """The documented modules and their names: functions, classes, types, then errors."""
    logging.getLogger("griffe").setLevel(logging.ERROR)  # it asks for types within docstrings
    package = griffe.load(
        "lfm_edge",
        search_paths=[ROOT / "sdk_python"],
        docstring_parser="google",
        resolve_aliases=True,
    )
    for path, chosen in _MODULES.items():
        module = cast(Item, package.modules_collection[path])
        names = sorted(map(str, chosen or module.exports or ()))
        yield module, sorted((_named(module, name) for name in names), key=_place)


def pages() -> dict[str, str]:
    """The reference: file names in docs/api, and what each holds."""
    index = ["# API reference", "", "Written by `make api` from the docstrings.", ""]
    found = {}
    for module, items in public():
        page = f"{module.path}.md"
        index += [f"## [`{module.path}`]({page})", "", _summary(module), ""]
        index += [f"- [`{i.name}`]({page}#{i.name.lower()}): {_summary(i)}" for i in items]
        index.append("")
        lines = [f"# `{module.path}`", "", *_docstring(module)]
        for item in items:
            lines += _item(item)
        found[page] = _text(lines)
    return {"README.md": _text(index), **found}


def methods_of(item: Item) -> list[Item]:
    """The public methods of a class, with those of bases in the package."""
    return [member for member in _members(item) if member.is_function]


def attributes_of(item: Item) -> dict[str, tuple[str, str]]:
    """The type and the description of a class's public attributes."""
    listed = {
        entry.name: entry.description
        for section in (item.docstring.parsed if item.docstring else ())
        if section.kind is DocstringSectionKind.attributes
        for entry in section.value
    }
    found = {}
    for member in _members(item):
        if not member.is_function:
            own = member.docstring.value if member.docstring else ""
            found[member.name] = (_type(member), listed.get(member.name, own))
    return found


def _type(attribute: Item) -> str:
    found = attribute.annotation
    if isinstance(found, ExprSubscript) and str(found.left) == "Annotated":
        assert isinstance(found.slice, ExprTuple)
        found = found.slice.elements[0]
    return str(found or "")


def _named(module: Item, name: str) -> Item:
    found = module[name]
    return cast(Item, found[name] if found.is_module else found)  # `verify` is in a file so called


def _place(item: Item) -> int:
    if item.name.endswith("Error"):
        return 3
    return 0 if item.is_function else 1 if item.is_class else 2


def _members(item: Item) -> list[Item]:
    """With those of bases that have no place of their own."""
    hidden = any(str(base).startswith(_OWN_BASES) for base in item.bases)
    members = {**(item.inherited_members if hidden else {}), **item.members}
    return [cast(Item, member) for name, member in members.items() if not name.startswith("_")]


def _item(item: Item) -> Iterator[str]:
    yield from [f"## {item.name}", ""]
    if item.is_attribute:
        yield from _code(f"{item.name} = {item.value}")
    elif item.parameters:  # errors and typed dictionaries have none
        yield from _code(_signature(item))
    bases = [str(base) for base in item.bases] if item.is_class else []
    if own := [f"`{base}`" for base in bases if not base.startswith(_OWN_BASES)]:
        yield from [f"A kind of {' and '.join(own)}.", ""]
    yield from _docstring(item)
    if not item.is_class:
        return
    described = attributes_of(item)
    yield from ["**Attributes**", ""] if described else []
    for name, (kind, text) in described.items():
        yield f"- `{name}`" + (f" (`{kind}`)" if kind else "") + f": {_indented(text)}"
    yield from [""] if described else []
    for method in methods_of(item):
        yield from [f"### {item.name}.{method.name}", ""]
        yield from _code(_signature(method))
        yield from _docstring(method)


def _signature(item: Item) -> str:
    parts = []
    for parameter in item.parameters:
        if parameter.name in {"self", "cls"} or parameter.name.startswith("_"):
            continue
        if parameter.kind is ParameterKind.keyword_only and "*" not in parts:
            parts.append("*")
        stars = {ParameterKind.var_positional: "*", ParameterKind.var_keyword: "**"}
        star = stars.get(parameter.kind, "") if parameter.kind else ""
        part = f"{star}{parameter.name}"
        part += f": {parameter.annotation}" if parameter.annotation else ""
        given = parameter.default is not None and not star
        parts.append(f"{part} = {parameter.default}" if given else part)
    returns = f" -> {item.returns}" if item.is_function and item.returns else ""
    decorators = {str(each.value) for each in item.decorators} if item.is_function else set()
    above = "".join(f"@{name}\n" for name in _DECORATORS if name in decorators)
    line = f"{item.name}({', '.join(parts)}){returns}"
    if len(line) > _WIDTH:
        line = "\n".join([f"{item.name}(", *(f"    {part}," for part in parts), f"){returns}"])
    return above + line


def _docstring(item: Item) -> Iterator[str]:
    for section in item.docstring.parsed if item.docstring else ():
        if section.kind is DocstringSectionKind.text:
            yield from [section.value, ""]
        elif section.kind is DocstringSectionKind.returns:
            yield from [f"**Returns** {_indented(section.value[0].description)}", ""]
        elif section.kind in _LISTS:
            yield from [f"**{_LISTS[section.kind]}**", ""]
            for entry in section.value:
                name = getattr(entry, "name", None) or entry.annotation
                yield f"- `{name}`: {_indented(entry.description)}"
            yield ""


def _code(text: str) -> list[str]:
    return ["```python", text, "```", ""]


def _indented(text: str) -> str:
    return "\n  ".join(line.strip() for line in text.strip().splitlines())


def _summary(item: Item) -> str:
    """The first paragraph of a docstring, in one line."""
    text = item.docstring.value.partition("\n\n")[0] if item.docstring else ""
    return " ".join(text.split())


def _text(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Writes every page, and deletes what is none."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for old in {path.name for path in FOLDER.iterdir()} - written.keys():
        (FOLDER / old).unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
