"""The rules of the house that a machine can check: which way imports go, where libraries come in, what `ls` shows.

Imports count wherever they stand: in functions and under TYPE_CHECKING too.
"""

from __future__ import annotations

import ast
import functools
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "pidlab"

# A module may import from rooms in rows above its own, and from its own room. A room is a folder or a module at the
# package's root; a module that stands in another row than its room is named here itself.
ROWS: list[set[str]] = [
    {"credentials", "measured", "moved", "process", "progress", "sample"},
    {"compiled", "errors", "split"},
    {"atomic", "expressions", "jsonfile"},
    {"read"},
    {"config"},
    {"evaluate"},
    {"plots", "preprocess", "rootio"},
    {"models", "report", "simulate"},
    {"datadriven.reweighting"},
    {"runs"},
    {"apply"},
    {"export"},
    {"datadriven"},
    {"pipeline"},
    {"runs.reproduce", "tune"},
    {"cli", ""},
]
# The rooms in which a library is imported; all others ask them.
DOORS = {
    "awkward": {"read", "preprocess", "apply", "export", "expressions", "pipeline", "rootio", "simulate", "sample"},
    "click": {"cli"},
    "correctionlib": {"export.correctionlib"},
    "dask": {"apply"},
    "hist": {"pipeline.histograms"},
    "iminuit": {"datadriven"},
    "jinja2": {"report"},
    "matplotlib": {"plots"},
    "mplhep": {"plots"},
    "numba": {"compiled", "models.bdt"},
    "numba_stats": {"datadriven"},
    "onnx": {"export.onnx", "models.external"},
    "onnxmltools": {"models.external.sklearn"},
    "onnxruntime": {"export.onnx", "models.external"},
    "optuna": {"tune"},
    "oxihipo": {"read.hipo", "simulate"},
    "pandas": {"models.external.sklearn", "models.missing", "pipeline"},
    "pyarrow": {"read"},
    "rich": {"cli"},
    "ruamel": {"config", "runs.bundle"},
    "skl2onnx": {"models.external.sklearn"},
    "sqlalchemy": {"read.sql"},
    "sweights": {"datadriven"},
    "tensorboard": {"runs.tensorboard"},
    "torch": {"models.mlp.engine"},
    "uproot": {"read", "rootio", "simulate"},
    "xgboost": {"models.bdt", "export.xgboost_json", "datadriven.reweighting"},
}
N_ENTRIES = 30
N_MODULES = 20


@functools.cache
def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Dotted name below pidlab, "" for the package itself, to file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def statements(path: Path) -> tuple[list[ast.Import | ast.ImportFrom], list[str]]:
    """The imports of a file, at any depth of its code, and its classes."""
    tree = ast.parse(path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return found, [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules that a file imports, at any depth of its code; those of pidlab by the module that is meant."""
    for node in statements(path)[0]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("pidlab.") in known else node.module
        else:
            yield "a relative import"


def own_imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules of pidlab that a file imports, without the package itself, which holds the version."""
    return {name.removeprefix("pidlab.") for name in imports(path, known) if name.startswith("pidlab.")}


def room(module: str) -> str:
    """The longest beginning of a module's name that stands in a row: a module, a folder, or the room of both."""
    parts = module.split(".")
    beginnings = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((name for name in beginnings if any(name in names for names in ROWS)), parts[0])


def row(module: str) -> int:
    return next((i for i, names in enumerate(ROWS) if room(module) in names), -1)


def mistakes(module: str, path: Path) -> Iterator[str]:
    if row(module) < 0:
        yield f"{module} stands in no row"
        return
    for name in imports(path, modules()):
        top = name.split(".")[0]
        if top == "pidlab":
            imported = name.removeprefix("pidlab").lstrip(".")
            if imported and room(imported) != room(module) and row(imported) >= row(module):
                yield f"{module} (row {row(module)}) imports {imported} (row {row(imported)})"
        elif top in DOORS and not any(f"{module}.".startswith(f"{door}.") for door in DOORS[top]):
            yield f"{module} imports {top}, whose doors are {sorted(DOORS[top])}"
        elif name == "a relative import":
            yield f"{module} imports relatively"


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The nodes of one circle of a graph; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_stands_above_it(module: str) -> None:
    assert list(mistakes(module, modules()[module])) == []


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("evaluate.curves", "from pidlab.pipeline import run", "imports pipeline"),
        ("runs.record", "from pidlab.runs import reproduce", "imports runs.reproduce"),
        ("sample", "from pidlab.read import Source", "imports read"),
        ("read.text", "import torch", "doors"),
        ("export.cut_strings", "import xgboost", "doors"),
        ("report.page", "from . import errors", "relatively"),
        ("somewhere", "import os", "stands in no row"),
    ],
)
def test_a_planted_mistake_is_found(module: str, line: str, said: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(f"def f():\n    {line}\n")
    assert any(said in mistake for mistake in mistakes(module, planted))


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    known = modules()
    assert circle({module: own_imports(path, known) for module, path in known.items()}) == []


def test_a_planted_circle_is_found_under_type_checking_too(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "one.py").write_text("from pidlab import two\n")
    (tmp_path / "two.py").write_text("if TYPE_CHECKING:\n    from pidlab.one import f\n")
    known = modules(tmp_path)
    assert set(circle({module: own_imports(path, known) for module, path in known.items()})) == {"one", "two"}


def test_ls_reads_as_a_table_of_contents() -> None:
    assert len([p for p in PACKAGE.iterdir() if p.name != "__pycache__"]) <= N_ENTRIES


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules().values()}), ids=lambda p: p.name)
def test_a_folder_is_no_heap_and_no_prefix_does_its_work(folder: Path) -> None:
    names = sorted(p.stem for p in folder.iterdir() if p.suffix == ".py" and p.stem != "__init__")
    assert folder == PACKAGE or len(names) <= N_MODULES
    siblings = itertools.groupby((n for n in names if "_" in n.strip("_")), lambda name: name.split("_")[0])
    assert {prefix: n for prefix, group in siblings if (n := len(list(group))) >= 3} == {}


def test_a_class_has_a_name_of_its_own() -> None:
    names = Counter(name for path in modules().values() for name in statements(path)[1])
    repeated = {name for name, n in names.items() if n > 1 and not name.startswith("_")}
    # Those of the masses of sWeights and of the counts of a band; and what reports and efficiencies expect.
    assert repeated <= {"Binned", "Expectation", "Likelihood", "Parameter"}


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, pidlab.cli; print([m for m in sys.modules if m.split('.')[0] in set(sys.argv[1].split())])"
    heavy = "numpy torch xgboost uproot awkward sklearn matplotlib pydantic rich numba scipy"
    answer = subprocess.run([sys.executable, "-c", code, heavy], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
