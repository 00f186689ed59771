"""Evaluation of samples larger than a block: the same numbers from little memory, and nothing of the sample changed."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from evaluate_samples import both_features, gaussians, hand_cuts, one_feature, sample_of
from pidlab.config.schema import Evaluate, Map
from pidlab.evaluate.compare import compare_models, find_differences
from pidlab.evaluate.histograms import correlations, input_histograms
from pidlab.evaluate.intervals import BLOCK, cumulate, inner, proportion, proportions, sums_by
from pidlab.evaluate.metrics import sample_metrics
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.pairs import feature_pairs
from pidlab.evaluate.ranking import (
    ScoredSample,
    auc,
    auc_influence,
    cumulative_by_score,
    difference,
    event_groups,
    numbers_of,
    steps_of,
    variance,
)

N = 2 * BLOCK + 12_345


def test_sums_do_not_depend_on_blocks():
    rng = np.random.default_rng(1)
    weight, few, many = rng.normal(size=N), rng.integers(0, 40, N).astype(np.int8), rng.integers(0, N // 2, N)
    np.testing.assert_allclose(sums_by(few, weight, 50), np.bincount(few, weight, 50), rtol=1e-11)
    np.testing.assert_array_equal(sums_by(many, weight), np.bincount(many, weight))
    np.testing.assert_allclose(inner(weight, weight), math.fsum(weight * weight), rtol=1e-14)
    chosen = rng.random(N) < 0.3
    found = proportions(few, chosen, np.abs(weight), 41)
    for c in (0, 17, 39):
        expected = proportion(chosen[few == c], np.abs(weight)[few == c])
        np.testing.assert_allclose([part[c] for part in found], expected, rtol=1e-11)
    assert np.isnan(found.value[40])


def test_cumulated_sums_of_many_equal_weights_lose_no_digits():
    """One by one, three million weights of .1 sum to 300,000.00000567."""
    n = 3_000_000
    summed = cumulate(np.full(n, 0.1))
    np.testing.assert_allclose(summed[[0, 511, 512, n - 1]], 0.1 * np.array([1, 512, 513, n]), rtol=1e-13)
    assert np.all(np.diff(summed) > 0)
    assert abs(np.cumsum(np.full(n, 0.1))[-1] / 300_000 - 1) > 1e-12


@pytest.mark.parametrize("digits", [2, 6])
def test_the_auc_of_many_candidates_is_that_of_mann_and_whitney(digits):
    """With ties between thousands of candidates, or between a few."""
    rng = np.random.default_rng(2)
    is_signal = rng.random(N) < 0.4
    score = np.round(rng.normal(size=N) + is_signal, digits).astype(np.float32)
    ranked = stats.mannwhitneyu(*(score[rows].astype(np.float64) for rows in (is_signal, ~is_signal))).statistic
    found = auc(score, is_signal, np.full(N, 0.3))
    np.testing.assert_allclose(found.value, ranked / (is_signal.sum() * (~is_signal).sum()), rtol=1e-12)
    steps = cumulative_by_score(score, is_signal)
    values, counts = np.unique(score[is_signal], return_counts=True)
    place = np.searchsorted(-steps.values, -values[::-1])
    np.testing.assert_array_equal(steps.sums[0][place], np.cumsum(counts[::-1]))


def test_events_are_numbered_in_the_order_of_their_hashes():
    event = np.random.default_rng(3).integers(0, 2**63, N // 2).astype(np.uint64)[np.arange(N) % (N // 2)]
    np.testing.assert_array_equal(numbers_of(event), np.unique(event, return_inverse=True)[1])
    assert event_groups(sample_of(np.zeros(N, int), event=np.arange(N))) is None
    np.testing.assert_array_equal(event_groups(sample_of(np.zeros(N, int), event=event)), numbers_of(event))


def _evaluated(n, rng, *, kind="unit", options=None):
    parts = {"train": n // 2, "validation": n // 4, "test": n}
    samples = {part: gaussians(m, rng, kind=kind) for part, m in parts.items()}
    return samples, *_results(samples, options or Evaluate())


def _results(samples, options):
    models = {"one": one_feature, "both": both_features, "cuts": hand_cuts}
    scores = {name: {part: model(s) for part, s in samples.items()} for name, model in models.items()}
    for name, by_part in scores.items():  # a few scores that several candidates share
        if name != "cuts":
            by_part.update({part: np.round(found, 4) for part, found in by_part.items()})
    return scores, {
        name: evaluate_model(name, "mlp", by_part, samples, options, fixed_cut=name == "cuts")
        for name, by_part in scores.items()
    }


def _compared(samples, scores, results):
    on_test, on_validation = ({name: each[part] for name, each in scores.items()} for part in ("test", "validation"))
    return compare_models(on_test, samples["test"], on_validation, samples["validation"], results)


@pytest.mark.slow
def test_equal_weights_of_any_size_give_the_numbers_of_unit_weights():
    """Sums of .37 are rounded, sums of 1 are not."""
    options = Evaluate(abundance={"electron": 1, "pion": 20})
    samples, scores, unit = _evaluated(BLOCK + 2000, np.random.default_rng(4), options=options)
    scaled = {part: dataclasses.replace(s, weight=np.full(len(s), 0.37)) for part, s in samples.items()}
    _, other = _results(scaled, options)
    for name, model in unit.items():
        ours, others = (m.samples["test"] for m in (model, other[name]))
        np.testing.assert_allclose(ours.accuracy, others.accuracy, rtol=1e-9)
        np.testing.assert_allclose(ours.separation, others.separation, rtol=1e-9)
        for own, theirs in zip(model.working_points, other[name].working_points, strict=True):
            assert own.threshold == theirs.threshold
            np.testing.assert_allclose(own.misid["pion"], theirs.misid["pion"], rtol=1e-11)
        for against, curve in model.roc.items():
            np.testing.assert_allclose(curve.auc, other[name].roc[against].auc, rtol=1e-9)
    for own, theirs in zip(_compared(samples, scores, unit), _compared(scaled, scores, other), strict=True):
        for one, two in zip(own.working_points, theirs.working_points, strict=True):
            np.testing.assert_allclose(one.delta_misid, two.delta_misid, rtol=1e-9, atol=1e-13)


def test_the_areas_of_many_models_are_compared_pair_by_pair():
    """Whichever models are held at once, the difference of two is that of their influences."""
    rng = np.random.default_rng(5)
    test, validation = gaussians(900, rng, kind="exponential"), gaussians(300, rng)
    scores = {
        f"m{i}": one_feature(dataclasses.replace(test, x=test.x + rng.normal(0, 0.3 * i, (900, 2)))) for i in range(5)
    }
    scores["cuts"] = hand_cuts(test)
    on_validation = {name: hand_cuts(validation) if name == "cuts" else one_feature(validation) for name in scores}
    results = {
        name: evaluate_model(
            name,
            "mlp",
            {"train": on_validation[name], "validation": on_validation[name], "test": own},
            {"train": validation, "validation": validation, "test": test},
            Evaluate(),
            fixed_cut=name == "cuts",
        )
        for name, own in scores.items()
    }
    found = find_differences(scores, test, on_validation, validation, results)
    for each, (a, b) in zip(found, itertools.combinations(scores, 2), strict=True):
        assert {each.a, each.b} == {a, b}
        if "cuts" in (a, b):
            assert np.isnan(each.delta_auc.value)
            continue
        one, other = (auc_influence(scores[name][:, 0], test.is_signal, test.weight) for name in (a, b))
        assert each.delta_auc == difference(one, other)
        assert variance(other.parts - one.parts) > 0


def test_nothing_of_a_sample_is_changed():
    """Its columns may be read-only mappings of a file: writing to them would end the program."""
    rng = np.random.default_rng(6)
    samples, scores, before = _evaluated(3000, rng, kind="negative")
    spectators = {part: {"p": rng.uniform(0, 1, len(s))} for part, s in samples.items()}
    samples = {
        part: dataclasses.replace(s, spectators=spectators[part], y=s.y.astype(np.int8)) for part, s in samples.items()
    }
    for s in samples.values():
        for array in (s.x, s.y, s.weight, s.event, s.row):
            array.setflags(write=False)
    for array in (array for by_part in scores.values() for array in by_part.values()):
        array.setflags(write=False)
    options = Evaluate(maps=[Map(x="p", bins=4)])
    after = {
        name: evaluate_model(name, "mlp", scores[name], samples, options, fixed_cut=name == "cuts") for name in scores
    }
    for name, model in before.items():
        assert [p.efficiency for p in model.working_points] == [p.efficiency for p in after[name].working_points]
        assert model.samples["test"].auc == after[name].samples["test"].auc or name == "cuts"
    assert len(_compared(samples, scores, after)) == 3
    assert input_histograms(samples["test"])["f0"]["pion"].sumw.sum() != 0
    feature_pairs(samples["test"], correlations(samples["test"]))


def test_the_decisions_of_many_classes_are_counted_in_small_integers():
    """With twelve classes the number of a cell, true times twelve plus decided, is beyond the 127 of an int8."""
    rng, k = np.random.default_rng(7), 12
    y = rng.integers(0, k, 4000)
    scores = rng.random((4000, k)).astype(np.float32)
    sample = dataclasses.replace(sample_of(y, classes=tuple(f"c{i}" for i in range(k))), y=y.astype(np.int8))
    found = sample_metrics(scores, ScoredSample.of(scores, sample), 0.5, fixed_cut=False)
    expected = np.zeros((k, k))
    np.add.at(expected, (y, scores.argmax(axis=1)), 1)
    np.testing.assert_array_equal(found.confusion, expected)


@pytest.mark.slow
def test_evaluation_takes_less_than_sixty_bytes_a_candidate():
    """Beside a sample and its scores, which exist already; measured as what 100,000 more candidates take."""
    options = Evaluate(working_points=[0.9])
    peaks = []
    for n in (70_000, 170_000):
        samples, scores, results = _evaluated(n, np.random.default_rng(8), kind="exponential", options=options)
        del results["cuts"], scores["cuts"]
        tracemalloc.start()
        evaluate_model("both", "mlp", scores["both"], samples, options)
        evaluated = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        _compared(samples, scores, results)
        compared = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        input_histograms(samples["test"])
        correlations(samples["test"])
        peaks.append((evaluated, compared, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    assert max(high - low for low, high in zip(*peaks, strict=True)) < 60 * 100_000


def test_steps_share_the_order_of_a_sample():
    """The order that a sample keeps gives the steps that sorting its scores again would give."""
    rng = np.random.default_rng(9)
    score = np.round(rng.normal(size=5000), 2).astype(np.float32)
    score[::50] = np.nan
    scored = ScoredSample(score, sample_of(rng.integers(0, 2, 5000)), None)
    known, again = steps_of(score, scored.order), steps_of(score)
    np.testing.assert_array_equal(known.values, again.values)
    np.testing.assert_array_equal(known.values, np.unique(score[~np.isnan(score)])[::-1])
    np.testing.assert_array_equal(known.sums(lambda rows: np.ones(len(rows))), again.ends + 1)
