"""Random JSON Schemas of the subset that docs/structured_output.md promises."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
NAMES = st.sampled_from(["a", "name", "n", "é", "a b", 'q"', "ü/x", "x1"])
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.sampled_from(["", "yes", 'a"\\b\n', "é😀"])
)


def _pair(low: str, high: str, most: int) -> st.SearchStrategy[Schema]:
    """Both limits, either, or none; the low one is not above the high one."""
    bounds = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    keep = st.sets(st.sampled_from([low, high]))
    return st.builds(
        lambda b, k: {n: v for n, v in zip((low, high), b, strict=True) if n in k}, bounds, keep
    )


STRINGS = st.one_of(
    _pair("minLength", "maxLength", 8),
    st.sampled_from(
        [
            {"pattern": r"^[a-z]{2,5}$"},
            {"pattern": r"\d+-[A-Z]?"},
            {"pattern": r"^(yes|no)"},
            {"pattern": r'^\w "\\$'},
            {"format": "date"},
            {"format": "time"},
            {"format": "date-time"},
            {"format": "uuid"},
            {"format": "email"},
            {"format": "ipv4"},
        ]
    ),
).map(lambda limits: {"type": "string", **limits})


@st.composite
def _numbers(draw: Any) -> Schema:
    kind = draw(st.sampled_from(["integer", "number"]))
    low, high = sorted(draw(st.tuples(st.integers(-500, 500), st.integers(-500, 500))))
    schema: Schema = {"type": kind}
    if draw(st.booleans()):
        schema["minimum" if draw(st.booleans()) else "exclusiveMinimum"] = low
    if draw(st.booleans()):
        schema["maximum" if draw(st.booleans()) else "exclusiveMaximum"] = high + 2
    if draw(st.integers(0, 3)) == 0:
        schema = {"type": "integer", "multipleOf": draw(st.sampled_from([2, 3, 5, 10]))}
    return schema


@st.composite
def _arrays(draw: Any, items: st.SearchStrategy[Schema]) -> Schema:
    schema: Schema = {"type": "array", **draw(_pair("minItems", "maxItems", 3))}
    if draw(st.booleans()):
        schema["items"] = draw(items)
    if draw(st.integers(0, 3)) == 0:
        schema["prefixItems"] = draw(st.lists(items, min_size=1, max_size=2))
        if draw(st.booleans()):
            schema["items"] = False
            schema.pop("minItems", None)
    return schema


@st.composite
def _objects(draw: Any, values: st.SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(NAMES, values, max_size=4))
    schema: Schema = {"type": "object", "properties": properties}
    if properties and draw(st.booleans()):
        schema["required"] = draw(
            st.lists(st.sampled_from(sorted(properties)), unique=True, max_size=3)
        )
    extra = draw(st.sampled_from(["none", "absent", "schema"]))
    if extra != "absent":
        schema["additionalProperties"] = False if extra == "none" else draw(values)
    if draw(st.integers(0, 5)) == 0:
        schema["patternProperties"] = {"^p_": draw(values)}
    return schema


def _unions(parts: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        parts.map(lambda part: {"oneOf": [part, {"type": "null"}]} if "type" in part else part),
        parts.map(lambda part: {"allOf": [part, {"title": "same"}]}),
        parts.map(lambda part: {"$ref": "#/$defs/part", "description": "x", "part": part}),
    )


_LEAVES: st.SearchStrategy[Schema] = st.one_of(
    STRINGS,
    _numbers(),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}]),
    SCALARS.map(lambda value: {"const": value}),
    st.lists(SCALARS, min_size=1, max_size=4, unique_by=repr).map(lambda values: {"enum": values}),
)
_TREES = st.recursive(
    _LEAVES, lambda parts: _arrays(parts) | _objects(parts) | _unions(parts), max_leaves=6
)


def _with_definitions(schema: Schema) -> Schema:
    """Moves the parts that `_unions` put beside a `$ref` to `$defs` of the root."""
    definitions: Schema = {}

    def move(value: Any) -> Any:
        if isinstance(value, list):
            return [move(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value and "part" in value:
            name = f"part{len(definitions)}"
            definitions[name] = None
            definitions[name] = move(value["part"])
            return {"$ref": f"#/$defs/{name}"}
        return {key: move(part) for key, part in value.items()}

    moved = move(schema)
    return {**moved, "$defs": definitions} if definitions else moved


SCHEMAS = _TREES.map(_with_definitions)
