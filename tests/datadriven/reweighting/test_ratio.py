"""Density ratios: samples of a known ratio come out alike, with weights of both signs and values that are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pidlab.datadriven.reweighting.balance import Factors, balanced, weight_replicas
from pidlab.datadriven.reweighting.measure import Rows, separation
from pidlab.datadriven.reweighting.ratio import BinRatio, TreeRatio, Weighted, bin_ratio, equal_populations, tree_ratio
from pidlab.datadriven.reweighting.reweighter import (
    Group,
    Reweighter,
    fitted_ratios,
    load_reweighter,
    out_of_fold,
)
from pidlab.errors import ModelError
from pidlab.split import event_hash, fold_of

FOLDS = 5
Float = NDArray[np.float64]


def true_ratio(z: Float) -> Float:
    """The density ratio of `toy`: of Exp(1) over Exp(2), and of a normal distribution over one that is shifted."""
    return np.asarray(2 * np.exp(-z[:, 0] / 2) * np.exp((z[:, 1] ** 2 - (z[:, 1] - 0.5) ** 2) * -0.5))


def toy(rng: np.random.Generator, n: int, *, target: bool) -> Float:
    x = rng.exponential(1.0 if target else 2.0, n)
    y = rng.normal(0.0 if target else 0.5, 1.0, n)
    return np.column_stack([x, y, rng.poisson(5, n)])


def rows(z: Float, weight: Float, first: int) -> Rows:
    event = event_hash([np.arange(first, first + len(z))])
    trains = np.arange(len(z)) < 0.6 * len(z)
    return Rows(Weighted(z, weight), event, fold_of(event, FOLDS, 1).astype(np.int64), trains, ~trains)


def fitted(source: Rows, target: Rows) -> tuple[tuple[TreeRatio, ...], Float]:
    """The ratios of the folds, and the weight of each row of the source by that which did not see it."""
    a, b = source.rows.take(source.trains), target.rows.take(target.trains)
    found = fitted_ratios(
        a,
        b,
        source.fold[source.trains],
        target.fold[target.trains],
        FOLDS,
        lambda s, t, hs, ht, k: tree_ratio(s, t, hs, ht, seed=k, n_jobs=1),
    )
    unbalanced = out_of_fold(found, a.z, source.fold[source.trains])
    found, _, _ = balanced(found, a, b, unbalanced, (source.event[source.trains], target.event[target.trains]), 1)
    ratios = tuple(ratio for ratio in found if isinstance(ratio, TreeRatio))
    weights = out_of_fold(ratios, source.rows.z, source.fold)
    return ratios, weights / weights[source.trains].mean()


def mean_and_error(values: Float, weight: Float) -> tuple[float, float]:
    mean = float(np.average(values, weights=weight))
    return mean, float(np.sqrt((weight**2 * (values - mean) ** 2).sum()) / abs(weight.sum()))


@pytest.mark.slow
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "sweights"])
def test_a_known_density_ratio_closes_in_the_auc_and_in_a_third_variable(signed: bool) -> None:
    rng = np.random.default_rng(11)
    z, wanted = toy(rng, 16_000, target=False), toy(rng, 16_000, target=True)
    weight = np.ones(16_000)
    if signed:  # of the target, 4,000 rows of the source's distribution are added and subtracted again
        other = toy(rng, 8_000, target=False)
        wanted = np.concatenate([wanted, other])
        weight = np.concatenate([weight, np.repeat([1.0, -1.0], 4_000)])
        order = rng.permutation(len(wanted))
        wanted, weight = wanted[order], weight[order]
    source, target = rows(z, np.ones(len(z)), 0), rows(wanted, weight, 10**6)
    ratios, factor = fitted(source, target)
    before = separation(source, target, None, (), seed=1, n_jobs=1)
    after = separation(source, target, factor, ratios, seed=1, n_jobs=1)
    assert before.value > 0.6
    assert after.low - 0.5 * (after.high - after.low) < 0.5 < after.high + 0.5 * (after.high - after.low)  # 2 errors
    third = np.sqrt(z[:, 0]) * np.cos(z[:, 1])  # known of neither, a function of what is made alike
    of_target = np.sqrt(wanted[:, 0]) * np.cos(wanted[:, 1])
    mine, error = mean_and_error(third[source.tests], factor[source.tests])
    theirs, other_error = mean_and_error(of_target[target.tests], weight[target.tests])
    unweighted = third[source.tests].mean()
    assert abs(mine - theirs) < 3 * np.hypot(error, other_error)
    assert abs(unweighted - theirs) > 5 * np.hypot(error, other_error)
    # The weights themselves: where both have many events, they are the ratio of the densities.
    inside = source.tests & (z[:, 0] < 3) & (np.abs(z[:, 1]) < 1.5)
    relative = factor[inside] / true_ratio(z[inside]) - 1
    assert np.abs(relative).mean() < (0.3 if signed else 0.2)


def test_a_missing_value_is_a_value_of_its_own() -> None:
    rng = np.random.default_rng(3)
    z, wanted = (rng.integers(0, 2, (20_000, 1)).astype(np.float64) for _ in range(2))
    z[rng.random(20_000) < 0.4, 0] = np.nan
    wanted[rng.random(20_000) < 0.1, 0] = np.nan
    half = np.arange(20_000) < 10_000
    ones = np.ones(10_000)
    parts = [Weighted(each[rows], ones) for rows in (half, ~half) for each in (z, wanted)]
    ratio = tree_ratio(*parts, seed=1, n_jobs=1)
    # of all rows, since those that are held out decide the size of the margins
    absent, share = np.isnan(z[:, 0]), [np.isnan(each).mean() for each in (z, wanted)]
    assert share == pytest.approx([0.4, 0.1], abs=0.02)
    assert ratio(z[absent]) == pytest.approx(share[1] / share[0], rel=0.03)
    assert ratio(z[~absent]).mean() == pytest.approx((1 - share[1]) / (1 - share[0]), rel=0.01)
    wanted = wanted[~np.isnan(wanted[:, 0])]
    there = Weighted(wanted[:9000], np.ones(9000))
    assert (tree_ratio(parts[0], there, parts[2], there, seed=1)(z[absent]) == 0).all()


def test_where_the_target_has_no_events_the_weight_is_zero() -> None:
    rng = np.random.default_rng(4)
    z, wanted = rng.uniform(0, 2, (8000, 1)), rng.uniform(0, 1, (8000, 1))
    ones = np.ones(4000)
    parts = (Weighted(each[s], ones) for s in (slice(4000), slice(4000, None)) for each in (z, wanted))
    ratio = tree_ratio(*parts, seed=1)
    assert (ratio(z[z[:, 0] > 1]) == 0).all()
    assert ratio(z[z[:, 0] < 0.98]).mean() == pytest.approx(2, rel=0.05)
    assert (ratio(np.array([[np.inf], [-np.inf], [np.nan]])) == 0).all()


def test_bins_are_the_shares_of_target_over_source() -> None:
    edges = [np.array([0.0, 1.0, 2.0])]
    source = Weighted(np.array([[0.5], [0.5], [1.0], [-7.0], [np.nan]]), np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    target = Weighted(np.array([[0.2], [1.9], [2.0], [np.nan], [99.0]]), np.array([1.0, 2.0, -1.0, 2.0, 1.0]))
    ratio = bin_ratio(source, target, edges)
    # shares: source 3/5, 1/5, 1/5; target 1/5, 2/5, 2/5 (an upper edge and beyond belong to the last bin)
    np.testing.assert_allclose(ratio.values, [1 / 3, 2.0, 2.0])
    np.testing.assert_array_equal(ratio(np.array([[0.0], [1.0], [np.nan]])), ratio.values)
    negative = Weighted(np.array([[0.5], [1.5]]), np.array([-1.0, 3.0]))
    assert bin_ratio(source, negative, edges).values.tolist() == [0.0, 7.5, 0.0]  # 3/2 of the sum over 1/5


def test_bins_of_equal_population_hold_equally_many() -> None:
    values = np.random.default_rng(1).exponential(size=10_000)
    counts, _ = np.histogram(values, equal_populations(values, 10))
    assert counts.min() > 990
    assert counts.max() < 1010
    assert len(equal_populations(np.full(5, 3.0), 10)) == 2


def test_trees_and_bins_are_saved_and_loaded_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    source = rows(toy(rng, 3000, target=False), np.ones(3000), 0)
    target = rows(toy(rng, 3000, target=True), np.ones(3000), 10**6)
    trees, _ = fitted(source, target)
    edges = [equal_populations(target.rows.z[:, j], 4) for j in range(3)]
    bins = bin_ratio(source.rows, target.rows, edges)
    z = np.concatenate([source.rows.z, [[np.nan, 0.0, 4.0], [np.inf, -np.inf, 3.0]]])
    event = event_hash([np.arange(len(z))])
    known = np.arange(len(z)) % 3 > 0
    replicas = tuple(
        Factors((j,), (np.array([-np.inf, 1.5, np.inf]),), np.float32(rng.uniform(0.5, 2, (4, 3))).astype(np.float64))
        for j in (0, 2)
    )
    for method, ratios in (("classifier", trees), ("bins", (bins, bins))):
        by_fold = np.float32(rng.uniform(0.9, 1.1, (len(ratios), 3))).astype(np.float64)
        shapes = tuple(Factors(each.columns, each.edges, by_fold) for each in replicas)
        group = Group("pion", ("pion",), ratios, 1.25, replicas, shapes if method == "classifier" else ())
        made = Reweighter(("x", "y", "n"), (group,), 1, method, "electron")
        folder = tmp_path / method
        folder.mkdir()
        made.save(folder)
        loaded = load_reweighter(folder)
        for arguments in ((z,), (z, event), (z, event, known)):
            expected = made.weights(group, *arguments)
            np.testing.assert_array_equal(loaded.weights(loaded.groups[0], *arguments), expected)
        assert loaded.branches.keys() == {"pid_weight_pion"}
        groups = (each.groups[0] for each in (made, loaded))
        both = (weight_replicas(each.factors, z, each.ratios, each.shapes) for each in groups)
        np.testing.assert_array_equal(*map(list, both))
        content = json.loads((folder / "reweighting" / "reweighting.json").read_text())
        del content["groups"][0]["replicas"], content["groups"][0]["shapes"]  # as in runs of older versions
        (folder / "reweighting" / "reweighting.json").write_text(json.dumps(content))
        assert load_reweighter(folder).groups[0].factors == ()
        content["groups"][0]["replicas"] = [{"columns": [3], "edges": [[0, 1]], "values": [[1, 1]]}]
        (folder / "reweighting" / "reweighting.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match="variables that there are not"):
            load_reweighter(folder)
        content["groups"][0] |= {"replicas": [], "shapes": [{"columns": [0], "edges": [[0, 1]], "values": [[1, 1]]}]}
        (folder / "reweighting" / "reweighting.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match="not as many as folds"):
            load_reweighter(folder)


def test_an_event_of_the_run_takes_the_fit_that_did_not_see_it_and_others_the_mean() -> None:
    ratios = tuple(BinRatio((np.array([0.0, 1.0]),), np.array([float(k), 0.0])) for k in range(FOLDS))
    group = Group("pion", ("pion",), ratios, 2.0)
    made = Reweighter(("x",), (group,), 7, "bins", "electron")
    event = event_hash([np.arange(1000)])
    z = np.full((1000, 1), 0.5)
    np.testing.assert_array_equal(made.weights(group, z, event), 2.0 * fold_of(event, FOLDS, 7))
    known = np.arange(1000) < 500
    mixed = made.weights(group, z, event, known)
    np.testing.assert_array_equal(mixed[:500], 2.0 * fold_of(event[:500], FOLDS, 7))
    assert (mixed[500:] == 4.0).all()
