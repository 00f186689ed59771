"""One model: working points, metrics, maps, overtraining, and what the note says."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from evaluate_samples import (
    WEIGHTS,
    both_features,
    evaluated,
    fraction,
    gaussians,
    hand_cuts,
    one_feature,
    sample_of,
    three_samples,
    weights,
)
from pidlab.config.names import point_name
from pidlab.config.schema import Evaluate
from pidlab.errors import DataError, UsageError
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.points.working_points import SignalSteps, passes
from pidlab.evaluate.results import json_value


@pytest.fixture(scope="module")
def result():
    return evaluated()


@pytest.mark.parametrize(
    ("target", "name"), [(0.9, "eff90"), (0.995, "eff99_5"), (0.29, "eff29"), (0.9999, "eff99_99")]
)
def test_working_points_are_named_by_their_efficiency(target, name):
    assert point_name(target) == name


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.floats(0.01, 0.999), st.booleans())
def test_the_threshold_reaches_the_target_with_no_candidate_to_spare(levels, target, heavy):
    score = np.array(levels, np.float32) / 10
    weight = np.arange(1, len(levels) + 1) / 7 if heavy else np.ones(len(levels))
    threshold = SignalSteps.of(score, weight).threshold_at(target)
    assert threshold == np.float32(threshold)
    passed = passes(score, threshold)
    assert fraction(passed, weight) >= target * (1 - 1e-9)
    assert fraction(passes(score, score[passed].min()), weight) < target


def test_no_candidate_that_decides_a_threshold_lies_near_it():
    score = np.array([0.2, 0.5, 0.7, 0.9], np.float32)
    for target, between in ((0.25, (0.7, 0.9)), (0.5, (0.5, 0.7)), (0.75, (0.2, 0.5))):
        np.testing.assert_allclose(
            SignalSteps.of(score, np.ones(4)).threshold_at(target), np.mean(between), rtol=1e-6, atol=0
        )


def test_a_score_of_zero_can_be_reached():
    threshold = SignalSteps.of(np.zeros(5, np.float32), np.ones(5)).threshold_at(0.9)
    assert -1.2e-38 < threshold < 0


def test_out_of_reach_the_loosest_threshold_is_taken_and_said():
    samples = three_samples()

    def often_blind(sample):
        scores = both_features(sample)
        scores[::10] = np.nan
        return scores

    found = evaluated(often_blind, samples)
    eff99 = found.working_points[2]
    assert 0.79 < eff99.efficiency.value < 0.91  # every tenth candidate is every fifth electron
    assert "eff99 is out of reach" in found.note
    assert "200 of 2000 test candidates have no score" in found.note
    assert evaluated(lambda s: np.full((len(s), 2), np.nan, np.float32)).working_points[0].efficiency.value == 0


def test_thresholds_come_from_validation_and_rates_from_test(result):
    samples = three_samples()
    score = {name: both_features(s)[:, 0] for name, s in samples.items()}
    for point, target in zip(result.working_points, (0.9, 0.95, 0.99), strict=True):
        rows = samples["validation"].is_signal
        assert point.threshold == SignalSteps.of(score["validation"][rows], np.ones(rows.sum())).threshold_at(target)
        passed, y = score["test"] > np.float32(point.threshold), samples["test"].y
        np.testing.assert_allclose(point.efficiency.value, passed[y == 0].mean(), rtol=1e-12)
        np.testing.assert_allclose(point.misid["pion"].value, passed[y == 1].mean(), rtol=1e-12)
        np.testing.assert_allclose(point.rejection["pion"].value, 1 / passed[y == 1].mean(), rtol=1e-12)
        np.testing.assert_allclose(point.purity.value, np.mean(y[passed] == 0), rtol=1e-12)
        assert point.efficiency.low < point.efficiency.value < point.efficiency.high
        assert point.efficiency.n == 1000
    assert set(result.working_points[0].misid) == {"pion"}


@pytest.mark.parametrize("absent", [True, False])
def test_without_validation_thresholds_come_from_train_and_the_note_says_so(absent):
    samples = three_samples()
    samples["validation"] = samples["validation"].take(np.zeros(0, np.int64))
    if absent:
        del samples["validation"]
    found = evaluated(samples=samples)
    assert "Thresholds come from the training sample" in found.note
    assert set(found.samples) == set(found.response) == {"train", "test"}
    rows = samples["train"].is_signal
    expected = SignalSteps.of(both_features(samples["train"])[rows, 0], np.ones(rows.sum())).threshold_at(0.9)
    assert found.working_points[0].threshold == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIGHTS)
def test_efficiencies_are_unbiased_whatever_the_weights(kind):
    """Closure: the same electrons, with weights, against their unit-weight truth."""
    rng, pulls = np.random.default_rng(3), []
    samples = three_samples(20_000) | {"train": gaussians(200, rng)}
    unit = evaluated(samples=samples).working_points[0]
    for _ in range(8):
        n = len(samples["test"])
        weight, background = weights(kind, n, rng)
        test = dataclasses.replace(samples["test"], weight=weight)
        # What sWeights take off are candidates of the other class, mislabelled.
        x = np.where(background[:, None], gaussians(n, rng).x[rng.permutation(n)], test.x)
        found = evaluated(samples=samples | {"test": test.with_x(x.astype(np.float32))}).working_points[0]
        for a, b in ((found.efficiency, unit.efficiency), (found.misid["pion"], unit.misid["pion"])):
            pulls.append((a.value - b.value) / (a.high - a.low) * 2)
    assert np.max(np.abs(pulls)) < 4.5
    assert abs(np.mean(pulls)) < 1


def test_abundances_decide_purity():
    found = evaluated(options=Evaluate(abundance={"pion": 100, "electron": 1})).working_points[0]
    expected = found.efficiency.value / (found.efficiency.value + 100 * found.misid["pion"].value)
    np.testing.assert_allclose(found.purity.value, expected, rtol=1e-12)
    assert found.purity.low < expected < found.purity.high


@pytest.mark.parametrize(
    ("abundance", "message"), [({"pion": 1.0}, "give a number for electron"), ({"pions": 1.0}, "did you mean 'pion'")]
)
def test_abundances_that_do_not_fit_are_refused(abundance, message):
    with pytest.raises(UsageError, match=message):
        evaluated(options=Evaluate(abundance=abundance))


def test_metrics_are_scikit_learns(result):
    test = three_samples()["test"]
    decided = np.where(both_features(test)[:, 0] > 0.5, 0, 1)
    metrics = result.samples["test"]
    np.testing.assert_allclose(metrics.accuracy.value, accuracy_score(test.y, decided), rtol=1e-12)
    np.testing.assert_allclose(metrics.balanced_accuracy.value, balanced_accuracy_score(test.y, decided), rtol=1e-12)
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(test.y, decided))
    assert metrics.threshold == 0.5
    assert metrics.accuracy.low < metrics.accuracy.value < metrics.accuracy.high


def test_negative_weights_keep_their_sign_everywhere():
    samples = three_samples(kind="negative")
    found, test = evaluated(samples=samples), samples["test"]
    np.testing.assert_allclose(found.samples["test"].confusion.sum(), test.weight.sum(), rtol=1e-12)
    filled = sum(h.sumw.sum() for h in found.response["test"].values())
    np.testing.assert_allclose(filled, test.weight.sum(), rtol=1e-12)
    assert found.working_points[0].efficiency.n == pytest.approx(
        test.weight[test.y == 0].sum() ** 2 / np.sum(test.weight[test.y == 0] ** 2)
    )


def test_an_efficiency_above_1_is_said():
    n = 400
    y, x = np.arange(n) % 2, np.random.default_rng(1).normal(size=(n, 1))
    weight = np.where((y == 0) & (np.arange(n) % 20 == 0), -1.0, 1.0)
    x[:, 0] += np.where(weight < 0, -20, 3 - 3 * y)  # the negative electrons never pass
    samples = {name: sample_of(y, x=x, weight=weight) for name in ("train", "validation", "test")}
    found = evaluated(one_feature, samples, options=Evaluate(working_points=[0.999]))
    assert found.samples["test"].auc.value > 0.5
    loose = SignalSteps.of(np.array([3, 2, 1], np.float32), np.array([1.0, 1.0, -0.5])).threshold_at(0.99)
    assert loose < 2  # the first crossing, beyond which the efficiency falls to 1 again
    tight = evaluate_model(
        "m",
        "mlp",
        {s: one_feature(v) for s, v in samples.items()},
        samples | {"test": sample_of(y, x=x, weight=np.where(weight < 0, -3.0, 1.0))},
        Evaluate(working_points=[0.999]),
    )
    assert tight.working_points[0].efficiency.value > 1
    assert "efficiency at eff99_9 is 133.3 %, outside [0, 100]" in tight.note


def test_somebodys_cuts_are_one_point():
    samples = three_samples()
    found = evaluated(hand_cuts, samples, kind="expression", fixed_cut=True, cut_string="a > 0.2 && b > -0.6")
    (point,) = found.working_points
    validation, test = samples["validation"], samples["test"]
    assert (point.name, point.threshold) == ("hand", 0.5)
    np.testing.assert_allclose(point.target, hand_cuts(validation)[validation.y == 0, 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(point.efficiency.value, hand_cuts(test)[test.y == 0, 0].mean(), rtol=1e-6)
    assert found.roc == {}
    assert np.isnan(found.samples["test"].auc.value)
    assert np.isnan(found.overtraining.delta_auc.value)
    assert found.cut_string == "a > 0.2 && b > -0.6"


def test_a_discriminant_of_any_range_is_cut_like_a_probability():
    def scaled(sample):
        logit = 1.5 * sample.x[:, 0] + 0.6 * sample.x[:, 1] - 1
        return np.stack([logit * 40, -logit * 40], axis=1).astype(np.float32)

    samples = three_samples()
    as_score, as_probability = evaluated(scaled, samples, probability=False), evaluated(samples=samples)
    for a, b in zip(as_score.working_points, as_probability.working_points, strict=True):
        np.testing.assert_allclose(a.misid["pion"], b.misid["pion"], rtol=1e-12)
    np.testing.assert_allclose(as_score.samples["test"].auc, as_probability.samples["test"].auc, rtol=1e-6)
    assert as_score.samples["test"].threshold == as_score.working_points[0].threshold
    assert "threshold of eff90" in as_score.note
    edges = as_score.response["test"]["pion"].edges
    assert edges[0] < -40
    np.testing.assert_array_equal(as_score.response["train"]["electron"].edges, edges)


def three_classes(n=1500, seed=4, blind=False):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[y]
    sample = sample_of(y, x=x, classes=("pion", "electron", "kaon"), signal=1)
    scores = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    if blind:
        scores[:, [0, 2]] = np.nan
    return sample, scores.astype(np.float32)


def test_several_classes_are_decided_by_the_largest_column():
    pairs = {name: three_classes(seed=i) for i, name in enumerate(("train", "validation", "test"))}
    found = evaluate_model(
        "m", "bdt", {s: p[1] for s, p in pairs.items()}, {s: p[0] for s, p in pairs.items()}, Evaluate()
    )
    sample, scores = pairs["test"]
    metrics = found.samples["test"]
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(sample.y, scores.argmax(axis=1)))
    expected = balanced_accuracy_score(sample.y, scores.argmax(axis=1))
    np.testing.assert_allclose(metrics.balanced_accuracy.value, expected, rtol=1e-12)
    assert set(found.roc) == {"pion", "kaon", "rest"}
    assert metrics.auc == found.roc["rest"].auc
    assert set(found.working_points[0].misid) == {"pion", "kaon"}


def test_a_discriminant_of_the_signal_only_decides_signal_or_rest():
    pairs = {name: three_classes(seed=i, blind=True) for i, name in enumerate(("train", "validation", "test"))}
    scores, samples = {s: p[1] for s, p in pairs.items()}, {s: p[0] for s, p in pairs.items()}
    metrics = evaluate_model("m", "score", scores, samples, Evaluate(), probability=False).samples["test"]
    assert metrics.classes == ("electron", "rest")
    assert metrics.confusion.shape == (2, 2)
    np.testing.assert_allclose(metrics.confusion.sum(), 1500)


def test_without_any_score_a_candidate_is_decided_nowhere_but_counts():
    pairs = {name: three_classes(seed=i) for i, name in enumerate(("train", "test"))}
    scores = {s: p[1] for s, p in pairs.items()}
    scores["test"][:300] = np.nan
    metrics = evaluate_model("m", "bdt", scores, {s: p[0] for s, p in pairs.items()}, Evaluate()).samples["test"]
    np.testing.assert_allclose(metrics.confusion.sum(), 1200)
    np.testing.assert_allclose(metrics.accuracy.value, np.trace(metrics.confusion) / 1500)


def test_candidates_of_one_event_count_as_one_event():
    alone = evaluated(samples=three_samples())
    samples = three_samples()
    copies = {s: v.take(np.repeat(np.arange(len(v)), 3)) for s, v in samples.items()}
    together = evaluated(samples=copies)
    a, b = alone.samples["test"].auc, together.samples["test"].auc
    np.testing.assert_allclose(a.value, b.value, rtol=1e-9)
    np.testing.assert_allclose(a.high - a.low, b.high - b.low, rtol=2e-3)  # n/(n - 1) differs
    a, b = (r.working_points[0].misid["pion"] for r in (alone, together))
    np.testing.assert_allclose(a.high - a.low, b.high - b.low, rtol=0.06)  # Fieller against Clopper-Pearson


def test_mistakes_of_the_caller_are_named():
    samples = three_samples(20)
    with pytest.raises(DataError, match="the test sample is empty"):
        evaluated(samples={"train": samples["train"]})
    with pytest.raises(DataError, match=r"scores of the train sample should have shape \(20, 2\), found \(20, 3\)"):
        evaluate_model("m", "mlp", {s: np.zeros((20, 3), np.float32) for s in samples}, samples, Evaluate())
    pions = {s: v.take(v.y == 1) for s, v in samples.items()}
    with pytest.raises(DataError, match="no threshold can be set"):
        evaluated(samples=pions)


def test_results_go_into_json(result):
    text = json.dumps(json_value(result), allow_nan=False)
    assert json.loads(text)["samples"]["test"]["auc"]["value"] == result.samples["test"].auc.value
    cuts = evaluated(hand_cuts, kind="expression", fixed_cut=True)
    assert json_value(cuts)["samples"]["test"]["auc"]["value"] is None


def test_scores_of_one_value_are_measured_without_a_warning():
    found = evaluated(lambda s: np.full((len(s), 2), 0.5, np.float32))
    assert found.samples["test"].auc.value == 0.5
    assert not found.working_points  # nothing can be decided by it: a threshold passes nothing or everything
    assert set(found.unset) == {"eff90", "eff95", "eff99"}
    assert (
        "the same score 0.5, the lowest of all, so that a threshold passes 0 % of the signal or everything"
        in found.note
    )


@pytest.mark.parametrize("only", [0, 1])
def test_a_test_sample_of_one_class_is_measured_as_far_as_it_goes(only):
    samples = three_samples()
    found = evaluated(samples=samples | {"test": samples["test"].take(samples["test"].y == only)})
    assert np.isnan(found.samples["test"].auc.value)
    assert found.roc == {}
    point = found.working_points[0]
    assert np.isnan((point.misid["pion"] if only == 0 else point.efficiency).value)
    assert np.isfinite((point.efficiency if only == 0 else point.misid["pion"]).value)
    json.dumps(json_value(found), allow_nan=False)
