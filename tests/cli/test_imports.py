"""Nothing is imported that is not used: what each command has imported when it ends."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import called, write_tree
from pidlab.models.gpu import gpu_present
from pidlab.models.threads import usable_cores

HEAVY = frozenset(
    {
        *("awkward", "dask", "hist", "jinja2", "matplotlib", "mplhep", "numba", "numpy", "onnx", "onnxruntime"),
        *("optuna", "pandas", "pydantic", "rich", "ruamel", "safetensors", "scipy", "scipy.stats", "skl2onnx"),
        *("sklearn", "sympy", "torch", "uproot", "xgboost"),
    }
)
READS = frozenset({"awkward", "numpy", "uproot"})  # what reads a ROOT file
CONFIGURES = frozenset({"pydantic", "ruamel"})
CONFIG = """\
data: {files: small.root}
classes: {electron: "y == 1", pion: "y == 0"}
features: [a, b]
models: {hand: {type: expression, cut: "a > 0.5"}, fisher: {type: fisher}}
evaluate: {robustness: null, importance: false}
"""
PROGRAM = """\
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules, file=sys.__stderr__))
from pidlab.cli import main
main(sys.argv[1:])
"""


def imported(place: Path, *words: str, code: int = 0) -> set[str]:
    """The heavy libraries that a command has imported when it ends."""
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return HEAVY & {*done.stderr.rpartition("imported:")[2].split()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, configurations with a mistake each, and runs of a few models without figures."""
    folder = tmp_path_factory.mktemp("imports")
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 2000).astype(np.int32)
    write_tree(folder / "small.root", {"a": rng.normal(y).astype("f4"), "b": rng.normal(y / 2).astype("f4"), "y": y})
    (folder / "good.yaml").write_text(CONFIG)
    (folder / "key.yaml").write_text(CONFIG.replace("features", "feature"))
    (folder / "expression.yaml").write_text(CONFIG.replace("y == 1", "y = 1"))
    (folder / "branch.yaml").write_text(CONFIG.replace("[a, b]", "[a, c]"))
    assert called(["run", "good.yaml", "-o", "run", "--figures", "none", "-q"], folder).returncode == 0
    shutil.copytree(folder / "run", folder / "copy")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "used"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["run", "--help"], set()),
        (["schema"], {"pydantic"}),
        (["inspect", "small.root"], READS | {"rich"}),
        (["inspect", "small.root", "--ranges"], READS | {"rich"}),
        (["init", "small.root", "-o", "new.yaml"], READS),
        (["plot", "run"], CONFIGURES | {"numpy", "matplotlib", "mplhep", "scipy"}),
        (["compare", "run", "copy"], CONFIGURES | {"numpy", "rich", "safetensors", "scipy"}),
        (
            ["export", "run", "--model", "hand", "--format", "cuts", "-o", "cuts"],
            CONFIGURES | READS | {"rich", "scipy"},
        ),
    ],
    ids=lambda value: " ".join(value if isinstance(value, list) else sorted(value)),
)
def test_a_command_imports_what_it_uses(words: list[str], used: set[str], place: Path) -> None:
    assert imported(place, *words) - used == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "used"),
    [
        ("key.yaml", CONFIGURES | READS | {"rich"}),  # what else is wrong is told too, for which the input is looked at
        ("expression.yaml", CONFIGURES | READS | {"rich"}),
        ("branch.yaml", CONFIGURES | READS | {"rich"}),
    ],
)
def test_a_mistake_of_a_configuration_is_said_before_anything_that_trains_is_imported(
    config: str, used: set[str], place: Path
) -> None:
    assert imported(place, "run", config, code=2) - used == set()


LEARNS = frozenset({"sklearn", "pandas", "scipy", "scipy.stats", "safetensors", "rich"})  # scikit-learn brings pandas


@pytest.mark.slow
def test_a_run_imports_what_its_models_and_figures_use(place: Path) -> None:
    without = imported(place, "run", "good.yaml", "-o", "again", "--figures", "none", "-q")
    assert without - READS - CONFIGURES - LEARNS - {"jinja2"} == set()
    alone = ("--figures", "quick", "--jobs", "1", "-q")  # a worker would import what draws
    bdt = imported(place, "run", "good.yaml", "-o", "bdt", "--set", "models.bdt={type: bdt, n_estimators: 5}", *alone)
    assert {"numba", "xgboost", "matplotlib", "mplhep"} <= bdt
    assert not {"torch", "onnx", "onnxruntime", "optuna", "dask", "sympy"} & bdt  # sympy: of an extension of numba


@pytest.mark.slow
def test_a_run_without_networks_and_trees_is_applied_without_their_libraries(place: Path) -> None:
    found = imported(place, "apply", "run", "small.root", "-o", "friends", "-q")
    assert found - READS - CONFIGURES - LEARNS == set()
    hand = imported(place, "apply", "run", "small.root", "-o", "of_cuts", "--model", "hand", "-q")
    assert not {"sklearn", "pandas", "numba", "scipy.stats"} & hand


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2 or gpu_present(), reason="networks are trained by the process itself")
def test_networks_are_trained_scored_and_explained_without_torch_in_the_process_itself(place: Path) -> None:
    models = "models={mlp: {type: mlp, epochs: 2}, gelu: {type: mlp, epochs: 2, activation: gelu, hidden: [300]}}"
    explained = ("--set", "evaluate.importance=true", "--figures", "none")
    trained = imported(place, "run", "good.yaml", "-o", "network", "--set", models, *explained, "-q")
    applied = imported(place, "apply", "network", "small.root", "-o", "of_network", "-q")
    assert "torch" not in trained | applied


OWN_FUNCTION = """\
import sys
import numba, numpy
from pidlab.compiled import compiled

total = compiled()(lambda values: values.sum())
assert total(numpy.ones(3)) == 3
assert not {"sympy", "vector"} & sys.modules.keys()
import vector
length = numba.njit(lambda v: v.rho)
assert length(vector.obj(x=3.0, y=4.0)) == 5
"""


@pytest.mark.slow
def test_extensions_of_numba_are_imported_for_functions_of_somebody_else_only() -> None:
    pytest.importorskip("vector")
    done = subprocess.run([sys.executable, "-c", OWN_FUNCTION], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
