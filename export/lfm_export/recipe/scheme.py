"""From the names of a recipe to the matrices of a model, and back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase

from ..architecture import Architecture
from ..checkpoint.base import quoted
from ..errors import ExportError
from ..quantize import Scheme
from ..weights import methods
from .groups import groups_of, linears_of

__all__ = ["formats_of", "recipe_of", "scheme_of"]

_EVERY = "*"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def formats_of(recipe: Mapping[str, str], architecture: Architecture, where: str) -> dict[str, str]:
    """Each matrix's format, by its tensor's name.

    Args:
        recipe: formats by name, of which later ones count more; see `file.py`.
        architecture: the model's.
        where: the recipe's place, for errors.

    Raises:
        ExportError: a key fits no matrix or says nothing, a matrix has no format, or matrices that
            operators take as one have several.
    """
    names = {linear.name: _names(linear.name, architecture) for linear in linears_of(architecture)}
    chosen = _chosen(recipe, names, where)
    for first, *others in groups_of(architecture):
        for other in others:
            one, two = (recipe[chosen[linear.name]] for linear in (first, other))
            if one != two:
                raise ExportError(
                    f"{where}: {names[first.name][0]} is {one} and {names[other.name][0]} is "
                    f"{two}, but the operators take them as one matrix; give them one format"
                )
    return {name: recipe[key] for name, key in chosen.items()}


def _chosen(
    recipe: Mapping[str, str], names: dict[str, tuple[str, ...]], where: str
) -> dict[str, str]:
    """The key that counts for each tensor, of which `names` has what a recipe calls it."""
    if len(recipe) > len(names):  # before every key is held to every name
        raise ExportError(
            f"{where}: {len(recipe)} names for {len(names)} matrices, so that some say nothing"
        )
    chosen: dict[str, str] = {}
    for key in recipe:
        fits = [name for name, known in names.items() if any(_fits(key, n) for n in known)]
        if not fits:
            example = next(reversed(names.values()))[0]
            raise ExportError(
                f"{where}: {quoted(key)} fits no matrix of this model, whose names are such as "
                f"{example}"
            )
        chosen |= dict.fromkeys(fits, key)
    for name, known in names.items():
        if name not in chosen:
            raise ExportError(
                f'{where}: says no format for {known[0]}; a first key "{_EVERY}" is for all others'
            )
    for key in recipe:
        if key not in chosen.values():
            raise ExportError(
                f"{where}: {quoted(key)} says nothing: later keys fit all that it fits"
            )
    return chosen


def scheme_of(formats: Mapping[str, str], architecture: Architecture) -> Scheme:
    """The scheme that gives every matrix its format; `linear` is that of most weights."""
    tables = {linear.name for linear in linears_of(architecture.embedding)}
    weights: Counter[str] = Counter()
    for linear in linears_of(architecture.layers):
        weights[formats[linear.name]] += linear.rows * linear.columns
    usual = max(sorted(weights), key=weights.__getitem__)
    head = formats[architecture.embedding.tokens.name]
    others = {
        name: format
        for name, format in formats.items()
        if format != (head if name in tables else usual)
    }
    return Scheme(usual, head, others)


def recipe_of(scheme: Scheme, architecture: Architecture) -> dict[str, str]:
    """The shortest recipe of a scheme: what most have, then whole kinds, then single layers."""
    formats = {
        _names(name, architecture)[0]: format
        for name, format in methods(architecture, scheme).items()
    }
    kinds: dict[str, dict[str, str]] = {}
    for name, format in formats.items():
        layer = re.sub(r"(?<=\.experts)\.\d+", f".{_EVERY}", name)  # all of a layer have one
        kinds.setdefault(_NUMBER.sub(_EVERY, name), {})[layer] = format
    recipe = {_EVERY: scheme.linear}
    for kind, layers in kinds.items():
        same = len(set(layers.values())) == 1
        keys = {kind: next(iter(layers.values()))} if same else layers
        recipe |= {name: format for name, format in keys.items() if format != scheme.linear}
    return recipe


def _names(name: str, architecture: Architecture) -> tuple[str, ...]:
    """What a recipe calls a tensor; an embedding that is the LM head too has both names."""
    short = name.removeprefix("model.").removesuffix(".weight")
    embedding = architecture.embedding
    tied = embedding.head is None and name == embedding.tokens.name
    return (short, "lm_head") if tied else (short,)


def _fits(key: str, name: str) -> bool:
    key = key.removeprefix("model.").removesuffix(".weight")
    return fnmatchcase(name, key) or fnmatchcase(name, f"{key}.*")
