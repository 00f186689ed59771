"""Weights that make samples alike, in toys of known density ratio: the AUC after, a third variable, the ratio itself.

    python benchmarks/reweighting.py [TOYS] [EVENTS]

In each toy 60 % of the events of two samples train the weights, and the rest measure. The AUC after the weights should
be 0.5 within its interval as often as a 68.3 % interval holds the truth, and the mean of a function of the matched
variables that of the target. `soft` has a bounded ratio; in `hard` it grows without end towards the edge.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from pidlab.datadriven.reweighting.measure import Rows, separation
from pidlab.datadriven.reweighting.ratio import Weighted, tree_ratio
from pidlab.datadriven.reweighting.reweighter import fitted_ratios, out_of_fold
from pidlab.evaluate.intervals import effective_number
from pidlab.split import event_hash, fold_of

FOLDS = 5


def soft(rng: np.random.Generator, n: int, *, target: bool) -> np.ndarray:
    p = rng.exponential(1.0 if target else 2.0, n)
    return np.column_stack([p, rng.normal(0.0 if target else 0.5, 1.0, n), rng.poisson(5, n)])


def hard(rng: np.random.Generator, n: int, *, target: bool) -> np.ndarray:
    p = rng.exponential(1.0, n) if target else rng.gamma(2, 0.8, n)
    theta = rng.normal(0.5 if target else 0.6, 0.25 if target else 0.3, n) + 0.05 * p
    return np.column_stack([p, theta, rng.poisson(20 if target else 24, n)])


def rows(z: np.ndarray, first: int) -> Rows:
    event = event_hash([np.arange(first, first + len(z))])
    trains = np.arange(len(z)) < 0.6 * len(z)
    return Rows(Weighted(z, np.ones(len(z))), event, fold_of(event, FOLDS, 1).astype(np.int64), trains, ~trains)


def toy(seed: int, n: int, draw: Callable[..., np.ndarray]) -> tuple[float, float, float]:
    """The pulls of the AUC after and of the mean of a third variable, and the share of effective events left."""
    rng = np.random.default_rng(seed)
    source, target = rows(draw(rng, n, target=False), 0), rows(draw(rng, n, target=True), 10**7)
    a, b = source.rows.take(source.trains), target.rows.take(target.trains)
    folds = source.fold[source.trains], target.fold[target.trains]
    ratios = fitted_ratios(a, b, *folds, FOLDS, lambda *four: tree_ratio(*four[:4], seed=four[4], n_jobs=1))
    factor = out_of_fold(ratios, source.rows.z, source.fold)
    after = separation(source, target, factor, ratios, seed=1, n_jobs=1)
    side = after.value - after.low if after.value > 0.5 else after.high - after.value
    third = [np.sqrt(np.abs(each.rows.z[:, 0])) * np.cos(each.rows.z[:, 1]) for each in (source, target)]
    w, mine, wanted = factor[source.tests], third[0][source.tests], third[1][target.tests]
    mean = np.average(mine, weights=w)
    error = np.hypot(np.sqrt((w**2 * (mine - mean) ** 2).sum()) / w.sum(), wanted.std() / np.sqrt(len(wanted)))
    return (after.value - 0.5) / side, (mean - wanted.mean()) / error, effective_number(w) / len(w)


def main() -> None:
    n_toys, n = (int(word) for word in (*sys.argv[1:], *("20", "20000")[len(sys.argv) - 1 :]))
    for draw in (soft, hard):
        started = time.process_time()
        found = np.array([toy(seed, n, draw) for seed in range(n_toys)])
        seconds = (time.process_time() - started) / n_toys
        print(
            f"{draw.__name__}, {n:,} events of each: {seconds:.1f} s of CPU a toy, effective {found[:, 2].mean():.0%}"
        )
        for what, pulls in (("AUC after", found[:, 0]), ("third variable", found[:, 1])):
            inside, within_two = np.mean(np.abs(pulls) < 1), np.mean(np.abs(pulls) < 2)
            print(
                f"    {what:15} mean pull {pulls.mean():+.2f}, rms {np.sqrt((pulls**2).mean()):.2f}; within one error "
                f"{inside:.2f}, within two {within_two:.2f}"
            )


if __name__ == "__main__":
    main()
