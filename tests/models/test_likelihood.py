"""The likelihood: what the exact likelihood ratio reaches, detectors that are missing, priors, weights and exports."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

from pidlab.errors import ModelError
from pidlab.models.base import TrainingDataError, ValidationSet
from pidlab.models.likelihood import Likelihood
from pidlab.models.likelihood.density import counted, grid, log_densities, smallest
from pidlab.simulate.tracks import TRACKS, tracks_log_likelihoods

Array = NDArray[Any]
DETECTORS = {"tpc": [0], "its": [1], "tof": [2]}
ELECTRON, PION, KAON, PROTON = range(4)


def tracks(n: int, seed: int) -> tuple[Array, Array, dict[str, Array]]:
    """dE/dx in two detectors, β where it was measured, p; the species; and the exact log-likelihoods by detector."""
    blocks = [block.branches for block in TRACKS.blocks(n, seed)]
    branches = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    x = np.column_stack([branches[name] for name in ("tpc_dedx", "its_dedx", "tof_beta", "p")]).astype(np.float32)
    x[~branches["has_tof"], 2] = np.nan
    return x, branches["species"], tracks_log_likelihoods(branches)


@pytest.fixture(scope="module")
def train() -> tuple[Array, Array]:
    return tracks(100_000, 1)[:2]


@pytest.fixture(scope="module")
def test() -> tuple[Array, Array, dict[str, Array]]:
    return tracks(150_000, 2)


@pytest.fixture(scope="module")
def fitted(train: tuple[Array, Array]) -> Likelihood:
    return Likelihood(DETECTORS, against=3, signal=PION).fit(*train)


def normal(n: int, seed: int, k: int = 2) -> tuple[Array, Array]:
    """n events of k classes; two variables around 0, 1 or 2, each of width 1 and independent, and p, in which nothing
    depends on it."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    return np.column_stack([rng.normal(y, 1), rng.normal(y, 1), rng.uniform(1, 5, n)]), y


@pytest.mark.parametrize(("one", "other"), [(PION, KAON), (KAON, PROTON), (ELECTRON, PION)], ids=["πK", "Kp", "eπ"])
def test_it_is_within_2_permille_of_the_exact_likelihood_ratio(
    fitted: Likelihood, test: tuple[Array, Array, dict[str, Array]], one: int, other: int
) -> None:
    x, y, exact = test
    found, truth = fitted.log_likelihoods(x), sum(exact.values())
    pair = np.isin(y, [one, other])
    quarters = np.quantile(x[:, 3], [0, 0.25, 0.5, 0.75, 1])
    ranges = [(x[:, 3] >= low) & (x[:, 3] <= high) for low, high in itertools.pairwise(quarters)]
    for rows in [pair, *(pair & inside for inside in ranges)]:
        is_one = y[rows] == one
        areas = [roc_auc_score(is_one, (each[:, one] - each[:, other])[rows]) for each in (truth, found)]
        assert abs(areas[0] - areas[1]) < 0.002


@pytest.mark.parametrize("detectors", [["tpc"], ["tpc", "its"], ["its", "tof"]], ids="-".join)
def test_leaving_detectors_out_costs_what_the_exact_ratio_says(
    fitted: Likelihood, test: tuple[Array, Array, dict[str, Array]], detectors: list[str]
) -> None:
    x, y, exact = test
    rows = np.isin(y, [PION, KAON])

    def area(log_likelihood: Array) -> float:
        return float(roc_auc_score(y[rows] == PION, (log_likelihood[:, PION] - log_likelihood[:, KAON])[rows]))

    expected = area(sum(exact.values())) - area(sum(exact[name] for name in detectors))
    found = area(fitted.log_likelihoods(x)) - area(fitted.log_likelihoods(x, detectors))
    assert abs(found - expected) < 0.001
    assert expected > 0.01


