"""The command line: what it prints, and one clear line for every kind of bad input."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import lfm_edge
import pytest
from lfm_edge import cli
from lfm_edge.bundle import MANIFEST, file_entry
from lfm_ops.layout import LAYOUT_VERSION

from tests.sdk.toy import BOS, EOS, PAD, ToyModel, write_toy_bundle

NEVER = {PAD: -1e4, BOS: -1e4, EOS: -1e4}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls `main` as the installed command does; gives exit code, output and errors."""

    def call(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        monkeypatch.setattr(sys, "argv", ["lfm-edge", *map(str, arguments)])
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        for stream in streams.values():
            stream.flush()
        texts = [stream.buffer.getvalue().decode() for stream in streams.values()]
        return ending.value.code or 0, texts[0], texts[1]  # type: ignore[return-value]

    return call


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "bundle", ToyModel(NEVER))


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))


# What it prints.


def test_generate_prints_the_models_text(run: Run, bundle: Path) -> None:
    code, out, err = run("generate", bundle, "the", "--max-tokens", 12, "--temperature", 0)
    text = "".join(lfm_edge.load(bundle).generate("the", max_tokens=12, temperature=0))
    assert (code, out, err) == (0, text + "\n", "")


def test_generate_takes_every_sampling_option(run: Run, bundle: Path) -> None:
    given: dict[str, Any] = {
        "max_tokens": 20, "temperature": 1.5, "top_k": 50, "top_p": 0.95, "min_p": 0.01,
        "repetition_penalty": 1.1, "seed": 3, "context": 64,
    }  # fmt: skip
    text = "".join(lfm_edge.load(bundle).generate("a", **given, stop=["zz", "yy"]))
    options = [x for name, value in given.items() for x in (f"--{name.replace('_', '-')}", value)]
    stops = ["--stop", "zz", "--stop", "yy", "--threads", 1]
    assert run("generate", bundle, "a", *options, *stops) == (0, text + "\n", "")


def test_chat_answers_each_line_with_what_was_said(run: Run, bundle: Path) -> None:
    model = lfm_edge.load(bundle)
    chat: list[lfm_edge.Message] = [{"role": "system", "content": "s"}]
    answers = []
    for turn in ("one", "two"):
        chat.append({"role": "user", "content": turn})
        answers.append("".join(model.chat(chat, max_tokens=9)))
        chat.append({"role": "assistant", "content": answers[-1]})
    lines = "one\n\ntwo\n/reset\none\n/exit\nnever read\n"
    code, out, err = run(
        "chat", bundle, "--max-tokens", 9, "--system", "s", "--context", 900, stdin=lines
    )
    assert (code, err) == (0, "")
    assert out == "".join(answer + "\n" for answer in [*answers, answers[0]])


def test_inspect_shows_state_and_files(run: Run, bundle: Path) -> None:
    code, out, err = run("inspect", bundle)
    assert (code, err) == (0, "")
    assert re.search(r"target onnx-portable", out)
    # Keys and values of one head of 16 floats; two columns of 16 floats.
    assert re.search(r"3 tensors: 128 bytes a token and 128 bytes", out)
    sizes = {path.name: path.stat().st_size for path in bundle.iterdir() if path.name != MANIFEST}
    for name, size in sizes.items():
        shown = f"{size / 1e3:.2f} kB" if size >= 1000 else f"{size} bytes"
        assert re.search(rf"{re.escape(name)} +{shown}", out)
    assert re.search(rf"total +{sum(sizes.values()) / 1e3:.2f} kB", out)


def test_verify_prints_figures(run: Run, bundle: Path) -> None:
    code, out, _ = run("verify", bundle)
    assert code == 0
    assert re.search(r"4 files, .* 32 of 32 golden positions: .* tolerance 1\.00e-03", out)
    assert out.count("\n") == 1


