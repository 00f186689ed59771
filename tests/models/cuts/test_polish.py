"""Polishing a box: never worse, never below the target, and where exchanges of two faces end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search import counter_of, toy

from pidlab.models.cuts.grid import Counter, Levels
from pidlab.models.cuts.polish import polish
from pidlab.models.cuts.search import random_boxes


@pytest.fixture(scope="module")
def counter() -> Counter:
    return counter_of(*toy(4000))


def background(counter: Counter, low: Levels, high: Levels) -> float:
    return float(counter.rates(low[None], high[None])[1][0])


def efficiency(counter: Counter, low: Levels, high: Levels) -> float:
    return float(counter.rates(low[None], high[None])[0][0])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.floats(0.3, 0.99))
def test_a_polished_box_reaches_the_target_with_no_more_background(counter: Counter, seed: int, target: float) -> None:
    lows, highs = random_boxes(counter.grid, 50, np.random.default_rng(seed))
    good = np.flatnonzero(counter.rates(lows, highs)[0] >= target)
    low, high = (lows[good[0]], highs[good[0]]) if len(good) else counter.grid.loosest
    polished = polish(counter, low, high, target)
    assert efficiency(counter, *polished) >= target
    assert background(counter, *polished) <= background(counter, low, high)


def test_no_exchange_of_two_faces_by_a_level_improves_a_polished_box(counter: Counter) -> None:
    low, high = polish(counter, *counter.grid.loosest, 0.9)
    best = background(counter, low, high)
    faces = [(side, j) for side in (0, 1) for j in range(len(low))]
    for (a, b), steps in itertools.product(itertools.combinations(faces, 2), itertools.product((-1, 1), repeat=2)):
        box = [low.copy(), high.copy()]
        for (side, j), step in zip((a, b), steps, strict=True):
            box[side][j] += step
        tried = counter.grid.repaired(box[0][None], box[1][None])
        reached, passed = counter.rates(*tried)
        assert reached[0] < 0.9 or passed[0] >= best - 1e-6


def test_one_window_is_found_exactly() -> None:
    rng = np.random.default_rng(3)
    y = np.repeat([1, 0], 500)
    x = np.clip(np.rint(rng.normal(np.where(y, 6, 4)[:, None], 2, (1000, 1))), 0, 12)
    counter = counter_of(x, y)
    n = int(counter.grid.n_levels[0])
    boxes = [np.array(pair) for pair in itertools.combinations_with_replacement(range(n), 2)]
    lows, highs = counter.grid.repaired(*(np.array([[b[i]] for b in boxes]) for i in (0, 1)))
    reached, passed = counter.rates(lows, highs)
    for target in (0.5, 0.8, 0.95):
        polished = polish(counter, *counter.grid.loosest, target)
        assert background(counter, *polished) == passed[reached >= target].min()
