"""Weights that make samples alike, in toys of known density ratio: the AUC after, a third variable, the ratio itself.

    python benchmarks/reweighting.py [TOYS] [EVENTS]

In each toy 60 % of the events of two samples train the weights, and the rest measure. The AUC after the weights should
be 0.5 within its interval as often as a 68.3 % interval holds the truth, and means of functions of the matched
variables those of the target, with the error of the weights by replicas. `soft` has a bounded ratio; in `hard` it grows
without end towards the edge.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from pidlab.datadriven.reweighting.balance import balanced, weight_replicas
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


FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sqrt(p) cos(theta)": lambda z: np.sqrt(np.abs(z[:, 0])) * np.cos(z[:, 1]),
    "theta squared": lambda z: z[:, 1] ** 2,
    "p times n": lambda z: z[:, 0] * z[:, 2],
    "p < 0.3": lambda z: z[:, 0] < 0.3,
    "p > 2.5": lambda z: z[:, 0] > 2.5,
}


def toy(seed: int, n: int, draw: Callable[..., np.ndarray]) -> tuple[np.ndarray, float]:
    """The pulls of the AUC after and of each mean, by statistical and by whole errors; the effective events left."""
    rng = np.random.default_rng(seed)
    source, target = rows(draw(rng, n, target=False), 0), rows(draw(rng, n, target=True), 10**7)
    a, b = source.rows.take(source.trains), target.rows.take(target.trains)
    folds = source.fold[source.trains], target.fold[target.trains]
    ratios = fitted_ratios(a, b, *folds, FOLDS, lambda *four: tree_ratio(*four[:4], seed=four[4], n_jobs=1))
    events = source.event[source.trains], target.event[target.trains]
    ratios, factors, shapes = balanced(ratios, a, b, out_of_fold(ratios, a.z, folds[0]), events, 1)
    factor = out_of_fold(ratios, source.rows.z, source.fold)
    after = separation(source, target, factor, ratios, seed=1, n_jobs=1)
    side = after.value - after.low if after.value > 0.5 else after.high - after.value
    pulls = [[(after.value - 0.5) / side] * 2]
    z, w = source.rows.z[source.tests], factor[source.tests]
    replicas = list(weight_replicas(factors, z, ratios, shapes))
    for function in FUNCTIONS.values():
        mine, wanted = function(z), function(target.rows.z[target.tests])
        mean = np.average(mine, weights=w)
        error = np.hypot(np.sqrt((w**2 * (mine - mean) ** 2).sum()) / w.sum(), wanted.std() / np.sqrt(len(wanted)))
        of_weights = np.sqrt(np.mean([(np.average(mine, weights=w * each) - mean) ** 2 for each in replicas]))
        pulls.append([(mean - wanted.mean()) / whole for whole in (error, np.hypot(error, of_weights))])
    return np.array(pulls), effective_number(w) / len(w)


def main() -> None:
    n_toys, n = (int(word) for word in (*sys.argv[1:], *("20", "20000")[len(sys.argv) - 1 :]))
    for draw in (soft, hard):
        started = time.process_time()
        found = [toy(seed, n, draw) for seed in range(n_toys)]
        seconds = (time.process_time() - started) / n_toys
        kept = np.mean([effective for _, effective in found])
        print(f"{draw.__name__}, {n:,} events of each: {seconds:.1f} s of CPU a toy, effective {kept:.0%}")
        pulls = np.array([each for each, _ in found])
        for i, what in enumerate(("AUC after", *FUNCTIONS)):
            plain, whole = pulls[:, i].T
            print(
                f"    {what:20} mean pull {whole.mean():+.2f}, rms {np.sqrt((whole**2).mean()):.2f} (weights taken as "
                f"known {plain.mean():+.2f}, {np.sqrt((plain**2).mean()):.2f}); within one error "
                f"{np.mean(np.abs(whole) < 1):.2f}, within two {np.mean(np.abs(whole) < 2):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
