"""A bundle in a Hub cache, whose files are links out of its folder, opens like any other."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import lfm_edge
import pytest
from lfm_edge import BundleError
from lfm_edge.bundle import Bundle

from tests.sdk.toy import write_toy_bundle

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(bundle: Path, cache: Path, subfolder: str = "") -> Path:
    """The bundle as `snapshot_download` leaves one: relative links to blobs named by their hash."""
    repository = cache / "models--org--bundle"
    blobs, folder = repository / "blobs", repository / "snapshots" / COMMIT / subfolder
    blobs.mkdir(parents=True)
    for path in (path for path in bundle.rglob("*") if path.is_file()):
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        link = folder / path.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder


@pytest.mark.parametrize("target", ["onnx", "onnx-portable"])
@pytest.mark.parametrize("subfolder", ["", "onnx/q4"])
def test_a_cached_bundle_runs(
    demo_bundle: Callable[..., Path], tmp_path: Path, target: str, subfolder: str
) -> None:
    """The weights too are behind a link, which ONNX Runtime follows."""
    bundle = demo_bundle(target, "q4")
    folder = cached(bundle, tmp_path / "cache", subfolder)
    assert (folder / "model.onnx.data").is_symlink()
    texts = [
        "".join(lfm_edge.load(place).generate("def f(", max_tokens=8, temperature=0))
        for place in (bundle, folder)
    ]
    assert texts[0] == texts[1] != ""
    assert lfm_edge.verify(folder).positions == 32


def test_a_cached_core_ml_bundle_is_verified(
    demo_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Its package is a folder of links."""
    folder = cached(demo_bundle("coreml", "q4"), tmp_path / "cache")
    assert lfm_edge.verify(folder, tokens=2).positions == 2


def test_a_link_to_a_cached_bundle_opens(tmp_path: Path) -> None:
    folder = cached(write_toy_bundle(tmp_path / "bundle"), tmp_path / "cache")
    (tmp_path / "current").symlink_to(folder)
    assert "".join(lfm_edge.load(tmp_path / "current").generate("a", max_tokens=3))


def through_a_blob(blob: Path, outside: Path) -> None:
    """The blob itself is a link."""
    blob.symlink_to(outside)


def past_the_blobs(blob: Path, outside: Path) -> None:
    """The snapshot's link goes elsewhere."""
    link = blob.parents[1] / "snapshots" / COMMIT / "tokenizer.json"
    link.unlink()
    link.symlink_to(outside)


def to_another_repository(blob: Path, outside: Path) -> None:
    other = blob.parents[2] / "models--org--other" / "blobs" / blob.name
    other.parent.mkdir(parents=True)
    shutil.copyfile(outside, other)
    past_the_blobs(blob, other)


@pytest.mark.parametrize("lead", [through_a_blob, past_the_blobs, to_another_repository])
def test_other_links_are_refused_there_too(
    tmp_path: Path, lead: Callable[[Path, Path], None]
) -> None:
    folder = cached(write_toy_bundle(tmp_path / "bundle"), tmp_path / "cache")
    blob = (folder / "tokenizer.json").resolve()
    outside = blob.rename(tmp_path / "outside.json")
    lead(blob, outside)
    with pytest.raises(BundleError, match=r"tokenizer\.json: links to a place outside the bundle"):
        Bundle(folder)


def test_a_blob_that_was_cleared_away_is_named(tmp_path: Path) -> None:
    folder = cached(write_toy_bundle(tmp_path / "bundle"), tmp_path / "cache")
    (folder / "tokenizer.json").resolve().unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json is listed in manifest\.json but miss"):
        Bundle(folder)
