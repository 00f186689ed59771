"""Coverage of the intervals of species fractions, in 500 toys for each case: yields, fractions and the inverted matrix.

    python benchmarks/species_fractions.py [TOYS] [--weights]

With --weights the candidates have heavy or negative weights, and the fitted yields are looked at.
The interval of one standard error should hold the truth in 68.3 % of the toys; .65 to .75 is asked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from pidlab.datadriven.fractions.bins import Counts, counts, score_bins
from pidlab.datadriven.fractions.fit import fit_templates, invert_matrix

SHAPES = {"electron": (5.0, 1.5), "pion": (1.5, 4.0), "kaon": (3.0, 3.0)}
CASES = {
    "1000 candidates, templates of 300": ({"electron": 300.0, "pion": 700.0}, 300),
    "1000 candidates, 10 % signal, templates of 2000": ({"electron": 100.0, "pion": 900.0}, 2000),
    "5000 candidates, templates of 200": ({"electron": 2500.0, "pion": 2500.0}, 200),
    "20,000 candidates, templates of 20,000": ({"electron": 4000.0, "pion": 16000.0}, 20_000),
    "1500 candidates of three classes, templates of 500": ({"electron": 500.0, "pion": 600.0, "kaon": 400.0}, 500),
}


def toy(rng: np.random.Generator, expected: dict[str, float], n_template: int) -> list[list[bool]]:
    """Whether yields and fractions by the fit, and yields by the inverted matrix, hold the truth; class by class."""
    names, total = list(expected), sum(expected.values())
    values = np.concatenate([rng.beta(*SHAPES[name], size=rng.poisson(n)) for name, n in expected.items()])
    held = np.concatenate([rng.beta(*SHAPES[name], size=n_template) for name in names])
    y = np.repeat(np.arange(len(names)), n_template)
    scores = scores_of(held, names)
    bins = score_bins(scores, y, np.ones(len(y)), tuple(names), 0, column=0, threshold=0.5)
    of_data, m = scores_of(values, names), sum(bins.sizes.values())
    place, decided = bins.places(scores), bins.decisions(scores)
    templates = {name: counts(place[y == i], np.ones(n_template), m) for i, name in enumerate(names)}
    matrix = {name: counts(decided[y == i], np.ones(n_template), len(names)) for i, name in enumerate(names)}
    ones = np.ones(len(values))
    found = fit_templates(counts(bins.places(of_data), ones, m), templates).yields
    inverted = invert_matrix(counts(bins.decisions(of_data), ones, len(names)), matrix)[0]
    return [
        [found.yields[name].low <= expected[name] <= found.yields[name].high for name in names],
        [found.fractions[name].low <= expected[name] / total <= found.fractions[name].high for name in names],
        [inverted.yields[name].low <= expected[name] <= inverted.yields[name].high for name in names],
    ]


WEIGHTS: dict[str, tuple[float, Callable[[np.random.Generator, int], np.ndarray]]] = {
    "20 % negative": (0.6, lambda rng, n: np.where(rng.random(n) < 0.2, -1.0, 1.0)),
    "one in ten of 50": (5.9, lambda rng, n: np.where(rng.random(n) < 0.1, 50.0, 1.0)),
    "exponential": (1.0, lambda rng, n: rng.exponential(1.0, n)),
}
"""The mean of each kind of weights, and how they are drawn."""


def weighted_toy(rng: np.random.Generator, kind: str) -> list[tuple[bool, float]]:
    """Whether each yield's interval holds, and its pull: 300 electrons and 700 pions, 2000 template events of each."""
    expected, n_bins = {"electron": 300.0, "pion": 700.0}, 20
    mean, draw = WEIGHTS[kind]
    values = np.concatenate([rng.beta(*SHAPES[name], size=rng.poisson(n)) for name, n in expected.items()])

    def counted(values: np.ndarray, weight: np.ndarray) -> Counts:
        return counts(np.minimum((values * n_bins).astype(np.int64), n_bins - 1), weight, n_bins)

    templates = {name: counted(rng.beta(*SHAPES[name], size=2000), np.ones(2000)) for name in expected}
    found = fit_templates(counted(values, draw(rng, len(values))), templates).yields.yields
    return [
        (m.low <= mean * expected[name] <= m.high, (m.value - mean * expected[name]) / (m.high - m.low) * 2)
        for name, m in found.items()
    ]


def scores_of(values: np.ndarray, names: list[str]) -> np.ndarray:
    """Posterior probabilities (n, k) of equal abundances, which an ideal model would give."""
    powers = [(values ** (a - 1)) * (1 - values) ** (b - 1) / _beta(a, b) for a, b in (SHAPES[n] for n in names)]
    densities = np.column_stack(powers)
    return (densities / densities.sum(axis=1, keepdims=True)).astype(np.float32)


def _beta(a: float, b: float) -> float:
    from scipy import special

    return float(special.beta(a, b))


def main() -> None:
    numbers = [int(each) for each in sys.argv[1:] if each.isdecimal()]
    n_toys = numbers[0] if numbers else 500
    if "--weights" in sys.argv:
        for kind in WEIGHTS:
            rng = np.random.default_rng(1)
            found = np.array([weighted_toy(rng, kind) for _ in range(n_toys)])
            held, pull = found[..., 0].mean(axis=0), found[..., 1].mean(axis=0)
            print(
                f"{kind:18} " + "  ".join(f"held {h:.3f}, mean pull {p:+.3f}" for h, p in zip(held, pull, strict=True))
            )
        return
    for what, (expected, n_template) in CASES.items():
        rng, started = np.random.default_rng(1), time.process_time()
        hits = np.array([toy(rng, expected, n_template) for _ in range(n_toys)]).mean(axis=0)
        seconds = (time.process_time() - started) / n_toys
        print(f"{what}: {1000 * seconds:.0f} ms of CPU a toy")
        for method, row in zip(("yield, fit", "fraction, fit", "yield, inverted"), hits, strict=True):
            print(f"    {method:16} " + "  ".join(f"{n} {h:.3f}" for n, h in zip(expected, row, strict=True)))


if __name__ == "__main__":
    main()
