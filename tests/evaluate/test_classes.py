"""More than two classes: pairs, each class as the signal in turn, and the matrix of decided against true class."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, roc_auc_score

from evaluate_samples import evaluated, hand_cuts, sample_of, three_samples, weights
from pidlab.config.schema import Evaluate
from pidlab.evaluate.curves import pair_curves, pair_score
from pidlab.evaluate.intervals import LEVEL
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.points.working_points import SignalSteps
from pidlab.evaluate.ranking import ScoredSample
from pidlab.evaluate.results import json_value
from pidlab.evaluate.results.stored import _decoded

CLASSES = ("pion", "electron", "kaon", "proton")


def four(n=2400, seed=1, kind="unit"):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    x = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[y]
    sample = sample_of(y, x=x, classes=CLASSES, signal=1, weight=weights(kind, n, rng)[0])
    return sample, (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)).astype(np.float32)


def result_of(pairs, kind="bdt", **options):
    scores, samples = {s: p[1] for s, p in pairs.items()}, {s: p[0] for s, p in pairs.items()}
    return evaluate_model("m", kind, scores, samples, Evaluate(**options))


def pairs_of(kind="unit"):
    return {name: four(seed=i, kind=kind) for i, name in enumerate(("train", "validation", "test"))}


@pytest.fixture(scope="module")
def result():
    return result_of(pairs_of())


def test_each_pair_is_separated_by_its_share_of_the_two_scores(result):
    sample, scores = pairs_of()["test"]
    assert {one: list(others) for one, others in result.roc_pairs.items()} == {
        "electron": ["pion", "kaon", "proton"], "pion": ["kaon", "proton"], "kaon": ["proton"],
    }  # fmt: skip
    for one, others in result.roc_pairs.items():
        for other, curve in others.items():
            i, j = CLASSES.index(one), CLASSES.index(other)
            rows = (sample.y == i) | (sample.y == j)
            share = (scores[rows, i] / (scores[rows, i] + scores[rows, j])).astype(np.float64)
            expected = roc_auc_score(sample.y[rows] == i, share)
            np.testing.assert_allclose(curve.auc.value, expected, rtol=1e-5)
            assert curve.auc.low < curve.auc.value < curve.auc.high
            assert curve.against == other
            threshold = curve.threshold[len(curve.threshold) // 2]
            passing = pair_score(scores, i, j) > np.float32(threshold)
            at = len(curve.threshold) // 2
            np.testing.assert_allclose(curve.efficiency[at], passing[sample.y == i].mean(), rtol=1e-9)
            np.testing.assert_allclose(curve.misid[at], passing[sample.y == j].mean(), rtol=1e-9)


def test_the_share_of_nothing_is_no_score():
    scores = np.array([[0.0, 0.0, 1.0], [0.2, 0.6, 0.2], [np.nan, 0.5, 0.5]], np.float32)
    np.testing.assert_allclose(pair_score(scores, 0, 1), [np.nan, 0.25, np.nan], rtol=1e-6)


def test_each_class_is_the_signal_in_turn(result):
    (aside, aside_scores), (sample, scores) = pairs_of()["validation"], pairs_of()["test"]
    assert list(result.class_points) == list(CLASSES)
    assert result.class_points["electron"] == result.working_points
    for c, name in enumerate(CLASSES):
        for point, target in zip(result.class_points[name], (0.9, 0.95, 0.99), strict=True):
            rows = aside.y == c
            assert point.threshold == SignalSteps.of(aside_scores[rows, c], np.ones(rows.sum())).threshold_at(target)
            passing = scores[:, c] > np.float32(point.threshold)
            np.testing.assert_allclose(point.efficiency.value, passing[sample.y == c].mean(), rtol=1e-9)
            assert set(point.misid) == set(CLASSES) - {name}
            for other, misid in point.misid.items():
                expected = passing[sample.y == CLASSES.index(other)].mean()
                np.testing.assert_allclose(misid.value, expected, rtol=1e-9)
                assert misid.low < misid.value < misid.high
            np.testing.assert_allclose(point.purity.value, np.mean(sample.y[passing] == c), rtol=1e-9)


def test_abundances_hold_for_the_points_of_every_class():
    abundance = {"pion": 10, "electron": 1, "kaon": 2, "proton": 1}
    point = result_of(pairs_of(), abundance=abundance).class_points["kaon"][0]
    background = sum(abundance[c] * m.value for c, m in point.misid.items())
    kaons = 2 * point.efficiency.value
    np.testing.assert_allclose(point.purity.value, kaons / (kaons + background), rtol=1e-9)


def test_the_matrix_is_the_confusion_matrix_by_rows_with_clopper_pearson(result):
    sample, scores = pairs_of()["test"]
    counts = confusion_matrix(sample.y, scores.argmax(axis=1))
    matrix = result.matrix
    assert matrix.classes == CLASSES
    np.testing.assert_allclose(matrix.rate, counts / counts.sum(axis=1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(matrix.n, counts.sum(axis=1))
    for i, j in ((0, 0), (1, 3), (3, 2)):
        exact = stats.binomtest(int(counts[i, j]), int(counts[i].sum())).proportion_ci(LEVEL, method="exact")
        np.testing.assert_allclose((matrix.low[i, j], matrix.high[i, j]), exact, rtol=1e-6)


def test_two_classes_are_decided_at_the_threshold():
    samples = three_samples()
    found, cuts = evaluated(samples=samples), evaluated(hand_cuts, samples, kind="expression", fixed_cut=True)
    for one in (found, cuts):
        confusion = one.samples["test"].confusion
        np.testing.assert_allclose(one.matrix.rate, confusion / confusion.sum(axis=1, keepdims=True), rtol=1e-12)
        assert one.roc_pairs == {}
        assert one.class_points == {}


def test_weights_of_both_signs_keep_their_sign():
    sample, scores = pairs_of("negative")["test"]
    found = result_of(pairs_of("negative"))
    decided = scores.argmax(axis=1)
    w, kaon = sample.weight, sample.y == 2
    np.testing.assert_allclose(found.matrix.rate[2, 0], w[kaon & (decided == 0)].sum() / w[kaon].sum(), rtol=1e-9)
    passing = scores[:, 2] > np.float32(found.class_points["kaon"][0].threshold)
    expected = w[kaon & passing].sum() / w[kaon].sum()
    np.testing.assert_allclose(found.class_points["kaon"][0].efficiency.value, expected, rtol=1e-9)
    json.dumps(json_value(found), allow_nan=False)


def test_what_has_no_score_is_decided_nowhere():
    pairs = pairs_of()
    pairs["test"][1][:600] = np.nan
    found = result_of(pairs)
    lost = np.bincount(pairs["test"][0].y[:600], minlength=4) / np.bincount(pairs["test"][0].y)
    np.testing.assert_allclose(found.matrix.rate.sum(axis=1), 1 - lost, rtol=1e-9)
    assert found.roc_pairs["kaon"]["proton"].efficiency[-1] < 1


def test_a_score_of_the_signal_alone_has_no_pairs():
    pairs = pairs_of()
    for _, scores in pairs.values():
        scores[:, [0, 2, 3]] = np.nan
    found = result_of(pairs, "score")
    assert found.roc_pairs == {}
    assert found.class_points == {}
    assert found.matrix.classes == ("electron", "rest")
    assert found.matrix.rate.shape == (2, 2)


def test_a_class_that_is_absent_is_left_out_or_undefined():
    pairs = pairs_of()
    for part in ("validation", "test"):
        sample, scores = pairs[part]
        kept = sample.y != 3
        pairs[part] = (sample.take(kept), scores[kept])
    found = result_of(pairs)
    assert set(found.class_points) == set(CLASSES) - {"proton"}
    assert "proton" not in found.roc_pairs["electron"]
    assert np.isnan(found.matrix.rate[3]).all()
    assert np.isnan(found.class_points["kaon"][0].misid["proton"].value)
    no_weight = dataclasses.replace(pairs["test"][0], weight=np.zeros(len(pairs["test"][0])))
    assert pair_curves(pairs["test"][1], ScoredSample.of(pairs["test"][1], no_weight)) == {}
    assert found.scan is None


def test_results_come_back_from_their_file(result):
    back = _decoded(json.loads(json.dumps(json_value(result, exact=True), allow_nan=False)), type(result))
    assert json_value(back) == json_value(result)
    np.testing.assert_array_equal(back.matrix.low, result.matrix.low)
    assert back.calibration.rms_error == result.calibration.rms_error
