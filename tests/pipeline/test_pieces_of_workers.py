"""Which worker trains on which pieces of a sample.

They stand apart from tests with a cluster, whose threads use `random`, which hypothesis does not allow meanwhile.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pidlab.pipeline.distributed import training


@given(
    sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    threads=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    data=st.data(),
)
def test_workers_train_about_as_many_rows_for_each_thread_wherever_the_pieces_are(
    sizes: list[int], threads: list[int], data: st.DataObject
) -> None:
    """dask may hold most pieces, or copies of all, on one worker, which then trained alone while others waited."""
    workers = {f"w{i}": n for i, n in enumerate(threads)}
    holders = st.lists(st.sampled_from(sorted(workers)), unique=True)
    held = {n: data.draw(holders) for n in range(len(sizes))}
    places = training.divided(dict(enumerate(sizes)), held, workers)
    assert sorted(n for numbers in places.values() for n in numbers) == list(range(len(sizes)))
    load = [sum(sizes[n] for n in numbers) / workers[worker] for worker, numbers in places.items()]
    assert max(load) <= sum(sizes) / sum(threads) + max(sizes)  # its share, and a piece


def test_a_piece_stays_with_a_worker_that_holds_it_where_work_is_shared_as_well_then() -> None:
    held = {0: ["b"], 1: ["a"], 2: ["b"], 3: ["a"]}
    assert training.divided(dict.fromkeys(held, 10), held, {"a": 1, "b": 1}) == {"a": [1, 3], "b": [0, 2]}


def test_a_worker_without_rows_of_a_side_leaves_its_pieces_to_another() -> None:
    """xgboost cannot train where a process has no events, or none for validation."""

    def rows(*weights: float) -> training._Weighted:
        return training._Weighted((slice(0, len(weights)),), np.array(weights, np.float32))

    train = {0: rows(1, 2), 1: rows(0, 0), 2: rows(1), 3: rows(1)}
    validation = {0: rows(1), 1: rows(1), 3: rows(2)}
    places = {"a": [1], "b": [0], "c": [2], "d": [3]}
    assert training._with_all(places, [train, validation]) == {"b": [0, 1, 2], "d": [3]}
    assert training._with_all(places, [train]) == {"b": [0, 1], "c": [2], "d": [3]}
    assert training._with_all({"a": [1], "c": [2]}, [train, validation]) == {"a": [1, 2]}
