"""Calibration: the curve is scikit-learn's, its numbers cover the truth, and the maps find what was done to a score."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve as scikit_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from evaluate_samples import both_features, evaluated, hand_cuts, probabilities, sample_of, three_samples, weights
from exported_runs import config, make_run, write_table
from pidlab.errors import ConfigError, ModelError
from pidlab.evaluate.calibration import calibration_curve, class_balanced
from pidlab.evaluate.ranking import ScoredSample, event_groups
from pidlab.evaluate.results import json_value
from pidlab.models.calibration import (
    Isotonic,
    Temperature,
    fit_calibration,
    load_calibration,
    save_calibration,
)
from pidlab.models.training import calibrated
from pidlab.runs.bundle import load_bundle


def overconfident(n, rng, temperature=1.0, share=0.5, kind="unit", per_event=1):
    """A score whose logit is `temperature` times the true one, and the sample that has it; electrons are class 0."""
    truth = rng.normal(special.logit(share), 1.5, n // per_event).repeat(per_event)
    y = (rng.random(n // per_event).repeat(per_event) > special.expit(truth)).astype(int)
    sample = sample_of(y, weight=weights(kind, n, rng)[0], event=np.arange(n) // per_event)
    return probabilities(temperature * truth)[:, 0], sample


def test_the_curve_is_scikit_learns():
    rng = np.random.default_rng(1)
    score = rng.permutation(np.linspace(0.001, 0.999, 4000)).astype(np.float32)
    sample = sample_of((rng.random(4000) > score).astype(int))
    found = calibration_curve(ScoredSample(score, sample, None), balanced=False)
    share, mean = scikit_curve(sample.is_signal, score, n_bins=20, strategy="quantile")
    # scikit-learn's edges lie between two scores and are float32: an event may fall to the other side of one.
    assert np.sum(np.isclose(found.fraction, share, rtol=1e-12, atol=0)) >= 17
    np.testing.assert_allclose(found.fraction, share, rtol=0, atol=1.01 / 200)
    np.testing.assert_allclose(found.score, mean, rtol=0.01, atol=0)
    np.testing.assert_array_equal(found.n, 200)
    assert np.all((found.low < found.fraction) & (found.fraction < found.high))


def test_brier_score_and_log_loss_are_scikit_learns():
    score, sample = overconfident(3000, np.random.default_rng(2), 1.4, kind="exponential")
    found = calibration_curve(ScoredSample(score, sample, None), balanced=False)
    p = score.astype(np.float64)
    for measured, reference in ((found.brier, brier_score_loss), (found.log_loss, log_loss)):
        expected = reference(sample.is_signal, p, sample_weight=sample.weight)
        np.testing.assert_allclose(measured.value, expected, rtol=1e-9, atol=0)


def test_a_sparse_middle_is_cut_at_tenths_and_no_bin_is_small():
    score, sample = overconfident(20_000, np.random.default_rng(3), 8.0)
    found = calibration_curve(ScoredSample(score, sample, None), balanced=False)
    assert np.sum((found.score > 0.15) & (found.score < 0.85)) >= 6
    assert found.n.min() >= 50
    assert found.n.sum() == len(sample)
    assert np.all(np.diff(found.score) > 0)


def test_a_probability_for_equal_abundances_is_held_against_equal_abundances():
    rng = np.random.default_rng(4)
    score, even = overconfident(60_000, rng)
    rare = (even.y == 1) | (rng.random(len(even)) < 0.1)
    score, sample = score[rare], even.take(rare)
    fair = calibration_curve(ScoredSample(score, sample, None), balanced=True)
    as_it_is = calibration_curve(ScoredSample(score, sample, None), balanced=False)
    assert fair.balanced
    assert fair.error.low < 0.01
    assert as_it_is.error.low > 0.2
    np.testing.assert_allclose(np.bincount(even.y, class_balanced(even)), len(even) / 2, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "per_event"), [("unit", 1), ("negative", 1), ("exponential", 3)])
def test_intervals_cover_the_truth(kind, per_event):
    """At 68.3 %, which scatter by .047 in 100 toys; the plain error is wider on purpose."""
    rng = np.random.default_rng(5)
    score, sample = overconfident(600_000, rng, 2.0)
    truth = calibration_curve(ScoredSample(score, sample, None), balanced=True)
    within = {name: [] for name in ("error", "rms_error", "brier", "log_loss")}
    for _ in range(100):
        score, sample = overconfident(1200, rng, 2.0, kind=kind, per_event=per_event)
        found = calibration_curve(ScoredSample(score, sample, event_groups(sample)), balanced=True)
        for name, hits in within.items():
            measured = getattr(found, name)
            hits.append(measured.low <= getattr(truth, name).value <= measured.high)
    covered = {name: float(np.mean(hits)) for name, hits in within.items()}
    assert covered["error"] > 0.7
    assert all(0.57 < covered[name] < 0.8 for name in ("rms_error", "brier", "log_loss")), covered


def test_a_perfect_score_has_no_error_but_what_chance_adds():
    rng, roots, plain_errors = np.random.default_rng(6), [], []
    for _ in range(60):
        found = calibration_curve(ScoredSample(*overconfident(2000, rng), None), balanced=False)
        roots.append(found.rms_error.low)
        plain_errors.append(found.error)
    assert np.mean(np.array(roots) == 0) > 0.7
    assert np.mean([e.value for e in plain_errors]) > 0.015
    assert np.mean([e.low == 0 for e in plain_errors]) > 0.7


def test_copies_of_an_event_count_as_one():
    score, sample = overconfident(1500, np.random.default_rng(7), 1.5)
    thrice = np.repeat(np.arange(len(sample)), 3)
    alone = calibration_curve(ScoredSample(score, sample, None), balanced=True)
    copies = sample.take(thrice)
    together = calibration_curve(ScoredSample(score[thrice], copies, event_groups(copies)), balanced=True)
    np.testing.assert_allclose(together.brier[:3], alone.brier[:3], rtol=1e-9)
    np.testing.assert_allclose(together.log_loss[:3], alone.log_loss[:3], rtol=1e-9)


def test_what_cannot_be_measured_goes_through():
    score, sample = overconfident(200, np.random.default_rng(8))
    assert calibration_curve(ScoredSample(score, sample_of(np.zeros(200)), None), balanced=True) is None
    assert calibration_curve(ScoredSample(np.full(200, np.nan, np.float32), sample, None), balanced=True) is None
    nothing = dataclasses.replace(sample, weight=np.zeros(200))
    assert calibration_curve(ScoredSample(score, nothing, None), balanced=True) is None
    same = calibration_curve(ScoredSample(np.full(200, 0.5, np.float32), sample, None), balanced=True)
    assert len(same.score) == 1
    assert same.fraction[0] == pytest.approx(0.5)
    two = calibration_curve(ScoredSample(score[:2], sample_of([0, 1]), None), balanced=True)
    assert len(two.score) == 1
    some = calibration_curve(ScoredSample(np.where(np.arange(200) < 20, np.nan, score), sample, None), balanced=False)
    assert some.n.sum() == 180
    cancelling = dataclasses.replace(sample, weight=np.where(score > 0.5, np.where(np.arange(200) % 2, -0.4, 0.5), 1.0))
    found = calibration_curve(ScoredSample(score, cancelling, None), balanced=False)
    json.dumps(json_value(found), allow_nan=False)


def test_only_what_gives_probabilities_is_held_to_them():
    assert evaluated(kind="mlp", calibration="isotonic", balanced=False).calibration.method == "isotonic"
    assert not evaluated(kind="mlp", balanced=False).calibration.balanced
    assert evaluated(kind="score", ranks_only=True).calibration is None
    assert evaluated(kind="cuts", ranks_only=True).calibration is None
    cuts = evaluated(hand_cuts, three_samples(), kind="expression", fixed_cut=True)
    assert cuts.calibration is None


def softmax(margins):
    return special.softmax(np.asarray(margins, np.float64), axis=1)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_finds_what_was_done_to_the_margins(k, temperature):
    rng = np.random.default_rng(9)
    margins = 1.5 * rng.normal(size=(40_000, k))
    truth = softmax(margins)
    y = (truth.cumsum(axis=1) < rng.random(len(truth))[:, None]).sum(axis=1)
    told = softmax(temperature * margins).astype(np.float32)
    found = fit_calibration("temperature", told, y, np.ones(len(y)), 0)
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    np.testing.assert_allclose(Temperature(temperature).apply(told), truth, rtol=2e-4)
    np.testing.assert_array_equal(found.apply(told).argmax(axis=1), told.argmax(axis=1))
    np.testing.assert_allclose(found.apply(told).sum(axis=1), 1, rtol=1e-6)


def test_the_temperature_is_where_the_weighted_loss_is_smallest():
    rng = np.random.default_rng(10)
    told, y = softmax(rng.normal(size=(500, 3))).astype(np.float32), rng.integers(0, 3, 500)
    told[:, 0] += 0.3 * (y == 0)
    told /= told.sum(axis=1, keepdims=True)
    weight = rng.exponential(size=500)
    found = fit_calibration("temperature", told, y, weight, 0).temperature

    def loss(t):
        p = Temperature(t).apply(told).astype(np.float64)
        return log_loss(y, p / p.sum(axis=1, keepdims=True), sample_weight=weight)

    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


def test_a_perfect_or_a_useless_score_has_a_temperature_too():
    y = np.arange(100) % 2
    sure = probabilities(np.where(y == 0, 5.0, -5.0))
    assert fit_calibration("temperature", sure, y, np.ones(100), 0).temperature == 0.05
    assert fit_calibration("temperature", sure[:, ::-1], y, np.ones(100), 0).temperature == 20


def test_temperature_keeps_the_order_of_two_classes_where_float32_can():
    scores = probabilities(np.linspace(-40, 12, 5000))
    hotter = Temperature(2.0).apply(scores)
    assert np.all(np.diff(hotter[:, 0]) >= 0)
    assert len(np.unique(hotter[:, 0])) >= 0.99 * len(np.unique(scores[:, 0]))
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(Temperature(1.5).apply(certain).round(6), certain)


def test_isotonic_is_scikit_learns():
    rng = np.random.default_rng(11)
    score, sample = overconfident(3000, rng, 2.0, kind="exponential")
    told = np.stack([score, 1 - score], axis=1)
    found = fit_calibration("isotonic", told, sample.y, sample.weight, 0)
    reference = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    reference.fit(score.astype(np.float64), sample.is_signal, sample.weight)
    other = probabilities(rng.normal(0, 6, 1000))
    mapped = found.apply(other)
    np.testing.assert_allclose(mapped[:, 0], reference.predict(other[:, 0].astype(np.float64)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(mapped.sum(axis=1), 1, rtol=1e-6)
    assert calibration_curve(ScoredSample(found.apply(told)[:, 0], sample, None), balanced=False).rms_error.value < 0.02


def test_isotonic_of_several_classes_is_one_map_a_class_scaled_to_one():
    rng = np.random.default_rng(12)
    told = softmax(2 * rng.normal(size=(2000, 3))).astype(np.float32)
    y = (told.cumsum(axis=1) < rng.random(2000)[:, None]).sum(axis=1)
    found = fit_calibration("isotonic", told, y, np.ones(2000), 1)
    assert found.columns == (0, 1, 2)
    raw = np.stack([np.interp(told[:, c], x, v) for c, x, v in zip(range(3), found.x, found.y, strict=True)], axis=1)
    np.testing.assert_allclose(found.apply(told), raw / raw.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-9)
    nowhere = Isotonic((0, 1), (np.array([0.0, 1.0]),) * 2, (np.zeros(2),) * 2)
    np.testing.assert_array_equal(nowhere.apply(told[:5, :2]), 0.5)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_calibration_comes_back_from_its_file(method, tmp_path):
    score, sample = overconfident(500, np.random.default_rng(13), 2.0)
    told = np.stack([score, 1 - score], axis=1)
    found = fit_calibration(method, told, sample.y, sample.weight, 1)
    save_calibration(tmp_path, found)
    told[3] = np.nan
    back = load_calibration(tmp_path)
    assert back.method == method
    np.testing.assert_array_equal(back.apply(told), found.apply(told))
    assert np.isnan(back.apply(told)[3]).all()
    assert not np.isnan(np.delete(back.apply(told), 3, axis=0)).any()
    assert len(back.apply(told[:0])) == 0
    assert load_calibration(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 2, "method": "temperature", "temperature": 1}',
        '{"schema": 1, "method": "temperature", "temperature": -1}',
        '{"schema": 1, "method": "isotonic", "columns": []}',
        '{"schema": 1, "method": "isotonic", "columns": [{"column": 0, "x": [0, 1], "y": [0]}]}',
        '{"schema": 1}',
    ],
)
def test_a_damaged_calibration_is_refused(text, tmp_path):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ModelError, match=r"calibration\.json: "):
        load_calibration(tmp_path)


def test_one_class_is_not_enough():
    with pytest.raises(ModelError, match=r"not two classes are left; give split\.validation more"):
        fit_calibration("temperature", probabilities(np.zeros(5)), np.zeros(5, int), np.ones(5), 0)


MODELS = {
    "fisher": {"type": "fisher"},
    "bdt": {"type": "bdt", "n_estimators": 20, "max_depth": 3},
    "given": {"type": "score", "expression": "a"},
    "cuts": {"type": "cuts", "search": "monte-carlo"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs with and without calibration, and a calibrated one in folds of three classes."""
    folder = tmp_path_factory.mktemp("calibrated")
    write_table(folder)
    quick = {"robustness": None, "importance": False}
    made = {}
    for name, classes, sections in (
        ("json_value", 2, {"evaluate": quick}),
        ("temperature", 2, {"evaluate": {**quick, "calibration": "temperature"}}),
        ("isotonic", 3, {"evaluate": {**quick, "calibration": "isotonic"}, "folds": 2}),
    ):
        make_run(folder, config(classes, MODELS if classes == 2 else {"bdt": MODELS["bdt"]}, **sections), name)
        made[name] = folder / name
    return made


