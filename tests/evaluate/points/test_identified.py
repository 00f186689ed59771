"""After identification: what is accepted, by true class and bin, and files beside what a test sample lets expect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluate_samples import sample_of
from pidlab.evaluate.histograms import input_histograms
from pidlab.evaluate.points.applied import Expectation
from pidlab.evaluate.points.identified import edges_for, identified, kept, purity
from pidlab.evaluate.results import (
    BinSums,
    FlatThreshold,
    Histogram,
    Identified,
    Results,
    WorkingPoint,
    read_results,
    write_results,
)
from pidlab.measured import UNDEFINED, Array
from pidlab.sample import Sample


def point(name: str, threshold: float, flat: FlatThreshold | None = None) -> WorkingPoint:
    return WorkingPoint(name, 0.9, threshold, UNDEFINED, {}, {}, UNDEFINED, flat)


def three_classes(n: int, seed: int = 1) -> tuple[Sample, Array]:
    """Candidates of three classes with weights of both signs, a feature that is missing now and then, and a score."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(y[:, None], 1.0, (n, 2))
    x[rng.random(n) < 0.1, 1] = np.nan
    weight = rng.exponential(size=n) * rng.choice([1.0, -0.3], n, p=[0.8, 0.2])
    spectators = {"p": rng.uniform(1, 5, n), "n": rng.integers(0, 6, n).astype(np.float64)}
    sample = sample_of(y, x=x, weight=weight, classes=("a", "b", "c"), signal=1, spectators=spectators)
    return sample, rng.random(n).astype(np.float32)


def made(sample: Sample, score: Array, points: list[WorkingPoint]) -> Identified:
    return identified(sample, {"own": [(p, score) for p in points], "none": []}, input_histograms(sample))


def by_hand(values: Array, weight: Array, edges: Array) -> Array:
    """(b + 2,) sums of weights, NaN in the overflow."""
    inside = np.histogram(values[~np.isnan(values)], edges, weights=weight[~np.isnan(values)])[0]
    low, high = weight[values < edges[0]].sum(), weight[(values > edges[-1]) | np.isnan(values)].sum()
    return np.concatenate([[low], inside, [high]])


def test_each_bin_holds_what_the_decision_accepts_of_each_class():
    sample, score = three_classes(70_000)  # more than one block
    flat = FlatThreshold(("p",), (np.array([1.0, 5.0]),), np.array([0.2, 0.8]))
    points = [point(f"t{i}", 0.1 + 0.15 * i) for i in range(5)]  # more than are counted in one pass
    points.append(point("flat", 0.5, flat))
    found = made(sample, score, points)
    assert list(found.edges) == ["f0", "f1", "p", "n"]
    assert found.spectators == ("p", "n")
    assert found.accepted["none"] == {}
    threshold = 0.2 + 0.6 * (sample.spectators["p"] - 1) / 4
    passed = {p.name: score > np.float32(p.threshold) for p in points} | {"flat": score > threshold.astype(np.float32)}
    values = {"f0": sample.x[:, 0], "f1": sample.x[:, 1], **dict(sample.spectators)}
    for name, mask in passed.items():
        accepted = found.accepted["own"][name]
        for i, c in enumerate(sample.classes):
            rows = mask & (sample.y == i)
            assert accepted.n[c] == rows.sum()
            for variable, edges in found.edges.items():
                column = values[variable].astype(np.float64)
                for sums, power in ((accepted.sums[variable].sumw, 1), (accepted.sums[variable].sumw2, 2)):
                    expected = by_hand(column[rows], sample.weight[rows] ** power, edges)
                    np.testing.assert_allclose(sums[i], expected, rtol=1e-9, atol=1e-9)
    rest = found.total["f1"] - found.accepted["own"]["t2"].sums["f1"]
    rows = ~passed["t2"] & (sample.y == 2)
    expected = by_hand(values["f1"][rows].astype(np.float64), sample.weight[rows], found.edges["f1"])
    np.testing.assert_allclose(rest.sumw[2], expected, rtol=1e-9, atol=1e-9)


def test_whole_numbers_keep_a_bin_each():
    found = made(*three_classes(1_000), [point("t", 0.5)])
    np.testing.assert_array_equal(found.edges["n"], np.arange(7) - 0.5)


def test_a_signal_that_fills_little_of_the_range_gets_bins_of_its_own():
    rng = np.random.default_rng(4)
    y = np.arange(20_000) % 2
    x = np.where(y == 0, rng.normal(50, 5, len(y)), rng.exponential(300, len(y)))[:, None]
    histograms = input_histograms(sample_of(y, x=x))["f0"]
    edges = edges_for(histograms, "electron")
    inside = (edges >= 35) & (edges <= 65)
    assert inside.sum() >= 7  # where 25 equal bins would have one edge at most
    assert len(edges_for(histograms, "pion")) <= 27  # which fills the range
    assert (edges[0], edges[-1]) == (histograms["pion"].edges[0], histograms["pion"].edges[-1])


