"""A working point that misses its target says why; two points that are one decision are said to be one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from evaluate_samples import evaluated, gaussians, three_samples
from pidlab.config.schema import Evaluate
from pidlab.evaluate.decisions import evaluate_decisions, with_decisions
from pidlab.evaluate.points.attained import misses_target, same_decisions
from pidlab.evaluate.results import WorkingPoint
from pidlab.measured import UNDEFINED, Measured


def point(efficiency, low, high, target=0.9, name="eff90"):
    return WorkingPoint(name, target, 0.5, Measured(efficiency, low, high, 100.0), {}, {}, UNDEFINED)


@pytest.mark.parametrize(
    ("efficiency", "low", "high", "missed"),
    [
        (0.963, 0.955, 0.970, True),
        (0.880, 0.870, 0.889, True),
        (0.910, 0.895, 0.925, False),  # within its interval
        (0.904, 0.9035, 0.9045, False),  # by less than half a per cent
        (float("nan"), float("nan"), float("nan"), False),
    ],
)
def test_a_miss_is_more_than_the_interval_and_more_than_half_a_per_cent(efficiency, low, high, missed):
    assert misses_target(point(efficiency, low, high)) == missed


def test_somebodys_cuts_have_no_target_to_miss():
    assert not misses_target(point(0.963, 0.955, 0.970, name="hand"))


def boxes(sample):
    """A score of few values, as nested boxes have: one step lies from .69 to .964 of the signal."""
    edges = np.array([-1.5, -0.3, 1.0, 2.0], np.float32)
    score = (0.1 + 0.2 * np.searchsorted(edges, sample.x[:, 0])).astype(np.float32)
    return np.stack([score, 1 - score], axis=1)


def test_a_point_on_a_step_says_that_the_score_jumps_there_and_two_on_one_step_are_one_decision():
    """Nested cuts on CLAS12: "eff90" and "eff95" were one box of efficiency .963, and nothing said so."""
    found = evaluated(boxes, three_samples(6000))
    eff90, eff95, _ = found.working_points
    assert eff90.threshold == eff95.threshold
    assert misses_target(eff90)
    assert eff90.reason.startswith("the score jumps there: ")
    assert "signal candidates of validation share one value, and a threshold passes either " in eff90.reason
    assert same_decisions(found) == [("eff90", "eff95")]


def test_points_of_a_continuous_score_are_decisions_of_their_own():
    assert same_decisions(evaluated(samples=three_samples(6000))) == []


@pytest.mark.slow
def test_chance_is_the_reason_where_few_signal_candidates_decide():
    found = [evaluated(samples=few(seed)) for seed in range(12)]
    missed = [p for model in found for p in model.working_points if p.reason]
    assert missed
    assert (
        sum(
            p.reason.startswith("chance (the signal that sets the threshold, effectively 60 candidates of validation")
            for p in missed
        )
        >= len(missed) - 1
    )
    assert all(misses_target(p) for p in missed)


def few(seed):
    rng = np.random.default_rng(seed)
    return {name: gaussians(n, rng) for name, n in (("train", 400), ("validation", 120), ("test", 4000))}


def test_samples_that_differ_are_the_reason_where_they_do():
    samples = three_samples(6000)
    test = samples["test"]
    samples["test"] = test.with_x(test.x - np.float32(0.5) * test.is_signal[:, None])
    found = evaluated(samples=samples)
    for p in found.working_points:
        assert misses_target(p)
        assert p.reason.startswith("validation and test differ by more than chance (")
        assert "% of the signal of validation" in p.reason


def test_a_point_on_target_needs_no_reason():
    assert [p.reason for p in evaluated(samples=three_samples(40_000)).working_points if not misses_target(p)].count(
        ""
    ) >= 2


def test_a_box_of_its_own_says_that_training_chose_it():
    samples = three_samples(4000)
    scores = {
        name: with_decisions(np.stack([s.x[:, 0] > cut for cut in (0.2, -0.5)], axis=1).astype(np.float32), 2, 0)
        for name, s in samples.items()
    }
    found = evaluate_decisions("cuts", "cuts", scores, samples, Evaluate(), [("eff80", 0.8), ("eff95", 0.95)])
    assert found.working_points[0].reason == (
        "the box was chosen on the training sample, of whose signal it keeps 80.0 %, and not on validation"
    )
    same = dataclasses.replace(
        found, working_points=tuple(dataclasses.replace(p, cut_string="x > 1") for p in found.working_points)
    )
    assert same_decisions(same) == [("eff80", "eff95")]
