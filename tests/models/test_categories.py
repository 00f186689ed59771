"""Categories: a model each, one score that means the same in all of them, one comparison, one friend, one header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

import pidlab
from conftest import write_tree
from pidlab.apply import apply
from pidlab.errors import ConfigError, ModelError, UsageError
from pidlab.models.calibration import fit_ranks, fit_vector
from pidlab.pipeline.result import Result, read_result
from pidlab.plots.gallery import catalogue
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import load_bundle

PLAIN = {"robustness": None, "importance": False}
BY_TOF = {"near": "has_tof == 0", "far": "has_tof == 1"}


def candidates(n: int, seed: int = 1) -> tuple[dict[str, Any], Any]:
    """Candidates in two categories of different shares, in each of which another feature tells the classes apart.

    Without a time of flight `a` is normal about ±0.5, with one `b` about ±1.25, and 80 % of the background and 30 % of
    the signal have none. The exact log-likelihood ratio is kept as `exact`.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    far = rng.random(n) < np.where(y == 1, 0.7, 0.2)
    sign = 2.0 * y - 1
    a = rng.standard_normal(n) + np.where(far, 0, 0.5 * sign)
    b = rng.standard_normal(n) + np.where(far, 1.25 * sign, 0)
    exact = np.where(far, 2.5 * b + np.log(0.7 / 0.2), 1.0 * a + np.log(0.3 / 0.8))
    return {"a": a, "b": b, "has_tof": far.astype(int), "exact": exact}, y


@pytest.fixture(scope="module")
def compared() -> Result:
    table, y = candidates(60_000)
    glued = np.where(table["has_tof"] == 1, table["b"], table["a"])
    models = {
        "exact": table["exact"],
        "glued": glued,
        "one": {"type": "fisher"},
        "by": {"type": "fisher", "by": BY_TOF},
        "trees": {"type": "bdt", "n_estimators": 200, "max_depth": 2, "by": BY_TOF},
        "box": {"type": "cuts"},
        "boxes": {"type": "cuts", "by": BY_TOF},
    }
    return pidlab.compare(table, y, models=models, features=["a", "b"], evaluate=PLAIN)


def misid(result: Result, model: str, point: str) -> tuple[float, float]:
    """The misidentification of a model at a working point, and half of its interval."""
    found = next(p for p in result.results.models[model].working_points if p.name == point)
    rate = next(iter(found.misid.values()))
    return rate.value, (rate.high - rate.low) / 2


@pytest.mark.slow
@pytest.mark.parametrize("model", ["by", "trees"])
def test_the_joint_score_ranks_as_the_exact_likelihood_ratio_does(compared: Result, model: str) -> None:
    areas = {name: compared.results.models[name].samples["test"].auc.value for name in ("exact", model)}
    assert areas[model] == pytest.approx(areas["exact"], abs=0.002)


@pytest.mark.parametrize("point", ["eff90", "eff95", "eff99"])
@pytest.mark.parametrize(("model", "alternatives"), [("by", ["one", "glued"]), ("boxes", ["box"])])
def test_categories_are_as_good_as_one_model_and_as_glued_scores(
    compared: Result, model: str, alternatives: list[str], point: str
) -> None:
    rate, error = misid(compared, model, point)
    for other in alternatives:
        assert rate <= misid(compared, other, point)[0] + error


