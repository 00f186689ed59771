"""How often the mean and the width of a band lie within their standard errors of the truth, in many samples.

    python benchmarks/band_coverage.py [--only NAME] [--json FILE] [--samples 30] [--first-seed 1000] [--processes 2]
                                       [--sizes 5000 20000 100000]

A band is fitted to samples whose truth is known: `tracks`, in which the core of every response is Gaussian
(`tracks_core`), and the E/p of electrons of `shms`, of mean 1 and width 6 %/√p ⊕ 2 %, away from the dead block. As much
of the other classes is called signal as the row says, in events for each event of the signal; the others keep their
label. Mean and width are compared at the centres of 20 bins, at the same places in all samples.

A row is over samples and bins: the shares within one and two standard errors, which are .683 and .954 for errors that
are right, the mean and the root mean square of the deviations in standard errors, and the median error in widths. The
bins of one sample are correlated, so the uncertainty of a share, in brackets, is from the scatter of the samples.
Then, of candidates that are distributed as the core says (Gaussian, at the momenta of the signal): the width of nσ,
that is root mean square about the mean, and the share with |nσ| < 3, .9973 if the band were exact; the mean over the
samples, and the one that is farthest away. The width of nσ is wrong by as much as the fitted width is on average over
the momenta, whose standard error is in the row: no fit of so many events can be nearer to 1. In how many samples the
average width is within two of these errors is the last number.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rows import Part, Row, arguments_of, run, shown
from scipy.special import ndtr

from pidlab.models.band import Band
from pidlab.simulate import SAMPLES, tracks_core

N_BINS = 20
SHARES = (0.0, 0.1, 0.5)  # mislabelled events for each event of the signal
SPECIES = ("electron", "pion", "kaon", "proton")

Array = NDArray[np.float64]
Branches = dict[str, NDArray[Any]]


class Truth(NamedTuple):
    """Mean and width (n,) of the core at p (n,), and whether the width is read above or below the mean."""

    at: Callable[[Array], tuple[Array, Array]]
    side: str


class Case(NamedTuple):
    """One variable of one signal: which sample, its branches, and where mean and width are compared."""

    sample: str
    branch: str
    momentum: str
    signal: int
    places: Array
    truth: Truth

    def columns(self, branches: Branches) -> tuple[Array, NDArray[np.bool_]]:
        """Returns the variable and the momentum (n, 2), and whether the event is signal (n,)."""
        kept = np.asarray(branches[self.branch] > -900)
        if self.sample == "shms":
            kept &= ~((np.abs(branches["P.cal.xtrack"] - 22.5) < 11) & (np.abs(branches["P.cal.ytrack"] - 13.5) < 11))
        x = np.stack([branches[self.branch][kept], branches[self.momentum][kept]], axis=1).astype(np.float64)
        return x, branches["species"][kept] == self.signal


def _electron_energy(p: Array) -> tuple[Array, Array]:
    return np.ones_like(p), np.hypot(0.06 / np.sqrt(p), 0.02)


def _centres(edges: Array) -> Array:
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _cases() -> dict[str, Case]:
    cases = {}
    for detector, species, low in (
        ("tpc", 1, 0.2), ("tpc", 0, 0.2), ("tpc", 2, 0.2), ("tpc", 3, 0.2), ("its", 1, 0.2), ("its", 3, 0.2),
        ("tof", 1, 0.35), ("tof", 2, 0.35),
    ):  # fmt: skip
        branch = "tof_beta" if detector == "tof" else f"{detector}_dedx"
        places = np.exp(_centres(np.linspace(np.log(low), np.log(5.0), N_BINS + 1)))
        truth = Truth(partial(tracks_core, detector, species), "low")
        cases[f"{detector} of {SPECIES[species]}s"] = Case("tracks", branch, "p", species, places, truth)
    places = _centres(np.linspace(1.8, 5.0, N_BINS + 1))
    cases["E/p of electrons"] = Case(
        "shms", "P.cal.etottracknorm", "P.gtr.p", 0, places, Truth(_electron_energy, "low")
    )
    return cases


CASES = _cases()


def events(sample: str, n: int, seed: int) -> Branches:
    """Returns the branches of a sample."""
    blocks = [dict(block.branches) for block in SAMPLES[sample].blocks(n, seed)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def contaminated(is_signal: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.int64]:
    """Returns labels (n,): 1 for the signal and for so many others that there are `share` of them for each of it."""
    label = is_signal.astype(np.int64)
    others = np.flatnonzero(~is_signal)
    n = min(round(share * label.sum()), len(others) - 100)
    label[np.random.default_rng(seed).choice(others, n, replace=False)] = 1
    return label


class Found(NamedTuple):
    """What is found in one sample.

    Attributes:
        pulls: (2, bins) deviations of mean and width in standard errors.
        errors: (2, bins) in widths.
        width: of nσ of a Gaussian.
        kept: the share with |nσ| < 3.
        average: of the fitted width over the true one, less 1, over the momenta of the signal.
        average_error: its standard error.
    """

    pulls: Array
    errors: Array
    width: float
    kept: float
    average: float
    average_error: float


def fitted(case: Case, x: Array, is_signal: NDArray[np.bool_], label: NDArray[np.int64]) -> Found:
    """Returns what is found in one sample."""
    band = Band("y", "p", signal=1).fit(x, label)
    mean, width = case.truth.at(case.places)
    side = case.truth.side
    errors = np.stack([band.mean_error(0, 0, case.places), band.width_error(0, 0, case.places, side)])
    shifts = np.stack([band.mean(0, 0, case.places) - mean, band.width(0, 0, case.places, side) - width])
    p = x[is_signal, 1][:20_000]
    p = p[(p > case.places[0]) & (p < case.places[-1])]
    of_mean, of_width = case.truth.at(p)
    found = band.width(0, 0, p, side)
    centre, scale = (of_mean - band.mean(0, 0, p)) / found, of_width / found
    spread = float(np.sqrt(np.mean(scale**2) + np.var(centre)))
    kept = float(np.mean(ndtr((3 - centre) / scale) - ndtr((-3 - centre) / scale)))
    curves = band.curves_[0][0]
    weight = np.mean(curves.basis.design(p[:, None]) / of_width[:, None], axis=0)
    covariance = curves.covariance[1 if side == "low" else 2]
    error = float(np.sqrt(weight @ covariance @ weight))
    return Found(shifts / errors, errors / width, spread, kept, float(np.mean(found / of_width)) - 1, error)


class Task(NamedTuple):
    """One sample, and what is fitted to it: cases by name, each with these shares of mislabelled events."""

    sample: str
    n: int
    seed: int
    names: tuple[str, ...]
    shares: tuple[float, ...]


def _done(task: Task) -> dict[tuple[str, float], Found]:
    branches = events(task.sample, task.n, task.seed)
    found = {}
    for name in task.names:
        x, is_signal = CASES[name].columns(branches)
        for share in task.shares:
            found[name, share] = fitted(CASES[name], x, is_signal, contaminated(is_signal, share, task.seed))
    return found


def coverage(names: tuple[str, ...], options: argparse.Namespace) -> Iterator[Row]:
    """Yields the rows of cases that are fitted to the same samples."""
    sample, shares = CASES[names[0]].sample, tuple(options.shares)
    with ProcessPoolExecutor(options.processes) as pool:
        for n in options.sizes:
            tasks = [Task(sample, n, options.first_seed + i, names, shares) for i in range(options.samples)]
            done = list(pool.map(_done, tasks))
            for name, share in done[0]:
                yield from _rows(f"{name}, {n} events, {100 * share:.0f} %", [each[name, share] for each in done])


def _rows(name: str, found: list[Found]) -> Iterator[Row]:
    pulls, errors = np.stack([f.pulls for f in found]), np.stack([f.errors for f in found])
    for i, what in enumerate(("mean", "width")):
        own = pulls[:, i]
        within = [np.mean(np.abs(own) < k, axis=1) for k in (1, 2)]
        scatter = np.std(within[1]) / np.sqrt(max(len(found) - 1, 1))
        bins = " ".join(f"{each:.2f}".lstrip("0") for each in np.mean(np.abs(own) < 2, axis=0))
        detail = (
            f"({scatter:.3f}); within one {np.mean(within[0]):.3f}; mean {own.mean():+.2f}, rms "
            f"{np.sqrt(np.mean(own**2)):.2f}, largest {np.abs(own).max():.1f}; error {np.median(errors[:, i]):.4f} "
            f"widths; samples below .9: {np.mean(within[1] < 0.9):.2f}; by bin {bins}"
        )
        yield shown(f"{name}: {what} within two errors", float(np.mean(within[1])), detail)
    widths, kept = np.array([f.width for f in found]), np.array([f.kept for f in found])
    far = widths[np.argmax(np.abs(widths - 1))]
    errors_of_average = np.array([f.average_error for f in found])
    average_pulls = np.array([f.average for f in found]) / errors_of_average
    detail = f"farthest {far:.4f}; error {np.median(errors_of_average):.4f}, {np.mean(np.abs(average_pulls) < 2):.2f}"
    yield shown(f"{name}: width of nσ", float(widths.mean()), f"{detail} within two")
    yield shown(
        f"{name}: share with |nσ| < 3", float(kept.mean()), f"farthest {kept[np.argmax(np.abs(kept - 0.9973))]:.4f}"
    )


def main() -> None:
    """Reads the command line and prints the rows."""
    parser = arguments_of(__doc__, dict.fromkeys(CASES, list))
    parser.add_argument("--samples", type=int, default=30, help="of each row")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 20_000, 100_000], help="events of all classes")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    options = parser.parse_args()
    asked = tuple(CASES) if options.only is None else tuple(options.only)
    parts: dict[str, Part] = {}
    for sample in ("tracks", "shms"):
        names = tuple(name for name in asked if CASES[name].sample == sample)
        if names:
            parts[sample] = partial(coverage, names, options)
    options.only = None
    run(parts, options)


if __name__ == "__main__":
    main()
