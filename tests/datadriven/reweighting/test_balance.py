"""Balanced weights: bins of each variable hold what the target's hold, and replicas tell the error of the weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pidlab.datadriven.reweighting.balance import Factors, balanced, weight_replicas
from pidlab.datadriven.reweighting.ratio import (
    BinRatio,
    Ratio,
    TreeRatio,
    Weighted,
    bin_ratio,
    bounded,
    cells,
    tree_ratio,
)
from pidlab.split import event_hash, poisson_counts

Float = NDArray[np.float64]


def draw(rng: np.random.Generator, n: int, *, target: bool) -> Float:
    """Exp(1) of the target, Exp(2) of the source; and a number that is missing in a tenth, or a fifth, of the rows."""
    second = rng.poisson(6 if target else 5, n).astype(np.float64)
    second[rng.random(n) < (0.1 if target else 0.2)] = np.nan
    return np.column_stack([rng.exponential(1.0 if target else 2.0, n), second])


def keys(n: int, first: int) -> NDArray[np.uint64]:
    return event_hash([np.arange(first, first + n)])


def weighted(z: Float, weight: Float | None = None) -> Weighted:
    return Weighted(z, np.ones(len(z)) if weight is None else weight)


def poor_trees(source: Float, target: Float) -> TreeRatio:
    """A ratio that a few rows decided, so that it corrects too little."""
    few = [weighted(each[:600][half::2]) for half in (0, 1) for each in (source, target)]
    return tree_ratio(*few, seed=1, n_jobs=1)


def shares(z: Float, weight: Float, edges: Float, j: int) -> Float:
    (place,) = cells([edges], z[:, [j]])
    return np.bincount(place, weight, len(edges)) / weight.sum()


@pytest.mark.parametrize("signed", [False, True], ids=["plain", "sweights"])
def test_each_bin_of_each_variable_holds_what_that_of_the_target_holds(signed: bool) -> None:
    rng = np.random.default_rng(5)
    source, target = draw(rng, 6000, target=False), draw(rng, 6000, target=True)
    weight = np.where(rng.random(6000) < 0.1, -0.5, 1.0) if signed else np.ones(6000)
    trees = poor_trees(source, target)
    events = keys(6000, 0), keys(6000, 10**6)
    (made,), factors, _ = balanced([trees], weighted(source), weighted(target, weight), trees(source), events, 1)
    assert [each.columns for each in factors] == [(0,), (1,)]
    inside, moved = trees.support.holds(source), []
    for j, own in enumerate(factors):
        assert len(own.edges[0]) > 4
        wanted = shares(target, weight, own.edges[0], j)
        before = shares(source, trees(source), own.edges[0], j)
        after = shares(source[inside], made(source[inside]), own.edges[0], j)
        moved.append(np.abs(before - wanted).max())
        # The prior of width 1 on a factor leaves 1/600 of the difference where 600 events decide.
        np.testing.assert_allclose(after, wanted, atol=5e-4)
    assert max(moved) > 0.02  # there was something to balance


def test_the_factors_are_trees_of_the_same_values() -> None:
    rng = np.random.default_rng(6)
    source, target = draw(rng, 3000, target=False), draw(rng, 3000, target=True)
    trees = poor_trees(source, target)
    edges = [np.array([-np.inf, 0.5, 1.0, 2.5, np.inf]), np.array([-np.inf, np.inf])]
    values = [np.array([0.1, -0.2, 0.3, -0.4, 0.7]), np.array([0.25, -0.5])]
    extreme = np.array([[0.5, np.nan], [np.nan, 3.0], [2.5, 1.0], [np.nextafter(0.5, 0), 2.0]])
    z = np.concatenate([source, extreme])
    z = z[trees.support.holds(z)]
    expected = trees(z)
    for j in (0, 1):
        (place,) = cells([edges[j]], bounded(z[:, [j]]).astype(np.float64))
        expected = expected * np.exp(values[j][place])
    np.testing.assert_allclose(trees.times(edges, values)(z), expected, rtol=2e-6)
    unchanged = trees.times(edges, [np.zeros(5), np.zeros(2)])
    assert len(unchanged.forest().trees) == len(trees.forest().trees)


def test_replicas_show_the_spread_of_a_mean_over_independent_samples() -> None:
    """The mean of a function of the variables, by weights from independent samples, scatters as replicas say."""
    rng = np.random.default_rng(7)
    fixed = draw(rng, 5000, target=False)
    function = np.sqrt(fixed[:, 0])
    found, errors = [], []
    trees = poor_trees(draw(rng, 3000, target=False), draw(rng, 3000, target=True))
    for first in range(0, 50 * 10**6, 10**6):
        source, target = draw(rng, 1500, target=False), draw(rng, 1500, target=True)
        events = keys(1500, first), keys(1500, first + 10**8)
        (made,), factors, _ = balanced([trees], weighted(source), weighted(target), trees(source), events, 1)
        weight = made(fixed)
        mean = np.average(function, weights=weight)
        replicas = [np.average(function, weights=weight * factor) for factor in weight_replicas(factors, fixed)]
        found.append(mean)
        errors.append(np.mean((np.array(replicas) - mean) ** 2))
    assert len(replicas) == 25
    # Of 50 samples the standard deviation is known to 10 %; that of the 25 replicas averages out.
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(found), rel=0.25)
    truth = np.sqrt(np.pi) / 2  # the mean of a root over Exp(1)
    assert abs(np.mean(found) - truth) < 0.3 * np.std(found) + 3 * np.std(found) / np.sqrt(50)


def test_replicas_of_bins_are_the_ratios_of_the_replicas_counts() -> None:
    rng = np.random.default_rng(8)
    edges = [np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 5.0, 20.0])]
    source, target = (weighted(draw(rng, 2000, target=each)) for each in (False, True))
    events = keys(2000, 0), keys(2000, 10**6)
    nominal: Ratio = bin_ratio(source, target, edges)
    ratios, (factors,), _ = balanced([nominal], source, target, nominal(source.z), events, 3)
    assert ratios == (nominal,)
    assert factors.columns == (0, 1)
    b = 4
    of_source, of_target = (poisson_counts(each, f"reweight {b}", 3) for each in events)
    expected = bin_ratio(weighted(source.z, of_source), weighted(target.z, of_target), edges)
    relative = list(weight_replicas([factors], source.z))[b]
    wanted = expected(source.z) * (nominal(source.z).sum() / expected(source.z).sum())  # the sum of weights stays
    np.testing.assert_allclose(relative * nominal(source.z), wanted, rtol=1e-6)


def test_too_few_events_leave_the_ratio_as_it_is() -> None:
    rng = np.random.default_rng(9)
    source, target = draw(rng, 90, target=False), draw(rng, 90, target=True)
    trees = poor_trees(source, target)
    (made,), factors, _ = balanced(
        [trees], weighted(source), weighted(target), trees(source), (keys(90, 0), keys(90, 100)), 1
    )
    np.testing.assert_array_equal(made(source), trees(source))
    assert all((factor == 1).all() for factor in weight_replicas(factors, source))


def test_a_bin_without_positive_weights_of_the_target_is_joined_with_its_neighbour() -> None:
    rng = np.random.default_rng(10)
    z = rng.uniform(0, 1, (4000, 1))
    weight = np.where(z[:, 0] < 0.2, -0.3, 1.0)
    trees = poor_trees(z, z)
    events = keys(4000, 0), keys(4000, 10**6)
    (made,), (factors,), _ = balanced([trees], weighted(z), weighted(z, weight), trees(z), events, 1)
    assert np.isfinite(made(z)).all()
    assert factors.edges[0][1] > 0.2
    assert (factors.values > 0).all()


def test_bootstrap_counts_are_poisson_and_those_of_the_event() -> None:
    event = event_hash([np.arange(200_000)])
    counts = poisson_counts(event, "a", 1)
    found = np.bincount(counts.astype(int), minlength=4)[:4] / len(event)
    np.testing.assert_allclose(found, np.exp(-1) / np.array([1, 1, 2, 6]), atol=0.005)
    order = np.random.default_rng(1).permutation(len(event))
    np.testing.assert_array_equal(poisson_counts(event[order], "a", 1), counts[order])
    assert abs(np.corrcoef(counts, poisson_counts(event, "b", 1))[0, 1]) < 0.01


def test_replicas_multiply_the_factors_of_all_variables() -> None:
    first = Factors((0,), (np.array([0.0, 1.0, 2.0]),), np.array([[2.0, 3.0, 5.0], [1.0, 1.0, 1.0]]))
    second = Factors((1,), (np.array([-np.inf, np.inf]),), np.array([[7.0, 11.0], [0.5, 0.25]]))
    z = np.array([[0.5, 1.0], [1.0, np.nan], [np.nan, 9.0]])
    found = list(weight_replicas([first, second], z))
    np.testing.assert_array_equal(found, [[14.0, 33.0, 35.0], [0.5, 0.25, 0.5]])
    assert weight_replicas([], z) is None


def test_replicas_go_as_far_between_the_folds_as_a_jackknife_says() -> None:
    """The variance of a mean is (k - 1) / k times the sum of squared differences of the folds from their mean."""
    rng = np.random.default_rng(12)
    edges = (np.array([-np.inf, 1.0, np.inf]),)
    ratios = [BinRatio(edges, np.array([1.0, 1.0 + 0.01 * k, 1.0])) for k in range(5)]
    z = rng.exponential(1, (3000, 1))
    flat = Factors((0,), edges, np.ones((25, 3)))
    none = Factors((0,), edges, np.ones((5, 3)))
    value = np.sqrt(z[:, 0])
    means = np.array([np.average(value, weights=ratio(z)) for ratio in ratios])
    weight = np.mean([ratio(z) for ratio in ratios], axis=0)
    centre = np.average(value, weights=weight)
    expected = np.sqrt(4 / 5 * np.sum((means - means.mean()) ** 2))
    spread = []
    for seed in range(40):
        replicas = weight_replicas([flat], z, ratios, [none], seed)
        assert replicas is not None
        varied = np.array([np.average(value, weights=weight * factor) for factor in replicas]) - centre
        influences = weight * (value - centre) / weight.sum()
        np.testing.assert_allclose(replicas.changes(influences), varied, rtol=0.05, atol=0.05 * expected)
        spread.append(np.mean(varied**2))
    assert np.sqrt(np.mean(spread)) == pytest.approx(expected, rel=0.1)


def test_the_folds_are_balanced_each_on_its_own() -> None:
    """Folds that differ by what balancing mends have no further error: their shapes within bins are the same."""
    rng = np.random.default_rng(13)
    source, target = draw(rng, 4000, target=False), draw(rng, 4000, target=True)
    trees = poor_trees(source, target)
    edges = [np.array([-np.inf, np.inf])] * source.shape[1]
    other = trees.times(edges, [np.array([0.3, 0.0])] * source.shape[1])  # twice the ratio, more or less
    made, factors, shapes = balanced(
        [trees, other], weighted(source), weighted(target), trees(source), (keys(4000, 0), keys(4000, 10**6)), 1
    )
    replicas = weight_replicas(factors, source, made, shapes)
    assert replicas is not None
    assert replicas.directions.shape == (2, 4000)
    assert np.abs(replicas.directions).max() < 0.01
