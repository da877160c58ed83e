"""docs/api says what the docstrings say, and these leave nothing out."""

from __future__ import annotations

import pytest

from tools.write_api_reference import FOLDER, Item, attributes_of, methods_of, pages, public

ITEMS = [pytest.param(i, id=f"{module.path}.{i.name}") for module, items in public() for i in items]


def test_the_pages_are_those_of_the_docstrings() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert found == pages(), "docs/api is stale; run `make api`"


@pytest.mark.parametrize("item", ITEMS)
def test_every_argument_and_attribute_is_described(item: Item) -> None:
    attributes = attributes_of(item) if item.is_class else {}
    assert [name for name, (_, text) in attributes.items() if not text] == []
    for called in [item, *(methods_of(item) if item.is_class else ())]:
        assert called.docstring is not None, called.path
        text = called.docstring.value
        described = [*attributes, *(entry.strip() for entry in text.splitlines())]
        for parameter in [] if called.is_attribute else called.parameters:
            name = parameter.name
            if name not in {"self", "cls"} and not name.startswith("_"):
                named = any(d == name or d.lstrip("*").startswith(f"{name}:") for d in described)
                assert named or f"`{name}" in text, f"{called.path}: {name}"
