"""How often one of two equally good models is said to beat the other, and how much the best of several flatters itself.

    python benchmarks/false_winners.py [--toys N] [--sizes 50:30,100:60] [--processes N] [--best] [--json FILE]

Every model of a toy has the same distribution of scores, so each sentence that names a winner is false, and the AUC of
each is known. Two models share most of what they see (correlation 0.8 of their scores within a class). The sentences
promise 95 %, and the 68.3 % intervals of the differences hold zero in as many toys.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special
from sklearn.isotonic import IsotonicRegression
from weighted import AWAY, Array, weights

from pidlab.errors import DataError
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.points.working_points import choose
from pidlab.evaluate.ranking import auc
from pidlab.evaluate.results import Comparison, ModelResult, WorkingPoint
from pidlab.evaluate.verdicts import ERROR
from pidlab.measured import UNDEFINED
from pidlab.sample import Sample

TARGETS = (0.9, 0.95, 0.99)
KINDS = ("unit", "exponential", "30 % negative", "sWeights", "one in ten of 50", "log-normal, σ = 2")
SCORES = ("continuous", "rounded", "isotonic", "nested cuts")
SIZES = ((50, 30), (100, 60), (400, 160), (4000, 1600))
"""Candidates of each class in test and in validation."""
AUC = 0.9
SHARED = 0.8  # the correlation of two models' scores within a class
MOST = 0.07
"""The largest share of false winners that passes for 5 %: 600 toys scatter by .009."""


class Toy(NamedTuple):
    """A sample and what each of the models sees of it, (n, models, 2) normal deviates, larger in the signal."""

    sample: Sample
    seen: Array


def toy(kind: str, n: int, n_models: int, rng: np.random.Generator, shared: float = SHARED) -> Toy:
    """`n` candidates of each class; each model alone reaches `AUC`."""
    y = np.arange(2 * n) % 2
    weight, background = weights(kind, 2 * n, rng)
    common, own = rng.normal(size=(2 * n, 1, 2)), rng.normal(size=(2 * n, n_models, 2))
    apart = special.ndtri(AUC) * np.sqrt(2)
    seen = np.sqrt(shared) * common + np.sqrt(1 - shared) * own + (apart * (y == 0) - AWAY * background)[:, None, None]
    whole = np.arange(2 * n)
    sample = Sample(
        x=seen[:, :, 0].astype(np.float32), y=y, weight=weight, event=whole.astype(np.uint64),
        features=tuple(f"x{i}" for i in range(n_models)), classes=("signal", "other"), signal=0, spectators={},
        columns={}, file=np.zeros(2 * n, np.int32), row=whole,
    )  # fmt: skip
    return Toy(sample, seen)


def scored(how: str, validation: Toy, test: Toy, rng: np.random.Generator) -> list[tuple[Array, Array]]:
    """For each model the signal's score (n,) on validation and on test."""
    found = []
    # Thirty nested boxes of two windows. All models have the same edges: with others each would be another one's equal
    # no more, since a target that lies far from the nearest edges costs misidentification.
    edges = np.sort(rng.uniform(-1.5, 2.5, 30))
    for i in range(test.seen.shape[1]):
        on = [t.seen[:, i, 0] for t in (validation, test)]
        if how == "rounded":
            on = [np.round(2 * s) / 2 for s in on]
        elif how == "isotonic":
            steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            steps.fit(on[0], validation.sample.is_signal)
            on = [steps.predict(s) for s in on]
        elif how == "nested cuts":
            on = [np.searchsorted(edges, t.seen[:, i].min(axis=1)) / 30 for t in (validation, test)]
        found.append((on[0].astype(np.float32), on[1].astype(np.float32)))
    return found


def compared(how: str, validation: Toy, test: Toy, rng: np.random.Generator) -> tuple[Comparison, ...]:
    """The comparisons of all models of a toy."""
    on_test, on_validation, results = {}, {}, {}
    for i, (deciding, quoted) in enumerate(scored(how, validation, test, rng)):
        name = f"m{i}"
        on_validation[name], on_test[name] = (np.stack([s, -s], axis=1) for s in (deciding, quoted))
        chosen = choose(deciding, validation.sample, list(TARGETS), fixed_cut=False)
        points = tuple(WorkingPoint(*point, UNDEFINED, {}, {}, UNDEFINED) for point in chosen)
        results[name] = ModelResult(name, "fisher", False, {}, points, {}, {}, (), None, None)
    return compare_models(on_test, test.sample, on_validation, validation.sample, results)


class Shares(NamedTuple):
    """Shares of false winners, among `n` toys of which `unset` had no threshold.

    Attributes:
        by_point: of sentences that name a winner, by working point: corrected for the comparisons of the toy.
        alone: of p-values of at most .05, by working point: what the sentences would be if each were the only one.
        held: of 68.3 % intervals of the difference that hold zero, by working point.
        any_of_them: of toys in which any sentence names a winner.
    """

    by_point: dict[str, float]
    alone: dict[str, float]
    held: dict[str, float]
    any_of_them: float
    n: int
    unset: int


def false_winners(
    kind: str,
    how: str,
    sizes: tuple[int, int],
    n_toys: int,
    rng: np.random.Generator,
    *,
    n_models: int = 2,
    shared: float = SHARED,
) -> Shares:
    """How often equally good models are told apart, with `sizes` candidates of each class in test and validation."""
    named, alone, held = (dict[str, list[bool]]() for _ in range(3))
    any_of_them, unset = [], 0
    for _ in range(n_toys):
        test, validation = (toy(kind, n, n_models, rng, shared) for n in sizes)
        try:
            pairs = compared(how, validation, test, rng)
        except DataError:  # weights of both signs that leave no signal
            unset += 1
            continue
        points = [point for pair in pairs for point in pair.working_points]
        for point in points:
            named.setdefault(point.name, []).append(" beats " in point.verdict)
            alone.setdefault(point.name, []).append(point.p <= ERROR)
            held.setdefault(point.name, []).append(point.delta_misid.low <= 0 <= point.delta_misid.high)
        any_of_them.append(any(" beats " in point.verdict for point in points))
    shares = ({name: float(np.mean(told)) for name, told in each.items()} for each in (named, alone, held))
    return Shares(*shares, float(np.mean(any_of_them)) if any_of_them else 0.0, n_toys, unset)