def test_the_posterior_of_each_class_is_calibrated(
    fitted: Likelihood, test: tuple[Array, Array, dict[str, Array]]
) -> None:
    x, y, _ = test
    posterior = fitted.scores(x).astype(np.float64)
    weight = (1 / np.bincount(y))[y]  # equal abundances
    for k in range(4):
        bins = np.minimum((posterior[:, k] * 10).astype(int), 9)
        total = np.bincount(bins, weight, 10)
        gap = np.bincount(bins, weight * ((y == k) - posterior[:, k]), 10) / total
        variance = np.bincount(bins, weight**2 * posterior[:, k] * (1 - posterior[:, k]), 10) / total**2
        # 3 standard deviations of test, and 1 % for the densities, which 10,000 electrons determine so well
        assert (np.abs(gap) < 3 * np.sqrt(variance) + 0.01).all()


@pytest.mark.parametrize("density", ["histogram", "kernel"])
def test_a_density_is_smooth_normalised_and_finite_everywhere(density: str) -> None:
    rng = np.random.default_rng(3)
    z, place = rng.normal(size=20_000), rng.uniform(0, 3, 20_000)
    found = log_densities(counted((z,), place, np.ones(20_000), 4, 160), density, smallest(20_000))
    nodes = grid(160)
    np.testing.assert_allclose((np.exp(found) * np.gradient(nodes)).sum(axis=1), 1, rtol=1e-3, atol=0)
    inside = np.abs(nodes) < 2
    # 3,000 candidates and more in a slice: 3 % in the middle, a tenth where a hundred are left
    np.testing.assert_allclose(found[:, inside], np.tile(norm.logpdf(nodes[inside]), (4, 1)), rtol=0, atol=0.15)
    assert found.min() >= smallest(20_000)
    assert (np.diff(found[:, nodes > 2.5], axis=1) <= 1e-9).all()  # no bump from an empty bin or a single candidate


def test_a_tail_without_candidates_falls_and_ends_at_the_floor() -> None:
    x, y = normal(5_000, 4)
    model = Likelihood({"a": [0]}).fit(x, y)
    far = np.column_stack([np.array([5.0, 8, 15, 1e3, 1e30, -1e30]), *np.zeros((2, 6))])
    log_odds = np.diff(model.log_likelihoods(far), axis=1)[:, 0]
    assert np.isfinite(log_odds).all()
    assert log_odds[0] > 2  # the exact value is 4.5
    assert (np.abs(log_odds[3:]) < 0.2).all()  # what is far from both classes is of neither


def test_two_variables_of_a_detector_are_taken_jointly() -> None:
    rng = np.random.default_rng(5)
    covariance = [np.array([[1, 0.8], [0.8, 1]]), np.array([[1, -0.8], [-0.8, 1]])]

    def drawn(n: int) -> tuple[Array, Array]:
        y = rng.integers(0, 2, n)
        return np.where(y[:, None] == 0, *(rng.multivariate_normal([0, 0], c, n) for c in covariance)), y

    x, y = drawn(100_000)
    new, truth = drawn(50_000)
    exact = np.column_stack([multivariate_normal([0, 0], c).logpdf(new) for c in covariance])
    together, apart = (Likelihood(d).fit(x, y).log_likelihoods(new) for d in ({"a": [0, 1]}, {"a": [0], "b": [1]}))
    best, found, single = (roc_auc_score(truth, each[:, 1] - each[:, 0]) for each in (exact, together, apart))
    assert best > 0.9
    assert abs(found - best) < 0.002
    assert abs(single - 0.5) < 0.05  # neither variable alone knows anything