@pytest.mark.parametrize("command", ["inspect", "verify", "generate", "chat", "agent", "bench"])
def test_help_fits_a_screen_and_shows_an_example(
    run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: lfm-edge {command} OUT" in out
    assert out.count("\n") <= (40 if command == "agent" else 30)


def test_help_lists_the_plug_ins(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in ("inspect", "verify", "generate", "chat", "agent", "bench", "export"):
        assert re.search(rf"\b{command}\b", out)


# Bad input: one line, exit code 2, no traceback.


def damage_hash(bundle: Path) -> None:
    path = bundle / "chat_template.jinja"
    path.write_text(path.read_text().replace("user", "resu").replace("role", "elor"))


def link_outside(bundle: Path) -> None:
    text = (bundle / "tokenizer.json").read_text()
    (bundle.parent / "outside.json").write_text(text)
    (bundle / "tokenizer.json").unlink()
    (bundle / "tokenizer.json").symlink_to(bundle.parent / "outside.json")


def link_folder_outside(bundle: Path) -> None:
    """A listed file lies in a folder that is a link."""
    outside = bundle.parent / "outside"
    outside.mkdir()
    (outside / "a").write_text("a")
    entry = file_entry(outside / "a")
    (bundle / "model.mlpackage").symlink_to(outside)
    added = {"model.mlpackage/a": {"size": entry.size, "sha256": entry.sha256}}
    edit(bundle, lambda m: m["files"].update(added))


def corrupt_graph(bundle: Path) -> None:
    graph = bundle / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-100])
    entry = file_entry(graph)
    edit(bundle, lambda m: m["files"]["model.onnx"].update(size=entry.size, sha256=entry.sha256))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda b: b.rename(b.parent / "gone"), "no such folder"),
    "a file": (lambda b: b.rename(b.parent / "gone").joinpath(MANIFEST).rename(b), "is a file"),
    "no manifest": (lambda b: (b / MANIFEST).unlink(), "no manifest.json"),
    "corrupt manifest": (lambda b: (b / MANIFEST).write_text("{"), "manifest.json: .*truncated"),
    "deep manifest": (
        lambda b: (b / MANIFEST).write_text('{"x":' + "[" * 100_000),
        "manifest.json: ",
    ),
    "odd version": (
        lambda b: edit(b, lambda m: m.update(format_version="9" * 5000 + ".0")),
        "expected one like 1.0",
    ),
    "state too large": (
        lambda b: edit(b, lambda m: m["graph"]["state"][2].update(shape=[1, 16, 10**15])),
        r"past_conv is tensor\(float\) \[1, 16, 2\], expected tensor\(float\) \[1, 16, 1000000",
    ),
    "vocabulary of another model": (
        lambda b: edit(b, lambda m: m["model"].update(vocab_size=301)),
        "logits is .*, expected .* 301",
    ),
    "binary manifest": (lambda b: (b / MANIFEST).write_bytes(b"\xff\0"), "manifest.json: "),
    "missing field": (lambda b: edit(b, lambda m: m.pop("golden")), "missing required.*golden"),
    "wrong type": (lambda b: edit(b, lambda m: m["model"].update(vocab_size="9")), "vocab_size"),
    "newer format": (
        lambda b: edit(b, lambda m: m.update(format_version="2.0")),
        "bundle format 2.0, but this version of lfm-edge reads 1.x; update lfm-edge",
    ),
    "unknown target": (
        lambda b: edit(b, lambda m: m["graph"].update(target="tflite")),
        "target tflite, but this version of lfm-edge runs onnx, onnx-portable, coreml",
    ),
    "path that leaves the folder": (
        lambda b: edit(b, lambda m: m["files"].update({"../x": {"size": 1, "sha256": "0" * 64}})),
        "'../x' in files is not a path of plain names",
    ),
    "path that leaves the folder from within": (
        lambda b: edit(
            b, lambda m: m["files"].update({"a/../../x": {"size": 1, "sha256": "0" * 64}})
        ),
        "'a/../../x' in files is not a path of plain names",
    ),
    "graph that leaves the folder": (
        lambda b: edit(b, lambda m: m["graph"].update(file="/etc/passwd")),
        "manifest.json: .*graph.file",
    ),
    "link that leaves the folder": (link_outside, "links to a place outside"),
    "link on the way that leaves the folder": (
        link_folder_outside,
        "model.mlpackage/a: links to a place outside",
    ),
    "graph folder without a file": (
        lambda b: edit(b, lambda m: m["graph"].update(file="model.mlpackage")),
        "graph file model.mlpackage is not listed in files",
    ),
    "state without an input": (
        lambda b: edit(b, lambda m: m["graph"]["state"][0].update(input=None)),
        "state 0.key: an ONNX graph needs its input and output",
    ),
    "port that the graph lacks": (
        lambda b: edit(b, lambda m: m["graph"]["functions"][0].update(logits="scores")),
        "the outputs are not those of the manifest: logits is .*, expected none",
    ),
    "missing file": (lambda b: (b / "tokenizer.json").unlink(), "tokenizer.json is listed"),
    "truncated file": (
        lambda b: os.truncate(b / "model.onnx", 1000),
        "model.onnx: 1,000 bytes, but manifest.json says",
    ),
    "wrong hash": (damage_hash, "chat_template.jinja: SHA-256 .* was changed or damaged"),
    "graph that is none": (corrupt_graph, "model.onnx: does not load"),
}