class Cell(NamedTuple):
    """Toys of one kind of score and of weights, with `sizes` candidates of each class in test and validation."""

    scores: str
    kind: str
    sizes: tuple[int, int]
    n_toys: int
    seed: tuple[int, ...]


class Row(NamedTuple):
    """A cell: the shares of toys with any sentence that names a winner, and the largest share of p-values below .05 at
    any point; the least and the largest share of 68.3 % intervals that hold zero."""

    cell: Cell
    any_of_them: float
    largest: float
    least_held: float
    most_held: float

    @property
    def holds(self) -> bool:
        return max(self.largest, self.any_of_them) <= MOST

    def __str__(self) -> str:
        told = f"{self.any_of_them:.3f} / {self.largest:.3f} / {self.least_held:.2f}–{self.most_held:.2f}"
        return told.replace("0.", ".")


def measured(cell: Cell) -> Row:
    """The shares of a cell, whose toys have random numbers of their own."""
    rng = np.random.default_rng(cell.seed)
    found = false_winners(cell.kind, cell.scores, cell.sizes, cell.n_toys, rng)
    alone, held = (each.values() for each in (found.alone, found.held))
    return Row(cell, found.any_of_them, *(f(each, default=0.0) for f, each in ((max, alone), (min, held), (max, held))))


def rows(n_toys: int, sizes: list[tuple[int, int]], seed: int, pool: ProcessPoolExecutor) -> Iterator[list[Row]]:
    """Pairs of equally good models: each kind of score with each kind of weights, in all sizes."""
    table = [(how, kind) for how in SCORES for kind in KINDS]
    cells = [Cell(how, kind, size, n_toys, (seed, i, *size)) for i, (how, kind) in enumerate(table) for size in sizes]
    found = pool.map(measured, cells)
    for _ in table:
        yield [next(found) for _ in sizes]


class Flattery(NamedTuple):
    """How far the best AUC of `n_models` equal models lies above the truth, and how often a sentence is false."""

    n_models: int
    n_test: int
    above: float
    any_false: float


def best_of_many(n_models: int, n_test: int, n_toys: int, rng: np.random.Generator) -> Flattery:
    """The bias of the best AUC on test, from `n_test` candidates of each class, and the share of toys with a winner."""
    best, false = [], []
    for _ in range(n_toys):
        test, validation = (toy("unit", n, n_models, rng) for n in (n_test, max(n_test * 2 // 5, 30)))
        best.append(max(auc(np.ascontiguousarray(s), test.sample.is_signal, test.sample.weight).value
                        for s in test.seen[:, :, 0].T.astype(np.float32)))  # fmt: skip
        if n_models <= 6:
            pairs = compared("continuous", validation, test, rng)
            false.append(any(" beats " in p.verdict for pair in pairs for p in pair.working_points))
    return Flattery(n_models, n_test, float(np.mean(best)) - AUC, float(np.mean(false)) if false else float("nan"))


def print_rows(options: argparse.Namespace, pool: ProcessPoolExecutor) -> list[Row]:
    """The table of false winners, as `docs/statistics.md` has it."""
    sizes: list[tuple[int, int]] = options.sizes
    print(f"| scores | weights | {' | '.join(f'{t}, {v}' for t, v in sizes)} |\n|---|---|{'---|' * len(sizes)}")
    found: list[Row] = []
    for row in rows(options.toys, sizes, options.seed, pool):
        found += row
        print(f"| {row[0].cell.scores} | {row[0].cell.kind} | {' | '.join(map(str, row))} |", flush=True)
    missed = [f"{row.cell.scores}, {row.cell.kind}, {row.cell.sizes}" for row in found if not row.holds]
    print(f"\n{options.toys} toys; more than {MOST} false winners: {missed or 'none'}\n")
    return found


def print_flattery(n_toys: int, rng: np.random.Generator) -> list[Flattery]:
    """The table of the best of many models."""
    print("| models | candidates of each class | best AUC too good by | any false winner |\n|---|---|---|---|")
    flattered = []
    for n_models in (2, 6, 20, 50):
        for n_test in (200, 1000, 4000):
            told = best_of_many(n_models, n_test, max(n_toys * 200 // (n_models * n_test) * 10, 50), rng)
            flattered.append(told)
            print(f"| {n_models} | {n_test} | {told.above:.4f} | {told.any_false:.3f} |", flush=True)
    return flattered


def _sizes(text: str) -> list[tuple[int, int]]:
    """Sizes of test and validation, as in 50:30,100:60."""
    pairs = [each.split(":") for each in text.split(",")]
    return [(int(test), int(validation)) for test, validation in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=600, help="toys of each cell of the table")
    parser.add_argument("--sizes", type=_sizes, default=list(SIZES), help="candidates of a class in test:validation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--best", action="store_true", help="also the table of the best of many models")
    parser.add_argument("--json", type=Path, help="write the tables there")
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        found = print_rows(options, pool)
    flattered = print_flattery(1000, np.random.default_rng(options.seed)) if options.best else []
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.json:
        content = {"false winners": [r._asdict() for r in found], "best of many": [f._asdict() for f in flattered]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
