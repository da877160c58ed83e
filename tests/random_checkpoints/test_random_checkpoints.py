"""A checkpoint means what transformers takes it to mean, or is refused in one clear line.

500 draws here; `make check-checkpoints` takes 20,000.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, note, seed, settings

from tests.random_checkpoints.checkpoints import Checkpoint, checkpoints
from tests.random_checkpoints.compare import check

DRAWS = 500
PARTS = int(os.environ.get("LFM_CHECKPOINT_PARTS", "1"))
LEAST_RUN = 0.7


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Such small models gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def nothing_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves `device.bin` out but in the long run: its proof takes longer than all the rest."""
    if PARTS == 1:
        monkeypatch.setattr("lfm_export.export.add_device_file", lambda bundle, note: None)


@pytest.mark.parametrize("part", range(PARTS))
def test_same_as_transformers_or_one_clear_line(part: int) -> None:
    ran: list[bool] = []

    @seed(part)
    @settings(
        max_examples=DRAWS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(checkpoints())
    def agrees(checkpoint: Checkpoint) -> None:
        note(repr(checkpoint))
        ran.append(check(checkpoint))

    agrees()
    assert sum(ran) >= LEAST_RUN * len(ran) >= LEAST_RUN * 0.9 * DRAWS
