"""Decoding behind a long context, beside llama.cpp, keys and values in 8 bits in both.

    python benchmarks/long_context.py --depth 32000

llama.cpp would take most of an hour to read as much: it reads 2,048 tokens, and its state is made
longer by their keys and values over and over. Ours reads every token. Pairs of 32 tokens as in
`peers.py`.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from lfm_edge.targets import ONNX

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import exports
from benchmarks.comparison import Ratio
from benchmarks.limits import Machine
from benchmarks.peers import ROOM, require_installed, time_pairs
from benchmarks.worker import Worker

PEER = "llama_cpp"


def compare(layers: int, threads: int, depth: int, pairs: int) -> str:
    """What came out, in a line.

    Raises:
        RuntimeError: an engine cannot load its export, or llama.cpp's state has another layout.
    """
    folder = exports.lfm_edge_export(layers, ONNX, "--kv", "int8")
    peer_folder = exports.gguf_export(layers)
    with ExitStack() as stack:
        machine = stack.enter_context(Machine(folder, threads))
        ours, peer = (
            stack.enter_context(Worker(engine, where, threads, depth + ROOM, depth=depth))
            for engine, where in (
                ("lfm-edge", folder),
                ("llama.cpp, q8_0 cache, repeated", peer_folder),
            )
        )
        timed, _ = time_pairs(ours, peer, machine, "decode", pairs)
    ratio = Ratio.of((pair.ours, pair.peer) for pair in timed)
    ours_speed, peer_speed = (
        Ratio.of((speed, 1.0) for speed in speeds).median
        for speeds in ([pair.ours for pair in timed], [pair.peer for pair in timed])
    )
    return (
        f"decode behind {depth:,} tokens: {ratio.median:.2f} x llama.cpp "
        f"({ratio.lowest:.2f}-{ratio.highest:.2f}); {ours_speed:.1f} and {peer_speed:.1f} tokens/s"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", type=int, default=8, help="of 24; at least 3 (default: 8)")
    parser.add_argument("--threads", type=int, default=2, help="of each engine (default: 2)")
    parser.add_argument("--depth", type=int, default=32_000, help="tokens before (default: 32000)")
    parser.add_argument("--pairs", type=int, default=7, help="how many (default: 7)")
    options = parser.parse_args()
    for name, least in (("layers", 3), ("threads", 1), ("depth", 1), ("pairs", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)}: expected at least {least}")
    require_installed(parser, [PEER])
    try:
        print(compare(options.layers, options.threads, options.depth, options.pairs))
    except RuntimeError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
