"""A calibration from end to end: the same for every target, whole or after a kill, and worth it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lfm_edge.bundle import Bundle
from lfm_edge.errors import LfmError
from lfm_edge.progress import Quiet
from lfm_export.architecture import Mlp, SparseMoe, describe
from lfm_export.calibrate import OWN, Calibration, calibrate
from lfm_export.checkpoint import open_checkpoint
from lfm_export.errors import CheckpointError, WorkersLostError
from lfm_export.evaluate import EvaluateOptions, evaluate_bundle
from lfm_export.evaluate.stored import StoredWeights
from lfm_export.export import ExportOptions, export_bundle
from lfm_export.quantize import METHODS, Scheme
from lfm_export.walk import Sequences
from lfm_export.workers import Threads
from lfm_ops.quantized import QuantizedTensor

from tests.support import DEMO_MODEL, export, random_model, saved, tiny_dense, tiny_lfm3, tiny_moe
from tools.train_demo_model.corpus import DEMO, held_out_text, package_folder

TEXT = Sequences(tuple(np.random.default_rng(3).integers(0, 320, 40) for _ in range(4)))


class KilledError(Exception):
    pass


class Watched(Quiet):
    """Counts what is done, and kills it after so many amounts."""

    def __init__(self, amounts: int = 1_000_000) -> None:
        self.left, self.done = amounts, 0

    def advance(self, amount: int) -> None:
        if not self.left:
            raise KilledError
        self.left -= 1
        self.done += amount


class Killed(BaseException):
    """Not an error: nothing is cleared away."""


class KillingAfter(Watched):
    """The same as a process that is killed."""

    def __init__(self, amounts: int = 20) -> None:
        super().__init__(amounts)

    def advance(self, amount: int) -> None:
        try:
            super().advance(amount)
        except KilledError:
            raise Killed from None


class Stopped(Watched):
    """Ends with any error, and keeps the notes."""

    def __init__(self, amounts: int, error: Exception) -> None:
        super().__init__(amounts)
        self.error, self.notes = error, list[str]()

    def advance(self, amount: int) -> None:
        try:
            super().advance(amount)
        except KilledError:
            raise self.error from None

    def note(self, text: str) -> None:
        self.notes.append(text)


def matrices(source: Path, found: Calibration) -> Iterator[tuple[str, QuantizedTensor]]:
    with open_checkpoint(str(source)) as checkpoint:
        for layer in describe(checkpoint.config).layers:
            ffn = layer.feed_forward
            experts = (ffn,) if isinstance(ffn, Mlp) else ffn.experts
            for mlp in experts:
                for linear in (mlp.gate, mlp.up, mlp.down):
                    matrix = found.matrix(linear)
                    assert matrix is not None
                    yield linear.name, matrix


def calibrated(
    source: Path, folder: Path, progress: Quiet | None = None, quant: str = "q4"
) -> dict[str, QuantizedTensor]:
    with open_checkpoint(str(source)) as checkpoint:
        architecture, scheme = describe(checkpoint.config), Scheme.choose(quant, None)
        with calibrate(
            checkpoint, architecture, scheme, TEXT, folder, progress or Quiet(), Threads()
        ) as found:
            return dict(matrices(source, found))


def assert_same(one: dict[str, QuantizedTensor], other: dict[str, QuantizedTensor]) -> None:
    assert one.keys() == other.keys()
    for name, matrix in one.items():
        assert np.array_equal(matrix.values, other[name].values), name
        assert matrix.scales is not None
        assert np.array_equal(matrix.scales, other[name].scales), name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "amounts"),
    [("moe", 1), ("moe", 3), ("moe", 13), ("moe", 20), ("lfm3", 6), ("lfm3", 7)],
)
def test_a_killed_calibration_goes_on_to_the_same_integers(
    tmp_path: Path, family: str, amounts: int
) -> None:
    model = random_model(tiny_lfm3() if family == "lfm3" else tiny_moe())
    source = saved(model, tmp_path / "source")
    whole = calibrated(source, tmp_path / "whole")
    with pytest.raises(KilledError):
        calibrated(source, tmp_path / "killed", Watched(amounts))
    rest = Watched()
    assert_same(whole, calibrated(source, tmp_path / "killed", rest))
    assert 0 < rest.done < 2 * sum(m.values.size for m in whole.values()) * 3
    again = Watched()
    assert_same(whole, calibrated(source, tmp_path / "killed", again))
    assert again.done == 0


def test_another_quantization_begins_anew(tmp_path: Path) -> None:
    source = saved(random_model(tiny_dense()), tmp_path / "source")
    fours = calibrated(source, tmp_path / "state")
    eights = calibrated(source, tmp_path / "state", quant="q8")
    assert {m.format.name for m in fours.values()} == {"q4"}
    assert {m.format.name for m in eights.values()} == {"q8"}


def test_a_model_writes_its_own_text_once(tmp_path: Path) -> None:
    source = saved(random_model(tiny_moe(max_position_embeddings=48)), tmp_path / "source")
    state = tmp_path / "state"
    first = export(source, tmp_path / "first", calibrate=OWN, state=state)
    with np.load(state / "text.npz") as kept:
        ids = kept["ids"]
    assert first.manifest.quantization.calibration_tokens == ids.size == 48 * 48
    assert len({piece.tobytes() for piece in ids}) == 48
    plain = export(source, tmp_path / "plain")
    assert plain.manifest.files["model.onnx.data"] != first.manifest.files["model.onnx.data"]
    written = (state / "text.npz").stat().st_mtime_ns
    other = export(source, tmp_path / "gguf", target="gguf", calibrate=OWN, state=state)
    assert other.manifest.quantization.calibration_tokens == ids.size
    assert (state / "text.npz").stat().st_mtime_ns == written
    (state / "text.npz").write_bytes((state / "text.npz").read_bytes()[:-99])
    again = export(source, tmp_path / "again", calibrate=OWN, state=state)
    with np.load(state / "text.npz") as kept:
        assert (kept["ids"] == ids).all()
    once = export(source, tmp_path / "once", calibrate=OWN)
    assert once.manifest == again.manifest == first.manifest
    assert list(tmp_path.glob(".*")) == []


def test_an_expert_that_saw_nothing_is_quantized_by_itself(tmp_path: Path) -> None:
    model = random_model(tiny_moe())
    for name, tensor in model.named_buffers():
        if "expert_bias" in name:
            tensor[5] = -100.0  # nobody is sent there
    source = saved(model, tmp_path / "source")
    found = calibrated(source, tmp_path / "state")
    with open_checkpoint(str(source)) as checkpoint:
        for layer in describe(checkpoint.config).layers:
            if not isinstance(layer.feed_forward, SparseMoe):
                continue
            same = [
                np.array_equal(
                    METHODS["q4"](checkpoint.read(expert.gate.name)).values,
                    found[expert.gate.name].values,
                )
                for expert in layer.feed_forward.experts
            ]
            assert same[5]
            assert sum(same) <= 3  # of random experts, one or the other is chosen by nobody


def exported(source: Path, out: Path, progress: Quiet | None = None, **changes: Any) -> Bundle:
    with open_checkpoint(str(source)) as checkpoint:
        return export_bundle(checkpoint, out, ExportOptions(**changes), progress)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of files that are not held out."""
    assert not any(name.startswith("sympy/core/") for name in DEMO.held_out)
    files = sorted((package_folder("sympy") / "core").glob("*.py"))[1:]
    path = tmp_path_factory.mktemp("text") / "calibration.txt"
    path.write_text("\n".join(file.read_text(encoding="utf-8")[:2000] for file in files[:12]))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tiny mixture of experts that reads text."""
    folder = saved(random_model(tiny_moe(vocab_size=4096)), tmp_path / "source")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(DEMO_MODEL / name, folder / name)
    return folder


def test_all_targets_of_a_calibration_hold_the_same_integers(
    source: Path, text: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    one = exported(source, tmp_path / "one", calibrate=text, state=state)
    other = exported(source, tmp_path / "b", calibrate=text, state=state, target="onnx-portable")
    apart = exported(source, tmp_path / "c", calibrate=text)
    plain = exported(source, tmp_path / "d")
    assert (one.manifest.quantization.calibration_tokens or 0) > 4000
    assert plain.manifest.quantization.calibration_tokens is None
    assert not list(tmp_path.glob(".c*"))
    differs = 0
    with open_checkpoint(str(source)) as checkpoint:
        architecture = describe(checkpoint.config)
    readers = [StoredWeights(bundle, architecture) for bundle in (one, other, apart, plain)]
    for layer in architecture.layers:
        for name, matrix in readers[0].part(layer.operator).matrices.items():
            same, alone, by_itself = (r.part(layer.operator).matrices[name] for r in readers[1:])
            for equal in (same, alone):
                assert np.array_equal(matrix.values, equal.values)
                assert np.array_equal(matrix.dequantize(), equal.dequantize())
            differs += int(not np.array_equal(matrix.values, by_itself.values))
    assert differs > 6


def test_whatever_makes_the_bundle_whole_removes_what_a_killed_calibration_left(
    source: Path, text: Path, tmp_path: Path
) -> None:
    out, left = tmp_path / "out", tmp_path / ".out.calibration"
    agains: list[dict[str, Any]] = [{}, {"calibrate": text, "state": tmp_path / "state"}]
    for again in agains:
        with pytest.raises(Killed):
            exported(source, out, KillingAfter(), calibrate=text)
        assert (left / "walk.json").exists()
        with pytest.raises(LfmError, match="--quant f32 rounds nothing"):
            exported(source, out, calibrate=text, quant="f32")
        assert (left / "walk.json").exists()
        exported(source, out, **again)
        assert not left.exists()
    left.mkdir()
    (left / "walk.f32").write_text("mine")
    exported(source, out)
    assert (left / "walk.f32").read_text() == "mine"
    with pytest.raises(LfmError, match="holds other files"):
        exported(source, out, calibrate=text)
    assert (left / "walk.f32").read_text() == "mine"


@pytest.mark.parametrize("amounts", [0, 20])
@pytest.mark.parametrize(
    ("error", "goes_on", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full"), True, "/full: no space left"),
        (WorkersLostError("piece 3 was lost"), True, "piece 3 was lost"),
        (CheckpointError("w: holds NaN"), False, "w: holds NaN"),
    ],
)
def test_what_a_full_disk_or_a_lost_cluster_stopped_goes_on(
    error: Exception,
    goes_on: bool,
    says: str,
    amounts: int,
    source: Path,
    text: Path,
    tmp_path: Path,
) -> None:
    out, left, progress = tmp_path / "out", tmp_path / ".out.calibration", Stopped(amounts, error)
    with pytest.raises(LfmError, match=says):
        exported(source, out, progress, calibrate=text)
    stays = goes_on and amounts > 0
    assert [path for path in tmp_path.iterdir() if path != source] == [left] * stays
    assert [str(left) in note for note in progress.notes] == [True] * stays


def test_calibration_halves_the_divergence_of_the_shipped_model(text: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "held_out.txt"
    held_out.write_text("\n".join(text[:1500] for _, text in held_out_text()[::4]))
    losses = []
    for name, calibration in (("plain", None), ("calibrated", text)):
        bundle = exported(DEMO_MODEL, tmp_path / name, calibrate=calibration)
        with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
            got = evaluate_bundle(bundle, checkpoint, EvaluateOptions(held_out, tokens=1200))
        assert got.kl_mean is not None
        losses.append(got.kl_mean)
    assert losses[1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("changes", "content", "says"),
    [
        ({"quant": "f32"}, "text " * 999, "--quant f32 rounds nothing"),
        ({}, "too short", "expected at least 512"),
        ({}, "", "is empty"),
        ({}, None, "no such file"),
    ],
)
def test_a_wrong_calibration_is_refused_in_one_line(
    source: Path, tmp_path: Path, changes: dict[str, Any], content: str | None, says: str
) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LfmError, match=says) as error:
        exported(source, tmp_path / "out", calibrate=path, **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_what_is_no_state_folder_is_left_alone(source: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(LfmError, match="goes with --calibrate"):
        exported(source, tmp_path / "out", state=tmp_path / "state")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(LfmError, match="holds other files"):
        exported(source, tmp_path / "out", calibrate=text, state=tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    (tmp_path / "source" / "tokenizer.json").unlink()
    with pytest.raises(LfmError, match="has no tokenizer"):
        exported(source, tmp_path / "out", calibrate=text)


def test_a_lost_matrix_is_not_replaced_in_silence(source: Path, text: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    exported(source, tmp_path / "one", calibrate=text, state=state)
    (state / "tensors" / "model.layers.1.feed_forward.experts.2.w2.weight.npz").write_bytes(b"PK")
    with pytest.raises(LfmError, match=r"experts\.2\.w2\.weight is missing or damaged"):
        exported(source, tmp_path / "two", calibrate=text, state=state)
