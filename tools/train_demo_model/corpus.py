"""The text of the trained models: Python sources of installed packages, read where they lie.

Nothing is copied into the project. The held-out files of a corpus are named here once, in packages
whose versions are pinned; everything else that `training_documents` finds is for training.
"""

import hashlib
import importlib.metadata
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Document = tuple[str, str]  # (name, text)

PINNED = {"sympy": "1.14.0", "networkx": "3.6.1", "transformers": "5.23.0"}


@dataclass(frozen=True)
class Corpus:
    """What a model is trained on, and measured on.

    Attributes:
        packages: all their Python files train, but those held out.
        held_out: never trained on, nor what other files share with them.
        standard_library: whether Python's own sources train as well.
    """

    packages: tuple[str, ...]
    held_out: tuple[str, ...]
    standard_library: bool


_HELD_OUT = (
    "networkx/algorithms/community/louvain.py",
    "networkx/algorithms/dominance.py",
    "networkx/algorithms/matching.py",
    "networkx/algorithms/shortest_paths/astar.py",
    "networkx/algorithms/structuralholes.py",
    "networkx/generators/lattice.py",
    "networkx/readwrite/adjlist.py",
    "sympy/concrete/products.py",
    "sympy/functions/special/zeta_functions.py",
    "sympy/geometry/parabola.py",
    "sympy/ntheory/continued_fraction.py",
    "sympy/physics/optics/gaussopt.py",
    "sympy/polys/sqfreetools.py",
    "sympy/series/limits.py",
    "sympy/sets/conditionset.py",
    "sympy/stats/joint_rv.py",
)

_OTHERS_HELD_OUT = (
    "transformers/generation/stopping_criteria.py",
    "transformers/generation/watermarking.py",
    "transformers/models/bart/modeling_bart.py",
    "transformers/models/canine/modeling_canine.py",
    "transformers/models/detr/image_processing_detr.py",
    "transformers/models/fnet/modeling_fnet.py",
    "transformers/models/mamba/modeling_mamba.py",
    "transformers/models/t5/tokenization_t5.py",
    "transformers/time_series_utils.py",
    "transformers/utils/notebook.py",
)

DEMO = Corpus(("sympy", "networkx", "mpmath", "numpy"), _HELD_OUT, standard_library=True)
OTHER = Corpus(("transformers",), _OTHERS_HELD_OUT, standard_library=False)
"""Of a second model, on which nothing is tuned."""
CORPORA = {"demo": DEMO, "other": OTHER}

# Tests, generated parsers, tables of numbers and code that is not Python 3 or not for reading.
_SKIPPED_FOLDERS = {
    *("test", "tests", "idle_test", "benchmarks", "turtledemo", "lib2to3", "ensurepip"),
    *("site-packages", "dist-packages", "__pycache__", "encodings", "pydoc_data", "_antlr"),
}
_SKIPPED_PREFIXES = ("_sysconfigdata", "config-", "_listener_autolev", "polyquinticconst")
_MAX_DIGIT_SHARE = 0.12
_SHARED_LINES = 6  # a run of so many lines found in held-out text is cut from training text


class CorpusError(RuntimeError):
    """A package that the corpus is read from is missing or has another version."""


def package_folder(package: str) -> Path:
    """The folder an installed package lies in; checks its version where it is pinned."""
    wanted = PINNED.get(package)
    name = f"{package}=={wanted}" if wanted else package
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise CorpusError(f"the demo corpus needs {name}: pip install {name}") from None
    if wanted and version != wanted:
        raise CorpusError(f"the demo corpus needs {name}, but {package} {version} is installed")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CorpusError(f"the demo corpus needs {name}, but its sources cannot be found")
    return Path(spec.submodule_search_locations[0])


def held_out_text(corpus: Corpus = DEMO) -> list[Document]:
    """The held-out files as (name, text): never trained on."""
    documents = []
    for name in corpus.held_out:
        package, _, inside = name.partition("/")
        path = package_folder(package) / inside
        if not path.is_file():
            raise CorpusError(f"{package} is installed without its source file {name}")
        documents.append((name, path.read_text(encoding="utf-8")))
    return documents


def training_documents(corpus: Corpus = DEMO) -> list[Document]:
    """All training files as (name, text), sorted by name, free of held-out content."""
    held_out = held_out_text(corpus)
    known = set().union(*(_line_runs(text) for _, text in held_out))
    documents = []
    for name, text in sorted(_all_files(corpus)):
        if name not in corpus.held_out and not _is_table(text):
            kept = _without_runs(text, known)
            if kept.strip():
                documents.append((name, kept))
    return documents


def digest(documents: Iterable[Document]) -> str:
    """SHA-256 of names and texts, to tell whether two corpora are the same."""
    sha = hashlib.sha256()
    for name, text in documents:
        for part in (name, text):
            data = part.encode()
            sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()


def _all_files(corpus: Corpus) -> Iterator[Document]:
    """Every Python file of the packages, and of the standard library where it counts."""
    if corpus.standard_library:
        yield from _files("python", Path(sysconfig.get_paths()["stdlib"]))
    for package in corpus.packages:
        yield from _files(package, package_folder(package))


def _files(prefix: str, folder: Path) -> Iterator[Document]:
    """The readable `.py` files below a folder, skipping what is not worth learning."""
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if _SKIPPED_FOLDERS.intersection(inside.parts[:-1]):
            continue
        if any(part.startswith(_SKIPPED_PREFIXES) for part in inside.parts):
            continue
        try:
            yield f"{prefix}/{inside.as_posix()}", path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a few old files are in other encodings


def _is_table(text: str) -> bool:
    """Whether a file is mostly numbers."""
    digits = sum(character.isdigit() for character in text)
    return digits > _MAX_DIGIT_SHARE * max(1, len(text))


def _numbered_runs(lines: list[str]) -> Iterator[tuple[list[int], str]]:
    """Each run of `_SHARED_LINES` lines that are not blank: their indices and joined text."""
    filled = [index for index, line in enumerate(lines) if line.strip()]
    for first in range(len(filled) - _SHARED_LINES + 1):
        indices = filled[first : first + _SHARED_LINES]
        yield indices, "\n".join(lines[index].strip() for index in indices)


def _line_runs(text: str) -> set[str]:
    return {run for _, run in _numbered_runs(text.splitlines())}


def _without_runs(text: str, known: set[str]) -> str:
    """The text without the lines of any run that `known` holds."""
    lines = text.splitlines()
    cut: set[int] = set()
    for indices, run in _numbered_runs(lines):
        if run in known:
            cut.update(indices)
    if not cut:
        return text
    return "\n".join(line for index, line in enumerate(lines) if index not in cut) + "\n"
