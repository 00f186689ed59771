"""Figures of merit: their formulas at every threshold, for the numbers stated, the best one chosen on other events."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from evaluate_samples import WEIGHTS, both_features, evaluated, gaussians, hand_cuts, sample_of, three_samples, weights
from exported_runs import config, write_table
from pidlab.config.load import check_config
from pidlab.config.schema import Evaluate
from pidlab.errors import ConfigError
from pidlab.evaluate.intervals import Interval, share
from pidlab.evaluate.points.merit import merit_scan
from pidlab.evaluate.ranking import ScoredSample, event_groups
from pidlab.evaluate.results import json_value
from pidlab.measured import Measured

CLASSES = ("pion", "electron", "kaon")
EXPECTED = {"pion": 300.0, "electron": 20.0, "kaon": 50.0}


def three(n, seed, kind="unit"):
    """The signal's score (0.01 steps, so that scores tie) and the sample; electrons are the signal."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    score = np.round(rng.normal(np.array([0.0, 1.2, -0.5])[y], 1), 2).astype(np.float32)
    return score, sample_of(y, weight=weights(kind, n, rng)[0], classes=CLASSES, signal=1)


def by_hand(score, sample, threshold, expected, sigma=3.0):
    passing = score > np.float32(threshold)
    w, y = sample.weight, sample.y
    rate = [w[passing & (y == c)].sum() / w[y == c].sum() for c in range(3)]
    s = expected["electron"] * rate[1]
    b = expected["pion"] * rate[0] + expected["kaon"] * rate[2]
    return {
        "purity": s / (s + b) if s + b else np.nan,
        "significance": max(s, 0) / np.sqrt(max(s, 0) + max(b, 0)) if max(s, 0) + max(b, 0) else 0.0,
        "punzi": max(rate[1], 0) / (sigma / 2 + np.sqrt(max(b, 0))),
        "efficiency": rate[1],
    }


def scan_of(deciding, test, **options):
    return merit_scan(ScoredSample(*deciding, None), ScoredSample(*test, None), Evaluate(**options))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_every_point_is_its_formula(kind):
    test = three(700, 1, kind)
    scan = scan_of(three(700, 2, kind), test, expected=EXPECTED, punzi=5.0)
    assert scan.sigma == 5
    assert np.all(np.diff(scan.threshold) < 0)
    assert len(scan.threshold) > 100
    for i, threshold in enumerate(scan.threshold):
        expected = by_hand(*test, threshold, EXPECTED, sigma=5)
        np.testing.assert_allclose(scan.efficiency[i], expected["efficiency"], rtol=1e-9, atol=1e-12)
        for name, merit in scan.merits.items():
            np.testing.assert_allclose(merit.value[i], expected[name], rtol=1e-9, atol=1e-12)
    for merit in scan.merits.values():
        known = np.isfinite(merit.value)
        assert np.all((merit.low <= merit.value)[known] & (merit.value <= merit.high)[known])


def test_a_share_of_arrays_is_that_of_each_pair_of_numbers():
    rng = np.random.default_rng(9)
    s, b = rng.uniform(0, 3, (2, 50))
    b[:10] = 0
    arms = rng.uniform(0, 2, (4, 50))
    parts = (Interval(v, v - a, v + c, np.full(50, 9.0)) for v, a, c in ((s, *arms[:2]), (b, *arms[2:])))
    signal, background = parts
    found = np.array(share(signal, background)).T[:, :3]
    for i in range(50):
        expected = share(*(Measured(*(float(column[i]) for column in part)) for part in (signal, background)))
        np.testing.assert_allclose(found[i], expected.measured()[:3], rtol=1e-9)


def test_the_best_threshold_is_chosen_on_other_events_by_its_lower_bound():
    deciding, test = three(900, 3), three(900, 4)
    scan = scan_of(deciding, test, expected=EXPECTED)
    own = scan_of(test, deciding, expected=EXPECTED)  # the curves of the deciding sample
    for name in ("significance", "punzi"):
        merit = scan.merits[name]
        curve = own.merits[name]
        assert merit.best == own.threshold[np.argmax(curve.low)]
        expected = by_hand(*test, merit.best, EXPECTED)
        np.testing.assert_allclose(merit.at_best.value, expected[name], rtol=1e-9)
        np.testing.assert_allclose(merit.efficiency.value, expected["efficiency"], rtol=1e-9)
    assert scan.merits["purity"].best is None
    assert np.isnan(scan.merits["purity"].at_best.value)


def test_a_cut_that_no_background_happened_to_pass_is_not_taken_for_perfect():
    """One signal candidate above all background: Punzi's figure without an interval would be largest there."""
    y = np.arange(400) % 2
    score = np.where(y == 0, np.linspace(0.5, 1, 400), np.linspace(0, 0.9, 400)).astype(np.float32)
    sample = sample_of(y)
    few = {"electron": 1e3, "pion": 1e6}
    found = scan_of((score, sample), (score, sample), expected=few).merits["punzi"]
    largest = np.argmax(found.value)
    assert found.value[largest] > 3 * found.low[largest]
    assert found.efficiency.value > 0.15


