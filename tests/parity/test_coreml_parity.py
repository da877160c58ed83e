"""A saved Core ML package, evaluated in NumPy, gives the logits of transformers.

The truth has the weights that the package's integers stand for. Exactly evaluated, a package that
differs is wrong; rounded to float16 as Core ML rounds, it shows what that costs. A weight's own
rounding is not counted there: the program declares it as float16, and the truth then has it so.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import mmap
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lfm_edge
import numpy as np
import pytest
import torch
from lfm_edge import IntegrityError, InvalidRequestError, UnsupportedBundleError
from lfm_edge.bundle import Bundle
from lfm_edge.coreml.evaluator import Mode
from lfm_edge.coreml.package import Package
from lfm_edge.coreml.runtime import CoreMLRuntime, EvaluatorEngine
from lfm_edge.coreml.weights import Stored
from lfm_edge.session import Session
from lfm_export.emit.coreml.moe import FORMS as FORM_CLASSES
from numpy.typing import NDArray
from transformers import Lfm2MoeConfig, PreTrainedModel

from tests.parity.test_tiny_models import CONFIGS
from tests.sdk.toy import write_manifest
from tests.support import dequantized, export, logits_of, random_model, saved

FORMS = tuple(FORM_CLASSES)
BOUNDS: dict[Mode, float] = {"exact": 2e-5, "fp16": 3e-2}
CHUNKS = [8, 8, 5] + [1] * 24
"""Three padded runs of `prefill`, then `decode`."""
LENGTH = sum(CHUNKS)


class Case(NamedTuple):
    config: str
    moe: str
    quant: str
    conv_state: str


def cases() -> Iterator[Case]:
    """Every form of every model; every option with the plain ones, by turns with the others."""
    options = list(itertools.product(("q4", "q8"), ("io", "state")))
    turn = itertools.cycle(options)
    for name, config in CONFIGS.items():
        if "odd widths" in name:  # float weights alone take them, which a package has not
            continue
        for moe in FORMS if isinstance(config, Lfm2MoeConfig) else FORMS[:1]:
            chosen = options if name in {"dense", "moe"} else [next(turn)]
            yield from (Case(name, moe, *option) for option in chosen)


class Made(NamedTuple):
    """A bundle, a sequence, and transformers' logits for it in either mode."""

    bundle: Bundle
    ids: NDArray[np.int64]
    truths: dict[Mode, NDArray[np.float32]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Exports a case's model; its checkpoint and truth are made once."""

    @functools.cache
    def checkpoint(name: str) -> Path:
        return saved(random_model(CONFIGS[name]), tmp_path_factory.mktemp("checkpoint"))

    @functools.cache
    def truths(name: str, quant: str) -> tuple[NDArray[np.int64], dict[Mode, NDArray[np.float32]]]:
        model = dequantized(checkpoint(name), quant)
        ids = clearly_routed(model)
        exact = logits_of(model, ids)
        round_weights(model)
        return ids, {"exact": exact, "fp16": logits_of(model, ids)}

    def made(case: Case) -> Made:
        out = tmp_path_factory.mktemp("coreml") / "bundle"
        options = {"quant": case.quant, "conv_state": case.conv_state, "moe": case.moe}
        bundle = export(checkpoint(case.config), out, target="coreml", context=LENGTH, **options)
        return Made(bundle, *truths(case.config, case.quant))

    return made


def round_weights(model: PreTrainedModel) -> None:
    """Rounds to float16 what is quantized: every matrix but the router's and the taps."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and not name.endswith(
            ("feed_forward.gate.weight", "conv.conv.weight")
        ):
            parameter.data = parameter.data.half().float()


def clearly_routed(model: PreTrainedModel) -> NDArray[np.int64]:
    """Of many random sequences, the one whose closest choice of experts is the clearest.

    Where two experts score nearly alike, float16 may send a token to the other.
    """
    random = np.random.default_rng(1)
    sequences = random.integers(0, model.config.vocab_size, (64, LENGTH))
    closest = np.full(sequences.shape, np.inf)

    def look(router: Any, arguments: tuple[torch.Tensor, torch.Tensor | None]) -> None:
        hidden, bias = arguments
        scores = torch.sigmoid(hidden @ router.weight.T) + (0 if bias is None else bias)
        best = scores.sort(descending=True).values.numpy()
        k = model.config.num_experts_per_tok
        if k < best.shape[-1]:
            gap = (best[:, k - 1] - best[:, k]).reshape(sequences.shape)
            np.minimum(closest, gap, out=closest)

    routers = [module for name, module in model.named_modules() if name.endswith("ward.gate")]
    hooks = [router.register_forward_pre_hook(look) for router in routers]
    with torch.no_grad():
        model(torch.from_numpy(sequences), use_cache=False)
    for hook in hooks:
        hook.remove()
    chosen: NDArray[np.int64] = sequences[closest.min(-1).argmax()]
    return chosen


def session_of(bundle: Bundle, mode: Mode) -> Session:
    package = Package(bundle.graph_path)
    return Session(CoreMLRuntime(bundle, package, EvaluatorEngine(package, mode)), LENGTH)


def replay(session: Session, ids: NDArray[np.int64], chunks: list[int]) -> NDArray[np.float32]:
    """Logits at the ends of the chunks `[chunks, vocab]`."""
    parts = np.split(ids, np.cumsum(chunks)[:-1])
    return np.stack([session.prefill(part) for part in parts])


def check(made: Made, mode: Mode, chunks: list[int]) -> None:
    logits = replay(session_of(made.bundle, mode), made.ids, chunks)
    truth, bound = made.truths[mode][np.cumsum(chunks) - 1], BOUNDS[mode]
    assert np.abs(logits - truth).max() <= bound
    best = np.sort(truth)[:, -2:]
    decided = best[:, 1] - best[:, 0] > 2 * bound
    assert (logits.argmax(-1) == truth.argmax(-1))[decided].all()
    assert decided.any()


@pytest.mark.parametrize("case", list(cases()), ids=", ".join)
def test_a_package_computes_what_transformers_computes(make: Any, case: Case) -> None:
    made = make(case)
    for mode in BOUNDS:
        check(made, mode, CHUNKS)


@pytest.mark.parametrize("conv_state", ["io", "state"])
@pytest.mark.parametrize("moe", FORMS)
def test_padding_may_reach_beyond_the_context(make: Any, moe: str, conv_state: str) -> None:
    """The last chunks of several tokens begin so late that 64 do not fit."""
    check(make(Case("moe", moe, "q4", conv_state)), "exact", [1, 13, 2, 8, 1, 15, 5])


def error(made: Made, session: Session) -> float:
    """The largest error of logits, tokens read one by one."""
    return float(np.abs(replay(session, made.ids, [1] * LENGTH) - made.truths["exact"]).max())


@pytest.mark.parametrize("conv_state", ["io", "state"])
def test_state_that_is_lost_is_found(make: Any, conv_state: str) -> None:
    made = make(Case("moe", "wide", "q4", conv_state))
    names = [tensor.name for tensor in made.bundle.manifest.graph.state]
    assert len(names) == 3
    for name in names:
        session = session_of(made.bundle, "exact")
        replay(session, made.ids[:30], [30])
        session.state.tensors[name][...] = 0
        lost = session.prefill(made.ids[30:40])
        assert np.abs(lost - made.truths["exact"][39]).max() > 100 * BOUNDS["exact"], name


def test_reset_leaves_nothing_behind(make: Any) -> None:
    made = make(Case("moe", "wide", "q4", "state"))
    session = session_of(made.bundle, "exact")
    first = replay(session, made.ids, CHUNKS)
    session.reset()
    np.testing.assert_array_equal(replay(session, made.ids, CHUNKS), first)


@pytest.mark.parametrize("conv_state", ["io", "state"])
def test_a_session_goes_back_and_is_neither_copied_nor_saved(
    make: Any, conv_state: str, tmp_path: Path
) -> None:
    made = make(Case("moe", "wide", "q4", conv_state))
    session, plain = session_of(made.bundle, "exact"), session_of(made.bundle, "exact")
    ids = made.ids.tolist()
    replay(session, made.ids[:21], [8, 8, 5])
    session.rewind(16)
    # A conv state within the program is not kept: all is read again.
    assert session.to_replay == (0 if conv_state == "io" else 16)
    again = session.prefill(ids[25:30])
    replay(plain, made.ids[:16], [8, 8] if conv_state == "io" else [16])
    assert np.abs(again - plain.prefill(ids[25:30])).max() <= 2 * BOUNDS["exact"]
    mark = session.snapshot()
    session.decode(3)
    session.restore(mark)
    assert session.ids == [*ids[:16], *ids[25:30]]
    for refused in (session.fork, lambda: session.save(tmp_path / "saved")):
        with pytest.raises(UnsupportedBundleError, match="coreml stays in its runtime") as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def copy(make: Any, tmp_path: Path) -> Made:
    """A bundle to change."""
    made: Made = make(Case("moe", "wide", "q4", "io"))
    folder = Path(shutil.copytree(made.bundle.folder, tmp_path / "bundle"))
    return made._replace(bundle=Bundle(folder))


def stored(bundle: Bundle, weight: str) -> tuple[Stored, Stored]:
    """Integers and scales of the weight whose name in the program contains this."""
    operations = Package(bundle.graph_path).functions["decode"].operations
    found = next(
        op for op in operations if op.kind.startswith("constexpr") and weight in str(op.outputs)
    )
    data, scale = found.inputs["data"], found.inputs["scale"]
    assert isinstance(data, Stored)
    assert isinstance(scale, Stored)
    return data, scale


def edit(tensor: Stored, change: Callable[[NDArray[np.uint8]], None]) -> None:
    """Changes a tensor's bytes in the weight file."""
    size = int(np.prod(tensor.shape)) * tensor.bits // 8
    with tensor.file.path.open("r+b") as file:
        view = mmap.mmap(file.fileno(), 0)
        change(np.frombuffer(view, np.uint8, size, tensor.start))


WEIGHTS = ["embed_tokens", "conv_in_proj", "conv_out_proj", "q_proj", "k_proj", "v_proj"]
WEIGHTS += ["self_attn_out_proj", "feed_forward_w2", "gate_up", "down"]


@pytest.mark.parametrize("weight", WEIGHTS)
def test_one_changed_nibble_is_found(copy: Made, weight: str) -> None:
    def change(values: NDArray[np.uint8]) -> None:
        values[7] ^= 0x70

    data, _ = stored(copy.bundle, weight)
    edit(data, change)
    assert error(copy, session_of(copy.bundle, "exact")) > 10 * BOUNDS["exact"]
    with pytest.raises(IntegrityError, match=r"weight\.bin: SHA-256"):
        lfm_edge.verify(copy.bundle.folder)


def test_swapped_experts_are_found(copy: Made) -> None:
    """Even by their logits alone, which are rounded and held to the manifest's tolerance."""

    def swap(values: NDArray[np.uint8]) -> None:
        experts = values.reshape(8, -1)
        experts[[0, 1]] = experts[[1, 0]]

    for tensor in stored(copy.bundle, "gate_up"):
        edit(tensor, swap)
    assert error(copy, session_of(copy.bundle, "exact")) > 1000 * BOUNDS["exact"]
    write_manifest(copy.bundle.folder, copy.bundle.manifest)
    with pytest.raises(IntegrityError, match="golden vectors missed in decode"):
        lfm_edge.verify(copy.bundle.folder)


@pytest.mark.parametrize("moe", FORMS)
def test_verify_replays_a_bundle_on_any_machine(make: Any, moe: str) -> None:
    bundle = make(Case("moe", moe, "q4", "io")).bundle
    report = lfm_edge.verify(bundle.folder)
    assert report.positions == 32
    assert 0 < report.decode_error <= report.tolerance
    assert 0 < report.prefill_error <= report.tolerance
    assert lfm_edge.verify(bundle.folder, tokens=3).positions == 3


def test_of_a_large_bundle_a_few_positions_are_replayed(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make(Case("moe", "wide", "q4", "io")).bundle
    size = sum(entry.size for entry in bundle.manifest.files.values())
    # The module's name is that of its function.
    module = importlib.import_module("lfm_edge.verify")
    for bytes_read, positions in ((5 * size + 1, 5), (size - 1, 1)):
        monkeypatch.setattr(module, "_EVALUATED_BYTES", bytes_read)
        report = lfm_edge.verify(bundle.folder)
        assert (report.positions, report.golden_positions) == (positions, 32)
    assert lfm_edge.verify(bundle.folder, tokens=7).positions == 7
    with pytest.raises(InvalidRequestError, match="tokens: got 0, expected 1 or more"):
        lfm_edge.verify(bundle.folder, tokens=0)