def test_a_detector_that_is_missing_adds_nothing(fitted: Likelihood, test: tuple[Array, Array, Any]) -> None:
    x = test[0][:2000].copy()
    x[:, 2] = np.nan
    without = test[0][:2000].copy()
    np.testing.assert_array_equal(fitted.scores(x), fitted.scores_of(without, ["tpc", "its"]))
    x[:, :2] = np.nan
    np.testing.assert_array_equal(fitted.scores(x), np.full((2000, 4), np.float32(0.25)))
    np.testing.assert_array_equal(fitted.outputs(x), np.zeros((2000, 3), np.float32))
    without[:, 3] = np.nan  # no detector counts without the momentum
    np.testing.assert_array_equal(fitted.scores(without), fitted.scores(x))


def test_a_detector_with_two_variables_counts_where_both_are_measured() -> None:
    x, y = normal(4_000, 6)
    model = Likelihood({"pair": [0, 1]}, against=2).fit(x, y)
    for column in (0, 1):
        holes = x[:50].copy()
        holes[:, column] = np.nan
        np.testing.assert_array_equal(model.scores(holes), np.full((50, 2), np.float32(0.5)))


def test_outputs_are_differences_of_log_likelihoods_without_priors(fitted: Likelihood, train: Any, test: Any) -> None:
    x = test[0][:1000]
    names = ["e", "pi", "K", "p"]
    rare = Likelihood(DETECTORS, 3, dict(zip(names, [1, 50, 10, 10], strict=True)), class_names=names, signal=PION)
    rare.fit(*train)
    assert rare.output_names == ("dll_e", "dll_K", "dll_p")
    np.testing.assert_array_equal(rare.outputs(x), fitted.outputs(x))
    log_likelihood = fitted.log_likelihoods(x)
    expected = log_likelihood[:, [PION]] - log_likelihood[:, [ELECTRON, KAON, PROTON]]
    np.testing.assert_allclose(rare.outputs(x), expected, rtol=1e-5, atol=1e-5)  # of single precision
    prior = np.log(np.array([1, 50, 10, 10]) / 71)
    np.testing.assert_allclose(rare.scores(x), softmax(prior + log_likelihood, axis=1), rtol=1e-4, atol=1e-7)


def test_the_prior_of_the_sample_follows_the_axis() -> None:
    rng = np.random.default_rng(7)
    p = rng.uniform(0, 4, 200_000)
    y = (rng.random(len(p)) < 0.1 + 0.2 * p).astype(int)  # 10 % of the second class at p = 0, 90 % at p = 4
    x = np.column_stack([rng.normal(y, 1), p])
    model = Likelihood({"a": [0]}, 1, "sample").fit(x, y)
    at = np.column_stack([np.full(9, np.nan), np.linspace(0, 4, 9)])
    np.testing.assert_allclose(model.scores(at)[:, 1], 0.1 + 0.2 * at[:, 1], rtol=0, atol=0.03)
    nowhere = np.full((1, 2), np.nan)
    np.testing.assert_allclose(model.scores(nowhere)[0, 1], 0.5, rtol=0, atol=0.01)
    exact = 1 / (1 + (0.9 - 0.2 * x[:, 1]) / (0.1 + 0.2 * x[:, 1]) * np.exp(0.5 - x[:, 0]))
    assert np.abs(model.scores(x)[:, 1] - exact).mean() < 0.01


def validation_of(x: Array, y: Array) -> ValidationSet:
    return ValidationSet(x, y, np.ones(len(y)))


