"""A worse detector: changes are what they say, thresholds stay, nothing changed means exactly nothing changed."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.stats import norm

from evaluate_samples import both_features, gaussians, hand_cuts, one_feature, sample_of
from pidlab.config.schema import Evaluate, Robustness
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.ranking import auc
from pidlab.evaluate.robustness import changed, measure_robustness

SPREAD = np.array([1.0, 1.0])


def measured(model=both_features, n=4000, options=None, seed=1, fixed_cut=False, test=None):
    rng = np.random.default_rng(2)
    samples = {name: gaussians(1000, rng) for name in ("train", "validation")} | {"test": test or gaussians(n, rng)}
    scores = {name: model(s) for name, s in samples.items()}
    result = evaluate_model("m", "mlp", scores, samples, Evaluate(), fixed_cut=fixed_cut)
    options = options or Robustness(smear=[0.1, 0.5, 1], scale=[0.5, 1.5], shift=[-0.5, 0.5])
    return measure_robustness(model, samples["test"], result, SPREAD, options, seed=seed), result, samples["test"]


def at(robustness, change, feature, size=None):
    return next(p for p in robustness.points if (p.change, p.feature) == (change, feature) and size in (None, p.size))


def test_every_change_of_every_feature_is_measured():
    found, _, _ = measured()
    kinds = [(p.change, p.feature) for p in found.points]
    assert len(kinds) == 3 * (3 + 2 + 2) + 2
    assert {f for c, f in kinds if c == "smear"} == {"f0", "f1", "all"}
    assert {f for c, f in kinds if c == "drop"} == {"f0", "f1"}
    assert set(found.breaks_at) == {f"{c} {f}" for c, f in kinds}


def test_no_change_reproduces_the_nominal_numbers_exactly():
    smallest = float(np.finfo(np.float64).tiny)
    found, result, _ = measured(options=Robustness(smear=[smallest], scale=[1.0], shift=[0.0], drop=False))
    point = result.working_points[0]
    for p in (*found.points, found.nominal):
        assert p.auc == result.samples["test"].auc
        assert p.efficiency == point.efficiency
        assert p.misid == point.misid
    assert all(size is None for size in found.breaks_at.values())


def test_a_change_is_what_it_says():
    x = np.random.default_rng(3).normal(size=(1000, 2)).astype(np.float32)
    x[::7, 0] = np.nan
    noise, spread = np.random.default_rng(4).normal(size=(1000, 2)), np.array([2.0, np.nan])
    had = ~np.isnan(x[:, 0])
    moved = changed(x, "shift", (0,), 0.5, spread, noise)
    np.testing.assert_allclose(moved[had, 0] - x[had, 0], 1.0, rtol=1e-5)
    np.testing.assert_array_equal(moved[:, 1], x[:, 1])
    smeared = changed(x, "smear", (0, 1), 0.5, spread, noise)
    np.testing.assert_allclose(smeared[had, 0] - x[had, 0], noise[had, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(smeared[:, 1], x[:, 1])  # without a spread there is no smearing
    np.testing.assert_array_equal(np.isnan(smeared[:, 0]), ~had)
    np.testing.assert_allclose(changed(x, "scale", (1,), 1.5, spread, noise)[:, 1], 1.5 * x[:, 1], rtol=1e-6)
    assert np.isnan(changed(x, "drop", (1,), 1.0, spread, noise)[:, 1]).all()


def test_thresholds_stay_where_they_were():
    found, result, test = measured(one_feature)
    shifted = at(found, "shift", "f0", 0.5)
    threshold = np.float32(result.working_points[0].threshold)
    passes = one_feature(test.with_x(test.x + np.array([0.5, 0], np.float32)))[:, 0] > threshold
    np.testing.assert_allclose(shifted.efficiency.value, passes[test.y == 0].mean(), rtol=1e-12)
    np.testing.assert_allclose(shifted.misid["pion"].value, passes[test.y == 1].mean(), rtol=1e-12)
    np.testing.assert_allclose(shifted.auc.value, found.nominal.auc.value, rtol=1e-6)  # the order is the same
    assert shifted.efficiency.value > result.working_points[0].efficiency.value


def test_the_auc_of_a_smeared_feature_is_what_theory_says():
    found, _, _ = measured(one_feature, n=20_000)
    expected = norm.cdf(1.5 / np.sqrt(2 + 2 * 0.25))
    area = at(found, "smear", "f0", 0.5).auc
    assert abs(area.value - expected) < 4 * (area.high - area.low) / 2
    assert at(found, "smear", "f1", 1.0).auc == found.nominal.auc  # the model does not look at it


def test_where_it_breaks_is_interpolated():
    found, _, _ = measured(one_feature, n=20_000, options=Robustness(smear=[0.1, 0.2, 0.3, 0.5], scale=[], shift=[]))
    nominal = found.nominal.auc.value
    loss = [(nominal - at(found, "smear", "f0", s).auc.value) / (nominal - 0.5) for s in (0.1, 0.2, 0.3, 0.5)]
    assert loss[0] < 0.01 < loss[3]
    expected = np.interp(0.01, loss, [0.1, 0.2, 0.3, 0.5])
    np.testing.assert_allclose(found.breaks_at["smear f0"], expected, rtol=1e-9)
    assert found.breaks_at["smear f1"] is None
    assert found.breaks_at["drop f0"] == 1.0
    assert found.breaks_at["drop f1"] is None


def test_the_direction_that_breaks_first_counts():
    def narrow(sample):
        inside = np.abs(sample.x[:, 0] - 1.4) < 1
        return np.stack([0.5 + 0.4 * inside, 0.5 - 0.4 * inside], axis=1).astype(np.float32)

    found, _, _ = measured(
        narrow, n=20_000, options=Robustness(smear=[], scale=[], shift=[-1.0, -0.2, 0.2, 1.0], drop=False)
    )
    assert 0 < abs(found.breaks_at["shift f0"]) < 1


def test_noise_is_the_same_for_every_model_and_differs_by_seed_and_feature():
    seen = []

    def spy(sample):
        seen.append(sample.x)
        return both_features(sample)

    options = Robustness(smear=[0.5, 1.0], scale=[], shift=[], drop=False)
    by_seed = []
    for seed in (1, 1, 2):
        seen.clear()
        _, _, test = measured(spy, options=options, seed=seed)
        f0, f0_twice, f1, _, both, _ = (x - test.x for x in seen[-6:])
        np.testing.assert_allclose(f0_twice, 2 * f0, atol=1e-5)
        np.testing.assert_allclose(both, f0 + f1, atol=1e-5)
        assert abs(np.corrcoef(f0[:, 0], f1[:, 1])[0, 1]) < 0.1
        by_seed.append(f0)
    np.testing.assert_array_equal(by_seed[0], by_seed[1])
    assert np.abs(by_seed[2] - by_seed[0]).max() > 0.1


def test_large_samples_are_reduced_by_whole_events():
    test = gaussians(60_000, np.random.default_rng(5), per_event=3)
    found, result, _ = measured(test=test, options=Robustness(smear=[0.1], scale=[], shift=[], drop=False))
    n = found.nominal.auc.n
    assert abs(n - 10_000) < 500  # of each class
    sizes = []

    def spy(sample):
        sizes.append(np.unique(np.unique(sample.event, return_counts=True)[1]))
        return both_features(sample)

    measure_robustness(spy, test, result, SPREAD, Robustness(smear=[0.1], scale=[], shift=[], drop=False), seed=1)
    assert all(s.tolist() == [6] for s in sizes)


def test_somebodys_cuts_have_efficiencies_but_no_area():
    found, result, _ = measured(hand_cuts, fixed_cut=True)
    assert found.nominal.efficiency == result.working_points[0].efficiency
    assert np.isnan(at(found, "smear", "f0").auc.value)
    assert at(found, "drop", "f0").efficiency.value == 0  # a missing value passes no cut
    assert set(found.breaks_at.values()) == {None}


def test_a_score_of_nan_never_passes():
    def blind(sample):
        scores = one_feature(sample)
        scores[np.isnan(sample.x).any(axis=1)] = np.nan
        return scores

    found, _, _ = measured(blind)
    dropped = at(found, "drop", "f1")
    assert dropped.efficiency.value == dropped.misid["pion"].value == 0
    assert dropped.auc.value == 0.5
    assert found.breaks_at["drop f1"] == 1.0


def test_several_classes_each_have_a_misidentification():
    rng = np.random.default_rng(6)
    y = rng.integers(0, 3, 600)
    sample = sample_of(y, x=rng.normal(size=(600, 3)) + 2 * np.eye(3)[y], classes=("e", "pi", "K"))

    def softmax(s):
        odds = np.exp(np.nan_to_num(s.x))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    samples = {"train": sample, "test": sample}
    result = evaluate_model("m", "bdt", {n: softmax(sample) for n in samples}, samples, Evaluate())
    found = measure_robustness(softmax, sample, result, np.ones(3), Robustness(), seed=1)
    assert set(found.nominal.misid) == {"pi", "K"}
    assert found.nominal.auc == auc(softmax(sample)[:, 0], y == 0, np.ones(600))


def test_weights_of_any_sign_are_kept():
    test = gaussians(3000, np.random.default_rng(7), kind="negative")
    found, result, _ = measured(test=dataclasses.replace(test))
    assert found.nominal.misid == result.working_points[0].misid
