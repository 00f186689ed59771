"""Nested cuts at the working points asked for: as good as boxes of their own, for a price that is small and told."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_search import all_boxes, counter_of, toy

from pidlab.errors import ModelError
from pidlab.expressions import parse, selects
from pidlab.models.cuts.estimator import Cuts
from pidlab.models.cuts.nesting import nested_at_targets
from pidlab.models.cuts.search import BoxScan, search_archive

POINTS = (0.90, 0.95, 0.99)


def without_hits(n: int, dark: float = 0.05) -> tuple[Any, Any]:
    """The sample of benchmarks/electrons.py: a share `dark` of the electrons has no photoelectrons."""
    path = Path(__file__).parents[3] / "benchmarks" / "electrons.py"
    spec = importlib.util.spec_from_file_location("electrons", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: tuple[Any, Any] = module.without_hits(n, seed=4, dark=dark)
    return found


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
    # one chain drops the five per cent without photoelectrons either above .95 or below it, and the optima at .90 and
    # .95 disagree where: searches ten times as long, with three seeds, found no chain below 1.59 in these units. Two
    # chains are accepted together, and each drops them where it is best
    assert excess(nested, own, point, 6000) < 1


@pytest.mark.slow
def test_boxes_are_as_good_as_their_own_optima_where_nesting_allows_it() -> None:
    x, y = without_hits(6000, dark=0.03)
    nested, own = (Cuts(nested=n, efficiencies=POINTS).fit(x, y) for n in (True, False))
    for point in POINTS:
        assert point <= nested.box(point).efficiency <= point + 0.005 + 1 / 6000
        assert excess(nested, own, point, 6000) < 1


def few(n: int) -> tuple[Any, Any]:
    """n signal candidates and thirty times as many of background."""
    rng = np.random.default_rng(n)
    y = np.repeat([1, 0], [n, 30 * n])
    return rng.normal(np.where(y, 1.2, 0.0)[:, None], 1.0, (len(y), 4)).astype(np.float32), y


@pytest.mark.parametrize("n", [75, 78, 119, 159])
@pytest.mark.parametrize("nested", [True, False])
def test_boxes_of_few_signal_candidates_keep_the_number_nearest_to_the_share_asked_for(n: int, nested: bool) -> None:
    x, y = few(n)
    model = Cuts(nested=nested, efficiencies=POINTS, generations=30).fit(x, y)
    for point in POINTS:
        passed = int(model.box(point).passes(x[y == 1]).sum())
        # a sample has no box between k and k + 1 candidates: at least the share would be up to one more
        assert abs(passed / n - point) <= max(0.5 / n, 0.005) + 1e-12
        if not nested:
            assert passed == np.floor(point * n + 0.5)  # the larger one where both are as near


def test_boxes_of_weighted_candidates_keep_the_share_less_half_of_the_lightest_at_most() -> None:
    x, y = few(300)
    weight = np.random.default_rng(0).exponential(size=len(y))
    signal = weight[y == 1] / weight[y == 1].sum()
    for nested in (True, False):
        model = Cuts(nested=nested, efficiencies=POINTS, generations=30).fit(x, y, weight)
        for point in POINTS:
            kept = signal[model.box(point).passes(x[y == 1])].sum()
            assert point - signal.min() / 2 - 1e-9 <= kept <= point + 0.005 + signal.max()


def test_the_share_that_a_box_keeps_is_the_same_after_loading(tmp_path: Any) -> None:
    x, y = few(78)
    model = Cuts(efficiencies=POINTS, generations=30).fit(x, y)
    model.save(tmp_path)
    loaded = Cuts.load(tmp_path)
    for point in POINTS:
        assert loaded.box(point).efficiency == model.box(point).efficiency < point + 0.5 / 78
    # cuts of older runs do not say what an event weighs: their boxes keep at least the share, as they did
    path = tmp_path / "cuts.json"
    content = json.loads(path.read_text())
    for windows in content["windows"]:
        del windows["event"]
    path.write_text(json.dumps(content))
    old = Cuts.load(tmp_path)
    assert all(old.box(point).efficiency >= point - 1e-9 for point in POINTS)


@pytest.mark.slow
def test_smooth_samples_pay_nearly_nothing() -> None:
    x, y = toy(8000)
    nested, own = (Cuts(nested=n, efficiencies=POINTS).fit(x, y) for n in (True, False))
    for point in POINTS:
        assert nested.box(point).efficiency <= point + 0.002
        # the binomial error is .003 at 90 %: what nesting costs cannot be seen
        assert nested.box(point).background <= own.box(point).background + 0.002


def test_chains_stay_nested_and_dense_between_the_points(pair: Any) -> None:
    boxes = pair[0].boxes_
    assert len(boxes.chains()) == 2
    for chain in boxes.chains():
        assert np.all(chain.low[1:] >= chain.low[:-1])
        assert np.all(chain.high[1:] <= chain.high[:-1])
    steps = np.sort(-np.diff(boxes.efficiency[boxes.efficiency > 0.3]))
    assert np.median(steps) < 0.002
    # candidates of one value leave together (five per cent without photoelectrons): that step is unavoidable, once
    assert steps[-2] < 0.025


def test_a_threshold_between_two_chains_accepts_a_box_of_either(pair: Any, tmp_path: Path) -> None:
    nested, _, x, _ = pair
    boxes, score = nested.boxes_, nested.scores(x)[:, 1]
    _, second = boxes.starts
    for level in (second - 40, second - 1, second, second + 40):
        threshold = boxes.level_score[level]
        box = nested.threshold_box(threshold)
        assert len(box.alternatives) == (level < second)
        np.testing.assert_array_equal(box.passes(x), score > np.float32(threshold))
        columns = {f"x{j}": x[:, j] for j in range(x.shape[1])}
        text = parse(box.cut_string(list(columns)))
        np.testing.assert_array_equal(selects(text, columns, len(x)), score > np.float32(threshold))
    nested.save(tmp_path)
    again = Cuts.load(tmp_path)
    assert again.boxes_.starts == boxes.starts
    np.testing.assert_array_equal(again.scores(x), nested.scores(x))


@pytest.mark.parametrize("starts", [[1, 200], [0, 0, 200], [0, 100_000], [0, 150]])
def test_a_saved_file_whose_chains_are_out_of_order_is_refused(pair: Any, tmp_path: Path, starts: list[int]) -> None:
    pair[0].save(tmp_path)
    file = tmp_path / "cuts.json"
    content = json.loads(file.read_text())
    content["windows"][0]["starts"] = starts
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"cuts\.json"):
        Cuts.load(tmp_path)


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
    with pytest.raises(ModelError, match=r"no box keeps 99\.9 %"):
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

        stack = nested_at_targets(archive, np.array([loose, tight]), cost, np.random.default_rng(0))
        reached, passed = counter.rates(*stack[:, 0])
        assert np.all(reached >= wanted - 1e-12)
        outer, inner = (np.flatnonzero(efficiency >= target - 1e-12) for target in wanted)
        fits = np.all(low[outer][:, None] <= low[inner], axis=2) & np.all(high[outer][:, None] >= high[inner], axis=2)
        pairs = background[outer][:, None] ** 2 + background[inner] ** 2
        np.testing.assert_allclose(cost(None, passed[None])[0], pairs[fits].min(), rtol=1e-9, atol=0)
