"""Estimates the inner loops of kernels whose processors are not at hand, by `llvm-mca`.

Each kernel file is compiled to assembly. Its largest innermost loops with integer matrix
instructions are the decode loop (it converts scales: a whole tile per turn) and the prefill loop
(it does not; the percentage is its share of what those instructions alone would allow). Figures
are as simulated, of what the block's instructions would allow if nothing ever waited. LLVM has no
models of phone cores: `neoverse-v2` stands in for a big one, `neoverse-n2` for a middle one. Loads
are taken to hit the L1 cache.

    python estimate.py arm [--compiler aarch64-linux-gnu-g++] [--mca llvm-mca-19]
    python estimate.py x86 [--compiler g++]
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OPS = Path(__file__).parents[1]
TURNS = 500
Q4, Q6, Q8 = 576, 832, 1088  # bytes of a tile
MATRIX = re.compile(r"^\s+(?:\{vex\}\s+)?(sdot|usdot|smmla|vpdpbusd|vpmaddubsw)\s")
SCALES = re.compile(r"^\s+(?:fcvtl2?|vcvtph2ps)\s")
LABEL = re.compile(r"^(\.L\w+):")
BRANCH = re.compile(r"^\s+(?:b\.?\w+|cbn?z|tbn?z|j\w+)\s.*?(\.L\w+)\s*$")


@dataclass(frozen=True)
class Machine:
    """Processors of one kind, and what is compiled for them."""

    compiler: str
    triple: str
    cores: Sequence[str]
    kernels: Mapping[str, tuple[str, int]]
    """Of each file the compiler's options, and the bytes of a tile."""
    products: Mapping[str, int]
    """Of each instruction."""
    operands: str
    """Of an instruction that adds to register `{0}`."""


MACHINES = {
    "arm": Machine(
        "aarch64-linux-gnu-g++",
        "aarch64",
        ("neoverse-v2", "neoverse-n2", "apple-m1"),
        {
            "matmul_q4_neon_dotprod": ("-march=armv8.2-a+dotprod", Q4),
            "matmul_q6_neon_dotprod": ("-march=armv8.2-a+dotprod", Q6),
            "matmul_q8_neon_dotprod": ("-march=armv8.2-a+dotprod", Q8),
            "matmul_q4_neon_i8mm": ("-march=armv8.2-a+dotprod+i8mm", Q4),
            "matmul_q6_neon_i8mm": ("-march=armv8.2-a+dotprod+i8mm", Q6),
            "matmul_q8_neon_i8mm": ("-march=armv8.2-a+dotprod+i8mm", Q8),
        },
        {"sdot": 16, "usdot": 16, "smmla": 32},
        "v{0}.4s, v30.16b, v31.16b",
    ),
    "x86": Machine(
        "g++",
        "x86_64",
        ("alderlake", "znver3", "znver4"),
        {
            "matmul_q4_avx2": ("-mavx2 -mfma -mf16c", Q4),
            "matmul_q6_avx2": ("-mavx2 -mfma -mf16c", Q6),
            "matmul_q8_avx2": ("-mavx2 -mfma -mf16c", Q8),
            "matmul_q4_avxvnni": ("-mavx2 -mfma -mf16c -mavxvnni", Q4),
            "matmul_q6_avxvnni": ("-mavx2 -mfma -mf16c -mavxvnni", Q6),
            "matmul_q8_avxvnni": ("-mavx2 -mfma -mf16c -mavxvnni", Q8),
        },
        {"vpmaddubsw": 32, "vpdpbusd": 32},
        "%ymm14, %ymm15, %ymm{0}",
    ),
}


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


def compile_to_assembly(compiler: str, name: str, options: str) -> list[str]:
    command = [
        compiler,
        "-std=c++17",
        "-O3",
        "-ffp-contract=off",
        *options.split(),
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
    """Of the loops of either kind the largest: the others are for what is left over.

    Of those that are as large the shortest: the others take weights apart in passing.
    """
    loops = innermost_loops(assembly)
    loops.sort(key=lambda loop: (len(loop.matrix), -len(loop.lines)))
    return {"decode" if loop.converts_scales else "prefill": loop for loop in loops}


@dataclass(frozen=True)
class Cycles:
    """Of one turn of a loop."""

    simulated: float
    block: float


def cycles(mca: str, machine: Machine, core: str, lines: Sequence[str]) -> Cycles:
    """Of one turn of these lines."""
    command = [mca, f"-mtriple={machine.triple}", f"-mcpu={core}", f"-iterations={TURNS}", "-"]
    if machine.triple == "aarch64":
        command.insert(1, "-mattr=+i8mm")
    text = "\n".join(line for line in lines if not line.lstrip().startswith((".", "#")))
    result = subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", result.stdout)
    block = re.search(r"Block RThroughput:\s+([\d.]+)", result.stdout)
    assert total is not None
    assert block is not None
    return Cycles(int(total[1]) / TURNS, float(block[1]))


def issue_cycles(mca: str, machine: Machine, core: str, instruction: str) -> float:
    """Cycles of one of many independent instructions."""
    prefix = "{vex} " if instruction == "vpdpbusd" else ""
    lines = [f"\t{prefix}{instruction} {machine.operands.format(i)}" for i in range(12)]
    return cycles(mca, machine, core, lines).block / len(lines)


def estimate(mca: str, machine: Machine, core: str, loop: Loop, kind: str, tile_bytes: int) -> str:
    """What a core makes of a loop."""
    turn = cycles(mca, machine, core, loop.lines)
    if kind == "decode":
        speeds = tile_bytes / turn.simulated, tile_bytes / turn.block
        return "{:.1f} of {:.1f} B/cycle".format(*speeds)
    each = {name: issue_cycles(mca, machine, core, name) for name in set(loop.matrix)}
    limit = sum(each[name] for name in loop.matrix)
    products = sum(machine.products[name] for name in loop.matrix) / turn.simulated
    shares = 100 * limit / turn.simulated, 100 * limit / turn.block
    return f"{products:.1f} MAC/cycle, " + "{:.0f} of {:.0f} %".format(*shares)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("--compiler")
    parser.add_argument("--mca", default="llvm-mca-19")
    arguments = parser.parse_args()
    machine = MACHINES[arguments.machine]
    compiler = arguments.compiler or machine.compiler
    print(f"{'kernel':24} {'loop':8}" + "".join(f"{core:>32}" for core in machine.cores))
    for name, (options, tile_bytes) in machine.kernels.items():
        loops = main_loops(compile_to_assembly(compiler, name, options))
        for kind, loop in sorted(loops.items()):
            row = f"{name:24} {kind:8}"
            for core in machine.cores:
                if "avxvnni" in name and core == "znver3":
                    row += f"{'-':>32}"
                    continue
                cell = estimate(arguments.mca, machine, core, loop, kind, tile_bytes)
                row += f"{cell:>32}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