def test_edges_rise_and_cover_the_same_range():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sums = rng.normal(1, 1, 50) * (rng.random(50) < rng.random())  # negative sums, and empty bins
        edges = rng.uniform(-1e3, 1e3) + rng.uniform(0.01, 10) * np.arange(51)
        histogram = Histogram(edges, np.pad(sums, 1), np.pad(np.abs(sums), 1), 50, (0.0, 0.0, 0.0, 0.0))
        found = edges_for({"s": histogram}, "s")
        assert np.all(np.diff(found) > 0)
        assert (found[0], found[-1]) == (edges[0], edges[-1])
        assert len(found) <= 45


def test_purity_and_efficiency_have_exact_intervals_for_counts():
    accepted = BinSums(np.array([[0, 30.0, 0], [0, 10.0, 0]]), np.array([[0, 30.0, 0], [0, 10.0, 0]]))
    total = BinSums(np.array([[0, 40.0, 0], [0, 90.0, 0]]), np.array([[0, 40.0, 0], [0, 90.0, 0]]))
    tail = stats.norm.sf(1)
    for found, k, n in ((purity(accepted, 0), 30, 40), (kept(accepted, total, 0), 30, 40)):
        assert found.value.item() == pytest.approx(k / n, rel=1e-12)
        assert found.low.item() == pytest.approx(stats.beta.ppf(tail, k, n - k + 1), rel=1e-9)
        assert found.high.item() == pytest.approx(stats.beta.isf(tail, k + 1, n - k), rel=1e-9)


def results_of(found: Identified, **fields: Any) -> Results:
    parts: dict[str, Any] = {
        "signal": "b", "classes": found.classes, "features": ("f0", "f1"), "n": {}, "cutflow": (), "models": {},
        "comparisons": (), "robustness": {}, "inputs": {}, "correlation": {}, "identified": found,
    }  # fmt: skip
    return Results(**parts | fields)


def test_it_is_read_as_it_was_written_and_older_results_have_none(tmp_path):
    found = made(*three_classes(500), [point("t", 0.5)])
    write_results(tmp_path / "results.json", results_of(found))
    back = read_results(tmp_path / "results.json").identified
    assert back is not None
    assert (back.classes, back.spectators, back.n) == (found.classes, found.spectators, found.n)
    for name, sums in found.accepted["own"]["t"].sums.items():
        np.testing.assert_array_equal(back.accepted["own"]["t"].sums[name].sumw2, sums.sumw2)
    write_results(tmp_path / "old.json", results_of(found, identified=None))
    text = (tmp_path / "old.json").read_text().replace(', "identified": null', "")
    assert "identified" not in text
    (tmp_path / "old.json").write_text(text)
    assert read_results(tmp_path / "old.json").identified is None


def test_files_of_the_same_mixture_lie_around_the_expectation():
    """Both fluctuate: pulls with the errors of both have the width 1 in simulation."""
    rng = np.random.default_rng(11)
    edges, n_test, n_files = np.linspace(0, 1, 11), 2_000, 6_000
    pulls = []
    for _ in range(200):
        y = (rng.random(n_test) < 0.7).astype(int)
        values = rng.beta(1 + 2 * y, 2)
        w = np.where(y == 0, 2.0, 0.5)  # which makes the classes another mixture
        mixture = np.array([0.3 * 2.0, 0.7 * 0.5]) / (0.3 * 2.0 + 0.7 * 0.5)
        sums = np.array([np.pad(np.histogram(values[y == c], edges, weights=w[y == c])[0], 1) for c in (0, 1)])
        squares = np.array([np.pad(np.histogram(values[y == c], edges, weights=w[y == c] ** 2)[0], 1) for c in (0, 1)])
        both = BinSums(sums, squares)
        found = Identified(("b", "c"), (), {"v": edges}, {"b": 0, "c": 0}, {"v": both}, {})
        in_files = (rng.random(n_files) < mixture[1]).astype(int)
        counts = np.pad(np.histogram(rng.beta(1 + 2 * in_files, 2), edges)[0], 1)
        expectation = Expectation(results_of(found), n_files, None)
        one = expectation.beside(counts, edges, both)
        whole = np.sum(list(one.expected.values()), axis=0)[1:-1]
        assert whole.sum() == pytest.approx(n_files, rel=1e-9)
        pulls.append((one.counts[1:-1] - whole) / np.sqrt(whole + one.error[1:-1] ** 2))
        # The same with the ratio that is stated, which is that of the files.
        stated = Expectation(results_of(found), n_files, {"b": mixture[0], "c": mixture[1]})
        assert stated.mixture["b"] == pytest.approx(mixture[0], rel=1e-12)
    # The sum over bins is fixed, which takes a tenth of the variance, and of the expectation's error a little more.
    width = np.sqrt(np.mean(np.square(pulls)) / (1 - 1 / 10))
    assert width == pytest.approx(1.0, abs=0.05)
    assert np.mean(pulls) == pytest.approx(0.0, abs=4 / np.sqrt(2_000))
