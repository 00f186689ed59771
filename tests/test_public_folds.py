"""Public tables through a run with folds, flat working points and maps: held against scikit-learn and real ROOT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from sklearn.metrics import roc_auc_score

from conftest import called
from real_root import ask_root, needs_root
from test_closure import DPLUS, MAGIC

pytestmark = pytest.mark.slow

Done = tuple[str, Path, Path, dict[str, Any]]
MODELS: dict[str, Any] = {
    "fisher": {"type": "fisher"},
    "bdt": {"type": "bdt", "n_estimators": 30},
    "mlp": {"type": "mlp", "hidden": [12], "epochs": 2},
}
WEIGHTED = "tmva_toy"


def content_of(name: str, place: Path) -> dict[str, Any]:
    """The configuration of the table at `place`, a file or the folder of all tables; its signal comes first."""
    if name == WEIGHTED:
        return {
            "data": {"files": str(place)},
            "classes": {"signal": {"tree": "TreeS"}, "background": {"tree": "TreeB", "weight": "weight"}},
            "features": ["var1", "var2", "var3", "var4"],
            "spectators": ["var3", "var4"],
        }
    if name == "alice_dplus":
        files = {
            kind: str(place / name / f"{kind}_Dpluspp7TeV_pT_1_50.root") for kind in ("Prompt", "FD", "Bkg")
        }  # fmt: skip
        return {
            "classes": {"signal": {"files": [files["Prompt"], files["FD"]]}, "background": {"files": files["Bkg"]}},
            "features": DPLUS,
            "spectators": ["pt_cand", "inv_mass"],
        }
    return {
        "data": {"files": str(place), "columns": [*MAGIC, "class"]},
        "classes": {"signal": "class == 'g'", "background": "class == 'h'"},
        "features": MAGIC,
        "spectators": ["size", "distance"],
    }


@pytest.fixture(scope="module", params=[WEIGHTED, "alice_dplus", "magic"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """The table's name, where it is, and the folder that its run is to be made in, with the configuration."""
    place: Path = request.getfixturevalue("shared" if request.param == "alice_dplus" else request.param)
    folder = tmp_path_factory.mktemp(request.param)
    content = content_of(request.param, place)
    x, y = content["spectators"]
    asked: dict[str, Any] = {
        "maps": [{"x": x, "bins": 5, "y": y, "y_bins": 4}],
        "flat": [{"x": x, "bins": 5}],
        "robustness": None,
    }
    asked["importance"] = request.param == WEIGHTED  # which has four features; the others have ten and fourteen
    content |= {"folds": 3, "models": MODELS, "evaluate": asked}
    (folder / "analysis.yaml").write_text(json.dumps(content))
    return request.param, place, folder


@pytest.fixture(scope="module")
def done(table: tuple[str, Path, Path]) -> Done:
    """A run by the command line, in which a warning of Python is an error, as everywhere in the tests."""
    name, place, folder = table
    # all figures, and their warnings, are drawn by the tests of figures
    made = called(["run", "analysis.yaml", "-o", "run", "--jobs", "1", "--figures", "quick"], folder)
    assert made.returncode == 0, made.stderr
    assert "arning" not in made.stderr
    return name, place, folder / "run", json.loads((folder / "run" / "metrics.json").read_text())


def friends(run: Path) -> dict[str, np.ndarray]:
    """All friend trees, one after the other, and "truth" from the classes' files and trees."""
    columns: dict[str, list[np.ndarray]] = {}
    for path in sorted((run / "friends").glob("*.root")):
        with uproot.open(path) as file:
            for key in file.keys(cycle=False, filter_classname="TTree"):
                arrays = file[key].arrays(library="np")
                for name, values in arrays.items():
                    columns.setdefault(name, []).append(values)
                is_signal = key.startswith("TreeS") or path.stem.startswith(("FD", "Prompt"))
                columns.setdefault("truth", []).append(np.full(file[key].num_entries, is_signal))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def truth_and_weight(name: str, place: Path, columns: dict[str, np.ndarray]) -> tuple[Any, Any]:
    if name == "magic":
        lines = place.read_text().splitlines()
        columns["truth"] = np.array([line.endswith("g") for line in lines])
    weight = np.ones(len(columns["truth"]))
    if name == WEIGHTED:
        with uproot.open(place) as file:
            weight[~columns["truth"]] = file["TreeB"]["weight"].array(library="np")
    return columns["truth"], weight


