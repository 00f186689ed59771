"""How often the interval of the AUC holds the truth: normal scores of known AUC, weights of seven kinds.

    python benchmarks/auc_coverage.py [--toys N] [--sizes 50,200,2000] [--processes N] [--json FILE]

Each toy has N candidates of each class with normal scores of unit spread, and each interval is nominally 68.3 %. The
weights: one; exponential; -1 for 30 % of the candidates, else 1; sWeights (Pivk and Le Diberder, NIM A 555 (2005) 356)
of a peak over a flat background, which is 40 % of the candidates and scores one standard deviation lower, so that
weights and scores go together; 50 for one candidate in ten, else 1; log-normal with a standard deviation of the
logarithm of 1 and of 3. The bars: at least .64 everywhere (.60 for the wide log-normal weights, where a handful of
candidates is the sample), and at most .9 where a class has more than 200 effective events. Fewer may cover more: what
they do not show is taken from a model of the variance that is cautious near 1.

Beside ours stands the logit interval from influences alone, which pidlab had before.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from weighted import AWAY, Array, weights

from pidlab.evaluate.ranking import auc, auc_influence

AREAS = (0.55, 0.9, 0.99, 0.999)
KINDS = (
    "unit",
    "exponential",
    "30 % negative",
    "one in ten of 50",
    "log-normal, σ = 1",
    "log-normal, σ = 3",
    "sWeights",
)


class Row(NamedTuple):
    """Coverage and median width of both intervals, and the median effective number of events of the smaller class."""

    weights: str
    area: float
    size: int
    n_eff: float
    coverage: float
    width: float
    coverage_logit: float
    width_logit: float

    @property
    def holds(self) -> bool:
        least = 0.60 if self.weights == "log-normal, σ = 3" else 0.64
        return least <= self.coverage <= (0.9 if self.n_eff > 200 else 1)


def toy(kind: str, area: float, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], Any, Array]:
    """(2 n,) scores, which are signal, weights."""
    is_signal = np.arange(2 * n) < n
    centre = np.where(is_signal, np.sqrt(2) * special.ndtri(area), 0.0)
    weight, background = weights(kind, 2 * n, rng)
    return rng.normal(centre - AWAY * background).astype(np.float32), is_signal, weight


def logit_bounds(score: NDArray[np.float32], is_signal: Any, weight: Array) -> tuple[float, float]:
    """One standard deviation of the influences on the logit; symmetric for weights of both signs."""
    influence = auc_influence(score, is_signal, weight)
    if influence is None:
        return float("nan"), float("nan")
    value, deviation = influence.value, influence.deviation()
    if not 0 < value < 1 or np.any(weight < 0):
        return value - deviation, value + deviation
    centre, width = special.logit(value), deviation / (value * (1 - value))
    return float(special.expit(centre - width)), float(special.expit(centre + width))


class Cell(NamedTuple):
    """Toys of one kind of weights, one area and `size` candidates of each class."""

    kind: str
    area: float
    size: int
    n_toys: int

    def row(self) -> Row:
        """The coverage in toys that have random numbers of their own."""
        rng = np.random.default_rng([1, KINDS.index(self.kind), AREAS.index(self.area), self.size])
        found, logit = [], []
        for _ in range(self.n_toys):
            one = toy(self.kind, self.area, self.size, rng)
            found.append(auc(*one))
            logit.append(logit_bounds(*one))
        bounds = [np.array([m[1:3] for m in found]), np.array(logit)]
        shares = [float(np.mean((b[:, 0] <= self.area) & (self.area <= b[:, 1]))) for b in bounds]
        widths = [float(np.median(b[:, 1] - b[:, 0])) for b in bounds]
        n_eff = float(np.median([m.n for m in found]))
        return Row(self.kind, self.area, self.size, n_eff, shares[0], widths[0], shares[1], widths[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=4000, help="samples for each row")
    parser.add_argument("--sizes", default="50,200,2000", help="candidates of each class")
    parser.add_argument("--kinds", default=";".join(KINDS), help="of weights, divided by ;")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the table there")
    options = parser.parse_args()
    start, table = time.perf_counter(), []
    print(
        "| weights | AUC | n | n_eff | coverage | width | logit alone | its width |\n|---|---|---|---|---|---|---|---|"
    )
    sizes = [int(n) for n in options.sizes.split(",")]
    cells = [Cell(kind, a, n, options.toys) for kind in options.kinds.split(";") for a in AREAS for n in sizes]
    with ProcessPoolExecutor(options.processes) as pool:
        for row in pool.map(Cell.row, cells):
            table.append(row)
            print(
                f"| {row.weights} | {row.area:g} | {row.size} | {row.n_eff:.0f} | {row.coverage:.3f} | {row.width:.4f} "
                f"| {row.coverage_logit:.3f} | {row.width_logit:.4f} |",
                flush=True,
            )
    missed = [(row.weights, row.area, row.size) for row in table if not row.holds]
    print(f"\n{options.toys} toys in {time.perf_counter() - start:.0f} s; outside their bars: {missed or 'none'}")
    if options.json:
        content = {"toys": options.toys, "rows": [row._asdict() | {"holds": row.holds} for row in table]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