def results_of(folder):
    from pidlab.evaluate.results import read_results

    return read_results(folder / "results.json").models


@pytest.mark.slow
def test_a_run_applies_its_calibration_everywhere(runs):
    before, after = results_of(runs["json_value"]), results_of(runs["temperature"])
    for name in ("fisher", "bdt"):
        held = load_bundle(runs["temperature"]).models[name].calibration
        assert held.temperature == load_calibration(runs["temperature"] / "models" / name).temperature
        assert after[name].calibration.method == "temperature"
        np.testing.assert_allclose(after[name].samples["test"].auc.value, before[name].samples["test"].auc.value, 1e-6)
        for a, b in zip(after[name].working_points, before[name].working_points, strict=True):
            assert a.threshold != b.threshold
            np.testing.assert_allclose(a.misid["kaon" if "kaon" in a.misid else "pion"].value,
                                       b.misid["kaon" if "kaon" in b.misid else "pion"].value, rtol=1e-9)  # fmt: skip
    assert after["fisher"].calibration.log_loss.value < before["fisher"].calibration.log_loss.value + 1e-3
    for name in ("given", "cuts"):
        assert not (runs["temperature"] / "models" / name / "calibration.json").exists()
        assert after[name].calibration is None


@pytest.mark.slow
def test_with_folds_each_models_score_is_mapped_before_the_mean(runs):
    contender = load_bundle(runs["isotonic"]).models["bdt"]
    x = np.random.default_rng(1).normal(1, 2, (50, 4)).astype(np.float32)
    expected = np.mean([contender.calibration.apply(f.scores(x)) for f in contender.fitted], axis=0)
    np.testing.assert_allclose(contender.scores_of(x, {}), expected, rtol=1e-6)