def test_areas_are_scikit_learns_from_the_out_of_fold_scores_in_the_friends(done: Done) -> None:
    name, place, run, metrics = done
    columns = friends(run)
    truth, weight = truth_and_weight(name, place, columns)
    assert np.all(columns["pid_split"] == 2)
    for model in MODELS:
        expected = roc_auc_score(truth, columns[f"pid_{model}"], sample_weight=weight)
        np.testing.assert_allclose(metrics["models"][model]["test"]["auc"]["value"], expected, rtol=1e-12, atol=0)


_EFFICIENCIES = """
level = 0.682689492137086
bounds = lambda k, n: [ROOT.TEfficiency.ClopperPearson(n, k, level, up) for up in (False, True)]
file = ROOT.TFile(given["path"])
maps = {}
for name in given["names"]:
    e = file.Get(name)
    n = e.GetTotalHistogram().GetNbinsX()
    maps[name] = [[e.GetEfficiency(i), e.GetEfficiencyErrorLow(i), e.GetEfficiencyErrorUp(i)] for i in range(1, n + 1)]
answer = [maps, [bounds(k, n) for k, n in given["counts"]]]
"""


@needs_root
def test_efficiencies_are_those_of_roots_tefficiency(done: Done) -> None:
    name, place, run, metrics = done
    columns = friends(run)
    truth, _ = truth_and_weight(name, place, columns)
    measured, counts, names, maps = [], [], [], {}
    for model in MODELS:
        for point in metrics["models"][model]["working_points"]:
            chosen = columns[f"pid_{model}_{point['name']}"]
            measured.append(point["efficiency"])
            counts.append((int(chosen[truth].sum()), int(truth.sum())))
            if name != WEIGHTED:
                measured.append(point["misid"]["background"])
                counts.append((int(chosen[~truth].sum()), int((~truth).sum())))
        for one in metrics["models"][model]["maps"]:
            if len(one["names"]) == 1 and one["particle"] == "signal":
                names.append(f"{model}/efficiency_{one['names'][0]}_{one['working_point']}")
                maps[names[-1]] = one
    found, bounds = ask_root(_EFFICIENCIES, path=run / "results.root", names=names, counts=counts)
    for point, (k, n), interval in zip(measured, counts, bounds, strict=True):
        np.testing.assert_allclose(point["value"], k / n, rtol=1e-9, atol=0)
        np.testing.assert_allclose([point["low"], point["high"]], interval, rtol=1e-9, atol=0)
    for key, one in maps.items():
        filled = np.array(one["n"]) > 0
        value, low, high = np.array([one[n] for n in ("value", "low", "high")], np.float64)[:, filled]
        expected = np.array(found[key])[filled]
        np.testing.assert_allclose(value, expected[:, 0], rtol=1e-9, atol=0)
        np.testing.assert_allclose(value - low, expected[:, 1], rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(high - value, expected[:, 2], rtol=1e-9, atol=1e-15)


def test_what_was_asked_is_there_and_every_note_is_a_sentence(done: Done) -> None:
    _, _, _, metrics = done
    assert len(metrics["comparisons"]) == 3
    for model in metrics["models"].values():
        assert [p["name"] for p in model["working_points"]][-3:] == ["eff90_flat", "eff95_flat", "eff99_flat"]
        assert len(model["flatness"]) == 3
        assert all(p is not None and 0 <= p <= 1 for p in model["overtraining"]["ks_p"].values())
    assert all(note.endswith(".") for note in metrics["notes"])