@pytest.mark.parametrize("command", ["verify", "generate"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_bundle_gives_one_line(
    run: Run,
    bundle: Path,
    command: str,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    damage(bundle)
    code, out, err = run(command, bundle, *(["a"] if command == "generate" else []))
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: .*{message}.*\n", err)


REQUESTS: dict[str, tuple[list[object], str]] = {
    "empty prompt": ([""], "the prompt is empty"),
    "prompt over the context": (["abc" * 100, "--context", 50], "prompt has 301 tokens.*holds 50"),
    "half a character": (["a\udcff"], "not valid Unicode"),
    "context too large": (["a", "--context", 9999], "context: got 9,999, expected 1 to 2,048"),
    "temperature": (["a", "--temperature", -1], "temperature: got -1.0, expected"),
    "temperature nan": (["a", "--temperature", "nan"], "temperature: got nan, expected"),
    "top-k": (["a", "--top-k", -3], "top_k: got -3"),
    "top-p": (["a", "--top-p", 1.5], "top_p: got 1.5"),
    "min-p": (["a", "--min-p", -0.5], "min_p: got -0.5"),
    "repetition penalty": (["a", "--repetition-penalty", 0], "repetition_penalty: got 0.0"),
    "seed": (["a", "--seed", -1], "seed: got -1"),
    "max tokens": (["a", "--max-tokens", 0], "max_tokens: got 0"),
    "threads": (["a", "--threads", 0], "threads: got 0"),
    "stop": (["a", "--stop", ""], "stop: got"),
}


@pytest.mark.parametrize(("arguments", "message"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_bad_request_gives_one_line(
    run: Run, bundle: Path, arguments: list[object], message: str
) -> None:
    code, out, err = run("generate", bundle, *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: .*{message}.*\n", err)


def test_a_template_that_refuses_gives_one_line(run: Run, tmp_path: Path) -> None:
    files: dict[str, str | None] = {"chat_template.jinja": "{{ raise_exception('not\nso') }}"}
    bundle = write_toy_bundle(tmp_path / "bundle", files=files)
    code, out, err = run("chat", bundle, stdin="hello\n")
    assert (code, out) == (2, "")
    assert err == "error: the chat template refused the messages: not so\n"


def test_a_mistyped_command_exits_with_2(run: Run) -> None:
    code, _, err = run("generat")
    assert code == 2
    assert "generate" in err
    assert "Traceback" not in err


# Plug-ins, whose libraries may be missing.


def plug_in(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint("extra", value, cli.PLUGINS)
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry] if group == cli.PLUGINS else [])


def test_a_command_whose_extra_is_missing_is_listed_and_says_which(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, "onnx.never:command")
    code, out, _ = run("--help")
    assert code == 0
    assert "lfm-edge[export]" in re.sub(r"\s+", "", out)
    code, _, err = run("extra", "anything", "--with", "options")
    assert (code, err) == (
        2,
        "error: onnx is not installed; run: pip install 'lfm-edge[export]'\n",
    )


def test_a_module_of_no_extra_is_a_bug_and_not_hidden(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, "no_such_module_at_all:command")
    with pytest.raises(ModuleNotFoundError):
        run("extra")


def test_own_commands_import_no_plug_in(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, "no_such_module_at_all:command")
    assert run("inspect", "--help")[0] == 0


def test_the_version_is_that_of_all_that_matters(run: Run) -> None:
    versions = [version(name) for name in ("lfm-edge", "onnxruntime")]
    words = [*versions, f"layout of the operators' weights {LAYOUT_VERSION}"]
    code, out, err = run("--version")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert all(word in out for word in words), out
    assert out.startswith(f"lfm-edge {versions[0]}, onnxruntime {versions[1]}, ")
    assert "--version" in run("--help")[1]


def test_the_version_needs_no_plug_in(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, "no_such_module_at_all:command")
    assert run("--version")[0] == 0


@pytest.mark.parametrize(
    "option",
    [
        ("--max-tokens", 0),
        ("--temperature", -1),
        ("--min-p", 5),
        ("--seed", -1),
        ("--stop", ""),
        ("--thinking-budget", -1),
    ],
    ids=lambda option: option[0],
)
def test_a_wrong_option_of_a_chat_is_said_before_anyone_speaks(
    run: Run, bundle: Path, option: tuple[str, object]
) -> None:
    code, out, err = run("chat", bundle, *option)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "missing argument 'OUT'; see .*generate --help"),
        (
            ["generate", "a", "b", "c"],
            r"got unexpected extra argument.*\(c\); see .*generate --help",
        ),
        (["verify", "a", "--tokns", "3"], "no such option: --tokns .*; see .*verify --help"),
        (["verify", "a", "--tokens"], "option '--tokens' requires .*; see .*verify --help"),
        (["verify", "a", "--tokens", "x"], "invalid value for '--tokens': .*; see .*verify --help"),
        (["agent", "a", "--tool-choice", "x"], "invalid value for '--tool-choice': .*'auto'.*"),
        (["export", "a"], "missing argument '.*'; see .*export --help"),
        (["nothing"], "no such command 'nothing'; see .* --help"),
        (["--version=1"], "option '--version' does not take a value; see lfm-edge --help"),
        (["--nothing"], "no such option: --nothing; see .* --help"),
    ],
)
def test_a_wrong_command_line_gives_one_line(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {message}\n", err)


def test_without_arguments_the_help_is_shown(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    assert "generate" in out
