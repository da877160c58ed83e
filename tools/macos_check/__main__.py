"""`python -m tools.macos_check BUNDLE --json FOLDER`: see README.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from lfm_edge.bench_result import BenchResult, Settings, write_result
from lfm_edge.errors import InvalidRequestError, LfmError, UnsupportedBundleError
from lfm_edge.threads import default_threads

from .check import UNITS, check, core_ml_bundle


def main() -> None:
    """The command line: 0 if all is well, 1 if some compute unit failed, 2 for a mistake."""
    options = _parser().parse_args()
    try:
        require_mac()
        core_ml_bundle(options.bundle)
        options.json.mkdir(parents=True, exist_ok=True)
        if len(options.units) > 1:
            sys.exit(_each_in_a_process(options.units))
        _check_one(options)
    except (LfmError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


def require_mac() -> None:
    """Raises UnsupportedBundleError elsewhere."""
    if sys.platform != "darwin":
        raise UnsupportedBundleError(
            "this check runs Core ML, so it needs a Mac; here, check a bundle with lfm-edge verify"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.macos_check",
        description="Replay a Core ML bundle's golden vectors on this Mac and measure its speed.",
        epilog="example: python -m tools.macos_check my-bundle --json my-mac",
    )
    parser.add_argument("bundle", type=Path, help="written by lfm-edge export --target coreml")
    parser.add_argument(
        "--json", type=Path, required=True, metavar="FOLDER", help="gets a file for each units"
    )
    parser.add_argument("--units", nargs="+", choices=UNITS, default=UNITS)
    parser.add_argument("-p", dest="prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("-n", dest="generate", type=int, default=128, help="tokens to generate")
    parser.add_argument("-r", dest="repetitions", type=int, default=5, help="after a warm-up")
    return parser


def _each_in_a_process(units: list[str]) -> int:
    """So that memory is each one's own, and a crash within Core ML ends one measurement only."""
    arguments = sys.argv[1:]
    codes = []
    for unit in units:
        command = [sys.executable, "-m", "tools.macos_check", *arguments, "--units", unit]
        codes.append(subprocess.run(command, check=False).returncode)  # noqa: S603
        if codes[-1] not in {0, 2}:
            print(f"error: {unit}: the process ended with code {codes[-1]}", file=sys.stderr)
    return int(any(codes))


def _check_one(options: argparse.Namespace) -> None:
    unit = options.units[0]
    settings = Settings(
        prompt_tokens=options.prompt,
        generated_tokens=options.generate,
        repetitions=options.repetitions,
        threads=default_threads(),
        compute_units=unit,
    )
    place = options.json / f"{unit}.json"
    place.unlink(missing_ok=True)  # a failed check leaves no figures of an earlier one
    try:
        result = check(options.bundle, settings)
    except LfmError as error:
        raise InvalidRequestError(f"{unit}: {error}") from None
    write_result(place, result)
    print(_line(result))


def _line(result: BenchResult) -> str:
    golden = result.golden
    assert golden is not None
    speeds = [
        f"{name} {speed:,.1f} tokens/s"
        for name, speed in (
            ("prefill", result.prefill_tokens_per_second),
            ("decode", result.decode_tokens_per_second),
        )
        if speed is not None
    ]
    return (
        f"{result.settings.compute_units}: golden vectors within {golden.decode:.2e} token by "
        f"token and {golden.prefill:.2e} in chunks, tolerance {golden.tolerance:.2e}; "
        f"{golden.decode_outliers} and {golden.prefill_outliers} outliers; {', '.join(speeds)}; "
        f"load {result.load_seconds:.1f} s, peak {result.peak_rss_bytes / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
