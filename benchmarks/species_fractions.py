"""Coverage of the intervals of species fractions, in 500 toys for each case: yields, fractions and the inverted matrix.

    python benchmarks/species_fractions.py [TOYS]

The interval of one standard error should hold the truth in 68.3 % of the toys; .65 to .75 is asked.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from pidlab.datadriven.fractions.bins import counts, score_bins
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


def scores_of(values: np.ndarray, names: list[str]) -> np.ndarray:
    """Posterior probabilities (n, k) of equal abundances, which an ideal model would give."""
    powers = [(values ** (a - 1)) * (1 - values) ** (b - 1) / _beta(a, b) for a, b in (SHAPES[n] for n in names)]
    densities = np.column_stack(powers)
    return (densities / densities.sum(axis=1, keepdims=True)).astype(np.float32)


def _beta(a: float, b: float) -> float:
    from scipy import special

    return float(special.beta(a, b))


def main() -> None:
    n_toys = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for what, (expected, n_template) in CASES.items():
        rng, started = np.random.default_rng(1), time.process_time()
        hits = np.array([toy(rng, expected, n_template) for _ in range(n_toys)]).mean(axis=0)
        seconds = (time.process_time() - started) / n_toys
        print(f"{what}: {1000 * seconds:.0f} ms of CPU a toy")
        for method, row in zip(("yield, fit", "fraction, fit", "yield, inverted"), hits, strict=True):
            print(f"    {method:16} " + "  ".join(f"{n} {h:.3f}" for n, h in zip(expected, row, strict=True)))


if __name__ == "__main__":
    main()