def test_a_map_from_validation_brings_the_error_down_to_what_fitting_it_costs():
    """Mean of many samples: an isotonic map from n events errs by about the cube root of 1 / n, not by none."""
    rng, before, after = np.random.default_rng(15), [], []
    for _ in range(40):
        score, validation = overconfident(600, rng, 2.5)
        found = fit_calibration("isotonic", np.stack([score, 1 - score], axis=1), validation.y, np.ones(600), 0)
        score, test = overconfident(4000, rng, 2.5)
        mapped = found.apply(np.stack([score, 1 - score], axis=1))[:, 0]
        for told, errors in ((score, before), (mapped, after)):
            errors.append(calibration_curve(ScoredSample(told, test, None), balanced=False).rms_error.value)
    assert np.mean(before) > 0.1
    assert np.mean(after) < 0.05


@pytest.mark.slow
def test_a_class_without_weight_to_calibrate_on_is_named(runs):
    contender = load_bundle(runs["json_value"]).models["bdt"]
    loaded = contender.recipe.loaded
    asked = loaded.config.model_copy(
        update={"evaluate": loaded.config.evaluate.model_copy(update={"calibration": "isotonic"})}
    )
    recipe = dataclasses.replace(contender.recipe, loaded=dataclasses.replace(loaded, config=asked))
    electrons = three_samples(20)["test"].take(np.arange(0, 20, 2))
    lacking = dataclasses.replace(electrons, x=np.zeros((10, 4), np.float32), classes=contender.recipe.classes)
    with pytest.raises(ModelError, match=r"models\.bdt: the class .* has no positive weight"):
        calibrated(dataclasses.replace(contender, recipe=recipe), lacking)
    assert calibrated(contender, three_samples(20)["test"]) is contender


def test_calibration_needs_validation(tmp_path):
    write_table(tmp_path)
    sections = {"split": {"validation": 0.0}, "evaluate": {"calibration": "isotonic"}}
    with pytest.raises(ConfigError, match=r"evaluate\.calibration: is fitted on validation"):
        make_run(tmp_path, config(2, MODELS, **sections))


def test_the_likelihood_ratio_is_calibrated_through_a_whole_evaluation():
    def ratio(sample):
        return probabilities(sample.x @ np.array([1.5, 0.9]) - (1.5**2 + 0.9**2) / 2)

    found = evaluated(ratio, three_samples(20_000)).calibration
    assert found.rms_error.low < 0.005
    assert evaluated(both_features, three_samples(20_000)).calibration.rms_error.low > 0.03
