"""How often the intervals of a regression hold the truth: residuals of known bias, RMS, σ68, and pulls of known width.

    python benchmarks/residual_coverage.py [--toys N] [--sizes 100,300,1000,5000] [--json FILE]

Each toy has about N candidates whose weighted residuals are a Gaussian of width 1 around 0.1, or one of these with a
twentieth of five times the width, and a predicted width of 1. The weights: one; exponential; of both signs, where 30 %
more candidates of another distribution have weights 1 and -1 that cancel; pairs of one event that share half of the
variance. Each interval is nominally 68.3 %. The bars: between .60 and .80, and at most .85 for shares of candidates,
whose interval is that of Clopper and Pearson; a share of .683 scatters by .021 in 500 toys.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

from pidlab.evaluate.regression.metrics import residual_metrics
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.regression.statistics import EventWeights
from pidlab.measured import Measured

Array = NDArray[np.float64]
CENTRE = 0.1
WEIGHTINGS = ("unit", "exponential", "signed", "shared", "tails")
SHARES = ("within_one", "within_two", "quantile")
"""Shares of candidates, whose exact interval holds the truth at least as often as it says."""
_TAILS, _WIDER = 0.05, 5.0


class Residuals(NamedTuple):
    """Residuals (n,) with their weights and the numbers of their events."""

    residual: Array
    weight: Array
    event: NDArray[np.uint64]


def toy_residuals(n: int, rng: np.random.Generator, weighting: str) -> Residuals:
    """Returns residuals of about n candidates."""
    residual, weight, event = CENTRE + rng.normal(size=n), np.ones(n), np.arange(n, dtype=np.uint64)
    if weighting == "exponential":
        weight = rng.exponential(size=n)
    if weighting == "signed":
        m = rng.poisson(0.15 * n, size=2)
        residual = np.concatenate([residual, rng.normal(0.5, 2.0, m.sum())])
        weight = np.concatenate([weight, np.ones(m[0]), -np.ones(m[1])])
        event = np.arange(len(weight), dtype=np.uint64)
    if weighting == "shared":
        event //= np.uint64(2)
        common = rng.normal(size=n // 2 + 1)[event.astype(np.int64)]
        residual = CENTRE + np.sqrt(0.5) * common + np.sqrt(0.5) * rng.normal(size=n)
    if weighting == "tails":
        residual = CENTRE + rng.normal(size=n) * np.where(rng.random(n) < _TAILS, _WIDER, 1.0)
    order = rng.permutation(len(weight))
    return Residuals(residual[order], weight[order], event[order] * np.uint64(0x9E3779B97F4A7C15))


def truth(weighting: str) -> dict[str, float]:
    """Returns the true number of each quantity."""
    tails = _TAILS if weighting == "tails" else 0.0

    def cdf(x: float) -> float:
        return float((1 - tails) * stats.norm.cdf(x - CENTRE) + tails * stats.norm.cdf((x - CENTRE) / _WIDER))

    def density(x: float) -> float:
        return float((1 - tails) * stats.norm.pdf(x - CENTRE) + tails * stats.norm.pdf(x - CENTRE, scale=_WIDER))

    variance = 1 - tails + tails * _WIDER**2
    half = stats.norm.cdf(1) - stats.norm.cdf(-1)
    # The distribution is symmetric around its centre, so the central and the smallest interval are the same.
    sigma68 = float(optimize.brentq(lambda s: cdf(CENTRE + s) - cdf(CENTRE - s) - half, 0.1, 10))
    mean_size = integrate.quad(lambda x: abs(x) * density(x), -60, 60, points=[0.0], limit=500)[0]
    mse = variance + CENTRE**2
    return {
        "bias": CENTRE,
        "median": CENTRE,
        "rms": float(np.sqrt(mse)),
        "sigma68": sigma68,
        "effective": sigma68,
        "mse": mse,
        "mae": float(mean_size),
        "chi2": mse,
        "pulls_mean": CENTRE,
        "pulls_width": float(np.sqrt(variance)),
        "pulls_sigma68": sigma68,
        "log_likelihood": float(-0.5 * (np.log(2 * np.pi) + mse)),
        "within_one": cdf(1) - cdf(-1),
        "within_two": cdf(2) - cdf(-2),
        "quantile": 1 - cdf(0),
    }


def measured(toy: Residuals) -> dict[str, Measured]:
    """Returns all numbers of a model that predicts a width of 1 and a median, for targets of 0."""
    value = toy.residual.astype(np.float32)
    numbers = np.unique(toy.event, return_inverse=True)[1]
    groups = numbers if len(numbers) > numbers.max() + 1 else None
    targets = Targets(np.zeros(len(value)), EventWeights(toy.weight, groups), toy.event)
    prediction = Prediction(value, np.ones(len(value), np.float32), {0.5: value})
    found = residual_metrics(Predicted.of(prediction, targets))
    pulls = found.pulls
    assert pulls is not None
    return {name: getattr(found, name) for name in ("bias", "median", "rms", "sigma68", "effective", "mse", "mae")} | {
        "chi2": pulls.chi2,
        "pulls_mean": pulls.mean,
        "pulls_width": pulls.width,
        "pulls_sigma68": pulls.sigma68,
        "log_likelihood": pulls.log_likelihood,
        "within_one": pulls.within_one,
        "within_two": pulls.within_two,
        "quantile": found.quantiles[0].share,
    }


def coverages(n: int, weighting: str, toys: int, seed: int = 1) -> dict[str, float]:
    """Returns how often the interval of each quantity holds the truth."""
    rng, true = np.random.default_rng(seed), truth(weighting)
    hits = dict.fromkeys(true, 0)
    for _ in range(toys):
        for name, found in measured(toy_residuals(n, rng, weighting)).items():
            hits[name] += found.low <= true[name] <= found.high
    return {name: count / toys for name, count in hits.items()}


def holds(name: str, coverage: float) -> bool:
    """Returns whether a coverage is within the bars."""
    return 0.60 <= coverage <= (0.85 if name in SHARES else 0.80)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=500)
    parser.add_argument("--sizes", default="100,300,1000,5000")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    names = list(truth("unit"))
    print("| weights | candidates |", " | ".join(names), "|")
    print("|---|---|" + "---|" * len(names))
    for weighting in WEIGHTINGS:
        for size in map(int, given.sizes.split(",")):
            found = coverages(size, weighting, given.toys)
            marks = ["" if holds(name, value) else " !" for name, value in found.items()]
            shown = (f"{value:.3f}".lstrip("0") + mark for value, mark in zip(found.values(), marks, strict=True))
            print(f"| {weighting} | {size} |", " | ".join(shown), "|", flush=True)
            rows.append({"weights": weighting, "size": size, **found})
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
