"""Formats chosen by damage: the knapsack, what is measured, and the bundle that comes of it."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.errors import LfmError
from lfm_export.architecture import Architecture, Linear, describe
from lfm_export.auto.budget import LADDER, Group, measured_groups, without_needless
from lfm_export.auto.knapsack import _budgets, choose
from lfm_export.auto.measure import MeasureWalk
from lfm_export.checkpoint import open_checkpoint
from lfm_export.recipe import formats_of
from lfm_export.walk import Sequences, SourceWeights, WalkFolder
from transformers import PreTrainedModel

from tests.support import (
    DEMO_MODEL,
    dequantized,
    export,
    load_truth,
    logits_of,
    random_model,
    saved,
    tiny_moe,
)

TEXT = Sequences(tuple(np.random.default_rng(5).integers(0, 320, 40) for _ in range(3)))
SILENT = "model.layers.2.conv.out_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny mixture of experts that reads text."""
    config = tiny_moe(
        vocab_size=4096,
        num_hidden_layers=2,
        layer_types=["conv", "full_attention"],
        num_experts=4,
    )
    folder = saved(random_model(config), tmp_path_factory.mktemp("auto") / "source")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO_MODEL / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of which one matrix is all zeros."""
    model = random_model(tiny_moe(num_experts=4))
    with torch.no_grad():
        dict(model.named_parameters())[SILENT].zero_()
    return saved(model, tmp_path_factory.mktemp("silent") / "source")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(f"def f{i}(x): return {i} * x + {i * i}" for i in range(60)))
    return path


# The knapsack.


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Group], dict[str, float]]:
    """A table, and others of few or many weights, each of some damage."""
    found, damages = [], {}
    for index in range(draw(st.integers(2, 6))):
        rows, columns = draw(st.integers(1, 40)), draw(st.sampled_from([64, 64, 32]))
        read = draw(st.sampled_from([1.0, 1.0, 0.25]))
        name = f"m{index}"
        found.append(Group((Linear(name, rows, columns),), 1.0 if index == 0 else read, index == 0))
        damages[name] = draw(st.sampled_from([0.0, 1e-9, 0.5, 1.0, 1.0, 3.0, 10.0]))
    return found, damages


BITS = {"q4_64": 4.25, "q4": 4.5, "q6": 6.5, "q8": 8.5}
LEFT = {"q4_64": 1.23, "q4": 1, "q6": 1 / 16, "q8": 1 / 256}


def saved_by(chosen: Sequence[str], some: list[Group], damages: dict[str, float]) -> float:
    """Of what the first format that a group takes does."""
    return sum(
        damages[group.linears[0].name] * (1 - LEFT[format] / LEFT[group.formats[0]])
        for format, group in zip(chosen, some, strict=True)
    )


@settings(deadline=None, max_examples=60)
@given(groups(), st.floats(4.0, 9.0), st.floats(0.0, 2.0))
def test_the_budget_is_kept_and_more_is_never_worse(
    made: tuple[list[Group], dict[str, float]], bits: float, further: float
) -> None:
    some, damages = made
    chosen = choose(some, damages, bits)
    assert chosen == choose(list(some), dict(reversed(damages.items())), bits)
    bits_of = [BITS[format] for format in chosen]
    layers = [(i, group) for i, group in enumerate(some) if not group.is_table]
    size = sum(b * g.weights for b, g in zip(bits_of, some, strict=True))
    least = sum(BITS[g.formats[0]] * g.weights for g in some)
    allowed = 8.5 * some[0].weights + bits * sum(g.weights for _, g in layers)
    assert size <= max(allowed, least) + 1e-6
    read = sum(b * g.read * g.weights for b, g in zip(bits_of, some, strict=True))
    active = max(
        bits * sum(g.read * g.weights for _, g in layers),
        sum(BITS[g.formats[0]] * g.read * g.weights for _, g in layers),
    )
    assert read <= 8.5 * some[0].weights + active + 1e-6
    larger = choose(some, damages, bits + further)
    assert saved_by(larger, some, damages) >= saved_by(chosen, some, damages)


@settings(deadline=None, max_examples=60)
@given(groups(), st.floats(4.0, 9.0))
def test_it_comes_near_the_best(made: tuple[list[Group], dict[str, float]], bits: float) -> None:
    """Greedy choices, one group before them, save at least half of what the best one does."""
    some, damages = made
    bits = np.floor(bits * 64) / 64
    bits = min(bits, 8.5)
    layers = [g for g in some if not g.is_table]
    size = 8.5 * some[0].weights + bits * sum(g.weights for g in layers)
    read = 8.5 * some[0].weights + max(
        bits * sum(g.read * g.weights for g in layers),
        sum(BITS[g.formats[0]] * g.read * g.weights for g in layers),
    )
    best = 0.0
    for chosen in itertools.product(*(group.formats for group in some)):
        taken = [BITS[format] * g.weights for format, g in zip(chosen, some, strict=True)]
        if sum(taken) > size + 1e-9:
            continue
        if sum(g.read * t for t, g in zip(taken, some, strict=True)) > read + 1e-9:
            continue
        best = max(best, saved_by(chosen, some, damages))
    assert saved_by(choose(some, damages, bits), some, damages) >= 0.5 * best


def test_where_there_is_room_for_q4_it_is_the_least() -> None:
    groups = measured_groups(describe(tiny_moe().to_dict()))
    for bits, least in ((4.25, "q4_64"), (4.49, "q4_64"), (4.5, "q4"), (8.0, "q4")):
        begun = without_needless(groups, bits)
        assert [group.linears for group in begun] == [group.linears for group in groups]
        assert min(LADDER.index(group.formats[0]) for group in begun) == LADDER.index(least)


def test_tables_that_outweigh_the_layers_leave_few_budgets_to_try() -> None:
    some = [
        Group((Linear("table", 1 << 20, 64),), 1.0, True),
        Group((Linear("layer", 32, 64),), 1.0, False),
    ]
    damages = {"table": 1.0, "layer": 0.1}
    least = 4.25 - 4.25 * (1 << 15)
    assert len(_budgets(some, 8.5)) == 545
    assert choose(some, damages, 8.5) == ["q8", "q8"]
    assert choose(some, damages, 4.25) == ["q6", "q8"]
    assert choose(some, damages, least / 4) == ["q6", "q8"]
    assert choose(some, damages, least * 15 / 16) == ["q4", "q4_64"]
    assert choose(some, damages, least) == ["q4_64", "q4_64"]


def test_a_little_above_the_fewest_bits_goes_to_groups_of_32() -> None:
    """Below 4.5 bits there is nothing else to give."""
    some = [Group((Linear(f"m{i}", 64, 64),), 1.0, i == 0) for i in range(9)]
    damages = {f"m{i}": 1.0 + i / 100 for i in range(9)} | {"m0": 100.0}
    chosen = choose(some, damages, 4.375)
    assert chosen == ["q8", *["q4_64"] * 4, *["q4"] * 4]


def test_what_has_no_whole_groups_of_64_begins_with_32() -> None:
    some = [Group((Linear(f"m{i}", 64, size),), 1.0, i == 0) for i, size in enumerate((64, 96))]
    assert [group.formats[0] for group in some] == ["q4_64", "q4"]
    assert choose(some, {"m0": 1.0, "m1": 1.0}, -1.0) == ["q4_64", "q4"]


# What is measured.


def damages_of(
    source: Path, folder: Path, names: set[str] | None = None, stop_after: int | None = None
) -> dict[str, float]:
    """By a group's first matrix; of those named alone, and killed after so many amounts."""
    amounts = 0

    def progress(amount: int) -> None:
        nonlocal amounts
        amounts += 1
        if amounts == stop_after:
            raise InterruptedError

    with open_checkpoint(str(source)) as checkpoint:
        architecture = describe(checkpoint.config)
        some = measured_groups(architecture)
        some = [g for g in some if names is None or g.linears[0].name in names]
        some.sort(key=lambda group: group.linears[0].name == "lm_head.weight")
        with WalkFolder.open(folder, "a", TEXT.tokens, architecture.hidden_size) as place:
            walk = MeasureWalk(architecture, TEXT, place, SourceWeights(checkpoint), some, progress)
            values = walk.divergences(walk.run())
    return {g.linears[0].name: value for g, value in zip(some, values, strict=True)}


