"""How often the intervals hold the truth: simulated samples of known answer, weights of four kinds.

    python benchmarks/interval_coverage.py [--toys N] [--json FILE]

Each toy is a sample of 400 candidates (of each class), and each interval is nominally 68.3 %. The weights: one;
exponential; -1 for 20 % of the candidates, else 1; and sWeights (Pivk and Le Diberder, NIM A 555 (2005) 356) of a peak
over a flat background, which is 40 % of the candidates and passes less often than the signal, so that weights and
scores go together. Differences are between two scores of the same candidates; the misidentification is quoted at 90 %
signal efficiency, with thresholds from 400 candidates of each class of their own.
Beside the efficiencies stand the intervals in common use, on the same toys.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from weighted import AWAY, Array, weights

from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.intervals import clopper_pearson, efficiency, wilson
from pidlab.evaluate.points.working_points import choose
from pidlab.evaluate.ranking import auc
from pidlab.evaluate.results import ModelResult, WorkingPoint
from pidlab.measured import UNDEFINED
from pidlab.sample import Sample

KINDS = ("unit", "exponential", "20 % negative", "sWeights")
N = 400
TARGET = 0.9
DIRECTIONS = {"a": np.array([1.0, 0.0]), "b": np.array([1.5, 0.9])}
SEPARATION = np.array([1.5, 0.9])


class Row(NamedTuple):
    """The coverage of one interval by kind of weights; `least` and `most` are the bars, None where there is none."""

    quantity: str
    interval: str
    coverage: dict[str, float]
    least: float | None
    most: float | None

    @property
    def holds(self) -> bool:
        return self.least is None or all(self.least <= c <= (self.most or 1) for c in self.coverage.values())


def efficiencies(truth: float, n_toys: int, rng: np.random.Generator) -> Iterator[Row]:
    """Ours, and on the same toys the interval in common use for such weights."""
    ours: dict[str, float] = {}
    others: dict[str, dict[str, float]] = {"normal": {}, "Wilson, n_eff": {}, "Clopper-Pearson, n_eff": {}}
    for kind in KINDS:
        weight, background = weights(kind, N * n_toys, rng)
        passed = rng.random(N * n_toys) < np.where(background, truth * special.ndtr(-AWAY), truth)
        w, chosen = weight.reshape(n_toys, N), passed.reshape(n_toys, N)
        sums = [s.sum(axis=1) for s in (w * chosen, w, w**2 * chosen, w**2)]
        found = efficiency(sums[0], sums[1], sums[2], sums[3])
        ours[kind] = _share(found.low, found.high, truth)
        with np.errstate(invalid="ignore"):
            half = np.sqrt(np.maximum(found.value * (1 - found.value), 0) / found.n)
        bounds = {
            "normal": (found.value - half, found.value + half),
            "Wilson, n_eff": wilson(found.value, found.n),
            "Clopper-Pearson, n_eff": clopper_pearson(np.clip(found.value, 0, 1) * found.n, found.n),
        }
        for name, (low, high) in bounds.items():
            others[name][kind] = _share(low, high, truth)
    least, most = (0.65, 0.75) if truth == TARGET else (None, None)
    yield Row(f"efficiency {truth:g}", "pidlab", ours, least, most)
    yield from (Row(f"efficiency {truth:g}", name, coverage, None, None) for name, coverage in others.items())


def _share(low: Array, high: Array, truth: float) -> float:
    return float(np.mean((low <= truth) & (truth <= high)))


def toy(kind: str, rng: np.random.Generator) -> Sample:
    """400 candidates of each class in two features, normal and apart by SEPARATION."""
    n = 2 * N
    y = np.arange(n) % 2
    weight, background = weights(kind, n, rng)
    x = rng.normal(size=(n, 2)) + np.where(y == 0, 1.0, 0.0)[:, None] * SEPARATION - AWAY * background[:, None]
    whole = np.arange(n)
    return Sample(
        x=x.astype(np.float32), y=y, weight=weight, event=whole.astype(np.uint64), features=("x0", "x1"),
        classes=("signal", "other"), signal=0, spectators={}, columns={}, file=np.zeros(n, np.int32), row=whole,
    )  # fmt: skip


def scores(sample: Sample, model: str) -> NDArray[np.float32]:
    """(n, 2) of a linear model, the signal's score first."""
    value = sample.x @ DIRECTIONS[model].astype(np.float32)
    return np.stack([value, -value], axis=1)


def truths() -> tuple[float, float, float]:
    """The AUC of model a, the AUC of b less that of a, and the misidentification of b less that of a."""
    apart = [d @ SEPARATION / np.linalg.norm(d) for d in DIRECTIONS.values()]
    areas = special.ndtr(np.array(apart) / np.sqrt(2))
    misids = special.ndtr(special.ndtri(TARGET) - np.array(apart))
    return float(areas[0]), float(areas[1] - areas[0]), float(misids[1] - misids[0])


def _thresholds(name: str, score: NDArray[np.float32], sample: Sample) -> ModelResult:
    points = tuple(
        WorkingPoint(*point, UNDEFINED, {}, {}, UNDEFINED)
        for point in choose(score[:, 0], sample, [TARGET], fixed_cut=False)
    )
    return ModelResult(name, "fisher", False, {}, points, {}, {}, (), None, None)


def paired(n_toys: int, rng: np.random.Generator) -> Iterator[Row]:
    """Areas, and differences of two models on the same candidates."""
    expected = dict(zip(("AUC", "difference in AUC", "difference in misid"), truths(), strict=True))
    coverage: dict[str, dict[str, float]] = {name: {} for name in expected}
    for kind in KINDS:
        hits = np.zeros(len(expected))
        for _ in range(n_toys):
            test, deciding = toy(kind, rng), toy(kind, rng)
            on_test = {name: scores(test, name) for name in DIRECTIONS}
            on_deciding = {name: scores(deciding, name) for name in DIRECTIONS}
            results = {name: _thresholds(name, on_deciding[name], deciding) for name in DIRECTIONS}
            (pair,) = compare_models(on_test, test, on_deciding, deciding, results)
            area = auc(on_test["a"][:, 0], test.is_signal, test.weight)
            found = (area, pair.delta_auc, pair.working_points[0].delta_misid)
            hits += [m.low <= truth <= m.high for m, truth in zip(found, expected.values(), strict=True)]
        for name, share in zip(expected, hits / n_toys, strict=True):
            coverage[name][kind] = float(share)
    yield from (Row(name, "pidlab", by_kind, 0.64, 0.76) for name, by_kind in coverage.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=4000, help="samples for each row and kind of weights")
    parser.add_argument("--json", type=Path, help="write the table there")
    options = parser.parse_args()
    start, rng, rows = time.perf_counter(), np.random.default_rng(1), []
    print(f"| quantity | interval | {' | '.join(KINDS)} |\n|---|---|{'---|' * len(KINDS)}")
    for truth in (0.9, 0.99, 0.5):
        rows += list(efficiencies(truth, options.toys, rng))
    rows += list(paired(options.toys, rng))
    for row in rows:
        print(f"| {row.quantity} | {row.interval} | {' | '.join(f'{row.coverage[k]:.3f}' for k in KINDS)} |")
    missed = [row.quantity for row in rows if not row.holds]
    print(f"\n{options.toys} toys in {time.perf_counter() - start:.0f} s; outside their bars: {missed or 'none'}")
    if options.json:
        content = {"toys": options.toys, "rows": [row._asdict() | {"holds": row.holds} for row in rows]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
