"""A local cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Of a cluster with CPUs for two workers."""
    pytest.importorskip("ray", reason="NOT RUN: `make test-ray` installs Ray, and runs this")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as Local  # noqa: PLC0415 - optional

    local = Local(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield str(local.address)
    local.shutdown()
