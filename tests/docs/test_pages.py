"""The runner of pages itself: it fails where a block does, and sees what stands above it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.docs.pages import Block, blocks_of, recipes_of, running

PAGE = """# A page

```python
x = 1
```

## First
```python
x += 1
assert x == 2
```

*Needs `os`, `no_such_module`.*
```sh
echo $((1 + 1)) > two.txt
```

```json
{"not": "run"}
```

## Second

*Not run by the tests: it says why.*
```sh
false
```

## Third
Words alone.
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def block(page: Path, language: str, code: str) -> Block:
    return Block(page, 7, language, code, (), None)


def test_blocks_are_read_with_what_stands_above_them(page: Path) -> None:
    first, second, needy, marked = blocks_of(page)
    assert (first.language, first.code, first.line, first.missing) == ("python", "x = 1\n", 3, [])
    assert second.line == 8
    assert (needy.language, needy.missing) == ("sh", ["no_such_module"])
    assert (marked.not_run, first.not_run) == ("it says why", None)
    assert recipes_of(page) == {"First": [first, second, needy], "Second": [first, marked]}


def test_a_recipe_runs_in_one_namespace_and_folder(page: Path, tmp_path: Path) -> None:
    before = Path.cwd()
    with running(tmp_path) as runner:
        for each in recipes_of(page)["First"]:
            runner.run(each)
    assert (tmp_path / "two.txt").read_text() == "2\n"
    assert Path.cwd() == before


def test_a_block_that_fails_says_where(page: Path, tmp_path: Path) -> None:
    with running(tmp_path) as runner:
        with pytest.raises(ZeroDivisionError) as caught:
            runner.run(block(page, "python", "x = 1\nx / 0\n"))
        assert caught.traceback[-1].lineno == 8  # counted from 0: the page's ninth line
        for code in ("false\ntrue", "false | cat", "echo $NOT_SET"):
            with pytest.raises(AssertionError, match=r"page\.md:7: a command ended with 1"):
                runner.run(block(page, "sh", code))


def test_ports_are_free_ones_and_programs_end_with_the_page(page: Path, tmp_path: Path) -> None:
    with running(tmp_path) as runner:
        runner.run(block(page, "sh", "sleep 600 &\necho $! > pid.txt; echo 8080 > port.txt"))
        process = psutil.Process(int((tmp_path / "pid.txt").read_text()))
        assert process.is_running()
    assert (tmp_path / "port.txt").read_text() != "8080\n"
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:  # which nobody may bury
            time.sleep(0.01)
