"""What the README, the getting-started and the cookbook show runs, with the shipped model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.docs.pages import Block, Runner, blocks_of, recipes_of, running
from tests.support import DEMO_MODEL, export

ROOT = Path(__file__).parents[2]
START = ROOT / "docs" / "getting-started.md"
COOKBOOK = sorted((ROOT / "docs" / "cookbook").glob("*.md"))
RECIPES = [
    pytest.param(blocks, id=f"{page.stem}: {name}")
    for page in COOKBOOK
    for name, blocks in recipes_of(page).items()
]
MARKED = [b for page in [START, *COOKBOOK] for b in blocks_of(page) if b.not_run]


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` leaves in build/demo/bundle."""
    bundle = tmp_path_factory.mktemp("demo") / "bundle"
    export(DEMO_MODEL, bundle, quant="q4")
    return bundle


@pytest.fixture
def runner(demo_bundle: Path, tmp_path: Path) -> Iterator[Runner]:
    """In a folder that looks like the repository's after `make demo`."""
    (tmp_path / "export").symlink_to(ROOT / "export")
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "bundle").symlink_to(demo_bundle)
    with running(tmp_path) as found:
        yield found


def run(runner: Runner, blocks: Sequence[Block]) -> None:
    """Runs them in order, as far as what they need is here."""
    for block in blocks:
        if block.missing:
            pytest.skip(f"NOT RUN: {block} and what follows, without {', '.join(block.missing)}")
        if block.not_run is None:
            runner.run(block)


def test_the_readmes_python(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "lfm-8b").symlink_to(tmp_path / "build" / "demo" / "bundle")
    run(runner, [block for block in blocks_of(ROOT / "README.md") if block.language == "python"])


def test_getting_started(runner: Runner) -> None:
    run(runner, blocks_of(START))


@pytest.mark.parametrize("blocks", RECIPES)
def test_recipe(runner: Runner, blocks: Sequence[Block]) -> None:
    run(runner, blocks)


@pytest.mark.parametrize("block", MARKED, ids=str)
def test_what_pages_mark_as_not_run(block: Block) -> None:
    pytest.skip(f"NOT RUN: {block}, {block.not_run}")
