"""Small runs for the tests of exports: a table with every kind of branch, and models of every type trained on it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import save_bundle

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "silu", "gelu")

SELECTION = {
    "acceptance": "abs(P.gtr.dp) < 2.2",
    "trigger": "fired || (flags & 6) != 0",
    "hit": "adc[0] > -3 || fired",
    "run": "run != 13 && event != 9007199254740993 && serial < 18446744073709551615",
}
FEATURES: list[Any] = [
    "P.cal.etot",
    {"name": "npe", "expression": "P.hgcer.npe", "missing": [-999, -1]},
    {"name": "log_beta", "expression": "log(1.2 + abs(P.gtr.beta))"},
    {"name": "n_hit", "expression": "nhit", "missing": [-1]},
    {"name": "first", "expression": "adc[0]"},
    {"name": "angle", "expression": "atan2(xy[1], xy[0])"},
]
TWO: dict[str, Any] = {
    "data": {"files": "events.root", "event_id": ["run", "event"]},
    "classes": {"electron": "species == 0", "pion": "species > 0"},
    "selection": SELECTION,
    "features": FEATURES,
    "spectators": ["P.gtr.p"],
    "models": {
        "hand": {"type": "expression", "cut": "P.cal.etot > 0.5 && nhit > 3"},
        "class": {"type": "score", "expression": "P.cal.etot + 0.1 * adc[1]"},
        "cuts": {"type": "cuts"},
        "fisher": {"type": "fisher"},
        "logistic": {"type": "logistic"},
        "bdt": {"type": "bdt", "n_estimators": 60, "max_depth": 4},
        "deep": {"type": "bdt", "n_estimators": 20, "max_depth": 9},
        "mlp": {"type": "mlp", "hidden": [20, 13], "activation": "tanh", "epochs": 4, "members": 2},
        "normed": {"type": "mlp", "hidden": [9], "activation": "silu", "epochs": 2, "batch_norm": True},
    },
    "evaluate": {"robustness": None, "importance": False, "flat": [{"x": "P.gtr.p", "bins": 5}]},
}
THREE: dict[str, Any] = {
    "data": {"files": "events.root"},
    "classes": {"electron": "species == 0", "pion": "species == 1", "kaon": "species == 2"},
    "signal": "pion",
    "selection": {"acceptance": "abs(P.gtr.dp) < 2.2"},
    "features": FEATURES,
    "scaling": "robust",
    "folds": 2,
    "models": {
        "hand": {"type": "expression", "cut": "P.cal.etot < 0.5"},
        "cuts": {"type": "cuts"},
        "boxes": {"type": "cuts", "nested": False},
        "fisher": {"type": "fisher"},
        "bdt": {"type": "bdt", "n_estimators": 15, "max_depth": 3},
        **{a: {"type": "mlp", "hidden": [5], "activation": a, "epochs": 1} for a in ACTIVATIONS},
    },
    "evaluate": {"robustness": None, "importance": False, "working_points": [0.9]},
}


def events(n: int, seed: int = 1) -> dict[str, Any]:
    """n events of three species with what is awkward about real ones: codes, NaN, missing elements, odd names."""
    rng = np.random.default_rng(seed)
    species = rng.integers(0, 3, n)
    etot = rng.normal(0.9 - 0.35 * species, 0.25, n).astype(np.float32)
    npe = np.where(species == 0, rng.poisson(9, n), rng.poisson(1, n)).astype(np.float64)
    npe[rng.random(n) < 0.1] = -999
    npe[rng.random(n) < 0.05] = np.nan
    nhit = rng.poisson(5 - species).astype(np.int32)
    nhit[rng.random(n) < 0.05] = -1
    lengths = rng.choice([0, 1, 2, 3], n, p=[0.05, 0.15, 0.4, 0.4])
    xy = rng.normal(0, 1, (n, 2)).astype(np.float32)
    xy[:, 0] += species
    return {
        "species": species.astype(np.int8),
        "run": rng.integers(10, 20, n).astype(np.int32),
        "event": np.arange(n, dtype=np.int64) + 2**53,
        "serial": np.arange(n, dtype=np.uint64) + np.uint64(2**63),
        "fired": rng.random(n) < 0.8,
        "flags": rng.integers(0, 16, n).astype(np.uint16),
        "P.gtr.p": rng.uniform(2, 10, n),
        "P.gtr.dp": rng.normal(0, 1, n).astype(np.float32),
        "P.gtr.beta": rng.normal(1 - 0.1 * species, 0.05, n),
        "P.cal.etot": etot,
        "P.hgcer.npe": npe,
        "nhit": nhit,
        "adc": ak.unflatten(rng.normal(0.3 * np.repeat(species, lengths), 1).astype(np.float32), lengths),
        "xy": xy,
    }


def write_events(path: Path, n: int, seed: int = 1) -> Path:
    """A ROOT file with such events."""
    return write_tree(path, events(n, seed), step=20_000)


@cache
def cached(folder: Path, name: str, n: int = 3000) -> Path:
    """The run "two" or "three" below `folder`, made once."""
    folder.mkdir(exist_ok=True)
    return made(folder, {"two": TWO, "three": THREE}[name], name, n)


def made(folder: Path, content: dict[str, Any], name: str, n: int) -> Path:
    """A run that is enough to export from: configuration, models, manifest."""
    if not (folder / "events.root").exists():
        write_events(folder / "events.root", n)
    done = analyse(check_config(content, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    (folder / name).mkdir()
    save_bundle(folder / name, done.recipe, done.models, done.results.models)
    (folder / name / "manifest.json").write_text(json.dumps({"schema": 1}))
    return folder / name