def test_fitted_weights_are_one_where_detectors_are_independent_and_share_where_one_is_doubled() -> None:
    (x, y), (x_validation, y_validation) = normal(60_000, 8), normal(60_000, 9)
    independent = Likelihood({"a": [0], "b": [1]}, 2, weights="fit")
    independent.fit(x, y, validation=validation_of(x_validation, y_validation))
    np.testing.assert_allclose(independent.weights_, 1, rtol=0, atol=0.1)
    assert any("Weights of the detectors (fitted on validation): a 0 " in note for note in independent.notes)
    twice, twice_validation = (each[:, [0, 0, 1, 2]] for each in (x, x_validation))
    doubled = Likelihood({"a": [0], "again": [1], "b": [2]}, 3, weights="fit")
    doubled.fit(twice, y, validation=validation_of(twice_validation, y_validation))
    np.testing.assert_allclose(doubled.weights_[:2], 0.5, rtol=0, atol=0.1)
    np.testing.assert_allclose(doubled.weights_[2], 1, rtol=0, atol=0.1)
    np.testing.assert_allclose(doubled.scores(twice), independent.scores(x), rtol=0, atol=0.02)
    plain = Likelihood({"a": [0], "again": [1], "b": [2]}, 3).fit(twice, y)
    losses = [
        -np.log(m.predict_proba(twice_validation)[np.arange(60_000), y_validation]).mean() for m in (plain, doubled)
    ]
    assert losses[1] < losses[0] - 0.01


def test_weights_count_within_a_class_only() -> None:
    rng = np.random.default_rng(10)
    y = np.repeat([0, 1], 30_000)
    x = np.concatenate([rng.normal(0, 1, 30_000), rng.uniform(-4, 6, 30_000)])
    weight = np.where(y == 0, 1.0, norm.pdf(x, 1, 1) * 10)  # the second class is normal around 1 by its weights
    model = Likelihood({"a": [0]}).fit(x[:, None], y, weight)
    at = np.linspace(-1.5, 2.5, 9)
    np.testing.assert_allclose(np.diff(model.log_likelihoods(at[:, None]))[:, 0], at - 0.5, rtol=0, atol=0.15)
    scaled = Likelihood({"a": [0]}).fit(x[:, None], y, np.where(y == 0, 7.5, 0.01) * weight)
    np.testing.assert_allclose(scaled.scores(at[:, None]), model.scores(at[:, None]), rtol=0, atol=1e-5)


def test_a_single_heavy_event_does_not_move_the_density() -> None:
    x, y = normal(20_000, 11)
    weight = np.ones(20_000)
    weight[np.flatnonzero(y == 1)[0]] = 50.5  # half a percent of its class
    x[np.flatnonzero(y == 1)[0], 0] = 9.0
    at = np.linspace(-2, 3, 11)[:, None] * np.ones(3)
    heavy, light = (Likelihood({"a": [0]}).fit(x, y, w).scores(at)[:, 1] for w in (weight, None))
    np.testing.assert_allclose(heavy, light, rtol=0, atol=0.02)


def test_a_class_that_a_detector_never_measured_is_said_and_has_no_opinion_there() -> None:
    x, y = normal(3_000, 12, k=3)
    x[y == 2, 1] = np.nan
    model = Likelihood({"a": [0], "b": [1]}, class_names=["e", "mu", "pi"]).fit(x, y)
    assert any("b measured no pi in training" in note for note in model.notes)
    assert np.isfinite(model.scores(normal(100, 13, k=3)[0])).all()
    few = Likelihood({"a": [0]}).fit(x[:60], y[:60])
    assert any("rests on" in note for note in few.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"detectors": {"tpc": [0], "pair": [1, 2]}, "against": 3, "priors": "sample", "weights": "fit"},
        {"detectors": {"a": [1]}, "density": "kernel", "class_names": ["e", "pi", "K", "p"], "signal": 2},
    ],
    ids=["against", "alone"],
)
def test_what_is_saved_loads_to_the_same_bits(options: dict[str, Any], train: Any, test: Any, tmp_path: Path) -> None:
    x, y = (each[:8000] for each in train)
    model = Likelihood(**options).fit(x, y)
    model.save(tmp_path)
    loaded = Likelihood.load(tmp_path)
    new = test[0][:2000]
    assert np.array_equal(loaded.scores(new), model.scores(new))
    assert np.array_equal(loaded.outputs(new), model.outputs(new))
    assert (loaded.output_names, loaded.detector_names, loaded.notes) == (
        model.output_names,
        model.detector_names,
        model.notes,
    )