def divergence(truth: PreTrainedModel, other: PreTrainedModel) -> float:
    found = []
    for ids in TEXT.ids:
        p, q = (
            torch.log_softmax(torch.from_numpy(logits_of(model, ids)).double(), -1)
            for model in (truth, other)
        )
        found.append((p.exp() * (p - q)).sum(-1)[:-1])
    return float(torch.cat(found).mean())


def test_lanes_are_apart_from_each_other(silent: Path, tmp_path: Path) -> None:
    damages = damages_of(silent, tmp_path / "all")
    assert damages.keys() == {g.linears[0].name for g in measured_groups(architecture_of(silent))}
    assert damages.pop(SILENT) == 0
    assert damages.pop(SILENT.replace("out_proj", "in_proj")) == 0  # whose outputs it drops
    assert min(damages.values()) > 0
    some = {
        "model.layers.1.self_attn.q_proj.weight",
        "model.layers.2.feed_forward.experts.0.w1.weight",
    }
    alone = damages_of(silent, tmp_path / "alone", some)
    assert alone == {name: damages[name] for name in alone}


def test_a_damage_is_that_of_the_rounded_model(tmp_path: Path) -> None:
    """By transformers: an embedding apart from the head is rounded by itself."""
    source = saved(random_model(tiny_moe(tie_word_embeddings=False)), tmp_path / "source")
    table = "model.embed_tokens.weight"
    damages = damages_of(source, tmp_path / "walk", {table, "lm_head.weight"})
    rounded = dequantized(source, "f32", None, {table: "q4_64"})
    truth = load_truth(source)
    assert damages[table] == pytest.approx(divergence(truth, rounded), rel=1e-3)
    head = dequantized(source, "f32", None, {"lm_head.weight": "q4_64"})
    assert 0 < damages["lm_head.weight"] < divergence(truth, head)


