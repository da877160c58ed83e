"""Recipes: names to formats and back, mixed formats in every target, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lfm_edge.bundle import MANIFEST, Bundle
from lfm_edge.errors import LfmError
from lfm_edge.verify import verify
from lfm_export.architecture import Architecture, describe
from lfm_export.checkpoint import open_checkpoint
from lfm_export.evaluate.stored import StoredWeights
from lfm_export.quantize import METHODS
from lfm_export.recipe import formats_of, groups_of, linears_of, recipe_of, scheme_of
from lfm_export.weights import methods
from safetensors.numpy import load_file

from tests.support import (
    dequantized,
    export,
    logits_of,
    random_model,
    saved,
    tiny_dense,
    tiny_moe,
)

MIXED = {
    "*": "q4",
    "lm_head": "q8",
    "*.self_attn": "q8",
    "layers.2.conv.out_proj": "q8",
    "model.layers.0.feed_forward.w2.weight": "q8",
    "layers.3.feed_forward.experts": "q8",
}
WITH_FLOATS = MIXED | {"layers.0.conv.in_proj": "f32", "layers.1.feed_forward": "f32"}


def architecture_of(**changes: Any) -> Architecture:
    return describe(tiny_moe(**changes).to_dict())


ARCHITECTURES = {
    "moe": architecture_of(),
    "untied": architecture_of(tie_word_embeddings=False),
    "dense": describe(tiny_dense().to_dict()),
    "many layers": architecture_of(
        num_hidden_layers=11, layer_types=["conv", *["conv", "full_attention"] * 5], num_experts=4
    ),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(random_model(tiny_moe()), tmp_path_factory.mktemp("recipe") / "source")


def written(folder: Path, recipe: object) -> Path:
    path = folder / "recipe.json"
    path.write_text(recipe if isinstance(recipe, str) else json.dumps(recipe), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_a_recipe_of_a_scheme_gives_it_back(name: str, data: st.DataObject) -> None:
    architecture = ARCHITECTURES[name]
    formats: dict[str, str] = {}
    for group in groups_of(architecture):
        format = data.draw(st.sampled_from(["q4", "q4", "q8", "f32"]))
        formats |= dict.fromkeys((linear.name for linear in group), format)
    assert formats.keys() == {t.name for t in linears_of(architecture)}
    scheme = scheme_of(formats, architecture)
    assert methods(architecture, scheme) == formats
    recipe = recipe_of(scheme, architecture)
    assert formats_of(recipe, architecture, "here") == formats
    assert recipe_of(scheme_of(formats, architecture), architecture) == recipe


def test_keys_name_matrices_and_modules_and_later_ones_count() -> None:
    architecture = architecture_of(num_hidden_layers=12, layer_types=["conv", "full_attention"] * 6)
    recipe = {"*": "q4", "layers.1": "q8", "layers.1.feed_forward.experts.*.w2": "q4"}
    formats = formats_of(recipe, architecture, "here")
    assert formats["model.layers.1.self_attn.q_proj.weight"] == "q8"
    assert formats["model.layers.1.feed_forward.experts.7.w1.weight"] == "q8"
    assert formats["model.layers.1.feed_forward.experts.7.w2.weight"] == "q4"
    assert formats["model.layers.11.self_attn.q_proj.weight"] == "q4"
    assert formats["model.embed_tokens.weight"] == "q4"


@pytest.mark.parametrize("recipe", [MIXED, WITH_FLOATS], ids=["integers", "with floats"])
@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
def test_mixed_formats_run_and_are_what_they_stand_for(
    source: Path, tmp_path: Path, target: str, recipe: dict[str, str]
) -> None:
    bundle = export(source, tmp_path / "out", target=target, recipe=written(tmp_path, recipe))
    verify(bundle.folder, threads=1)  # against NumPy, activations rounded likewise
    with open_checkpoint(str(source)) as checkpoint:
        architecture = describe(checkpoint.config)
        formats = formats_of(recipe, architecture, "here")
        stored = StoredWeights(bundle, architecture)
        for layer in architecture.layers:
            for name, matrix in stored.part(layer.operator).matrices.items():
                wanted = METHODS[formats[name]](checkpoint.read(name))
                assert matrix.format == wanted.format
                np.testing.assert_array_equal(matrix.dequantize(), wanted.dequantize())
    ids = np.random.default_rng(0).integers(0, 320, 24)
    truth = logits_of(dequantized(source, "q4", None, formats), ids)
    other = logits_of(dequantized(source, "q4", "q4"), ids)
    session = lfm_edge.load(bundle.folder, threads=1).session(context=32)
    got = np.stack([session.decode(int(token)) for token in ids])
    assert np.abs(got - truth).mean() < 0.25 * np.abs(got - other).mean()


@pytest.mark.parametrize("target", ["onnx", "coreml", "gguf", "mlx"])
def test_a_recipe_given_back_makes_the_same_bytes(
    source: Path, tmp_path: Path, target: str
) -> None:
    first = export(source, tmp_path / "one", target=target, recipe=written(tmp_path, MIXED))
    recipe = first.manifest.quantization.recipe
    again = export(source, tmp_path / "two", target=target, recipe=written(tmp_path, recipe))
    assert again.manifest == first.manifest


def test_plain_quantizations_have_recipes_too(source: Path, tmp_path: Path) -> None:
    plain = export(source, tmp_path / "plain", quant="q4")
    assert plain.manifest.quantization.recipe == {"*": "q4", "embed_tokens": "q8"}
    recipe = written(tmp_path, plain.manifest.quantization.recipe)
    assert export(source, tmp_path / "again", recipe=recipe).manifest == plain.manifest


def test_mlx_names_modules_of_integers_alone(source: Path, tmp_path: Path) -> None:
    for recipe in (WITH_FLOATS, {"*": "f32", "layers.1.self_attn.out_proj": "q8"}):
        bundle = export(source, tmp_path / "out", target="mlx", recipe=written(tmp_path, recipe))
        config = json.loads((bundle.folder / "config.json").read_text())["quantization"]
        usual = {name: config.pop(name) for name in ("group_size", "bits", "mode")}
        stored = load_file(bundle.graph_path)
        scales = {name.removesuffix(".scales") for name in stored if name.endswith(".scales")}
        assert config.keys() <= scales
        for name in scales:
            bits = config.get(name, usual)["bits"]
            columns = 32 * stored[f"{name}.scales"].shape[-1]
            assert 32 * stored[f"{name}.weight"].shape[-1] == bits * columns


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ('{"*": "q4"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["q4"]', "expected an object"),
        ("{}", "expected an object"),
        ('{"*": "q4", "*": "q8"}', r"'\*' stands twice"),
        ('{"*": {"*": "q4"}}', "expected one of f32, q8, q6, q4"),
        ({"*": "q5"}, "'q5', expected one of f32, q8, q6, q4"),
        ({"*": "q4", "layers.[01]": "q8"}, "is no name of a matrix"),
        ({"*": "q4", "layers.9": "q8"}, "'layers.9' fits no matrix"),
        ({"*" * n: "q4" for n in range(1, 200)}, "199 names for [0-9]+ matrices"),
        ({"*": "q4", "layers.0.operator_norm": "q8"}, "fits no matrix"),
        ({"layers": "q4"}, "says no format for embed_tokens"),
        ({"*.conv": "q8", "*": "q4"}, r"'\*.conv' says nothing"),
        ({"*": "q4", "layers.1.self_attn.q_proj": "q8"}, "take them as one matrix"),
        ({"*": "q4", "layers.1.feed_forward.experts.3": "q8"}, "take them as one matrix"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    source: Path, tmp_path: Path, recipe: object, says: str
) -> None:
    with pytest.raises(LfmError, match=says) as error:
        export(source, tmp_path / "out", recipe=written(tmp_path, recipe))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "recipe", "says"),
    [
        ({"quant": "q4"}, MIXED, "--quant q4: --recipe says"),
        ({"head": "q8"}, MIXED, "--head q8: --recipe says"),
        ({"target": "coreml"}, WITH_FLOATS, "is f32, but --target coreml holds q8 or q6 or q4"),
        (
            {"target": "onnx-portable"},
            {"*": "q4", "layers.2.feed_forward.experts.*.w2": "q8"},
            "experts of layer 2 are q4 in w1 and w3 and q8 in w2",
        ),
    ],
)
def test_what_goes_not_with_a_recipe_is_refused(
    source: Path, tmp_path: Path, options: dict[str, str], recipe: dict[str, str], says: str
) -> None:
    with pytest.raises(LfmError, match=says):
        export(source, tmp_path / "out", recipe=written(tmp_path, recipe), **options)
    with pytest.raises(LfmError, match="No such file"):
        export(source, tmp_path / "out", recipe=tmp_path / "absent.json")


def test_a_manifest_with_a_wrong_recipe_is_refused(source: Path, tmp_path: Path) -> None:
    bundle = export(source, tmp_path / "out", quant="q4")
    path = bundle.folder / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["quantization"]["recipe"] = {"*": "q9"}
    path.write_text(json.dumps(manifest))
    with open_checkpoint(str(source)) as checkpoint, pytest.raises(LfmError, match="'q9'"):
        StoredWeights(Bundle(bundle.folder), describe(checkpoint.config))
    manifest["quantization"]["recipe"] = {"a key with spaces": "q4"}
    path.write_text(json.dumps(manifest))
    with pytest.raises(LfmError, match="at `key` in"):
        Bundle(bundle.folder)
