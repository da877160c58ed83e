"""Core ML bundles through the session API: a Mac's engine played by a fake, and other machines."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import coremltools
import lfm_edge
import msgspec
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function as Program
from coremltools.converters.mil.mil import types
from lfm_edge import (
    BundleError,
    ContextFullError,
    InvalidRequestError,
    UnsupportedBundleError,
    cli,
)
from lfm_edge.bundle import Bundle, Function, StateTensor, WeightFormat
from lfm_edge.coreml import apple
from lfm_edge.coreml.package import Package
from lfm_edge.coreml.runtime import CoreMLRuntime
from numpy.typing import NDArray

from tests.sdk.coreml_programs import save
from tests.sdk.interrupting import interrupt_at
from tests.sdk.toy import ToyModel, toy_manifest, write_manifest

Array = NDArray[Any]

LOAD = apple._load
VOCAB, CONTEXT, CHUNK = 300, 100, 64
KV, CONV = (2, 1, CONTEXT, 4), (3, 5, 2)


def program(tokens: int, conv_state: str, vocab: int = VOCAB) -> Program:
    """The signature of a real one; what it computes is left to the fake."""
    inputs = {
        "input_ids": mb.TensorSpec((1, tokens), types.int32),
        "position": mb.TensorSpec((1,), types.int32),
    }
    if tokens > 1:
        inputs["valid"] = mb.TensorSpec((1,), types.int32)
    if conv_state == "io":
        inputs["past_conv"] = mb.TensorSpec(CONV, types.fp16)
    inputs["key_cache"] = mb.StateTensorSpec(KV, types.fp16)
    inputs["value_cache"] = mb.StateTensorSpec(KV, types.fp16)
    if conv_state == "state":
        inputs["conv_state"] = mb.StateTensorSpec(CONV, types.fp16)
    with Program(inputs, opset_version=coremltools.target.iOS18) as function:
        for name, value in function.inputs.items():
            if name in {"key_cache", "value_cache", "conv_state"}:
                mb.read_state(input=value)
        outputs = [mb.identity(x=np.zeros((1, vocab), np.float32), name="logits")]
        if conv_state == "io":
            outputs.append(mb.identity(x=function.inputs["past_conv"], name="present_conv"))
        function.set_outputs(outputs)
    return function


def write_bundle(folder: Path, conv_state: str = "io", vocab: int = VOCAB) -> Path:
    folder.mkdir()
    functions = {"decode": 1, "prefill": CHUNK}
    save(folder, {name: program(size, conv_state, vocab) for name, size in functions.items()})
    conv = StateTensor("conv_state", "conv", None, "float16", [*CONV], None, None)
    if conv_state == "io":
        conv = StateTensor("conv", "conv", None, "float16", [*CONV], "past_conv", "present_conv")
    manifest = toy_manifest(ToyModel())
    graph = msgspec.structs.replace(
        manifest.graph,
        target="coreml",
        file="model.mlpackage",
        functions=[
            Function(
                name,
                "input_ids",
                "logits",
                position="position",
                valid=None if size == 1 else "valid",
                tokens=size,
            )
            for name, size in functions.items()
        ],
        state=[
            StateTensor("key_cache", "key", None, "float16", [*KV], None, None),
            StateTensor("value_cache", "value", None, "float16", [*KV], None, None),
            conv,
        ],
    )
    model = msgspec.structs.replace(manifest.model, max_context=CONTEXT)
    write_manifest(folder, msgspec.structs.replace(manifest, graph=graph, model=model))
    return folder


class FakeState:
    """What a function has seen; a real one lies in Core ML."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def read_state(self, name: str) -> Array:
        assert name in {"key_cache", "value_cache", "conv_state"}
        return np.full(2, len(self.ids))


class FakeFunction:
    """As strict as Core ML about names, shapes and types; its logits tell all that it has read."""

    def __init__(self, tokens: int, conv_state: str) -> None:
        self.tokens, self.conv_state = tokens, conv_state
        self.calls: list[tuple[int, int]] = []

    def make_state(self) -> FakeState:
        return FakeState()

    def predict(self, data: dict[str, Array], state: FakeState) -> Mapping[str, Array]:
        wanted = {"input_ids": ("int32", (1, self.tokens)), "position": ("int32", (1,))}
        if self.tokens > 1:
            wanted["valid"] = ("int32", (1,))
        if self.conv_state == "io":
            wanted["past_conv"] = ("float32", CONV)
        assert {name: (str(a.dtype), a.shape) for name, a in data.items()} == wanted
        (position,), valid = data["position"], int(data.get("valid", [1])[0])
        ids = data["input_ids"][0, :valid].tolist()
        assert not data["input_ids"][0, valid:].any()
        if self.conv_state == "io":
            assert (data["past_conv"] == len(state.ids)).all()
        assert position == len(state.ids)
        state.ids += ids
        self.calls.append((int(position), valid))
        if 299 in ids:
            raise RuntimeError("Unable to compute\nthe prediction (error -1).")
        outputs = {"logits": logits(state.ids)[None]}
        if self.conv_state == "io":
            outputs["present_conv"] = np.full(CONV, len(state.ids), np.float16)
        return outputs


