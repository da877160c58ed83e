"""Core AI bundles, run by Apple's own interpreter on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import lfm_edge
import msgspec
import numpy as np
import pytest
from lfm_edge.bundle import Bundle
from lfm_edge.session import Session
from lfm_edge.verify import verify
from lfm_export.emit.matrices import unpack
from lfm_export.errors import ExportError
from lfm_export.export import ExportOptions, export_bundle
from numpy.typing import NDArray

from tests.export.test_targets import initializers
from tests.parity.test_golden import Meddled, misses, no_expert_bias, swapped_experts
from tests.parity.test_tiny_models import CONFIGS
from tests.support import (
    DEMO_MODEL,
    dequantized,
    export,
    logits_of,
    random_model,
    saved,
    tiny_dense,
    tiny_moe,
)

if find_spec("coreai_torch") is None:
    pytest.skip(
        "NOTHING OF CORE AI IS TESTED: coreai-torch has no package for this machine",
        allow_module_level=True,
    )

from coreai.authoring import AIProgram
from coreai.runtime import NDArray as Value
from lfm_edge.coreai.runtime import CoreAIRuntime, CoreAIState

BOUND = 2e-4
STEPS = 24


def greedy(folder: Path, ids: NDArray[np.int64], count: int) -> list[int]:
    session = lfm_edge.load(folder).session(context=len(ids) + count)
    logits = session.prefill(ids)
    tokens: list[int] = []
    for _ in range(count):
        tokens.append(int(logits.argmax()))
        logits = session.decode(tokens[-1])
    return tokens


def test_the_shipped_model_continues_as_its_onnx_bundle_does(
    demo_bundle: Callable[..., Path],
) -> None:
    folder = demo_bundle("coreai", "f32", context=512)
    prompt = np.array(lfm_edge.load(folder).bundle.manifest.golden.ids[:8])
    assert greedy(folder, prompt, 64) == greedy(demo_bundle("onnx", "f32"), prompt, 64)


@pytest.mark.parametrize(("quant", "head"), [("f32", None), ("q8", None), ("q4", "q4")])
def test_the_shipped_model_meets_its_golden_vectors(
    demo_bundle: Callable[..., Path], quant: str, head: str | None
) -> None:
    report = verify(demo_bundle("coreai", quant, head=head, context=512))
    assert report.positions == 32
    assert 0 < report.decode_error <= report.tolerance
    assert 0 < report.prefill_error <= report.tolerance


CASES = {
    "dense, kernel 5, biases": "q4",
    "dense, untied": "q8",
    "dense, convolution only": "f32",
    "dense, one kv head": "f32",
    "moe": "q4",
    "moe, scaled, weights as they are": "q8",
    "moe, no expert bias": "f32",
    "moe, all experts": "q4",
}


@pytest.mark.parametrize(("name", "quant"), CASES.items())
def test_logits_are_those_of_transformers(name: str, quant: str, tmp_path: Path) -> None:
    """With the weights that the bundle's integers stand for; a reset session starts afresh."""
    source = saved(random_model(CONFIGS[name]), tmp_path / "checkpoint")
    bundle = export(source, tmp_path / "out", target="coreai", quant=quant, kv="f32", context=32)
    ids = np.random.default_rng(2).integers(0, bundle.manifest.model.vocab_size, STEPS)
    truth = logits_of(dequantized(source, quant), ids)
    session = lfm_edge.load(bundle.folder).session(context=32)
    for _ in range(2):
        logits = np.stack([session.decode(int(token)) for token in ids])
        assert np.abs(logits - truth).max() <= BOUND
        session.reset()
    chunks = [session.prefill(part) for part in np.split(ids, [7, 8, 20])]
    assert np.abs(np.stack(chunks) - truth[[6, 7, 19, -1]]).max() <= BOUND


def test_a_session_goes_back_to_where_its_conv_state_was_kept(tmp_path: Path) -> None:
    source = saved(random_model(CONFIGS["moe"]), tmp_path / "checkpoint")
    bundle = export(source, tmp_path / "out", target="coreai", quant="f32", kv="f32", context=32)
    session = lfm_edge.load(bundle.folder).session(context=32)
    session.prefill(range(8, 18))
    first = session.decode(3)
    for _ in range(2):  # what is kept is not what the next run changes
        session.prefill([4, 5, 6, 7])
        session.rewind(10)
        assert session.to_replay == 0
        np.testing.assert_array_equal(session.decode(3), first)


