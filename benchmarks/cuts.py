"""Optimised cuts beside scipy's differential evolution and a genetic search: rejection at equal signal efficiency.

    python benchmarks/cuts.py [--only NAME] [--json FILE] [--times 10] [--seed S] [--data FOLDER]

The rivals ask for six efficiencies one by one, count boxes with the same compiled code, and get `--times` the CPU time
that the cuts took for their whole curve. Rejections are on test, at exactly the wanted signal efficiency there: a box
whose efficiency comes out a little beside it is moved along the slope of the cuts' training curve, the same for all (at
99 % a tenth of a per cent of signal is worth half a per cent of background, more than what is compared). A standard
error is the background's binomial error and, by the same slope, the signal's; the cuts are told the six efficiencies,
as the rivals are. One sample decides the sum of ten variables by its 99 % point: try other seeds.
Nested cuts stand beside `nested: false` at 90, 95 and 99 %, on training, in units of a standard error and 2 % of the
misidentification; on a made sample without hits too (five and three per cent of the electrons share one value), and on
MAGIC (`magic/magic04.data`) and D+ (`alice_dplus/*.root`) where FOLDER holds them.
Time against TMVA is scaled by xgboost, which is trained in the same run: 109 CPU s for TMVA's genetic search where
xgboost (850 trees of depth 3, one thread) took 4.1.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uproot
from electrons import without_hits
from numpy.typing import NDArray
from rows import Part, Row, arguments_of, at_least, at_most, run, shown
from scipy.optimize import differential_evolution
from sklearn.metrics import roc_auc_score
from toy import BACKGROUND, N_BACKGROUND, N_SIGNAL, SIGNAL, gaussian, sheared
from xgboost import XGBClassifier

from pidlab.models.cuts.edges import cut_edges
from pidlab.models.cuts.estimator import Cuts
from pidlab.models.cuts.grid import Allowed, BinnedColumns, Counter, Grid, Levels
from pidlab.models.cuts.search import box_levels, evolve, genes_of, random_boxes
from pidlab.models.cuts.windows import Windows

Array = NDArray[np.float64]
POINTS = (0.50, 0.70, 0.80, 0.90, 0.95, 0.99)
TMVA_SECONDS, TMVA_XGBOOST_SECONDS = 109.0, 4.1


class Sample(NamedTuple):
    """x (n, d), y (n,) for training and for test."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def halves(n_variables: int, seed: int = 20240607) -> Sample:
    """72,000 signal and 216,000 background events, halved: correlated Gaussians under a shear.

    Three variables are those of the TMVA table; ten add seven that separate less and less.
    """
    rng = np.random.default_rng(seed)
    z = np.concatenate([gaussian(rng, N_SIGNAL, *SIGNAL), gaussian(rng, N_BACKGROUND, *BACKGROUND)])
    y = np.repeat([1, 0], [N_SIGNAL, N_BACKGROUND])
    x = sheared(z)
    if n_variables == 10:
        x = np.concatenate([0.6 * x + rng.normal(0, 0.8, x.shape), _weaker(rng, y)], axis=1)
    order = rng.permutation(len(y))
    x, y = x[order].astype(np.float32), y[order]
    test = np.zeros(len(y), dtype=bool)
    for label in (0, 1):
        rows = np.flatnonzero(y == label)
        test[rows[len(rows) // 2 :]] = True
    return Sample(x[~test], y[~test], x[test], y[test])


def _weaker(rng: np.random.Generator, y: NDArray[np.int64]) -> Array:
    """Seven variables: shifted, wider, narrower, skewed, and with a share of values that were not measured."""
    n = len(y)
    x = np.stack([rng.normal(0.8 * y / (j + 1), 1 + 0.3 * (j % 2) * (1 - y)) for j in range(7)], axis=1)
    x[:, 5] = rng.gamma(2 + 2 * y)
    x[:, 6] = np.where(rng.random(n) < 0.02 + 0.08 * (1 - y), -999, x[:, 6] + 0.5 * x[:, 0])
    return x


class Rival(NamedTuple):
    """A search for one box, and what it needs: genes in [0, 1], (K, 2d), to cost (K,)."""

    name: str
    search: Callable[[Callable[[Array], Array], Grid], None]


class _TimeIsUpError(Exception):
    pass


def differential(cost: Callable[[Array], Array], grid: Grid) -> None:
    """scipy's differential evolution, restarted with another seed until the time is up."""
    n_genes = 2 * len(grid.n_levels)
    for seed in range(1000):
        start = genes_of(grid, *random_boxes(grid, 6 * n_genes, np.random.default_rng(seed)))
        differential_evolution(
            lambda u: cost(u.T), [(0, 1)] * n_genes, init=start, vectorized=True, updating="deferred",
            maxiter=100_000, polish=False, rng=seed, tol=1e-8,
        )  # fmt: skip


def genetic(cost: Callable[[Array], Array], grid: Grid) -> None:
    """A genetic search with population 200, until the time is up."""
    evolve(cost, grid, np.random.default_rng(0), 1_000_000)


RIVALS = (Rival("differential evolution", differential), Rival("genetic", genetic))


def best_box(rival: Rival, counter: Counter, target: float, seconds: float) -> tuple[Levels, Levels]:
    """The box of least background among all that the rival tried with at least the target's efficiency."""
    stop = time.process_time() + seconds
    best: list[Any] = [np.inf, counter.grid.loosest]

    def cost(genes: Array) -> Array:
        if time.process_time() > stop:
            raise _TimeIsUpError
        low, high = box_levels(counter.grid, genes)
        efficiency, background = counter.rates(low, high)
        reached = np.where(efficiency >= target, background, np.inf)
        i = int(np.argmin(reached))
        if reached[i] < best[0]:
            best[:] = [reached[i], (low[i], high[i])]
        return background + 10 * np.maximum(target - efficiency, 0)

    with contextlib.suppress(_TimeIsUpError):
        rival.search(cost, counter.grid)
    box: tuple[Levels, Levels] = best[1]
    return box


def counter_of(sample: Sample) -> Counter:
    """The training sample on the grid that the cuts use."""
    is_signal, weight, allowed = sample.y == 1, np.ones(len(sample.y)), Allowed()
    edges = [cut_edges(x, is_signal, weight, allowed) for x in sample.x.T]
    columns = [BinnedColumns.of(sample.x[rows], weight[rows], edges) for rows in (is_signal, ~is_signal)]
    return Counter(Grid.of(edges, [allowed] * len(edges)), *columns)


def fitted(sample: Sample, **options: Any) -> tuple[Cuts, float]:
    """Cuts and the CPU seconds they took, compiled code warm."""
    start = time.process_time()
    model = Cuts(**options).fit(sample.x, sample.y)
    return model, time.process_time() - start


def rejection(low: Array, high: Array, point: float, curve: Windows, sample: Sample) -> float:
    """Background rejection on test of one box (d,), at `point` of the test signal along the slope of `curve`."""
    passed = np.all((sample.x_test > low) & (sample.x_test < high), axis=1)
    efficiency, background = passed[sample.y_test == 1].mean(), passed[sample.y_test == 0].mean()
    return float(1 - background - slope(curve, point) * (point - efficiency))


def slope(curve: Windows, point: float) -> float:
    """Background by signal efficiency at a point of the curve, averaged over at most a per cent either side."""
    width = min(0.01, 0.9 * (1 - point))
    at = np.interp([point - width, point + width], curve.efficiency[::-1], curve.background[::-1])
    return float((at[1] - at[0]) / (2 * width))


def standard_errors(rejected: Array, curve: Windows, is_signal: NDArray[np.bool_]) -> Array:
    """(6,) of rejections at fixed signal efficiency: the background's binomial error, and the signal's by the slope."""
    points = np.array(POINTS)
    slopes = np.array([slope(curve, point) for point in POINTS])
    background = rejected * (1 - rejected) / np.sum(~is_signal)
    return np.asarray(np.sqrt(background + slopes**2 * points * (1 - points) / np.sum(is_signal)))


def rejections(model: Cuts, curve: Windows, sample: Sample) -> Array:
    """(6,) background rejection on test."""
    boxes = [model.box(point) for point in POINTS]
    return np.array([rejection(b.low, b.high, p, curve, sample) for b, p in zip(boxes, POINTS, strict=True)])


def rival_rejections(rival: Rival, curve: Windows, sample: Sample, seconds: float) -> Array:
    """(6,) background rejection on test of a search that has `seconds` for all six points."""
    counter = counter_of(sample)
    rejected = []
    for point in POINTS:
        faces = counter.grid.values(*best_box(rival, counter, point, seconds / len(POINTS)))
        rejected.append(rejection(*faces, point, curve, sample))
    return np.array(rejected)


def against_rivals(sample: Sample, times: float) -> list[Row]:
    """Rows: own optima against the better rival, and the nested chain against the own optima."""
    label = f"cuts, {sample.x.shape[1]} variables"
    is_signal = sample.y_test == 1
    free, seconds = fitted(sample, nested=False, efficiencies=POINTS)
    nested, nested_seconds = fitted(sample, efficiencies=POINTS)
    curve = nested.boxes_
    own, chained = rejections(free, curve, sample), rejections(nested, curve, sample)
    rivals = {rival.name: rival_rejections(rival, curve, sample, times * seconds) for rival in RIVALS}
    print(f"{label}: {seconds:.2f} CPU s, nested {nested_seconds:.2f}; rivals {times * seconds:.1f} each")
    for name, rejected in {"cuts": own, "cuts, nested": chained, **rivals}.items():
        print(f"  {name:24s}" + " ".join(f"{r:.4f}" for r in rejected))
    rows = []
    for name, rejected in rivals.items():
        error = standard_errors(rejected, curve, is_signal)
        rows.append(
            at_least(f"{label}: against {name}, worst point, standard errors", ((own - rejected) / error).min(), -1)
        )
        rows.append(at_least(f"{label}: against {name}, sum of rejections", float((own - rejected).sum()), 0))
    rows.append(at_least(f"{label}: nested against own optima, worst point", float((chained - own).min()), -0.01))
    return rows


def against_tmva(sample: Sample) -> list[Row]:
    """Rows: time against TMVA's genetic search as recorded, and background at 90 % signal."""
    start = time.process_time()
    XGBClassifier(n_estimators=850, max_depth=3, learning_rate=0.1, n_jobs=1).fit(sample.x, sample.y)
    scale = (time.process_time() - start) / TMVA_XGBOOST_SECONDS
    model, seconds = fitted(sample)
    return [
        at_least("cuts, TMVA toy: times faster than TMVA's genetic search", TMVA_SECONDS * scale / seconds, 50),
        at_most(
            "cuts, TMVA toy: background at 90 % signal (TMVA .124)",
            1 - rejections(model, model.boxes_, sample)[3],
            0.098,
        ),
    ]


def halved(x: NDArray[np.float32], y: NDArray[np.int64], seed: int = 20240607) -> Sample:
    """A sample in two halves, drawn at random."""
    test = np.random.default_rng(seed).random(len(y)) < 0.5
    return Sample(x[~test], y[~test], x[test], y[test])


def public_tables(folder: Path | None) -> dict[str, Sample]:
    """MAGIC and D+ where the folder holds them."""
    found: dict[str, Sample] = {}
    if folder is None:
        return found
    magic = [line.split(",") for line in (folder / "magic" / "magic04.data").read_text().split()]
    found["MAGIC"] = halved(
        np.array([row[:10] for row in magic], np.float32), np.array([int(r[10] == "g") for r in magic])
    )
    tables, labels = [], []
    for name, label in (("Bkg", 0), ("FD", 1), ("Prompt", 1)):
        with uproot.open(folder / "alice_dplus" / f"{name}_Dpluspp7TeV_pT_1_50.root") as file:
            arrays = file["treeMLDplus"].arrays(library="np")
        columns = [arrays[key] for key in arrays if not key.startswith(("inv_mass", "cand_type"))]
        tables.append(np.stack(columns, axis=1).astype(np.float32))
        labels += [label] * len(tables[-1])
    found["D+"] = halved(np.concatenate(tables), np.array(labels))
    return found


def nesting(name: str, sample: Sample) -> list[Row]:
    """Rows: what nesting costs at the worst of three working points, and links, AUC and time beside what is there."""
    points, is_signal = (0.90, 0.95, 0.99), sample.y == 1
    n = int(is_signal.sum())
    free, free_seconds = fitted(sample, nested=False, efficiencies=points)
    nested, seconds = fitted(sample, efficiencies=points)
    surplus, excess = [], []
    for point in points:
        ours, own = nested.box(point), free.box(point)
        error = np.sqrt(own.background * (1 - own.background) / np.sum(~is_signal))
        surplus.append(ours.efficiency - point)
        excess.append((ours.background - own.background) / (error + 0.02 * own.background))
    area = roc_auc_score(sample.y_test, nested.scores(sample.x_test)[:, 1])
    surplus_text, excess_text = (" ".join(f"{v:.{n}f}" for v in values) for values, n in ((surplus, 4), (excess, 2)))
    return [
        at_most(f"nested cuts, {name}: efficiency beside target", np.abs(surplus).max(), 0.005 + 0.5 / n, surplus_text),
        at_most(f"nested cuts, {name}: misid over its own optimum", max(excess), 1, excess_text),
        shown(f"nested cuts, {name}: AUC on test", area, f"{seconds:.2f} CPU s, nested: false {free_seconds:.2f}"),
    ]


def all_nesting(folder: Path | None) -> list[Row]:
    """The rows of `nesting` for each sample."""
    samples = {"TMVA toy": halves(3), **public_tables(folder)}
    samples |= {f"{100 * dark:g} % without hits": halved(*without_hits(20_000, dark=dark)) for dark in (0.03, 0.05)}
    return [row for name, sample in samples.items() for row in nesting(name, sample)]


def parts(times: float = 10.0, seed: int = 20240607, data: Path | None = None) -> dict[str, Part]:
    """The parts, with rivals that have `times` the CPU time of the cuts, on samples of this seed; tables in `data`."""

    def warm(part: Part) -> Part:
        def measured() -> Iterable[Row]:
            small = halves(3)
            Cuts(generations=1).fit(small.x[:2000], small.y[:2000])  # compiles, or loads what was compiled
            return part()

        return measured

    return {
        "cuts-tmva": warm(lambda: against_tmva(halves(3))),
        "cuts-nesting": warm(lambda: all_nesting(data)),
        "cuts-3": warm(lambda: against_rivals(halves(3, seed), times)),
        "cuts-10": warm(lambda: against_rivals(halves(10, seed), times)),
    }


def main() -> None:
    parser = arguments_of(__doc__, parts())
    parser.add_argument("--times", type=float, default=10.0, help="CPU time of each rival, in units of the cuts'")
    parser.add_argument("--seed", type=int, default=20240607, help="of the samples against the rivals")
    parser.add_argument("--data", type=Path, help="folder of public tables for the part cuts-nesting")
    options = parser.parse_args()
    run(parts(options.times, options.seed, options.data), options)


if __name__ == "__main__":
    main()
