"""Estimates the inner loops of the NEON kernels without an ARM machine, by `llvm-mca`.

Each kernel file is compiled to assembly. Its largest innermost loops with integer matrix
instructions are the decode loop (it converts scales: a whole tile per turn) and the prefill loop
(it does not; the percentage is its share of what those instructions alone would allow). Figures
are as simulated, of what the block's instructions would allow if nothing ever waited. LLVM has no
models of phone cores: `neoverse-v2` stands in for a big one, `neoverse-n2` for a middle one. Loads
are taken to hit the L1 cache.

    python estimate_arm.py [--compiler aarch64-linux-gnu-g++] [--mca llvm-mca-19]
"""

from __future__ import annotations

import argparse
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

OPS = Path(__file__).parents[1]
CORES = ("neoverse-v2", "neoverse-n2", "apple-m1")
TURNS = 500
KERNELS = {  # file: its instruction set, bytes of a tile
    "matmul_q4_neon_dotprod": ("armv8.2-a+dotprod", 576),
    "matmul_q8_neon_dotprod": ("armv8.2-a+dotprod", 1088),
    "matmul_q4_neon_i8mm": ("armv8.2-a+dotprod+i8mm", 576),
    "matmul_q8_neon_i8mm": ("armv8.2-a+dotprod+i8mm", 1088),
}
PRODUCTS = {"sdot": 16, "usdot": 16, "smmla": 32}
MATRIX = re.compile(r"^\s+(sdot|usdot|smmla)\s")
SCALES = re.compile(r"^\s+fcvtl2?\s")
LABEL = re.compile(r"^(\.L\w+):")
BRANCH = re.compile(r"^\s+(?:b\.?\w+|cbn?z|tbn?z)\s.*?(\.L\w+)\s*$")


@dataclass(frozen=True)
class Loop:
    """The lines of one innermost loop."""

    lines: tuple[str, ...]

    @property
    def matrix(self) -> list[str]:
        return [match[1] for line in self.lines if (match := MATRIX.match(line))]

    @property
    def converts_scales(self) -> bool:
        return any(map(SCALES.match, self.lines))


def compile_to_assembly(compiler: str, name: str, arch: str) -> list[str]:
    command = [
        compiler,
        "-std=c++17",
        "-O3",
        "-ffp-contract=off",
        f"-march={arch}",
        "-S",
        "-o",
        "-",
    ]
    includes = [f"-I{OPS / 'include'}", f"-I{OPS / 'kernels'}"]
    source = str(OPS / "kernels" / f"{name}.cpp")
    result = subprocess.run(
        [*command, *includes, source], check=True, stdout=subprocess.PIPE, text=True
    )
    return result.stdout.splitlines()


def innermost_loops(assembly: list[str]) -> list[Loop]:
    labels: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for number, line in enumerate(assembly):
        if label := LABEL.match(line):
            labels[label[1]] = number
        if (branch := BRANCH.match(line)) and branch[1] in labels:
            spans.append((labels[branch[1]], number))
    inner = [
        (start, stop)
        for start, stop in spans
        if not any(start <= a and b <= stop and (a, b) != (start, stop) for a, b in spans)
    ]
    loops = [Loop(tuple(assembly[start + 1 : stop + 1])) for start, stop in inner]
    return [loop for loop in loops if loop.matrix]


def main_loops(assembly: list[str]) -> dict[str, Loop]:
    """Of the loops of either kind the largest: the others are for what is left over."""
    loops = sorted(innermost_loops(assembly), key=lambda loop: len(loop.matrix))
    return {"decode" if loop.converts_scales else "prefill": loop for loop in loops}


@dataclass(frozen=True)
class Cycles:
    """Of one turn of a loop."""

    simulated: float
    block: float


def cycles(mca: str, core: str, lines: tuple[str, ...]) -> Cycles:
    command = [
        mca,
        "-mtriple=aarch64",
        f"-mcpu={core}",
        f"-iterations={TURNS}",
        "-mattr=+i8mm",
        "-",
    ]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("."))
    result = subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", result.stdout)
    block = re.search(r"Block RThroughput:\s+([\d.]+)", result.stdout)
    assert total is not None
    assert block is not None
    return Cycles(int(total[1]) / TURNS, float(block[1]))


def issue_cycles(mca: str, core: str, instruction: str) -> float:
    """Cycles of one of many independent instructions."""
    lines = tuple(f"\t{instruction} v{i}.4s, v30.16b, v31.16b" for i in range(24))
    return cycles(mca, core, lines).block / len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--mca", default="llvm-mca-19")
    arguments = parser.parse_args()
    print(f"{'kernel':24} {'loop':8}" + "".join(f"{core:>32}" for core in CORES))
    for name, (arch, tile_bytes) in KERNELS.items():
        loops = main_loops(compile_to_assembly(arguments.compiler, name, arch))
        for kind, loop in sorted(loops.items()):
            row = f"{name:24} {kind:8}"
            for core in CORES:
                turn = cycles(arguments.mca, core, loop.lines)
                if kind == "decode":
                    speeds = tile_bytes / turn.simulated, tile_bytes / turn.block
                    cell = "{:.1f} of {:.1f} B/cycle".format(*speeds)
                else:
                    limit = sum(issue_cycles(arguments.mca, core, i) for i in loop.matrix)
                    products = sum(PRODUCTS[i] for i in loop.matrix) / turn.simulated
                    shares = 100 * limit / turn.simulated, 100 * limit / turn.block
                    cell = f"{products:.1f} MAC/cycle, " + "{:.0f} of {:.0f} %".format(*shares)
                row += f"{cell:>32}"
            print(row)


if __name__ == "__main__":
    main()