def _other_axis(arrays: dict[str, Array]) -> None:
    arrays["axis"] = arrays["axis"][::-1].copy()


def _not_finite(arrays: dict[str, Array]) -> None:
    arrays["detector0.tables"][0, 0, 0] = np.inf


def _shorter(arrays: dict[str, Array]) -> None:
    arrays["detector0.curves"] = arrays["detector0.curves"][:-1]


@pytest.mark.parametrize("damage", [_other_axis, _not_finite, _shorter], ids=["axis", "infinite", "short"])
def test_a_damaged_file_is_refused(damage: Any, tmp_path: Path) -> None:
    Likelihood({"a": [0]}, 2).fit(*normal(2_000, 14)).save(tmp_path)
    arrays = load_file(tmp_path / "likelihood.safetensors")
    damage(arrays)
    save_file(arrays, tmp_path / "likelihood.safetensors")
    with pytest.raises(ModelError, match=r"is not a whole likelihood .*make the run again"):
        Likelihood.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 7}, "a model of format 7, not 1"),
        ({"detectors": [{"name": "a", "columns": [3]}]}, "the columns are damaged"),
        ({"signal": 2}, "the axis or the signal is damaged"),
    ],
    ids=["format", "columns", "signal"],
)
def test_a_damaged_description_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    Likelihood({"a": [0]}, 2).fit(*normal(2_000, 14)).save(tmp_path)
    path = tmp_path / "likelihood.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        Likelihood.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detectors": {"a": [3]}}, "there is no column 3; X has 3"),
        ({"detectors": {"a": [0, 1, 2]}}, "the detector a has 3 variables; give one, or two"),
        ({"detectors": {}}, "detectors is empty"),
        ({"detectors": {"a": ["q"]}}, "'q' is no column"),
        ({"priors": {"0": 1, "2": 1}}, "priors names '2', which is no class"),
        ({"priors": {"0": 1}}, "no number for the class '1'"),
        ({"priors": {"0": 1, "1": 0}}, "priors of '1' is not positive"),
        ({"priors": "data"}, "priors is 'data'"),
        ({"density": "box"}, "density is 'box'"),
        ({"weights": "learn"}, "weights is 'learn'"),
        ({"class_names": ["e"]}, "class_names has 1 names for 2 classes"),
        ({"signal": 5}, "signal is 5, which is no class"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_a_wrong_option_is_told(options: dict[str, Any], message: str) -> None:
    x, y = normal(200, 15)
    with pytest.raises(ModelError, match=message):
        Likelihood(**options).fit(pd.DataFrame(x, columns=["x", "y", "p"]), y)


def test_columns_go_by_name_by_number_or_in_order() -> None:
    x, y = normal(2_000, 16)
    table = pd.DataFrame(x, columns=["dedx", "beta", "p"])
    by_number = Likelihood({"tof": [1], "tpc": [0]}, 2).fit(x, y).scores(x)
    by_name = Likelihood({"tof": ["beta"], "tpc": ["dedx"]}, "p").fit(table, y)
    np.testing.assert_array_equal(by_name.scores(x), by_number)
    names = ["beta", "dedx", "log_p"]
    in_order = Likelihood({"tof": ["time / length"], "tpc": ["dedx"]}, "log(p)", feature_names=names)
    np.testing.assert_array_equal(in_order.fit(x[:, [1, 0, 2]], y).scores(x[:, [1, 0, 2]]), by_number)
    with pytest.raises(ModelError, match="'x' is no detector; known: tof, tpc"):
        by_name.scores_of(x, ["x"])


def test_a_negative_weight_is_refused() -> None:
    x, y = normal(100, 17)
    with pytest.raises(TrainingDataError, match="1 of 100 training weights are negative"):
        Likelihood().fit(x, y, np.where(np.arange(100) == 3, -1, 1))


def test_scikit_learns_checks() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        check_estimator(Likelihood(), on_skip=None)
