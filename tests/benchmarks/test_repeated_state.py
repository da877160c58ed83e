"""A state of llama.cpp made longer."""

from __future__ import annotations

import struct
import sys

import pytest

from benchmarks import long_context, peers
from benchmarks.repeated_state import repeated

CONVOLUTIONS = b"\x01\x00\x00\x00 and so on"


def state(tokens: int, rows: bytes) -> bytes:
    """Of one layer whose rows of keys are 2 bytes, of values 1; `rows` says them by token."""
    cells = b"".join(struct.pack("<iIi", position, 1, 0) for position in range(tokens))
    keys = bytes(byte for row in rows for byte in (row, row + 1))
    return b"".join(
        [
            struct.pack("<IiII", 77, 0, 1, tokens),
            cells,
            struct.pack("<II", 0, 1),
            struct.pack("<iQ", 8, 2) + keys,
            struct.pack("<iQ", 8, 1) + rows,
            struct.pack("<Ii", 1, tokens - 1) + CONVOLUTIONS,
        ]
    )


@pytest.mark.parametrize("tokens", [3, 4, 7, 9])
def test_keys_and_values_come_over_and_over(tokens: int) -> None:
    rows = b"ace"
    assert repeated(state(3, rows), tokens) == state(tokens, (rows * 3)[:tokens])


@pytest.mark.parametrize(
    ("at", "said"),
    [(8, "2 streams"), (52, "values are transposed"), (93, "2 convolution states")],
)
def test_another_layout_is_refused(at: int, said: str) -> None:
    broken = bytearray(state(3, b"ace"))
    broken[at] += 1
    with pytest.raises(RuntimeError, match=said):
        repeated(bytes(broken), 9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--layers", "2"], "--layers 2: expected at least 3"),
        (["--pairs", "0"], "--pairs 0: expected at least 1"),
        ([], "no_such_peer: not installed; pip install"),
    ],
)
def test_what_cannot_be_measured_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["long_context.py", *options])
    monkeypatch.setattr(peers, "PACKAGES", {"no_such_peer": "peers"})
    monkeypatch.setattr(long_context, "PEER", "no_such_peer")
    with pytest.raises(SystemExit) as stopped:
        long_context.main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
