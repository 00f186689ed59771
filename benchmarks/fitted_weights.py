"""Whether intervals and winners hold where the weights were fitted: false winners, and the numbers of a regression.

    python benchmarks/fitted_weights.py [--toys N] [--events N] [--method classifier|bins]

In each toy the weights that make the background (or the events of a regression) like a target in two variables are
fitted on a training sample, as the section `reweight` does. Two models are equally good in the target, but the score
(or the residual) of one goes with the first variable, and that of the other with the second, so that a fluctuation of
the fitted weights moves them apart. In one toy of twenty at most any sentence may name a winner. Nominal 68.3 %
intervals of a regression should hold what an infinite sample of the target has. Both are shown for the replicas of the
weights, and for weights that are taken as known.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pidlab.datadriven.reweighting.balance import balanced, weight_replicas
from pidlab.datadriven.reweighting.ratio import Weighted, bin_ratio, equal_populations, tree_ratio
from pidlab.datadriven.reweighting.reweighter import fitted_ratios, out_of_fold
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.points.working_points import choose
from pidlab.evaluate.regression.compare import compare_predictions
from pidlab.evaluate.regression.metrics import residual_metrics
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.results import ModelResult, WorkingPoint
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import Sample, WeightReplicas
from pidlab.split import event_hash, fold_of

Array = NDArray[np.float64]
FOLDS = 5
SLOPE = 1.0
"""By how much scores and residuals change with a matched variable: as much as they scatter."""


def variables(rng: np.random.Generator, n: int, *, target: bool) -> Array:
    """Two variables (n, 2) of the target, or of the sample that is made like it; neither prefers one of them."""
    return rng.normal(0.0 if target else 0.4, 1.0 if target else 1.15, (n, 2))


def fitted(
    rng: np.random.Generator, n: int, method: str, seed: int
) -> Callable[[Array], tuple[Array, WeightReplicas | None]]:
    """Returns a function from variables (m, 2) of other events to their weights and the replicas of these."""
    source, target = (Weighted(variables(rng, n, target=t), np.ones(n)) for t in (False, True))
    events = tuple(event_hash([np.arange(first, first + n)]) for first in (0, n))
    folds = tuple(fold_of(each, FOLDS, seed).astype(np.int64) for each in events)
    if method == "bins":
        edges = [equal_populations(target.z[:, j], 8) for j in (0, 1)]
        ratios = fitted_ratios(source, target, *folds, FOLDS, lambda a, b, _, __, ___: bin_ratio(a, b, edges))
    else:
        ratios = fitted_ratios(
            source, target, *folds, FOLDS, lambda *four: tree_ratio(*four[:4], seed=seed + four[4], n_jobs=1)
        )
    ratios, factors, shapes = balanced(ratios, source, target, out_of_fold(ratios, source.z, folds[0]), events, seed)

    def weigh(z: Array) -> tuple[Array, WeightReplicas | None]:
        return np.mean([ratio(z) for ratio in ratios], axis=0), weight_replicas(factors, z, ratios, shapes)

    return weigh


def sample_of(y: Array, weight: Array, replicas: WeightReplicas | None, target: Array | None = None) -> Sample:
    n = len(y)
    return Sample(
        x=np.empty((n, 0), np.float32), y=y, weight=weight, event=event_hash([np.arange(n) + 10**7]), features=(),
        classes=("signal", "other") if target is None else ("",), signal=0, spectators={}, columns={},
        file=np.zeros(n, np.int32), row=np.arange(n), target=target, weight_replicas=replicas,
    )  # fmt: skip


def any_winner(rng: np.random.Generator, n: int, method: str, seed: int) -> Iterator[tuple[bool, bool]]:
    """Yields whether a working point, and the AUC, tells two models apart that are equally good in the target.

    First with the replicas of the weights, then with weights that are taken as known.
    """
    weigh = fitted(rng, n, method, seed)
    samples, scores = [], []
    for _ in ("test", "validation"):
        z = np.concatenate([variables(rng, n, target=True), variables(rng, n, target=False)])
        y = np.repeat([0, 1], n).astype(np.int8)
        weight, replicas = weigh(z)
        assert replicas is not None
        # The target's own events keep their weights: of these, all factors are 1.
        factors = np.concatenate([np.ones((len(replicas), 1)), replicas.factors], axis=1)
        cell, directions = np.where(y == 0, 0, replicas.cell + 1), replicas.directions
        made = replace(
            replicas, factors=factors, cell=cell, directions=directions * (y == 1) if len(directions) else directions
        )
        samples.append(sample_of(y, np.where(y == 0, 1.0, weight), made))
        common, own = rng.normal(size=(2 * n, 1)), rng.normal(size=(2 * n, 2))
        scores.append((np.sqrt(0.8) * common + np.sqrt(0.2) * own + SLOPE * z + 2.5 * (y == 0)[:, None]).astype("f4"))
    on_test, on_validation, results = {}, {}, {}
    for i, name in enumerate("ab"):
        on_test[name], on_validation[name] = (np.stack([s[:, i], -s[:, i]], axis=1) for s in scores)
        chosen = choose(scores[1][:, i], samples[1], [0.9, 0.95], fixed_cut=False)
        points = tuple(WorkingPoint(*point, UNDEFINED, {}, {}, UNDEFINED) for point in chosen)
        results[name] = ModelResult(name, "fisher", False, {}, points, {}, {}, (), None, None)
    for known in (False, True):
        test, validation = (replace(each, weight_replicas=None) if known else each for each in samples)
        (pair,) = compare_models(on_test, test, on_validation, validation, results)
        yield any(bool(p.winner) for p in pair.working_points), pair.auc_p_adjusted <= 0.05


QUANTITIES = ("bias", "median", "rms", "sigma68", "mae", "width of pulls", "within 1 σ", "share below")
_LARGE = 1_000_000


def truth() -> dict[str, Measured]:
    """What both models of a regression have in the target, from a sample without end."""
    rng = np.random.default_rng(0)
    z = variables(rng, _LARGE, target=True)
    return numbers(residual(rng, z)[:, 0], np.ones(_LARGE), None)


def residual(rng: np.random.Generator, z: Array) -> Array:
    """The residuals (n, 2) of two models, of which each has a bias and a width that go with one variable."""
    common, own = rng.normal(size=(len(z), 1)), rng.normal(size=(len(z), 2))
    return 0.5 * SLOPE * z + np.exp(0.25 * z) * (np.sqrt(0.8) * common + np.sqrt(0.2) * own)


def predicted_of(values: Array, weight: Array, replicas: WeightReplicas | None) -> Predicted:
    n = len(values)
    width, quantile = np.full(n, 1.2, np.float32), np.full(n, 0.5, np.float32)
    sample = sample_of(np.zeros(n, np.int8), weight, replicas, np.zeros(n))
    return Predicted.of(
        Prediction(values.astype(np.float32), width, {0.6: quantile - values.astype("f4")}), Targets.of(sample)
    )


def numbers(values: Array, weight: Array, replicas: WeightReplicas | None) -> dict[str, Measured]:
    found = residual_metrics(predicted_of(values, weight, replicas))
    pulls = found.pulls
    assert pulls is not None
    each = found.bias, found.median, found.rms, found.sigma68, found.mae, pulls.width, pulls.within_one
    return dict(zip(QUANTITIES, (*each, found.quantiles[0].share), strict=True))


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=500)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--method", choices=("classifier", "bins"), default="classifier")
    asked = parser.parse_args()
    expected = truth()
    started = time.process_time()
    false = np.zeros((2, 3))
    held = {name: np.zeros(2) for name in QUANTITIES}
    pulls = {name: [] for name in QUANTITIES}
    wrong = np.zeros(2)
    for toy in range(asked.toys):
        for i, found in enumerate(any_winner(np.random.default_rng(toy), asked.events, asked.method, toy)):
            false[i] += *found, any(found)
        rng = np.random.default_rng(10**6 + toy)
        weigh = fitted(rng, asked.events, asked.method, toy)
        z = variables(rng, asked.events, target=False)
        values, (weight, replicas) = residual(rng, z), weigh(z)
        for i, each in enumerate((replicas, None)):
            mine = numbers(values[:, 0], weight, each)
            for name, measured in mine.items():
                held[name][i] += measured.low <= expected[name].value <= measured.high
                if i == 0:
                    half = (measured.high - measured.low) / 2
                    pulls[name].append((measured.value - expected[name].value) / half)
            predicted = {name: predicted_of(values[:, j], weight, each) for j, name in enumerate("ab")}
            (pair,) = compare_predictions(predicted)
            wrong[i] += any(bool(one.winner) for one in pair.quantities)
    n = asked.toys
    print(f"{n} toys of {asked.events} events, {asked.method}, {(time.process_time() - started) / n:.2f} s of CPU each")
    print("| | with replicas | weights taken as known |\n|---|---|---|")
    for what, (ours, known) in zip(("a working point", "the AUC", "any of them"), (false / n).T, strict=True):
        print(f"| false winner by {what} | {ours:.3f} | {known:.3f} |")
    print(f"| false winner of a regression | {wrong[0] / n:.3f} | {wrong[1] / n:.3f} |")
    for name in QUANTITIES:
        ours, known = held[name] / n
        pull = f"pull {np.mean(pulls[name]):+.2f}, rms {np.std(pulls[name]):.2f}"
        print(f"| {name} held ({pull}) | {ours:.3f} | {known:.3f} |")


if __name__ == "__main__":
    main()
