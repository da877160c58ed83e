"""Finds the action by which a template writes a value, from what it wrote of some."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lfm_edge.errors import InvalidRequestError, TemplateError

from .probe import Failure, Observed
from .spelling import MISSING, Action, Spelling, kind_of, spell

__all__ = ["JSON_FORMS", "SAMPLES", "Observe", "Sample", "fit", "fit_parts", "fit_spelling"]

Observe = Callable[[Any], Observed | None]
"""What a template writes of a value; None where it writes nothing that counts."""
Sample = tuple[Any, Observed | None]

_RICH = "b\u00e9 '\" <&> \\ {x} \U0001f600\u2028\tz\x7f"
_DEEP = {
    "zx": [1, -2.5, None, True, {"b": _RICH, "a": []}],
    "\u00e4'": {"q": "it's", "p": {}},
    "Ay": 1e-7,
}
_THINK_END = "</think>"
SAMPLES: dict[str, list[Any]] = {
    "str": [
        "Zqsjx",
        f"  \n {_RICH}\n \t",
        f"Zq1jx{_THINK_END}\n\n Zq2jx{_THINK_END} \nZq3jx \n",
        _RICH,
    ],
    "int": [73251, 0, -4],
    "float": [2.5, 0.0, 1e22],
    "bool": [True, False],
    "null": [None],
    "list": [["Zqsjx", "a'b"], [_DEEP, _RICH, None], []],
    "dict": [{"zk": "Zqsjx", "ak": 1}, _DEEP, {}],
    "missing": [MISSING],
}
"""Values of each kind, the first one such that its text shows what stands around it."""

JSON_FORMS: list[dict[str, Any]] = [
    {
        "as": "json",
        **({"ascii": True} if ascii_only else {}),
        **({} if indent is None else {"indent": indent}),
        **({} if separators is None else {"separators": list(separators)}),
        **({"sorted": True} if ordered else {}),
    }
    for indent, separators, ascii_only, ordered in itertools.product(
        (None, 2, 4, 1),
        (None, (",", ":"), (", ", ":"), (",", ": "), (", ", ": ")),
        (False, True),
        (False, True),
    )
]


def fit_spelling(observe: Observe, kinds: Sequence[str]) -> Spelling:
    """How values of these kinds are written; a kind that none of the actions explains is left out.

    Args:
        observe: what the template writes of a value.
        kinds: the kinds to ask for.
    """
    spelling: Spelling = {}
    for kind in kinds:
        samples = [(value, observe(value)) for value in SAMPLES[kind]]
        action = fit(samples, _candidates(kind))
        if action is not None:
            spelling[kind] = action
    return _with_default(spelling)


def _with_default(spelling: Spelling) -> Spelling:
    """The same, with the commonest action for what is not text as that of all others."""
    rest = [action for kind, action in spelling.items() if kind not in ("str", "missing")]
    if len(rest) < 4 or any(action != rest[0] for action in rest):
        return spelling
    kept: Spelling = {kind: spelling[kind] for kind in ("str", "missing") if kind in spelling}
    return {**kept, "*": rest[0]}


def fit(samples: Sequence[Sample], candidates: Iterator[dict[str, Any]]) -> Action | None:
    """The first action that explains all samples, or a constant, or an error; None if none does."""
    samples = [sample for sample in samples if sample[1] is not None]
    results = [observed for _, observed in samples]
    if not results:
        return None
    if isinstance(results[0], Failure):
        same = results[0].is_error and all(result == results[0] for result in results)
        return results[0].action() if same else None
    texts = [result for result in results if isinstance(result, str)]
    if len(texts) < len(results):
        return None
    for candidate in candidates:
        if _explains(candidate, samples):
            return candidate
        wrapped = _wrapped(candidate, samples[0])
        if wrapped and _explains(wrapped, samples):
            return wrapped
    return texts[0] if len(set(texts)) == 1 else None


def _written(action: Action, value: Any) -> str | None:
    try:
        return spell({kind_of(value): action}, value, False, "").text
    except (TemplateError, InvalidRequestError):
        return None


def _explains(action: Action, samples: Sequence[Sample]) -> bool:
    return all(_written(action, value) == observed for value, observed in samples)


def _wrapped(action: dict[str, Any], sample: Sample) -> dict[str, Any] | None:
    """The action with what stands around its text in the sample."""
    value, observed = sample
    text = _written(action, value)
    if not text or not isinstance(observed, str) or observed.count(text) != 1:
        return None
    before, after = observed.split(text)
    return {
        **action,
        **({"before": before} if before else {}),
        **({"after": after} if after else {}),
    }


def _candidates(kind: str) -> Iterator[dict[str, Any]]:
    if kind == "missing":
        return  # nothing, or a constant
    yield {"as": "text"}
    yield from _trims({"as": "text"}, "trim")
    if kind == "str":
        yield {"as": "json"}
        yield {"as": "json", "ascii": True}
        yield {"as": "repr"}
        for name in ("after_last", "after_first"):
            for action in ({"as": "text"}, *_trims({"as": "text"}, "then_trim")):
                cut = {**action, name: _THINK_END}
                yield cut
                if "trim_characters" not in cut:
                    for where in ("both", "left", "right"):
                        yield {**cut, "trim": where}
    else:
        yield from (JSON_FORMS if kind in ("list", "dict") else JSON_FORMS[:1])
    if kind == "dict":  # its names, one after the other
        yield {"as": "each", "item": {"str": {"as": "text"}}}
        yield {"as": "each", "item": {"str": {"as": "json"}}}


def _trims(action: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    for characters, where in itertools.product((None, "\n"), ("both", "left", "right")):
        yield {**action, name: where, **({"trim_characters": characters} if characters else {})}


def fit_parts(observe: Observe, types: Sequence[str]) -> Action | None:
    """How a list of parts is written, as OpenAI's clients send content.

    Args:
        observe: what the template writes of a list.
        types: types that a part may have, besides "text".
    """
    lists = [[_text("Zq1jx"), _text(_RICH)], [_text("Zq1jx"), {"type": "image", "n": None}], []]
    samples = [(value, observe(value)) for value in lists]
    if whole := fit(samples, iter([{"as": "text"}, *_trims({"as": "text"}, "trim"), *JSON_FORMS])):
        return _with_cut(whole, observe) if isinstance(whole, dict) and "as" in whole else whole
    two = observe([_text("Zq1jx"), _text("Zq2jx")])
    if not isinstance(two, str) or two.count("Zq1jx") != 1 or two.count("Zq2jx") != 1:
        return None
    before, rest = two.split("Zq1jx")
    separator, after = rest.split("Zq2jx")
    action: dict[str, Any] = {"as": "each", "item": {}, "separator": separator}
    action |= {name: text for name, text in (("before", before), ("after", after)) if text}

    def part(value: Any) -> Observed:
        text = observe([value])
        if text is None:
            return Failure("")
        if isinstance(text, Failure):
            return text
        fits = text.startswith(before) and text.endswith(after)
        return text[len(before) : len(text) - len(after)] if fits else Failure(text)

    item = _fit_part(part, types)
    if item is None:
        return None
    action["item"] = {"dict": item}
    text = fit([(value, part(value)) for value in SAMPLES["str"]], _candidates("str"))
    if text is not None:
        action["item"]["str"] = text
    if not separator:
        del action["separator"]
    return _with_cut(action, observe)


def _with_cut(action: dict[str, Any], observe: Observe) -> Action | None:
    """The action with what is done to the parts' text as a whole: trimmed, or cut at a marker."""
    values = [[_text(text), _text(f" {text}")] for text in SAMPLES["str"]]
    values += [[_text("  Zq1jx"), _text("\n")], []]
    samples = [(value, observe(value)) for value in values]
    wholes = (whole for whole in _candidates("str") if whole["as"] == "text")
    return fit(samples, ({**action, **whole, "as": action["as"]} for whole in wholes))


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _fit_part(part: Observe, types: Sequence[str]) -> Action | None:
    """How one part is written, which may depend on its type."""

    def member(value: Any) -> Observed | None:
        return part({"type": "text"} if value is MISSING else {"type": "text", "text": value})

    spelling: Spelling = {}
    for kind in ("str", "missing", "null"):
        action = fit([(value, member(value)) for value in _PART_SAMPLES[kind]], _candidates(kind))
        if action is not None:
            spelling[kind] = action
    if "str" not in spelling:
        return None
    text: dict[str, Any] = {"as": "pieces", "pieces": [{"member": "text", "spell": spelling}]}
    found: dict[str, Action] = {}
    for kind in dict.fromkeys(["Zqtypejx", "image", *types]):
        parts = [
            {"type": kind, "text": "Zq1jx", "url": "Zq2jx"},
            {"type": kind, "url": ["Zq2jx", None]},
        ]
        samples = [(value, part(value)) for value in parts]
        action = fit(samples, iter([text, {"as": "text"}, *JSON_FORMS]))
        if action is None:
            return None
        found[kind] = action
    other = found.pop("Zqtypejx")
    differing = {kind: action for kind, action in found.items() if action != other}
    if other == text and not differing:
        return text
    return {"as": "typed", "types": {"text": text, **differing}, "else": other}


_PART_SAMPLES: dict[str, list[Any]] = {
    "str": ["Zqsjx", f"  \n {_RICH}\n \t", _RICH],
    "missing": [MISSING],
    "null": [None],
}
