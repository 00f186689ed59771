"""The split: by a hash of the event key, so that no event changes its sample when files change."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pidlab.split import Part, event_hash, fold_of, split

RUN = np.repeat(np.arange(100, dtype=np.int32), 1000)
EVENT = np.tile(np.arange(1000, dtype=np.int64), 100) + 2**33


def test_shares_are_as_asked() -> None:
    part = split(event_hash([RUN, EVENT]), 0.25, 0.15, seed=1)
    n = np.bincount(part, minlength=3)
    expected = np.array([0.75 * 0.85, 0.75 * 0.15, 0.25]) * len(part)
    assert stats.chisquare(n, expected).pvalue > 1e-4


def test_neighbouring_events_and_runs_are_independent() -> None:
    is_test = (split(event_hash([RUN, EVENT]), 0.5, 0, seed=1) == Part.TEST).reshape(100, 1000)
    for pairs in (is_test[:, 1:] == is_test[:, :-1], is_test[1:] == is_test[:-1]):
        assert stats.binomtest(int(pairs.sum()), pairs.size).pvalue > 1e-4


@given(st.integers(0, 2**32), st.permutations(range(50)))
def test_shuffling_and_skimming_move_no_event(seed: int, order: list[int]) -> None:
    whole = split(event_hash([RUN, EVENT]), 0.3, 0.2, seed)
    rows = np.array(order[:30]) * 1999
    assert np.array_equal(split(event_hash([RUN[rows], EVENT[rows]]), 0.3, 0.2, seed), whole[rows])


@given(st.integers(0, 2**31 - 1))
def test_the_integer_type_does_not_matter(number: int) -> None:
    hashes = {int(event_hash([np.array([number], kind)])[0]) for kind in (np.int32, np.int64, np.uint32, np.uint64)}
    assert len(hashes) == 1


def test_events_above_two_to_the_24_stay_apart() -> None:
    event = 2**24 + np.arange(1000, dtype=np.int64)
    assert len(np.unique(event_hash([event]))) == 1000


def test_another_seed_is_another_split() -> None:
    event = event_hash([EVENT])
    same = split(event, 0.5, 0, seed=1) == split(event, 0.5, 0, seed=2)
    assert abs(same.mean() - 0.5) < 0.02


def test_folds_are_equal_and_independent_of_the_split() -> None:
    event = event_hash([RUN, EVENT])
    folds = fold_of(event, 5, seed=1)
    table = [np.bincount(folds[split(event, 0.5, 0, 1) == part], minlength=5) for part in (Part.TRAIN, Part.TEST)]
    assert stats.chi2_contingency(table).pvalue > 1e-4
    assert stats.chisquare(np.bincount(folds)).pvalue > 1e-4


def test_a_declared_test_sample_is_kept() -> None:
    declared = EVENT % 4 == 0
    assert np.array_equal(split(event_hash([RUN, EVENT]), declared, 0.1, 1) == Part.TEST, declared)