@pytest.mark.parametrize(
    ("options", "basis", "expected"),
    [
        ({}, "sample", (100, 200, 300)),
        ({"abundance": {"pion": 3, "electron": 1, "kaon": 2}}, "abundance", (300, 100, 200)),
        ({"expected": EXPECTED}, "expected", (300, 20, 50)),
    ],
)
def test_numbers_are_those_of_the_sample_unless_stated(options, basis, expected):
    y = np.repeat([0, 1, 2], (100, 200, 300))
    score = np.random.default_rng(5).normal(y == 1, 1).astype(np.float32)
    part = (score, sample_of(y, classes=CLASSES, signal=1))
    scan = scan_of(part, part, **options)
    assert scan.basis == basis
    assert scan.expected == pytest.approx(dict(zip(CLASSES, expected, strict=True)))


def test_purity_is_that_of_the_working_points():
    found = evaluated(options=Evaluate(abundance={"pion": 100, "electron": 1}))
    stated = evaluated(options=Evaluate(expected={"pion": 5000, "electron": 50}))
    for point, same in zip(found.working_points, stated.working_points, strict=True):
        np.testing.assert_allclose(point.purity, same.purity, rtol=1e-9)
    scan = found.scan
    assert scan.basis == "abundance"
    i = int(np.argmin(np.abs(scan.efficiency - found.working_points[0].efficiency.value)))
    at = found.working_points[0].purity
    assert scan.merits["purity"].value[i] == pytest.approx(at.value, rel=0.05)
    width = scan.merits["purity"].high[i] - scan.merits["purity"].low[i]
    assert width == pytest.approx(at.high - at.low, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "per_event"), [("unit", 1), ("exponential", 1), ("negative", 1), ("unit", 4)])
def test_intervals_cover_the_truth_and_are_as_wide_as_the_bootstraps(kind, per_event):
    """68.3 % intervals of 100 toys at a threshold that stays the same, whose share scatters by .047.

    Clopper-Pearson's are wider than the spread of toys, and so are those of classes that fluctuate together.
    """
    rng = np.random.default_rng(60)
    options = Evaluate(expected={"electron": 100, "pion": 1000})

    def part(n, **how):
        sample = gaussians(n, rng, **how)
        return ScoredSample(both_features(sample)[:, 0], sample, event_groups(sample))

    deciding = part(1000)
    truth = {n: m.at_best.value for n, m in merit_scan(deciding, part(400_000), options).merits.items()}
    toys = [merit_scan(deciding, part(800, kind=kind, per_event=per_event), options).merits for _ in range(100)]
    for name in ("significance", "punzi"):
        found = [toy[name].at_best for toy in toys]
        covered = np.mean([m.low <= truth[name] <= m.high for m in found])
        assert 0.58 < covered < (0.82 if per_event == 1 else 0.88), (name, covered)
        width = np.mean([m.high - m.low for m in found]) / 2
        ratio = width / np.std([m.value for m in found])
        assert 0.85 < ratio < (1.25 if per_event == 1 else 1.45), (name, ratio)


def test_candidates_of_one_event_count_as_one_event():
    sample = gaussians(1500, np.random.default_rng(7))
    copies = sample.take(np.repeat(np.arange(1500), 3))
    scans = []
    for s in (sample, copies):
        part = ScoredSample(both_features(s)[:, 0], s, event_groups(s))
        scans.append(merit_scan(part, part, Evaluate(expected={"electron": 10, "pion": 100})))
    alone, together = (s.merits["significance"] for s in scans)
    common = np.isin(scans[0].threshold, scans[1].threshold), np.isin(scans[1].threshold, scans[0].threshold)
    np.testing.assert_allclose(together.value[common[1]], alone.value[common[0]], rtol=1e-9)
    widths = [(m.high - m.low)[rows] for m, rows in zip((alone, together), common, strict=True)]
    middle = slice(len(widths[0]) // 4, -len(widths[0]) // 4)
    np.testing.assert_allclose(widths[1][middle], widths[0][middle], rtol=0.2)  # Fieller against Clopper-Pearson


def test_what_cannot_be_measured_goes_through():
    score, sample = three(300, 8)
    no_kaons = sample.take(sample.y < 2)
    assert scan_of((score, sample), (score[sample.y < 2], no_kaons)) is None
    assert scan_of((score, sample), (np.full(300, np.nan, np.float32), sample)) is None
    blind = scan_of((np.full(300, np.nan, np.float32), sample), (score, sample))
    assert blind.merits["punzi"].best is None
    same = scan_of((np.zeros(300, np.float32), sample), (np.zeros(300, np.float32), sample))
    assert len(same.threshold) == 2
    two = scan_of((score, sample), (score[:3], dataclasses.replace(sample.take(np.arange(3)), y=np.arange(3))))
    json.dumps(json_value([blind, same, two]), allow_nan=False)
    assert evaluated(hand_cuts, three_samples(), kind="expression", fixed_cut=True).scan is None


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"expected": {"pion": 5}}, "evaluate.expected: says nothing of the class 'kaon'"),
        ({"expected": {"pion": 5, "kaons": 1, "kaon": 1}}, "evaluate.expected.kaons: .*did you mean 'kaon'"),
        ({"expected": {"pion": 5, "kaon": 1}, "abundance": {"pion": 5, "kaon": 1}}, "leave evaluate.abundance out"),
        ({"punzi": 0}, "evaluate.punzi"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(evaluate, message, tmp_path):
    write_table(tmp_path)
    content = config(2, {"fisher": {"type": "fisher"}}, evaluate=evaluate)
    with pytest.raises(ConfigError, match=message):
        check_config(content, {}, tmp_path / "analysis.yaml")
