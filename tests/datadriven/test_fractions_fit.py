"""Yields of classes: intervals that cover the truth, with templates of few events, and the exact inverted matrix."""

from __future__ import annotations

import numpy as np
import pytest
from weighted import weights

from pidlab.datadriven.fractions.bins import counts, score_bins
from pidlab.datadriven.fractions.fit import Counts, fit_templates, fractions_of, invert_matrix

SHAPES = {"electron": (5.0, 1.5), "pion": (1.5, 4.0), "kaon": (3.0, 3.0)}


def counted(values: np.ndarray, weight: np.ndarray | None = None, bins: int = 12) -> Counts:
    place = np.minimum((values * bins).astype(int), bins - 1)
    return counts(place, np.ones(len(values)) if weight is None else weight, bins)


def toy(
    rng: np.random.Generator, expected: dict[str, float], n_template: int, *, weighted: bool = False
) -> tuple[Counts, dict[str, Counts]]:
    """Data whose classes fluctuate about the expected numbers, and independent templates."""
    values = np.concatenate([rng.beta(*SHAPES[name], size=rng.poisson(n)) for name, n in expected.items()])
    weight = rng.choice([0.5, 1.5], len(values)) if weighted else None
    templates = {name: counted(rng.beta(*SHAPES[name], size=n_template)) for name in expected}
    return counted(values, weight), templates


@pytest.mark.parametrize(
    ("expected", "n_template", "weighted"),
    [
        ({"electron": 300.0, "pion": 700.0}, 400, False),
        ({"electron": 2500.0, "pion": 2500.0}, 200, False),
        ({"electron": 400.0, "pion": 500.0, "kaon": 300.0}, 800, False),
        ({"electron": 300.0, "pion": 700.0}, 400, True),
    ],
    ids=["two", "few-template-events", "three", "weights"],
)
def test_intervals_cover_the_true_yields_and_fractions(
    expected: dict[str, float], n_template: int, weighted: bool
) -> None:
    """With 120 toys and two numbers each the error is .03 at most; the range is that of two errors and more.

    benchmarks/species_fractions.py makes 500 of each.
    """
    rng = np.random.default_rng(8)
    hits, pulls, total = [], [], sum(expected.values())
    for _ in range(120):
        found = fit_templates(*toy(rng, expected, n_template, weighted=weighted)).yields
        for name, truth in expected.items():
            low, high = found.yields[name][1:3]
            share = found.fractions[name]
            hits.append((low <= truth <= high, share.low <= truth / total <= share.high))
            pulls.append((found.yields[name].value - truth) / (high - low) * 2)
    covered = np.mean(hits, axis=0)
    assert (covered > 0.60).all()
    assert (covered < 0.76).all()
    assert abs(np.mean(pulls)) < 0.25


@pytest.mark.parametrize("kind", ["20 % negative", "one in ten of 50", "exponential"])
def test_heavy_and_negative_weights_move_no_yield(kind: str) -> None:
    """With scales of single bins the pulls had a mean of 0.4 and -1.6 for the first two, and the last covered .54."""
    rng, pulls = np.random.default_rng(9), []
    for _ in range(100):
        n = {"electron": rng.poisson(300), "pion": rng.poisson(700)}
        values = np.concatenate([rng.beta(*SHAPES[name], size=count) for name, count in n.items()])
        weight = weights(kind, len(values), rng).weight
        templates = {name: counted(rng.beta(*SHAPES[name], size=2000)) for name in SHAPES if name in n}
        found = fit_templates(counted(values, weight), templates).yields.yields["electron"]
        mean = {"20 % negative": 0.6, "one in ten of 50": 5.9, "exponential": 1.0}[kind]
        pulls.append((found.value - 300 * mean) / (found.high - found.low) * 2)
    assert abs(np.mean(pulls)) < 0.3
    assert 0.8 < np.std(pulls) < 1.3


def test_no_candidate_where_a_class_is_expected_is_no_proof_that_there_is_none() -> None:
    """With c of the class in the empty bin, the likelihood falls by half a unit at a yield of 0.5 / c."""
    templates = {"electron": [0, 0, 200, 800], "pion": [500, 400, 100, 0]}
    held = {name: Counts(np.array(n, float), np.array(n, float)) for name, n in templates.items()}
    data = np.array([12.0, 9.0, 2.0, 0.0])
    found = fit_templates(Counts(data, data), held).yields.yields["electron"]
    assert found.value < 0.1
    assert found.low == 0
    assert found.high > 0.5


def test_the_inverted_matrix_covers_too_and_is_exact_without_fluctuation() -> None:
    matrix = np.array([[0.9, 0.1], [0.2, 0.8]])
    truth = np.array([300.0, 700.0])
    exact = {name: Counts(1e6 * row, 1e6 * row) for name, row in zip(("electron", "pion"), matrix, strict=True)}
    found, shares = invert_matrix(Counts(truth @ matrix, truth @ matrix), exact)
    np.testing.assert_allclose([m.value for m in found.yields.values()], truth)
    np.testing.assert_allclose(shares, matrix)
    np.testing.assert_allclose([m.value for m in found.fractions.values()], truth / 1000)
    rng, hits = np.random.default_rng(3), []
    for _ in range(500):
        templates = {}
        for name, row in zip(("electron", "pion"), matrix, strict=True):
            drawn = rng.multinomial(300, row).astype(float)
            templates[name] = Counts(drawn, drawn)
        data = rng.poisson(truth @ matrix).astype(float)
        yields = invert_matrix(Counts(data, data), templates)[0].yields
        hits += [m.low <= t <= m.high for m, t in zip(yields.values(), truth, strict=True)]
    assert 0.65 < np.mean(hits) < 0.72