def test_scores_are_probabilities_at_the_common_abundances_in_every_category(tmp_path: Path) -> None:
    table, y = candidates(80_000, seed=3)
    models = {"by": {"type": "fisher", "by": BY_TOF}}
    result = pidlab.compare(table, y, models=models, features=["a", "b"], evaluate=PLAIN, scaling="standard")
    result.save(tmp_path / "run", figures="none")
    # The classes have the same sum of weights in training, and the exact ratio is the odds then.
    expected = 1 / (1 + np.exp(-table["exact"]))
    assert pidlab.load(tmp_path / "run").scores(table)["by"] == pytest.approx(expected, abs=0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with folds, two and three classes' worth of models with categories, and rows in none of them."""
    folder = tmp_path_factory.mktemp("categories")
    table, y = candidates(6_000, seed=2)
    table["a"][::50] = np.nan
    write_tree(folder / "t.root", {**table, "species": y, "event": np.arange(6_000)})
    config = {
        "data": {"files": str(folder / "t.root"), "event_id": ["event"]},
        "classes": {"signal": "species == 1", "background": "species == 0"},
        "features": ["a", "b"],
        "folds": 2,
        "models": {
            "fisher": {"type": "fisher", "by": BY_TOF},
            "bdt": {"type": "bdt", "n_estimators": 10, "by": BY_TOF},
            "mlp": {"type": "mlp", "epochs": 2, "hidden": [5], "by": BY_TOF},
            "boxes": {"type": "cuts", "by": {"x": "has_tof + 0", "bins": [-0.5, 0.5, 1.5]}},
        },
        "evaluate": PLAIN,
    }
    pidlab.run(config, folder / "run", figures="none")
    return folder


def test_friend_trees_of_apply_hold_what_the_run_found_with_folds_and_missing_values(run: Path) -> None:
    apply(load_bundle(run / "run"), [Source(str(run / "t.root"), "T")], run / "friends", Watcher())
    trees = [uproot.open(folder / "t_pid.root")["T_pid"] for folder in (run / "run" / "friends", run / "friends")]
    for name in set(trees[1].keys()):
        first, second = (tree[name].array(library="np") for tree in trees)
        assert np.array_equal(first, second, equal_nan=first.dtype.kind == "f"), name


def test_rows_in_no_category_have_no_score_and_pass_nothing(run: Path) -> None:
    found = pidlab.load(run / "run").friend({"a": [1.0, 1.0], "b": [3.0, 3.0], "has_tof": [1, 7]})
    for name in ("fisher", "bdt", "mlp", "boxes"):
        assert np.isnan(found[f"pid_{name}"]).tolist() == [False, True]
        assert not found[f"pid_{name}_eff99"][1]


@pytest.mark.parametrize("format", ["onnx", "header"])
def test_exports_agree_with_pidlab_on_events_with_missing_values(run: Path, format: str) -> None:
    # An export compares itself with pidlab on events of the run and on special values, and fails if they differ.
    exported = read_result(run / "run").export(format, run / format)
    assert all(each.largest_difference <= 1e-5 for each in exported)


def test_boxes_in_bins_are_one_cut_string_that_decides_as_the_model_does(tmp_path: Path) -> None:
    table, y = candidates(8_000, seed=5)
    table["p"] = np.random.default_rng(1).uniform(0, 3, len(y))
    models = {"boxes": {"type": "cuts", "by": {"x": "p", "bins": [0, 1, 3]}}}
    result = pidlab.compare(table, y, models=models, features=["a", "b"], spectators=["p"], evaluate=PLAIN)
    result.save(tmp_path / "run", figures="none")
    result.export("cuts", tmp_path / "cuts")  # compares the decisions of the string with those of the model
    line = (tmp_path / "cuts" / "boxes.txt").read_text().splitlines()[0]
    assert re.fullmatch(r"eff90: \(\(\(\(p\) >= 0\.0 && \(p\) < 1\.0\) && .*\) \|\| \(\(\(p\) >= 1\.0 .*\)\)", line)


def test_events_outside_of_all_categories_and_in_two_are_mistakes_with_their_number() -> None:
    table, y = candidates(2_000)
    by = {"low": "a < 0", "mid": "a > -0.5 && a < 1"}
    with pytest.raises(ConfigError) as error:
        pidlab.compare(table, y, models={"m": {"type": "fisher", "by": by}}, features=["a", "b"])
    outside, both = int((table["a"] >= 1).sum()), int(((table["a"] > -0.5) & (table["a"] < 0)).sum())
    assert f"models.m.by: {outside:,} of the 2,000 selected events are in no category (low, mid)" in str(error.value)
    assert f"{both:,} of the 2,000 selected events are in several categories, such as 'low' and 'mid'" in str(
        error.value
    )


def test_a_thin_category_is_said() -> None:
    table, y = candidates(4_000)
    by = {"most": "a < 2", "few": "a >= 2"}
    result = pidlab.compare(table, y, models={"m": {"type": "fisher", "by": by}}, features=["a", "b"], evaluate=PLAIN)
    n = min(np.bincount(y[table["a"] >= 2]))
    assert any(f"the category 'few' holds {n} events of the class" in note for note in result.results.notes)


def test_a_category_without_a_class_is_an_error_with_both_names() -> None:
    table, y = candidates(2_000)
    table["kind"] = np.where(y == 1, 0, np.arange(len(y)) % 2)
    by = {"all": "kind == 0", "background_only": "kind == 1"}
    wanted = r"models\.m: the category 'background_only' has no training event of the class 'signal'"
    with pytest.raises(ModelError, match=wanted):
        pidlab.compare(table, y, models={"m": {"type": "fisher", "by": by}}, features=["a", "b"], evaluate=PLAIN)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=4, max_size=200), st.integers(0, 3))
