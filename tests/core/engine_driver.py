"""The device core's engine as a program that runs scripts, and what Python gives for the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from typing import Any

import lfm_edge
import numpy as np

from tests.core.programs import ONNXRUNTIME, core_program

__all__ = ["Step", "as_driven", "drive"]

Step = dict[str, Any]


def drive(steps: Sequence[Step]) -> list[Step]:
    """What `drive_engine` gives for each step."""
    script = "".join(f"{json.dumps(step)}\n" for step in steps)
    done = subprocess.run(
        [core_program("drive_engine"), str(ONNXRUNTIME)],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def as_driven(session: lfm_edge.Session, ids: Sequence[int]) -> Step:
    """What `drive_engine` gives for reading ids."""
    run = session.to_replay + len(ids)
    logits = session.prefill(ids)
    likely = np.argsort(-logits, kind="stable")[:4]
    return {
        "position": session.position,
        "capacity": session.capacity,
        "to_replay": session.to_replay,
        "ids": session.ids,
        "run": run,
        "top": [[int(token), float(logits[token])] for token in likely],
        "logits": hashlib.sha256(logits.tobytes()).hexdigest(),
    }
