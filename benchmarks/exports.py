"""What the engines load: one synthetic checkpoint, and every engine's own export of it.

All of it is kept in `build/benchmarks`, in folders named after a digest of what they were made
from: a change of the exporter or of a package makes a new one in place of the old.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from lfm_edge.targets import GGUF, ONNX

__all__ = [
    "LLAMA_CPP_BUILDS",
    "checkpoint",
    "genai_builder",
    "genai_export",
    "gguf_export",
    "lfm_edge_export",
    "llama_cpp",
    "synthetic_bundle",
]

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "benchmarks"
OUT = "{out}"
"""Stands in a command for the folder that it writes."""
BUNDLE_SOURCES = (
    "export/lfm_export/*.py",
    "export/lfm_export/quantize/*.py",
    "export/lfm_export/emit/*.py",
    "export/lfm_export/emit/onnx*/*.py",
    "export/lfm_export/emit/gguf/*.py",
    "export/lfm_export/gguf/*.py",
    "ops/lfm_ops/layout.py",
)
_X86 = ("AVX", "AVX2", "FMA", "F16C", "BMI2", "SSE42")
LLAMA_CPP_BUILDS = {
    "avx2": _X86,
    "avxvnni": (*_X86, "AVX_VNNI"),
    "avx512vnni": (*_X86, "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16"),
}
"""What llama.cpp is allowed to use where our operators are held to an instruction set."""


def checkpoint(layers: int) -> Path:
    """The Hugging Face folder of the first `layers` layers of LFM2.5-8B-A1B's shapes."""
    script = ROOT / "tools" / "synthetic_checkpoint.py"
    sources = [script, *(ROOT / "export/lfm_export/checkpoint").rglob("*.py")]
    source = f"synthetic:lfm2.5-8b-a1b:{layers}"
    command = [sys.executable, str(script), source, OUT]
    return _made(f"checkpoint-{layers}", command, _contents(sources))


def lfm_edge_export(layers: int, target: str, *options: str) -> Path:
    """Our bundle of the checkpoint: 4 bits, embedding and LM head included."""
    source = checkpoint(layers)
    name = "-".join([target, *(option.removeprefix("--") for option in options), str(layers)])
    return _bundle(name, str(source), target, [source.name], options)


def synthetic_bundle(layers: int) -> Path:
    """The same for the target `onnx`, without a checkpoint on disk: the whole model is 17 GB."""
    sources = (ROOT / "export/lfm_export/checkpoint").rglob("*.py")
    source = f"synthetic:lfm2.5-8b-a1b:{layers}"
    return _bundle(f"synthetic-{layers}", source, ONNX, _contents(sources))


def _bundle(
    name: str, source: str, target: str, made_from: Sequence[str], more: Sequence[str] = ()
) -> Path:
    program = str(Path(sys.executable).with_name("lfm-edge"))
    options = ["--target", target, "--quant", "q4", "--head", "q4", *more]
    sources = [file for pattern in BUNDLE_SOURCES for file in ROOT.glob(pattern)]
    packages = [version(name) for name in ("onnx", "onnx_ir", "gguf")]
    command = [program, "export", source, OUT, *options]
    return _made(name, command, [*made_from, *_contents(sources), *packages])


def gguf_export(layers: int) -> Path:
    """The checkpoint as a GGUF file of Q4_0, embedding and head included."""
    return lfm_edge_export(layers, GGUF)


def llama_cpp(isa: str) -> Path:
    """A folder of Python packages: the installed llama.cpp's version, compiled for a set."""
    package = f"llama-cpp-python=={version('llama-cpp-python')}"
    names = [f"-DGGML_{name}=ON" for name in LLAMA_CPP_BUILDS[isa]]
    build = " ".join(["-DGGML_NATIVE=OFF", *names, "-DLLAVA_BUILD=OFF"])
    options = ["--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python"]
    command = [sys.executable, "-m", "pip", "install", "--target", OUT, *options, package]
    return _made(f"llama-cpp-{isa}", command, [build], {"CMAKE_ARGS": build})


def genai_export(layers: int) -> Path:
    """The export of ONNX Runtime GenAI's own builder."""
    source = checkpoint(layers)
    packages = [f"{name} {version(name)}" for name in ("onnxruntime-genai", "onnxruntime", "onnx")]
    command = genai_builder(source, OUT, WORK / "genai-cache")
    return _made(f"genai-{layers}", command, [source.name, *packages])


def genai_builder(source: Path, out: str, cache: Path) -> list[str]:
    """The command of that builder: int4 for the CPU, all else at its default."""
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    return [*builder, "-i", str(source), "-o", out, "-p", "int4", "-e", "cpu", "-c", str(cache)]


def _made(
    name: str,
    command: Sequence[str],
    made_from: Iterable[str],
    environment: Mapping[str, str] | None = None,
) -> Path:
    """The folder that `command` writes, which runs only where what it is made from changed."""
    digest = hashlib.sha256("\0".join([*command, *made_from]).encode()).hexdigest()
    folder = WORK / f"{name}-{digest[:12]}"
    if folder.exists():
        return folder
    for old in WORK.glob(f"{name}-*"):
        shutil.rmtree(old)
    partial = WORK / f"{name}-partial"
    log = WORK / f"{name}.log"
    WORK.mkdir(parents=True, exist_ok=True)
    print(f"making {folder.relative_to(ROOT)}", file=sys.stderr)
    with log.open("w") as output:
        arguments = [str(partial) if argument == OUT else argument for argument in command]
        code = subprocess.run(
            arguments,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        ).returncode
    if code:
        raise SystemExit(f"{' '.join(arguments)}: failed with code {code}; see {log}")
    return partial.rename(folder)


def _contents(files: Iterable[Path]) -> list[str]:
    return [file.read_text() for file in sorted(files)]