def test_the_map_of_ranks_keeps_every_order(pairs: list[tuple[int, bool]], seed: int) -> None:
    score, y = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], int)
    y[:2] = [0, 1]
    weight = np.random.default_rng(seed).exponential(size=len(y))
    mapped = fit_ranks(np.stack([-score, score], axis=1), y, weight, 1)
    heights = mapped.y[0]
    assert (np.diff(mapped.x[0]) > 0).all()
    assert (np.diff(heights) > 0).all()
    assert 0 < heights[0] < heights[-1] < 1


def test_vector_scaling_finds_the_factor_and_the_offsets() -> None:
    rng = np.random.default_rng(1)
    log_p = np.log(rng.dirichlet([1, 1, 1], 50_000))
    margins = 0.7 * log_p + np.array([0.5, 0.0, -0.5])
    true = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    y = (rng.random(len(true))[:, None] > np.cumsum(true, axis=1)).sum(axis=1)
    found = fit_vector(np.exp(log_p), y, np.ones(len(y)), 0)
    assert found.scale == pytest.approx(0.7, abs=0.02)
    assert found.offsets == pytest.approx([0.5, 0.0, -0.5], abs=0.03)
    assert found.apply(np.exp(log_p)) == pytest.approx(true, abs=0.02)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("p", r"models\.m\.by: must be categories, not 'p'; write a condition for each"),
        ({"x": "a", "bins": 4}, r"models\.m\.by\.bins: must be a list of edges, not 4"),
        ({"x": "a", "edges": [0, 1]}, r"models\.m\.by\.edges: unknown key; known: bins, x"),
        ({"x": "a", "bins": [1, 0]}, r"models\.m\.by\.bins: bin edges must rise"),
        ({"low": "a < 0"}, r"models\.m\.by: has one category only"),
        ({"low": "a < ", "high": "a > 0"}, r"models\.m\.by\.low: "),
    ],
)
def test_what_is_no_category_is_told_with_what_to_write(by: Any, message: str) -> None:
    table, y = candidates(100)
    with pytest.raises(ConfigError, match=message):
        pidlab.compare(table, y, models={"m": {"type": "fisher", "by": by}}, features=["a", "b"])


def test_boxes_in_so_many_bins_that_no_string_holds_them_are_told_with_the_way_out(tmp_path: Path) -> None:
    table, y = candidates(6_000, seed=5)
    table["p"] = np.random.default_rng(1).uniform(0, 60, len(y))
    models = {
        "boxes": {"type": "cuts", "by": {"x": "p * (1 + 0 * p) * (1 + 0 * p) * (1 + 0 * p)", "bins": list(range(61))}}
    }
    result = pidlab.compare(table, y, models=models, features=["a", "b"], spectators=["p"], evaluate=PLAIN)
    result.save(tmp_path / "run", figures="none")
    with pytest.raises(UsageError, match=r"at most 10,000 characters\); export it as onnx or header"):
        result.export("cuts", tmp_path / "cuts")


def test_sigmas_are_no_points_of_the_probability_of_categories() -> None:
    table, y = candidates(100)
    band = {"type": "band", "variables": "a", "against": "b", "sigma": 3, "by": BY_TOF}
    with pytest.raises(ConfigError, match=r"models\.m\.sigma: a number of sigmas is no threshold of the probability"):
        pidlab.compare(table, y, models={"m": band}, features=["a", "b"])


def test_a_run_with_categories_has_all_figures_of_its_other_models(tmp_path: Path) -> None:
    table, y = candidates(1_500)
    models = {"bdt": {"type": "bdt", "n_estimators": 5}, "by": {"type": "bdt", "n_estimators": 5, "by": BY_TOF}}
    result = pidlab.compare(table, y, models=models, features=["a", "b"], evaluate={"robustness": None})
    drawn = [name for name, sheet in catalogue(result.results).items() if sheet.numbers is None or sheet.numbers()]
    assert {"contributions_bdt", "contributions_by"} <= set(drawn), drawn
