"""What `lfm-edge bench --json` writes, and `--compare` and the picture read."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from .errors import InvalidRequestError

__all__ = [
    "BenchResult",
    "BundleInfo",
    "Device",
    "GoldenErrors",
    "Moment",
    "Series",
    "Settings",
    "read_result",
    "write_file",
    "write_result",
]

_MAX_RESULT_BYTES = 16 << 20

Count = Annotated[int, msgspec.Meta(ge=1)]
Size = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: sizes in tokens; a size of 0 leaves that measurement out."""

    prompt_tokens: Size = 512
    generated_tokens: Size = 128
    repetitions: Count = 5
    depth: Size = 0
    """Tokens of context before each timed part."""
    threads: Count
    compute_units: str | None = None
    """What Core ML may compute on, by coremltools' name; None elsewhere."""

    @property
    def capacity(self) -> int:
        """Tokens that a session must hold."""
        return self.depth + self.prompt_tokens + self.generated_tokens

    def check(self) -> None:
        """Raises InvalidRequestError for a value out of range."""
        for option, value, least in (
            ("-p", self.prompt_tokens, 0),
            ("-n", self.generated_tokens, 0),
            ("-r", self.repetitions, 1),
            ("-d", self.depth, 0),
            ("--threads", self.threads, 1),
        ):
            if value < least:
                raise InvalidRequestError(f"{option} {value}: must be at least {least}")
        if self.prompt_tokens == self.generated_tokens == 0:
            raise InvalidRequestError("-p 0 -n 0 leaves nothing to measure")


class Series(msgspec.Struct, frozen=True):
    """One quantity over all repetitions."""

    median: Positive
    mean: Positive
    standard_deviation: Annotated[float, msgspec.Meta(ge=0)]
    """Of the sample (divisor n - 1); 0 for a single repetition."""
    samples: Annotated[list[Positive], msgspec.Meta(min_length=1)]

    @classmethod
    def of(cls, samples: list[float]) -> Series | None:
        """Sums up the samples; None for none."""
        if not samples:
            return None
        spread = statistics.stdev(samples) if len(samples) > 1 else 0.0
        return cls(statistics.median(samples), statistics.fmean(samples), spread, samples)


class BundleInfo(msgspec.Struct, frozen=True):
    """Which bundle was measured."""

    model: str
    family: str
    target: str
    quantization: str
    head: str
    """Quantization of the token embedding and the LM head."""
    size_bytes: Size


class Device(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: Count
    """Logical cores that the process may use."""
    memory_bytes: Size
    os: str
    onnxruntime: str
    isa: str | None = None
    """Instruction set of our operators; None where the target has none."""
    prefetch_bytes: Size | None = None
    """How far ahead their weights were fetched in decoding, as it was found or fixed."""


class GoldenErrors(msgspec.Struct, frozen=True):
    """How far the device lay from the bundle's golden vectors, outliers left out."""

    tolerance: Positive
    decode: Annotated[float, msgspec.Meta(ge=0)]
    """Largest absolute logit error when tokens are read one by one."""
    decode_outliers: Size
    prefill: Annotated[float, msgspec.Meta(ge=0)]
    """The same when they are read in ragged chunks."""
    prefill_outliers: Size


class Moment(msgspec.Struct, frozen=True):
    """A stretch of a sustained run: how fast the device was, and how hot.

    What a device does not tell is None.
    """

    seconds: Positive
    """Since the beginning of the run, at the stretch's end."""
    tokens_per_second: Positive
    temperature_celsius: float | None = None
    frequency_mhz: Positive | None = None
    """Mean of the cores."""
    thermal_status: Size | None = None
    """Android's, from 0 (none) to 6 (about to shut down)."""


class BenchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `lfm-edge bench --json` writes. Speeds and times are medians over the repetitions."""

    bench_format: Literal[1] = 1
    prefill_tokens_per_second: Positive | None
    decode_tokens_per_second: Positive | None
    time_to_first_token_seconds: Positive | None
    load_seconds: Positive
    peak_rss_bytes: Count
    """The most that was ever resident: file pages, libraries and the interpreter included."""
    private_bytes: Size
    """After the last repetition, what the process alone wrote and nothing can drop: so not the
    weights that stay mapped from their file (outside Linux: USS, which may count these too)."""
    prefill: Series | None
    """Tokens per second."""
    decode: Series | None
    """Tokens per second."""
    time_to_first_token: Series | None
    """Seconds."""
    settings: Settings
    bundle: BundleInfo
    device: Device
    golden: GoldenErrors | None = None
    """Where they were replayed in the same process (`tools/macos_check`)."""
    sustained: list[Moment] | None = None
    """A run without a pause, on devices that it heats (`lfm_bench --sustained`)."""


def write_result(path: Path, result: BenchResult) -> None:
    """Writes a result as JSON, atomically."""
    write_file(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def read_result(path: Path) -> BenchResult:
    """Reads what `write_result` wrote.

    Raises:
        InvalidRequestError: there is no such file, or it is not such a result.
    """
    try:
        if path.stat().st_size > _MAX_RESULT_BYTES:
            raise InvalidRequestError(f"{path}: too large for a result of lfm-edge bench --json")
        result: BenchResult = msgspec.json.decode(path.read_bytes(), type=BenchResult)
    except OSError as error:
        raise InvalidRequestError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path}: not a result of lfm-edge bench: {error}") from None
    return result


def write_file(path: Path, data: bytes) -> None:
    """Writes a file beside its place and renames it there, so that it is whole or absent.

    Raises:
        InvalidRequestError: the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise InvalidRequestError(f"{path}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
