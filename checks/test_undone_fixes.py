"""Each fault that checkpoints could show is found again by random checkpoints, when put back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.random_checkpoints.checkpoints import Checkpoint, checkpoints
from tests.random_checkpoints.compare import check

from .undone import FAULTS

DRAWS = 500  # as many as `make test` draws, and the same ones


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    torch.set_num_threads(1)
    drawn, last = 0, None

    @seed(0)
    @settings(
        max_examples=DRAWS,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(checkpoints())
    def agrees(checkpoint: Checkpoint) -> None:
        nonlocal drawn, last
        drawn, last = drawn + 1, checkpoint
        check(checkpoint)

    with pytest.raises(Exception) as found:  # noqa: PT011 - a crash tells as much as a difference
        agrees()
    monkeypatch.undo()
    assert last is not None
    check(last)  # nothing is wrong with it but the fault
    print(f"draw {drawn}: {found.value!r}"[:300])