def logits(ids: list[int]) -> NDArray[np.float16]:
    """A different vector for every sequence."""
    weights = np.arange(1, len(ids) + 1) * np.array(ids)
    return np.cos(np.arange(VOCAB) * weights.sum() % 77).astype(np.float16)


@pytest.fixture(scope="module", params=["io", "state"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle(write_bundle(tmp_path_factory.mktemp("coreml") / "bundle", request.param))


@pytest.fixture
def functions(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeFunction]:
    """A Mac whose Core ML is a fake."""
    conv = "io" if bundle.manifest.graph.state[-1].input else "state"
    made = {"decode": FakeFunction(1, conv), "prefill": FakeFunction(CHUNK, conv)}

    def load(package: Path, names: Sequence[str], units: str) -> Mapping[str, FakeFunction]:
        assert (package, units) == (bundle.graph_path, "CPU_AND_GPU")
        assert list(names) == list(made)
        return made

    monkeypatch.setattr(apple, "_load", load)
    monkeypatch.setattr("sys.platform", "darwin")
    return made


IDS = np.random.default_rng(3).integers(0, 299, CONTEXT).tolist()


def test_the_session_api_on_a_mac(bundle: Bundle, functions: dict[str, FakeFunction]) -> None:
    session = lfm_edge.load(bundle.folder).session(90)
    assert session.capacity == 90
    for count in (80, 1, 7):
        end = session.position + count
        got = session.prefill(IDS[session.position : end])
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, logits(IDS[:end]))
    np.testing.assert_array_equal(session.decode(IDS[88]), logits(IDS[:89]))
    assert session.position == 89
    assert functions["prefill"].calls == [(0, 64), (64, 16), (81, 7)]
    assert functions["decode"].calls == [(80, 1), (88, 1)]
    with pytest.raises(ContextFullError, match="its capacity of 90"):
        session.prefill(IDS[:2])
    session.prefill(IDS[89:90])


def test_reset_starts_anew(bundle: Bundle, functions: dict[str, FakeFunction]) -> None:
    session = lfm_edge.load(bundle.folder).session()
    for _ in range(2):
        np.testing.assert_array_equal(session.prefill(IDS[:9]), logits(IDS[:9]))
        assert all((np.array(t) == 9).all() for t in session.state.tensors.values())
        session.reset()
        assert session.position == 0


def test_an_interrupt_at_any_instruction_leaves_what_the_session_says(
    bundle: Bundle, functions: dict[str, FakeFunction]
) -> None:
    session, count = lfm_edge.load(bundle.folder).session(), 0
    # 70 tokens are two runs of a function; the fake refuses a state that is not the position's.
    while interrupt_at(count := count + 1, lambda: session.prefill(IDS[:70])):
        held = session.ids
        assert held in ([], IDS[:70])
        np.testing.assert_array_equal(session.decode(7), logits([*held, 7]))
        session.reset()
    assert count > 100


def test_sessions_are_apart(bundle: Bundle, functions: dict[str, FakeFunction]) -> None:
    model = lfm_edge.load(bundle.folder)
    one, other = model.session(), model.session()
    one.prefill(IDS[:5])
    np.testing.assert_array_equal(other.prefill(IDS[5:9]), logits(IDS[5:9]))
    np.testing.assert_array_equal(one.decode(IDS[5]), logits(IDS[:6]))


def test_capacity_is_at_most_the_programs(
    bundle: Bundle, functions: dict[str, FakeFunction]
) -> None:
    model = lfm_edge.load(bundle.folder)
    assert model.session().capacity == CONTEXT
    with pytest.raises(InvalidRequestError, match="expected 1 to 100"):
        model.session(CONTEXT + 1)


def test_what_core_ml_says_is_told_in_one_line(
    bundle: Bundle, functions: dict[str, FakeFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = lfm_edge.load(bundle.folder).session()
    session.prefill(IDS[:5])
    with pytest.raises(BundleError, match=r"decode failed to run: Unable to compute the pred"):
        session.decode(299)
    assert session.position == 0
    np.testing.assert_array_equal(session.decode(4), logits([4]))

    def fail(*_: object, **options: object) -> Any:
        raise Exception("Error compiling model:\n no such op")

    monkeypatch.setattr(apple, "_load", LOAD)
    monkeypatch.setattr(coremltools.models, "MLModel", fail)
    with pytest.raises(BundleError, match="does not load: Error compiling model: no such op"):
        lfm_edge.load(bundle.folder)


def test_a_bug_of_ours_is_no_error_of_the_bundle(
    bundle: Bundle, functions: dict[str, FakeFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = lfm_edge.load(bundle.folder).session()
    inputs = {"input_ids": [1]}
    for function, error in (("no such function", KeyError), ("decode", AttributeError)):
        with pytest.raises(error):
            session.state._conversation.predict(function, inputs)  # type: ignore[attr-defined]
    monkeypatch.setattr(apple, "_load", LOAD)
    with pytest.raises(KeyError, match="no such unit"):
        apple.AppleEngine(Package(bundle.graph_path), "no such unit")


def test_other_machines_are_pointed_to_verify(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    advice = f"lfm-edge verify {bundle.folder}"
    with pytest.raises(UnsupportedBundleError, match=advice):
        lfm_edge.load(bundle.folder)
    for command in (["generate", "a"], ["chat"], ["bench"]):
        name, *rest = command
        monkeypatch.setattr("sys.argv", ["lfm-edge", name, str(bundle.folder), *rest])
        with pytest.raises(SystemExit) as ending:
            cli.main()
        out, err = capsys.readouterr()
        assert (ending.value.code, out, err.count("\n")) == (2, "", 1)
        assert advice in err


def test_a_program_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    bundle = Bundle(write_bundle(tmp_path / "bundle", vocab=VOCAB + 1))
    with pytest.raises(
        BundleError,
        match=r"the outputs of decode are not those of the manifest: logits is "
        r"float32 \[1, 301\], expected float32 \[1, 300\]",
    ):
        open_runtime(bundle)
    state = bundle.manifest.graph.state
    for place, change, message in (
        (0, {"shape": [2, 1, 99, 4]}, r"states of decode .* key_cache is .* \[2, 1, 100, 4\]"),
        (1, {"name": "values"}, "states of decode .* value_cache is .* expected none"),
        (2, {"input": "past"}, "inputs of decode .* past is missing, expected float16"),
        (2, {"shape": ["capacity", 5, 2]}, "state conv has no fixed shape"),
    ):
        changed = list(state)
        changed[place] = msgspec.structs.replace(state[place], **change)
        graph = msgspec.structs.replace(bundle.manifest.graph, state=changed)
        model = msgspec.structs.replace(bundle.manifest.model, vocab_size=VOCAB + 1)
        bundle.manifest = msgspec.structs.replace(bundle.manifest, graph=graph, model=model)
        with pytest.raises(BundleError, match=message):
            open_runtime(bundle)


def test_a_context_beyond_the_caches_of_the_program_is_refused(tmp_path: Path) -> None:
    bundle = Bundle(write_bundle(tmp_path / "bundle"))
    for context in (CONTEXT - 1, CONTEXT):
        model = msgspec.structs.replace(bundle.manifest.model, max_context=context)
        bundle.manifest = msgspec.structs.replace(bundle.manifest, model=model)
        open_runtime(bundle)
    model = msgspec.structs.replace(bundle.manifest.model, max_context=CONTEXT + 1)
    bundle.manifest = msgspec.structs.replace(bundle.manifest, model=model)
    with pytest.raises(BundleError, match=r"room for 100 tokens, but .* says max_context 101"):
        open_runtime(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout_version": 1}, "layout_version is 1, but weights of target coreml lie in none"),
        ({"formats": [WeightFormat("q3", 3, 32)]}, r"format q3 \(3 bits in groups of 32\)"),
        ({"method": "q4"}, "quantization has the method q4, but formats are f32"),
    ],
)
def test_weights_that_are_not_read_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    bundle = Bundle(write_bundle(tmp_path / "bundle"))
    weights = msgspec.structs.replace(bundle.manifest.quantization, **change)
    bundle.manifest = msgspec.structs.replace(bundle.manifest, quantization=weights)
    with pytest.raises(BundleError, match=message):
        open_runtime(bundle)


def open_runtime(bundle: Bundle) -> CoreMLRuntime:
    class Engine:
        def begin(self) -> Any:
            raise AssertionError

    return CoreMLRuntime(bundle, Package(bundle.graph_path), Engine())


def test_a_role_that_programs_do_not_have_is_refused(tmp_path: Path) -> None:
    bundle = Bundle(write_bundle(tmp_path / "bundle"))
    graph = bundle.manifest.graph
    functions = [msgspec.structs.replace(f, attention_mask="mask") for f in graph.functions]
    bundle.manifest = msgspec.structs.replace(
        bundle.manifest, graph=msgspec.structs.replace(graph, functions=functions)
    )
    with pytest.raises(BundleError, match="has a port 'mask' for attention_mask"):
        open_runtime(bundle)
