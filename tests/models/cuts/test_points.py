"""Cuts whose working points are boxes of their own, or the best figure of merit, through a whole run and by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import write_tree
from pidlab.apply import apply
from pidlab.config.load import check_config
from pidlab.config.schema import FigureOfMerit
from pidlab.errors import ConfigError, ModelError
from pidlab.evaluate.points.merit import Merit, best_point, figure
from pidlab.expressions import parse, selects
from pidlab.models.cuts.windows import NestedPoint
from pidlab.models.registry import Resources
from pidlab.models.training import _nesting_note
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import load_bundle
from pidlab.sample import Sample

CONTENT: dict[str, Any] = {
    "data": {"files": "rings.root", "event_id": ["event"], "weight": "w"},
    "classes": {"signal": "species == 0", "other": "species == 1"},
    "features": ["a", "b"],
    "spectators": ["p"],
    "models": {
        "hand": {"type": "expression", "cut": "a > 0.2 && b > -1"},
        "free": {"type": "cuts", "nested": False},
        "chain": {"type": "cuts", "figure_of_merit": {"name": "significance"}, "efficiencies": [0.6, 0.9]},
        "fisher": {"type": "fisher"},
    },
    "evaluate": {
        "working_points": [0.9, 0.6],
        "robustness": {"smear": [0.2], "scale": [], "shift": [], "drop": False},
        "expected": {"signal": 300, "other": 20_000},
    },
}


def rings(folder: Path, n: int = 6000, classes: int = 2) -> Path:
    """Signal between two backgrounds: the best box at one efficiency does not lie in the best one at another."""
    rng = np.random.default_rng(11)
    species = rng.integers(0, classes, n)
    a = rng.normal(np.where(species == 0, 0.8, rng.choice([-0.6, 2.2], n)), 0.7)
    b = rng.normal(np.where(species == 0, 0.3, -0.4), 1.0)
    content = {"a": a.astype("f4"), "b": b.astype("f4"), "p": rng.uniform(1, 5, n), "species": species}
    return write_tree(folder / "rings.root", content | {"event": np.arange(n), "w": rng.uniform(0.5, 1.5, n)})


def go(folder: Path, content: dict[str, Any], name: str = "run") -> Path:
    run(
        check_config(content, {}, folder / "analysis.yaml"),
        folder / name,
        Resources("cpu", 1),
        Watcher(),
        figures="none",
    )
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("points")
    rings(path)
    return path


@pytest.fixture(scope="module")
def done(folder: Path) -> Path:
    return go(folder, CONTENT)


@pytest.fixture(scope="module")
def metrics(done: Path) -> Any:
    return json.loads((done / "metrics.json").read_text())


@pytest.fixture(scope="module")
def friend(done: Path) -> Any:
    with uproot.open(done / "friends" / "rings_pid.root") as file:
        return file["T_pid"].arrays(library="np")


@pytest.fixture(scope="module")
def events(folder: Path) -> Any:
    with uproot.open(folder / "rings.root") as file:
        return file["T"].arrays(library="np")


def rates(passed: Any, events: Any, used: Any) -> tuple[float, float]:
    w = np.where(used, events["w"], 0.0)
    return tuple(float(w[passed & (events["species"] == s)].sum() / w[events["species"] == s].sum()) for s in (0, 1))  # type: ignore[return-value]


@pytest.mark.slow
def test_each_point_of_free_cuts_is_a_box_with_its_cut_string(metrics: Any, friend: Any, events: Any) -> None:
    points = metrics["models"]["free"]["working_points"]
    assert [(p["name"], p["target"]) for p in points] == [("eff90", 0.9), ("eff60", 0.6)]
    for point in points:
        passed = friend[f"pid_free_{point['name']}"]
        assert np.array_equal(passed, selects(parse(point["cut_string"]), events, len(passed)))
        efficiency, misid = rates(passed, events, friend["pid_split"] == 2)
        assert point["efficiency"]["value"] == pytest.approx(efficiency, rel=1e-9, abs=0)
        assert point["misid"]["other"]["value"] == pytest.approx(misid, rel=1e-9, abs=0)
        assert rates(passed, events, friend["pid_split"] == 0)[0] == pytest.approx(point["target"], abs=0.01)
    assert metrics["models"]["free"]["cut_string"] == points[0]["cut_string"]


@pytest.mark.slow
def test_free_cuts_have_no_score_no_curve_and_no_area(metrics: Any, friend: Any, done: Path) -> None:
    assert "pid_free" not in friend
    assert metrics["models"]["free"]["test"]["auc"]["value"] is None
    assert "box of its own" in metrics["models"]["free"]["note"]
    with uproot.open(done / "results.root") as file:
        keys = {key.split(";")[0] for key in file}
    assert "free/roc" not in keys
    assert "free/working_points_other" in keys
    assert {"free/efficiency_p_eff90", "free/efficiency_p_eff60"} <= keys


@pytest.mark.slow
def test_free_boxes_are_at_least_as_good_as_nested_ones_in_training(friend: Any, events: Any) -> None:
    used = friend["pid_split"] == 0
    for name in ("eff90", "eff60"):
        (free, misid), (chain, other) = (rates(friend[f"pid_{m}_{name}"], events, used) for m in ("free", "chain"))
        assert misid <= other + 0.01 + abs(free - chain)


@pytest.mark.slow
def test_the_price_of_nesting_is_told_in_the_report(metrics: Any) -> None:
    note = metrics["models"]["chain"]["note"]
    assert re.search(r"asked for: 60 %: [\d.]+ %; 90 %: [\d.]+ %\. Nesting costs nothing: boxes that need", note), note
    assert "need not be nested" not in metrics["models"]["free"]["note"]


def test_what_nesting_costs_stands_in_brackets_where_it_costs_something() -> None:
    points = (NestedPoint(0.9, 0.9, 0.012, 0.011), NestedPoint(0.6, 0.6, 0.004, 0.004))
    (told,) = _nesting_note([SimpleNamespace(nesting_=points)])
    assert told.endswith("best box which need not be nested: 60 %: 0.4 % (0.4 %); 90 %: 1.2 % (1.1 %).")


@pytest.mark.slow
def test_others_are_compared_with_each_free_box_at_its_own_efficiency(metrics: Any, friend: Any, events: Any) -> None:
    pairs = {(c["a"], c["b"]): c for c in metrics["comparisons"]}
    found = pairs["free", "fisher"]["working_points"]
    assert [p["name"] for p in found] == ["eff90", "eff60"]
    for point in found:
        efficiency, misid = rates(friend[f"pid_free_{point['name']}"], events, friend["pid_split"] == 2)
        assert point["efficiency"] == pytest.approx(efficiency, rel=1e-9)
        validation = friend["pid_split"] == 1
        target = rates(friend[f"pid_free_{point['name']}"], events, validation)[0]
        score = friend["pid_fisher"]
        mine = validation & (events["species"] == 0)
        order = np.argsort(-score[mine])
        share = np.cumsum(events["w"][mine][order]) / events["w"][mine].sum()
        last = int(np.searchsorted(share, target * (1 - 1e-9)))
        # Exactly at the boxes' efficiency: on the straight line between two thresholds, each halfway between scores.
        along = (target - share[last - 1]) / (share[last] - share[last - 1])
        halfway = [score[mine][order][i : i + 2].mean() for i in (last - 1, last)]
        tight, loose = (rates(score > between, events, friend["pid_split"] == 2)[1] for between in halfway)
        other = (1 - along) * tight + along * loose
        assert point["delta_misid"]["value"] == pytest.approx(other - misid, rel=1e-6)
    assert [p["name"] for p in pairs["hand", "free"]["working_points"]] == ["eff90", "eff60"]
    assert pairs["hand", "free"]["delta_auc"]["value"] is None
    assert [p["change"] for p in metrics["robustness"]["free"]] == ["smear"] * 3


@pytest.mark.slow
def test_apply_repeats_the_decisions_of_free_cuts(done: Path, folder: Path, friend: Any) -> None:
    apply(load_bundle(done, ["free", "chain"]), [Source(str(folder / "rings.root"), "T")], folder / "out", Watcher())
    with uproot.open(folder / "out" / "rings_pid.root") as file:
        again = file["T_pid"].arrays(library="np")
    assert {k for k in again if k.startswith("pid_free")} == {"pid_free_eff90", "pid_free_eff60"}
    for name in (k for k in again if k != "pid_chain"):
        assert np.array_equal(again[name], friend[name])


@pytest.mark.slow
def test_folds_and_three_classes_take_free_cuts_too(tmp_path: Path) -> None:
    rings(tmp_path, 3000, classes=3)
    content = CONTENT | {
        "classes": {"other": "species == 1", "signal": "species == 0", "third": "species == 2"},
        "signal": "signal",
        "folds": 2,
        "models": {"free": CONTENT["models"]["free"], "fisher": {"type": "fisher"}},
        "evaluate": {"working_points": [0.8], "robustness": None},
    }
    folder = go(tmp_path, content)
    model = json.loads((folder / "metrics.json").read_text())["models"]["free"]
    (point,) = model["working_points"]
    assert set(point["misid"]) == {"other", "third"}
    assert point["efficiency"]["value"] == pytest.approx(0.8, abs=0.05)
    assert model["test"]["confusion_matrix"]["classes"] == ["signal", "rest"]
    assert point["cut_string"] == ""


@pytest.mark.slow
def test_the_best_point_is_that_of_brute_force_over_all_boxes(metrics: Any, friend: Any, events: Any) -> None:
    points = {p["name"]: p for p in metrics["models"]["chain"]["working_points"]}
    assert list(points) == ["eff90", "eff60", "best"]
    score = friend["pid_chain"]

    def significance(threshold: float) -> float:
        efficiency, misid = rates(score > threshold, events, friend["pid_split"] == 1)
        return float(300 * efficiency / np.sqrt(300 * efficiency + 20_000 * misid)) if efficiency else 0.0

    highest = max(significance(t) for t in np.unique(score)[:-1])
    assert significance(points["best"]["threshold"]) == pytest.approx(highest, rel=1e-12)
    assert highest > 1.05 * significance(points["eff90"]["threshold"])
    efficiency, misid = rates(friend["pid_chain_best"], events, friend["pid_split"] == 2)
    assert points["best"]["efficiency"]["value"] == pytest.approx(efficiency, rel=1e-9)
    assert points["best"]["misid"]["other"]["value"] == pytest.approx(misid, rel=1e-9)
    assert np.array_equal(selects(parse(points["best"]["cut_string"]), events, len(score)), friend["pid_chain_best"])


def small(seed: int) -> tuple[Any, Sample]:
    rng = np.random.default_rng(seed)
    n = 60
    y = np.concatenate([[0, 1, 2], rng.integers(0, 3, n - 3)])
    score = np.round(rng.normal(1.0 * (y == 1), 1, n), 1).astype(np.float32)
    nothing: dict[str, Any] = {"features": (), "spectators": {}, "columns": {}}
    index = np.arange(n)
    names = ("one", "signal", "two")
    weight = rng.uniform(0.1, 2, n)
    x = np.empty((n, 0), np.float32)
    event = index.astype(np.uint64)
    sample = Sample(x=x, y=y, weight=weight, event=event, classes=names, signal=1, file=index, row=index, **nothing)
    return score, sample


@pytest.mark.parametrize("name", ["significance", "punzi", "purity"])
@pytest.mark.parametrize("seed", range(5))
def test_figures_of_merit_are_their_formulas_at_every_threshold(name: Any, seed: int) -> None:
    score, sample = small(seed)
    expected = {"one": 40.0, "signal": 7.0, "two": 0.0}
    merit = Merit(FigureOfMerit(name=name, efficiency=0.3), expected, 2.0)
    point, target, threshold = best_point(score, sample, merit)

    def value(cut: float) -> tuple[float, float]:
        e = {c: sample.weight[(sample.y == i) & (score > cut)].sum() / sample.weight[sample.y == i].sum()
             for i, c in enumerate(sample.classes)}  # fmt: skip
        s, b = 7 * e["signal"], 40 * e["one"]
        figures = {"significance": s / np.sqrt(s + b), "punzi": e["signal"] / (1 + np.sqrt(b)), "purity": s / (s + b)}
        return e["signal"], figures[name]

    allowed = [value(float(np.nextafter(v, np.float32(-9)))) for v in np.unique(score)]
    assert value(threshold)[1] == pytest.approx(max(m for e, m in allowed if e >= 0.3), rel=1e-12)
    assert (point, target) == ("best", pytest.approx(value(threshold)[0], rel=1e-12))
    assert target >= 0.3


def test_no_boxes_left_and_no_yield_are_no_optimum() -> None:
    merit = Merit(FigureOfMerit(name="significance"), {"s": 1.0, "b": 1.0}, 3.0)
    assert np.array_equal(figure(merit, np.array([[0.0, 1.0], [0.0, 0.5]]), ("s", "b"), 0), [-np.inf, 1 / np.sqrt(1.5)])


@pytest.mark.parametrize(
    ("cuts", "evaluate", "said"),
    [
        ({"nested": False}, {"working_points": []}, "models.cuts.nested: cuts without nesting need"),
        ({"nested": False, "figure_of_merit": {"name": "punzi"}}, {}, "figure_of_merit: needs nested: true"),
        ({"figure_of_merit": {"name": "purity"}}, {}, "figure_of_merit: purity needs the least signal efficiency"),
        ({"figure_of_merit": {"name": "signifcance"}}, {}, "did you mean 'significance'"),
        ({"efficiencies": [1.2]}, {}, "models.cuts.efficiencies"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(cuts: Any, evaluate: Any, said: str) -> None:
    content = CONTENT | {"models": {"cuts": {"type": "cuts", **cuts}}, "evaluate": evaluate}
    with pytest.raises(ConfigError, match=said):
        check_config(content, {}, Path("analysis.yaml"))


def test_a_point_that_no_box_reaches_is_said_with_the_model(folder: Path) -> None:
    limits = {"type": "cuts", "nested": False, "sides": {"a": "both"}, "ranges": {"a": [0.5, 1.0]}}
    content = CONTENT | {"models": {"tight": limits}}
    with pytest.raises(ModelError, match=r"models.tight: no box keeps 90 % of the signal: the loosest keeps"):
        go(folder, content, "tight")