@pytest.fixture(scope="module")
def golden_source(demo_bundle: Callable[..., Path]) -> Path:
    return demo_bundle("coreai", "f32", context=512)


@pytest.mark.parametrize("kind", ["conv", "key"])
def test_a_lost_state_is_noticed(golden_source: Path, kind: str) -> None:
    def forget(session: Session) -> None:
        assert isinstance(session.state, CoreAIState)
        for name, tensor in session.state.tensors.items():
            if name.endswith(kind):
                session.state.values[name] = Value(np.zeros_like(tensor))

    model = lfm_edge.load(golden_source)
    golden = model.bundle.manifest.golden
    assert misses(model, golden, forget) > golden.outliers


@pytest.mark.parametrize("change", [no_expert_bias, swapped_experts])
def test_a_mistake_in_the_weights_is_noticed(
    golden_source: Path, tmp_path: Path, change: Callable[..., NDArray[np.float32]]
) -> None:
    golden = lfm_edge.load(golden_source).bundle.manifest.golden
    options = ExportOptions(target="coreai", quant="f32", context=64)
    with Meddled(change) as checkpoint:
        export_bundle(checkpoint, tmp_path / "bundle", options)
    model = lfm_edge.load(tmp_path / "bundle")
    assert misses(model, golden, lambda _: None) > golden.outliers


@pytest.mark.parametrize("quant", ["q8", "q4"])
def test_the_program_holds_the_integers_of_the_onnx_bundle(quant: str, tmp_path: Path) -> None:
    """Their bytes lie in it as they are; 4-bit ones two in a byte, in Core AI's or our order."""
    config, source = tiny_moe(), saved(random_model(tiny_moe()), tmp_path / "checkpoint")
    options = {"quant": quant, "head": quant if quant == "q4" else None}
    coreai = export(source, tmp_path / "coreai", target="coreai", context=32, **options)
    portable = initializers(export(source, tmp_path / "p", target="onnx-portable", **options))
    program = (coreai.graph_path / "main.mlirb").read_bytes()
    bits = 8 if quant == "q8" else 4
    table = unpack(portable["model.embed_tokens.weight"].reshape(config.vocab_size, -1), bits)
    assert as_core_ai(table, bits) in program
    down = unpack(portable["layers.1/moe/down"], bits)
    gate_up = unpack(portable["layers.1/moe/gate_up"], bits)
    for experts in (down, gate_up[:, 0::2], gate_up[:, 1::2]):
        assert as_gathered(experts, bits) in program
    changed = down.copy()
    changed[-1, -1, -1] ^= 1
    assert as_gathered(changed, bits) not in program


def as_core_ai(values: NDArray[np.int8], bits: int) -> bytes:
    """Of two neighbours the lower column takes the low half."""
    if bits == 8:
        return values.tobytes()
    nibbles = values.view(np.uint8) & np.uint8(15)
    packed: NDArray[np.uint8] = nibbles[..., 0::2] | nibbles[..., 1::2] << np.uint8(4)
    return packed.tobytes()


def as_gathered(values: NDArray[np.int8], bits: int) -> bytes:
    """Of a group of 32 the first half takes the low halves, with 8 as zero."""
    if bits == 8:
        return values.tobytes()
    halves = (values + 8).astype(np.uint8).reshape(-1, 2, 16)
    return (halves[:, 0] | halves[:, 1] << np.uint8(4)).tobytes()


def test_only_the_chosen_experts_are_turned_into_floats(tmp_path: Path) -> None:
    """The program gathers integers before it multiplies them with their scales."""
    source = saved(random_model(tiny_moe()), tmp_path / "checkpoint")
    bundle = export(source, tmp_path / "out", target="coreai", quant="q8", context=32)
    text = str(AIProgram._load_bytecode(bundle.graph_path / "main.mlirb"))
    chosen, experts = tiny_moe().num_experts_per_tok, tiny_moe().num_experts
    gathered = [line for line in text.splitlines() if "gather_nd" in line and "xsi8>" in line]
    assert len(gathered) == 3 * 3  # gate, up and down of three sparse layers
    assert all(f"to tensor<{chosen}x" in line for line in gathered)
    scaled = [line for line in text.splitlines() if "blockwise_shift_scale" in line]
    assert scaled
    assert not any(f"tensor<{experts}x32x" in line for line in scaled)


