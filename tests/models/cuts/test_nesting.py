"""Nested cuts at the working points asked for: as good as boxes of their own, for a price that is small and told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_search import all_boxes, counter_of, toy

from pidlab.errors import ModelError
from pidlab.models.cuts.anchors import anchors
from pidlab.models.cuts.estimator import Cuts
from pidlab.models.cuts.search import BoxScan, search_archive

POINTS = (0.90, 0.95, 0.99)


def without_hits(n: int, seed: int = 4, dark: float = 0.05) -> tuple[Any, Any]:
    """Electrons and pions, n of either, by nine features with long tails, 0 in most of them where a layer has no hit.

    45 % of the pions look like electrons in most respects. A share `dark` of the electrons has no photoelectrons, so a
    cut on those drops that share of the signal at once: .05 is as much as lies between two usual working points.
    """
    rng = np.random.default_rng(seed)
    y = np.repeat([1, 0], n)
    electron = y == 1
    like, size = electron | (rng.random(2 * n) < 0.45), 2 * n
    share = rng.normal(0.25 - 0.012 * ~electron, 0.028, size)
    share = np.where(like, share, np.abs(rng.normal(0.09, 0.05, size)))
    first, second = np.where(like, rng.beta(7, 3, size), rng.beta(2, 2.5, size)), rng.beta(4, 2, size)
    layers = [share * first, share * (1 - first) * second, share * (1 - first) * (1 - second)]
    no_hit = [rng.random(size) < np.where(like, *shares) for shares in ((0.01, 0.1), (0.07, 0.3), (0.3, 0.5))]
    widths = [
        np.exp(rng.normal(np.where(like, 0.8, mean), 0.5) + 0.2 * rng.standard_t(3, size)) for mean in (1.1, 1.0, 0.9)
    ]
    photoelectrons = rng.gamma(np.where(electron, 4, 2.8), np.where(like, 4, 2))
    photoelectrons[rng.random(size) < np.where(electron, dark, np.where(like, 0.12, 0.6))] = 0
    time = np.exp(rng.normal(np.where(electron, 1.0, 1.1), 0.35)) * (rng.random(size) > 0.12)
    delay = 0.08 * rng.standard_t(2, size) + 0.05 * ~electron
    columns = [np.where(none, 0, layer) for none, layer in zip(no_hit * 2, layers + widths, strict=True)]
    return np.stack([*columns, photoelectrons, time, delay], axis=1).astype(np.float32), y


@pytest.fixture(scope="module")
def pair() -> tuple[Cuts, Cuts, Any, Any]:
    x, y = without_hits(6000)
    return Cuts(efficiencies=POINTS).fit(x, y), Cuts(nested=False, efficiencies=POINTS).fit(x, y), x, y


def excess(nested: Cuts, own: Cuts, point: float, n: int) -> float:
    """What nesting adds to the misidentification, in units of a standard error and 2 %."""
    best = own.box(point).background
    return float((nested.box(point).background - best) / (np.sqrt(best * (1 - best) / n) + 0.02 * best))


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_there_is_a_box_at_each_point_where_candidates_without_hits_leave_together(pair: Any, point: float) -> None:
    nested, own, *_ = pair
    assert point <= nested.box(point).efficiency <= point + 0.005 + 1 / 6000
    # a chain drops the five per cent without photoelectrons either above .95 or below it, and the optima at .90 and .95
    # disagree where. Searches ten times as long, with three seeds, found no nested boxes below 1.59 in these units
    assert excess(nested, own, point, 6000) < 1.75


@pytest.mark.slow
def test_boxes_are_as_good_as_their_own_optima_where_nesting_allows_it() -> None:
    x, y = without_hits(6000, dark=0.03)
    nested, own = (Cuts(nested=n, efficiencies=POINTS).fit(x, y) for n in (True, False))
    for point in POINTS:
        assert point <= nested.box(point).efficiency <= point + 0.005 + 1 / 6000
        assert excess(nested, own, point, 6000) < 1


@pytest.mark.slow
def test_smooth_samples_pay_nearly_nothing() -> None:
    x, y = toy(8000)
    nested, own = (Cuts(nested=n, efficiencies=POINTS).fit(x, y) for n in (True, False))
    for point in POINTS:
        assert nested.box(point).efficiency <= point + 0.002
        # the binomial error is .003 at 90 %: what nesting costs cannot be seen
        assert nested.box(point).background <= own.box(point).background + 0.002


def test_the_chain_stays_nested_and_dense_between_the_points(pair: Any) -> None:
    boxes = pair[0].boxes_
    assert np.all(boxes.low[1:] >= boxes.low[:-1])
    assert np.all(boxes.high[1:] <= boxes.high[:-1])
    steps = np.sort(-np.diff(boxes.efficiency[boxes.efficiency > 0.3]))
    assert np.median(steps) < 0.002
    # candidates of one value leave together (five per cent without photoelectrons): that step is unavoidable, once
    assert steps[-2] < 0.025


def test_the_price_told_is_the_price_paid(pair: Any, tmp_path: Any) -> None:
    nested, own, x, y = pair
    assert [point.target for point in nested.nesting_] == list(POINTS)
    for point in nested.nesting_:
        passed = nested.box(point.target).passes(x)
        np.testing.assert_allclose(point.efficiency, passed[y == 1].mean(), rtol=1e-12, atol=0)
        np.testing.assert_allclose(point.background, passed[y == 0].mean(), rtol=1e-12, atol=0)
        # the search is the same up to the chain, which may find a better box than the search did
        assert point.own_optimum == min(own.box(point.target).background, point.background)
    nested.save(tmp_path)
    assert Cuts.load(tmp_path).nesting_ == nested.nesting_
    assert own.nesting_ == ()


def test_points_that_no_box_reaches_have_no_price_and_the_others_have_one() -> None:
    x, y = toy(500)
    model = Cuts(efficiencies=[0.3, 0.999], ranges={0: (1.2, 1.6)}, sides={0: "both"}, generations=20).fit(x, y)
    assert [point.target for point in model.nesting_] in ([], [0.3])
    with pytest.raises(ModelError, match=r"no box keeps 0\.999"):
        model.box(0.999)


def test_two_nested_boxes_together_are_the_best_of_all_pairs() -> None:
    rng = np.random.default_rng(7)
    y = np.repeat([1, 0], 400)
    x = np.clip(np.rint(rng.normal(np.where(y, 3.5, 2.0)[:, None], 1.2, (800, 2))), 0, 6)
    counter = counter_of(x, y)
    low, high = all_boxes(counter.grid)
    efficiency, background = counter.rates(low, high)
    archive = search_archive(counter, BoxScan(np.linspace(0.3, 0.99, 70), np.array([])), rng, 60)
    for loose, tight in ((60, 50), (50, 30), (69, 65)):
        wanted = archive.targets[[loose, tight]]

        def cost(_: Any, passed: Any) -> Any:
            return (passed**2).sum(axis=1)

        stack = anchors(archive, np.array([loose, tight]), cost, np.random.default_rng(0))
        reached, passed = stack.rates(counter)
        assert np.all(reached[0] >= wanted - 1e-12)
        outer, inner = (np.flatnonzero(efficiency >= target - 1e-12) for target in wanted)
        fits = np.all(low[outer][:, None] <= low[inner], axis=2) & np.all(high[outer][:, None] >= high[inner], axis=2)
        pairs = background[outer][:, None] ** 2 + background[inner] ** 2
        np.testing.assert_allclose(cost(None, passed)[0], pairs[fits].min(), rtol=1e-9, atol=0)
