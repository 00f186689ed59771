"""Small runs that the export formats are tried on: made by the pipeline in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.evaluate.results import write_results
from pidlab.models.calibration import Calibrator, Isotonic, Temperature
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle

N = 1500
CENTRES = {"pion": 0.0, "kaon": 1.5, "proton": 3.0}
FAST = {
    "hand": {"type": "expression", "cut": "a > 0.8 && a < 2.2"},
    "given": {"type": "score", "expression": "a"},
    "cuts": {"type": "cuts", "search": "monte-carlo"},
    "fisher": {"type": "fisher"},
    "logistic": {"type": "logistic"},
    "bdt": {"type": "bdt", "n_estimators": 30, "max_depth": 3},
    "mlp": {"type": "mlp", "hidden": [8, 5], "epochs": 2, "members": 3},
}

CALIBRATIONS: dict[str, Calibrator] = {
    "temperature": Temperature(1.6),
    "colder": Temperature(0.3),
    "signal": Isotonic((0,), (np.array([0.1, 0.4, 0.41, 0.9]),), (np.array([0.0, 0.2, 0.7, 1.0]),)),
    "second": Isotonic((1,), (np.array([0.3]),), (np.array([0.25]),)),
    "each": Isotonic(
        (0, 1, 2),
        (np.array([0.1, 0.5]), np.array([0.2, 0.6, 0.8]), np.array([0.3, 0.9])),
        (np.array([0.0, 1.0]), np.array([0.0, 0.5, 0.6]), np.array([0.0, 0.8])),
    ),
}


def write_table(folder: Path, seed: int = 4) -> Path:
    """`table.root`: three classes, one feature with missing values, one of large offset, one of few values."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(3), N)
    x = rng.normal(np.repeat(list(CENTRES.values()), N), 1)
    far = x + rng.normal(0, 2, len(x))
    far[rng.uniform(size=len(x)) < 0.2] = -999
    columns = {
        "kind": kind,
        "event": np.arange(len(x)),
        "a": x,
        "far": far,
        "time": 1e6 + rng.exponential(20, len(x)) + kind,
        "hits": rng.poisson(2 + kind),
        "p": rng.uniform(1, 5, len(x)),
        "theta": rng.normal(0, 1, len(x)),
    }
    return write_tree(folder / "table.root", columns)


def config(classes: int, models: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """A configuration for the first of the classes of `write_table`."""
    return {
        "data": {"files": "table.root", "event_id": ["event"]},
        "classes": {name: f"kind == {i}" for i, name in enumerate(list(CENTRES)[:classes])},
        "signal": list(CENTRES)[classes - 2],
        "features": ["a", {"name": "far", "expression": "far", "missing": [-999]}, "time", "hits"],
        "spectators": ["p", "theta"],
        "models": dict(models),
        "evaluate": {"robustness": None},
        **sections,
    }


def make_run(folder: Path, content: Mapping[str, Any], name: str = "run") -> Bundle:
    """Run a configuration, and leave its models and results, but no figures, in `folder / name`."""
    done = analyse(check_config(dict(content), {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    (folder / name).mkdir()
    save_bundle(folder / name, done.recipe, done.models, done.results.models)
    write_results(folder / name / "results.json", done.results)
    return load_bundle(folder / name)
