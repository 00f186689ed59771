"""The house rules that a machine can check: imports go one way, heavy libraries come in by their door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "pidlab"

# A module may import from rows above its own in this list, and from its own package.
ROWS: list[set[str]] = [
    {"credentials", "printable"},
    {"errors", "jsonfile", "literals", "revision"},
    {"manifest", "sample", "progress", "process", "config", "config.schema", "evaluate.results"},
    {"compiled", "config.names"},
    {"expressions", "models.base", "models.threads", "evaluate.intervals", "config.load"}
    | {"rounding", "split", "scaling"},
    {"candidates", "config.edit", "whole"},
    {"models.linear", "models.calibration", "rootio"},
    {"read", "simulate"}
    | {"models.cuts", "models.fisher", "models.logistic", "models.bdt", "models.mlp", "models.external"},
    {"models", "evaluate", "plots", "recipe"},
    {"selection", "features", "models.prepared", "models.estimators"},
    {"precision"},
    {"events", "models.contender"},
    {"bundle", "figures", "report", "inspect", "calibrate", "cautions", "explain", "scored"},
    {"apply", "record", "replot", "starter"},
    {"export", "pipeline", "compare_runs", "domain"},
    {"reproduce", "tune"},
    {"arrays"},
    {"terminal"},
    {"cli", ""},
]
PARTS_OF = {
    "models.cut_": "models.cuts",
    "models.mlp_": "models.mlp",
    "models.bdt_": "models.bdt",
    "models.external_": "models.external",
    "models.tree_tables": "models.bdt",
    "apply.": "apply",
    "evaluate.results_": "evaluate.results",
    "evaluate.": "evaluate",
    "report_": "report",
    "plots.": "plots",
    "read.": "read",
    "rootio.": "rootio",
    "expressions.": "expressions",
    "export.": "export",
    "simulate.": "simulate",
    "scaling_": "scaling",
    "tune.": "tune",
    "terminal.": "terminal",
    "cli.": "cli",
}
DOORS = {
    "uproot": {"read", "rootio", "simulate"},
    "awkward": {
        "read",
        "candidates",
        "export",
        "expressions",
        "selection",
        "features",
        "rootio",
        "simulate",
        "events",
        "sample",
        "apply",
        "arrays",
    },
    "pyarrow": {"read"},
    "sqlalchemy": {"read"},
    "xgboost": {"models.bdt", "export"},
    "correctionlib": {"export"},
    "onnx": {"export", "models.external"},
    "onnxruntime": {"export", "models.external"},
    "skl2onnx": {"models.external"},
    "onnxmltools": {"models.external"},
    "torch": {"models.mlp"},
    "matplotlib": {"plots"},
    "mplhep": {"plots"},
    "dask": {"apply"},
    "numba": {"compiled", "models.bdt"},
    "jinja2": {"report"},
    "rich": {"terminal", "cli"},
    "click": {"cli"},
    "ruamel": {"config.load", "config.edit", "bundle"},
    "optuna": {"tune"},
}


def modules() -> dict[str, Path]:
    """Dotted name below pidlab, "" for the package itself, to file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def place(module: str) -> str:
    """The name under which a module stands in ROWS."""
    if any(module in row for row in ROWS):
        return module
    return next((whole for prefix, whole in PARTS_OF.items() if module.startswith(prefix)), module)


def row(module: str) -> int:
    return next((i for i, names in enumerate(ROWS) if place(module) in names), -1)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, at any depth of its code."""
    known = modules()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("pidlab.") in known and node.module != "pidlab" else node.module
        elif isinstance(node, ast.ImportFrom):
            yield "a relative import"


def mistakes(module: str, path: Path) -> Iterator[str]:
    if row(module) < 0:
        yield f"{module} stands in no row"
        return
    for name in imports(path):
        top = name.split(".")[0]
        if top == "pidlab":
            yield from upward(module, name.removeprefix("pidlab").lstrip("."))
        elif top in DOORS and place(module) not in DOORS[top]:
            yield f"{module} imports {top}, whose doors are {sorted(DOORS[top])}"
        elif name == "a relative import":
            yield f"{module} imports relatively"


def upward(module: str, imported: str) -> Iterator[str]:
    if imported in ("", module):
        return  # the version lives in the package itself
    same_house = place(imported) == place(module) or (module and imported.startswith(f"{module}."))
    if not same_house and row(imported) >= row(module):
        yield f"{module} (row {row(module)}) imports {imported} (row {row(imported)})"


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_stands_above_it(module: str) -> None:
    assert list(mistakes(module, modules()[module])) == []


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("evaluate.curves", "from pidlab.pipeline import run", "imports pipeline"),
        ("sample", "from pidlab.read import Source", "imports read"),
        ("read", "import torch", "doors"),
        ("report", "from . import errors", "relatively"),
        ("somewhere", "import os", "stands in no row"),
    ],
)
def test_a_planted_mistake_is_found(module: str, line: str, said: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(f"def f():\n    {line}\n")
    assert any(said in mistake for mistake in mistakes(module, planted))


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, pidlab.cli; print([m for m in sys.modules if m.split('.')[0] in set(sys.argv[1].split())])"
    heavy = "numpy torch xgboost uproot awkward sklearn matplotlib pydantic rich numba scipy"
    answer = subprocess.run([sys.executable, "-c", code, heavy], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
