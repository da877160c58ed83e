"""What benchmarks/device_core.py measures of whole answers is what its lines say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import device_core
from tests.core.programs import core_program

THREADS = 1


@pytest.fixture
def bundle(folder: Path) -> Path:
    core_program(device_core.ANSWERS.name)
    return folder


def test_every_token_behind_the_first_is_a_run_of_the_graph(bundle: Path) -> None:
    command = device_core.timed_answers(bundle, THREADS, 2, 12, device_core.GREEDY)
    told = [json.loads(line) for line in device_core.run(*command).splitlines()]
    assert len(told) == 2
    for answer in told:
        assert answer["tokens"] == 12
        assert 0 < answer["runs"] <= 11
        assert 0 < answer["graph"] < answer["seconds"]
        assert answer["first_token"] > 0


@pytest.mark.parametrize(
    "options", [device_core.GREEDY, device_core.DEFAULTS], ids=["greedy", "sampled"]
)
def test_time_outside_the_graph_is_that_of_each_answer_but_the_first(
    bundle: Path, options: dict[str, float]
) -> None:
    outside = device_core.outside_the_graph(bundle, THREADS, options, tokens=6)
    assert len(outside) == device_core.RUNS - 1
    assert min(outside) > 0


def test_a_process_draws_one_token(bundle: Path) -> None:
    assert device_core.seconds_to_first_token(bundle, THREADS) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: Linux alone tells a process's memory")
def test_a_process_has_memory_when_it_draws(bundle: Path) -> None:
    logits = 4096 * 4  # that were written, at least
    assert device_core.anonymous_bytes_at_first_token(bundle, THREADS) > logits


def test_what_fails_is_said(bundle: Path) -> None:
    command = device_core.timed_answers(bundle, THREADS, 1, 1, {"temperature": -1})
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("time_answers: temperature: got -1")