def test_the_bundle_says_how_it_is_called(golden_source: Path) -> None:
    graph = lfm_edge.load(golden_source).bundle.manifest.graph
    assert (graph.target, graph.file) == ("coreai", "model.aimodel")
    (ports,) = graph.functions
    assert (ports.name, ports.position, ports.tokens) == ("decode", "position", 1)
    assert [tensor.name for tensor in graph.state][:4] == ["0.conv", "1.conv", "2.key", "2.value"]
    assert graph.state[2].shape == [1, 2, 512, 64]
    assert {tensor.input for tensor in graph.state} == {None}


def test_no_path_of_this_machine_is_in_the_program(golden_source: Path) -> None:
    program = (golden_source / "model.aimodel" / "main.mlirb").read_bytes()
    for text in (str(Path(__file__).parents[2]), sys.prefix, "site-packages"):
        assert text.encode() not in program


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv": "int8"}, "--kv int8: with --target coreai expected f16 or f32"),
        ({"context": 0}, "--context 0: this model holds 1 to 256"),
        ({"moe": "wide"}, "--moe wide: not an option of --target coreai, which has --kv"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, options: dict[str, str | int], message: str
) -> None:
    source = saved(random_model(tiny_dense()), tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=message):
        export(source, tmp_path / "out", target="coreai", **options)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"the weights take 5\.\d GB.*at most 2\.0 GB"):
        export("synthetic:lfm2.5-8b-a1b", tmp_path / "out", target="coreai", quant="q4")
    assert not (tmp_path / "out").exists()


def test_a_family_that_its_modules_do_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"family is lfm3.*--target coreml"):
        export("synthetic:lfm3-1.7b:1", tmp_path / "out", target="coreai", quant="q4")
    assert not (tmp_path / "out").exists()


def test_a_damaged_program_is_refused_before_apple_reads_it(tmp_path: Path) -> None:
    source = saved(random_model(tiny_dense()), tmp_path / "checkpoint")
    bundle = export(source, tmp_path / "out", target="coreai", quant="f32", context=32)
    program = bundle.graph_path / "main.mlirb"
    data = bytearray(program.read_bytes())
    data[len(data) // 2] ^= 1
    program.write_bytes(data)
    with pytest.raises(lfm_edge.IntegrityError, match=r"main\.mlirb: SHA-256"):
        lfm_edge.load(bundle.folder)


MISSING = """
import sys
from lfm_edge.cli import main

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"coreai", "coreai_torch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
main()
"""


@pytest.mark.parametrize("command", ["export", "generate"])
def test_without_the_packages_one_line_says_what_to_install(
    golden_source: Path, tmp_path: Path, command: str
) -> None:
    arguments = {
        "export": ["export", str(DEMO_MODEL), str(tmp_path / "out"), "--target", "coreai"],
        "generate": ["generate", str(golden_source), "Hello"],
    }
    done = subprocess.run(
        [sys.executable, "-c", MISSING, *arguments[command]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("is not installed; run: pip install 'lfm-edge[coreai]'\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_program_that_is_not_the_manifests_is_refused(golden_source: Path) -> None:
    bundle = Bundle(golden_source)
    graph = bundle.manifest.graph
    bundle.manifest = msgspec.structs.replace(
        bundle.manifest, graph=msgspec.structs.replace(graph, state=graph.state[1:])
    )
    with pytest.raises(lfm_edge.BundleError, match=r"0\.conv is \('float32'.*expected none"):
        CoreAIRuntime(bundle)


@pytest.mark.parametrize(
    ("ports", "tensor", "message"),
    [
        ({"attention_mask": "mask"}, {}, "'mask' for attention_mask"),
        ({"valid": "count"}, {}, "'count' for valid"),
        ({}, {"columns": "columns"}, "has columns 'columns'"),
        ({}, {"input": "past"}, "has a port or grows"),
        ({}, {"shape": [1, "capacity"]}, "has a port or grows"),
    ],
)
def test_roles_that_a_program_does_not_have_are_refused(
    ports: dict[str, str], tensor: dict[str, object], message: str, golden_source: Path
) -> None:
    bundle = Bundle(golden_source)
    graph = bundle.manifest.graph
    changed = msgspec.structs.replace(
        graph,
        functions=[msgspec.structs.replace(graph.functions[0], **ports)],
        state=[msgspec.structs.replace(graph.state[0], **tensor), *graph.state[1:]],
    )
    bundle.manifest = msgspec.structs.replace(bundle.manifest, graph=changed)
    with pytest.raises(lfm_edge.BundleError, match=message):
        CoreAIRuntime(bundle)
