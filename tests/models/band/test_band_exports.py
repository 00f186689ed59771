"""Bands in C++, ONNX and cut strings say what pidlab says, with missing values and groups among the events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tree
from pidlab.config.load import check_config
from pidlab.errors import UsageError
from pidlab.export import export, parity_events
from pidlab.export.onnx.graph import run_graph
from pidlab.export.parity import ParityEvents
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, load_bundle, save_bundle
from real_root import ask_root, needs_root

MODELS: dict[str, Any] = {
    "fraction": {
        "type": "band",
        "variables": "eop",
        "against": "p",
        "shape": "clas12",
        "sides": "low",
        "sigma": [3, 3.5],
    },
    "powers": {
        "type": "band",
        "variables": ["eop", "2 * dedx"],
        "against": "p",
        "shape": "polynomial",
        "degree": 2,
        "core": "asymmetric",
    },
    "sectors": {
        "type": "band",
        "variables": ["eop", "loss"],
        "against": ["p", "theta"],
        "by": "sector",
        "core": "asymmetric",
        "sides": {"loss": "high"},
        "sigma": 2.5,
    },
}


def table(n: int = 4000) -> dict[str, Any]:
    """Electrons and pions in two sectors; a tenth of dedx is -999, some p are NaN, and both are doubles."""
    rng = np.random.default_rng(3)
    species = rng.integers(0, 2, n)
    p, theta = rng.uniform(1, 6, n), rng.uniform(5, 35, n)
    sector = rng.integers(1, 3, n)
    eop = 0.25 + 0.01 * sector + 0.01 * p - 0.13 * species + (0.01 + 0.02 / np.sqrt(p)) * rng.normal(size=n)
    dedx = 2 + 0.3 * p + 0.01 * theta - species + rng.normal(0, 0.2 + 0.02 * p)
    dedx[rng.random(n) < 0.1] = -999
    p[rng.random(n) < 0.01] = np.nan
    return {
        "species": species.astype(np.int32),
        "sector": sector.astype(np.int16),
        "p": p,
        "theta": theta.astype(np.float32),
        "eop": eop.astype(np.float32),
        "dedx": dedx,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bands")
    write_tree(folder / "events.root", table())
    content = {
        "data": {"files": "events.root"},
        "classes": {"electron": "species == 0", "pion": "species == 1"},
        "selection": {"forward": "theta < 33"},
        "features": ["eop", {"name": "loss", "expression": "dedx", "missing": [-999]}],
        "models": MODELS,
        "evaluate": {"robustness": None, "importance": False},
    }
    done = analyse(check_config(content, {}, folder / "analysis.yaml"), Resources("cpu", 1), Watcher())
    (folder / "run").mkdir()
    save_bundle(folder / "run", done.recipe, done.models, done.results.models)
    (folder / "run/manifest.json").write_text(json.dumps({"schema": 1}))
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Bundle:
    return load_bundle(run)


@pytest.fixture(scope="module")
def events(bundle: Bundle) -> ParityEvents:
    events = parity_events(bundle, 3000)
    assert all(np.isnan(events.scores[name]).any() for name in MODELS)
    return events


def test_the_fixed_points_are_there_by_their_names(bundle: Bundle) -> None:
    names = [decision.name for decision in bundle.decisions["fraction"]]
    assert {"sigma3", "sigma3_5", "eff90"} <= set(names)
    thresholds = {d.name: d.threshold for d in bundle.decisions["fraction"]}
    assert thresholds["sigma3"] == -3
    assert thresholds["sigma3_5"] == -3.5


@pytest.mark.slow
def test_header_and_graphs_score_as_pidlab(run: Path, bundle: Bundle, events: ParityEvents, tmp_path: Path) -> None:
    exported = {e.path.name: e for form in ("header", "onnx") for e in export(bundle, run, form, [], tmp_path)}
    assert set(exported) == {"pid_run.h", *(f"{name}.onnx" for name in MODELS)}
    assert all(e.largest_difference < 1e-5 for e in exported.values())  # of their size, in single precision
    for name in MODELS:
        expected = events.scores[name]
        found = run_graph(tmp_path / f"{name}.onnx", events.x)
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_formula_is_a_cut_string_with_the_same_decisions(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"models.sectors is no cut that a string can hold"):
        export(bundle, run, "cuts", ["sectors"], tmp_path)
    exported = export(bundle, run, "cuts", [], tmp_path)  # it compares them on the events, and fails at a difference
    assert [e.path.name for e in exported] == ["fraction.txt", "powers.txt"]
    first = (tmp_path / "fraction.txt").read_text().splitlines()
    assert len(first) == len(bundle.decisions["fraction"])


@pytest.mark.slow
@needs_root
def test_root_draws_what_pidlab_decides(run: Path, bundle: Bundle, tmp_path: Path) -> None:
    events, point = table(), "sigma3_5"
    values = np.stack([events[name] for name in ("eop", "p")], axis=1).astype(np.float32)
    band = bundle.models["fraction"].fitted[0].estimator
    expected = (band.scores(values)[:, 0] > -3.5) & (events["theta"] < 33)
    assert 0.2 < expected.mean() < 0.8
    export(bundle, run, "cuts", [], tmp_path)
    lines = (tmp_path / "fraction.txt").read_text().splitlines()
    text = dict(line.split(": ", 1) for line in lines)[point]
    found = ask_root(_DRAW, path=run.parent / "events.root", text=text)
    assert found == np.flatnonzero(expected).tolist()


_DRAW = """
file = ROOT.TFile.Open(given["path"])
tree = file.Get("T")
tree.SetEstimate(tree.GetEntries())
answer = [int(entry) for entry in columns(tree, ["Entry$"], given["text"])[0]]
"""