def test_the_sum_of_the_yields_is_that_of_the_candidates() -> None:
    data, templates = toy(np.random.default_rng(2), {"electron": 4000.0, "pion": 6000.0}, 20_000)
    found = fit_templates(data, templates)
    assert sum(m.value for m in found.yields.yields.values()) == pytest.approx(data.sumw.sum(), rel=2e-3)
    assert found.p > 0.001
    np.testing.assert_allclose(sum(found.fitted.values()).sum(), data.sumw.sum(), rtol=2e-3)


def test_a_class_that_the_templates_lack_is_told_by_the_goodness_of_fit() -> None:
    rng = np.random.default_rng(2)
    data, _ = toy(rng, {"electron": 4000.0, "pion": 4000.0, "kaon": 4000.0}, 100)
    _, templates = toy(rng, {"electron": 1.0, "pion": 1.0}, 5000)
    assert fit_templates(data, templates).p < 1e-6


def test_what_cannot_be_fitted_says_why() -> None:
    flat = Counts(np.full(4, 10.0), np.full(4, 10.0))
    slope = Counts(np.arange(4.0), np.arange(4.0))
    same = fit_templates(flat, {"electron": slope, "pion": slope}).yields
    assert "does not tell all classes apart" in same.problem
    assert np.isnan(same.yields["pion"].value)
    empty = Counts(np.zeros(4), np.zeros(4))
    assert fit_templates(empty, {"electron": slope, "pion": flat}).yields.problem == "there are no candidates"
    assert "template of pion has no events" in fit_templates(flat, {"electron": slope, "pion": empty}).yields.problem
    negative = Counts(np.array([5.0, -1.0, 5.0, 5.0]), np.full(4, 9.0))
    assert "negative sum in a bin" in fit_templates(negative, {"electron": slope, "pion": flat}).yields.problem
    two = Counts(np.full(2, 10.0), np.full(2, 10.0))
    assert "cannot be inverted" in invert_matrix(two, {"electron": two, "pion": two})[0].problem
    nothing = Counts(np.empty(0), np.empty(0))
    assert "does not decide" in invert_matrix(two, {"electron": nothing, "pion": nothing})[0].problem


def test_errors_of_fractions_are_those_of_correlated_yields() -> None:
    found = fractions_of(np.array([30.0, 70.0]), np.diag([30.0, 70.0]), ["electron", "pion"])
    assert found["electron"].value == pytest.approx(0.3)
    assert found["electron"].high - 0.3 == pytest.approx(np.sqrt(0.3 * 0.7 / 100))
    assert found["pion"].n == pytest.approx(100)


def test_bins_of_scores_hold_equally_much_of_the_classes_and_know_the_decision() -> None:
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], [1000, 3000])
    score = np.where(y == 0, rng.beta(5, 2, 4000), rng.beta(2, 5, 4000)).astype(np.float32)
    scores = np.column_stack([score, 1 - score])
    bins = score_bins(scores, y, np.ones(4000), ("e", "pi"), 0, column=0, threshold=0.5, n_bins=10)
    place = bins.places(scores)
    held = np.bincount(place, np.where(y == 0, 3.0, 1.0), 10)
    assert bins.sizes == {"": 10}
    assert held.min() > 0.98 * 600
    assert held.max() < 1.02 * 600
    np.testing.assert_array_equal(bins.decisions(scores), np.where(score > 0.5, 0, 1))
    assert bins.places(np.array([[np.nan, np.nan]])).tolist() == [0]


def test_with_more_classes_the_largest_score_chooses_the_region() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 3000)
    raw = rng.dirichlet([1, 1, 1], 3000) + np.eye(3)[y]
    scores = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    bins = score_bins(scores, y, np.ones(3000), ("e", "pi", "k"), 0, column=0, threshold=0.5)
    first = np.cumsum([0, *bins.sizes.values()])
    place, best = bins.places(scores), scores.argmax(axis=1)
    np.testing.assert_array_equal(np.searchsorted(first, place, side="right") - 1, best)
    np.testing.assert_array_equal(bins.decisions(scores), best)
    one_sided = np.full((3000, 3), np.nan, np.float32)
    one_sided[:, 0] = scores[:, 0]
    alone = score_bins(one_sided, y, np.ones(3000), ("e", "pi", "k"), 0, column=0, threshold=0.5)
    assert list(alone.sizes) == [""]
    assert (alone.decisions(one_sided) == -1).all()


def test_a_model_that_only_decides_has_two_bins() -> None:
    y = np.array([0, 0, 0, 1, 1, 1])
    score = np.array([1, 1, 0, 0, 0, 1], np.float32)
    scores = np.column_stack([score, 1 - score])
    bins = score_bins(scores, y, np.ones(6), ("e", "pi"), 0, column=0, threshold=0.5, n_bins=8)
    assert bins.sizes == {"": 2}
    assert bins.places(scores).tolist() == [1, 1, 0, 0, 0, 1]