def architecture_of(source: Path) -> Architecture:
    with open_checkpoint(str(source)) as checkpoint:
        return describe(checkpoint.config)


def test_a_killed_measurement_goes_on_to_the_same_damages(silent: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        damages_of(silent, tmp_path / "killed", stop_after=9)
    assert damages_of(silent, tmp_path / "killed") == damages_of(silent, tmp_path / "whole")


# The bundle.


def bytes_of(folder: Path) -> int:
    return (folder / "model.onnx.data").stat().st_size


def test_auto_takes_no_more_than_plain_q4(source: Path, text: Path, tmp_path: Path) -> None:
    plain = export(source, tmp_path / "plain")
    state = tmp_path / "state"
    options: dict[str, Any] = {"calibrate": text, "state": state}
    auto = export(source, tmp_path / "auto", quant="auto", bits=4.5, **options)
    assert bytes_of(auto.folder) <= bytes_of(plain.folder)
    assert "q6" in {f.name for f in auto.manifest.quantization.formats}
    assert (state / "measure" / "damages.npz").exists()
    assert not list((state / "measure").glob("*.f32"))
    other = export(source, tmp_path / "gguf", target="gguf", quant="auto", bits=4.5, **options)
    assert other.manifest.quantization.recipe == auto.manifest.quantization.recipe
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(auto.manifest.quantization.recipe))
    again = export(source, tmp_path / "again", recipe=recipe, **options)
    assert again.manifest == auto.manifest


def test_what_was_measured_does_not_outlive_the_export(
    source: Path, text: Path, tmp_path: Path
) -> None:
    """What stays beside the bundle would stand in the way of another text."""
    export(source, tmp_path / "out", quant="auto", bits=4.5, calibrate=text)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_size_is_kept_and_used(source: Path, tmp_path: Path) -> None:
    with pytest.raises(LfmError) as error:
        export(source, tmp_path / "out", quant="auto", size="0.1MB")
    least = str(error.value).split()[-1]  # the one that is named suffices
    eights: list[int] = []
    for size in (least, "0.4MB", "9MB"):
        bundle = export(source, tmp_path / "out", quant="auto", size=size)
        assert bytes_of(bundle.folder) <= float(size[:-2]) * 1e6
        recipe = bundle.manifest.quantization.recipe
        assert recipe is not None
        found = formats_of(recipe, architecture_of(source), "here")
        eights.append(sum(format == "q8" for format in found.values()))
    assert eights == sorted(eights)
    assert eights[0] < eights[2] == len(found)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quant": "auto"}, "expected --bits N"),
        ({"quant": "auto", "bits": 4.5, "size": "4GB"}, "not both"),
        ({"quant": "auto", "bits": float("nan")}, "--bits nan: expected a number"),
        ({"quant": "auto", "size": "4.8"}, "--size 4.8: expected a size such as"),
        ({"quant": "auto", "size": "0.1MB"}, r"q4_64 throughout, the least, is 0\.\d+MB"),
        ({"quant": "auto", "bits": 4.5, "head": "q8"}, "auto chooses the head's format"),
        ({"bits": 4.5}, "--bits 4.5: goes with --quant auto"),
        ({"quant": "q8", "size": "1GB"}, "--size 1GB: goes with --quant auto"),
    ],
)
def test_a_wrong_budget_is_refused_in_one_line(
    source: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(LfmError, match=says) as error:
        export(source, tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_fewer_bits_than_there_are_formats_for_are_refused(silent: Path, tmp_path: Path) -> None:
    with pytest.raises(LfmError, match="--bits 3: q4_64 throughout, the least, is") as error:
        export(silent, tmp_path / "out", quant="auto", bits=3.0)
    least = float(str(error.value).split()[-1])
    bundle = export(silent, tmp_path / "out", quant="auto", bits=least)
    formats = [format.name for format in bundle.manifest.quantization.formats]
    assert formats == ["q4", "q4_64"]  # some have no whole groups of 64


def test_integers_are_not_chosen_again(source: Path, tmp_path: Path) -> None:
    gguf = export(source, tmp_path / "gguf", target="gguf").graph_path
    with pytest.raises(LfmError, match="is integers already"):
        export(gguf, tmp_path / "out", quant="auto", bits=4.5)
