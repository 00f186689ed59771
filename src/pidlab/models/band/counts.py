"""What is fitted: the signal's counts in cells of (x, z) about a band, and the densities of the other classes there.

The density of another class is smoothed along x as far as one half of its events is described by the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.intervals import effective_number
from pidlab.models.band.curves import Array, Curves
from pidlab.models.band.shapes import BandSample
from pidlab.models.band.start import WorkingBand, inner_edges

WINDOW = 4.5  # widths about the mean: wide enough to see the backgrounds, narrow enough for them to be smooth
_N_CELLS = 54  # of a sixth of a width
# window and cells of the other classes about their own bands, which may be several times wider than the signal's
_FAR, _N_FAR = 25.0, 800
_REACH, _N_REACH = 6.0, 72  # … and about the signal's: cells as those of the counts, and some beyond them
_BLUR = 1.2  # of these cells, by which other classes are smoothed along z
_BANDWIDTHS = (0.7, 1.5, 3.0, 6.0, 12.0, 24.0)  # in bins, of the averages of other classes


@dataclass(slots=True)
class Binned:
    """Counts about a band: (J, m) effective events, for each bin its mean x (J, d), and the other classes."""

    edges: Array
    counts: Array
    x: Array
    rank: Array
    others: list[Template]


@dataclass(slots=True)
class Template:
    """Another class about a band.

    Attributes:
        density: (J, m) shares of its events in the cells.
        variance: (J, m) of `density`, from the number of the events.
        ratio: (J,) its weight over that of what is called signal.
        n: (J,) its effective number of events.
    """

    density: Array
    variance: Array
    ratio: Array
    n: Array


@dataclass(slots=True)
class Placed:
    """A sample in bins of x, equally populated by the signal: what does not change with the band.

    Attributes:
        sample: the events.
        sizes: numbers of bins in each quantity.
        slot: the bin of each event of the signal (n,).
        others: the other classes.
    """

    sample: BandSample
    sizes: tuple[int, ...]
    slot: NDArray[np.int64]
    others: list[PlacedOther]


@dataclass(slots=True)
class PlacedOther:
    """Another class in the bins of `Placed`.

    Attributes:
        rough: its own rough band.
        slot: the bin of each event (n,).
        column: the cell about its own band (n,).
    """

    rough: Curves
    slot: NDArray[np.int64]
    column: NDArray[np.int64]


def placed(sample: BandSample, rough: Sequence[Curves]) -> Placed:
    """Returns the sample in bins of x; `rough` are the other classes' own bands."""
    n = effective_number(sample.weight)
    # more bins than functions, between which a curve would be free; a bin need not hold many events
    if sample.x.shape[1] == 1:
        sizes: tuple[int, ...] = (int(np.clip(n / 20, 8, 90)),)
    else:
        sizes = (int(np.clip(n / 60, 8, 30)), 8)
    inner = [inner_edges(sample.x[:, j], size) for j, size in enumerate(sizes)]

    def place(x: Array) -> NDArray[np.int64]:
        slot = np.zeros(len(x), np.int64)
        for j, size in enumerate(sizes):
            slot = slot * size + np.searchsorted(inner[j], x[:, j], side="right")
        return slot

    others = [
        PlacedOther(own, place(x), _columns(own.distances(y, x), _FAR, _N_FAR))
        for (x, y, _), own in zip(sample.others, rough, strict=True)
    ]
    return Placed(sample, sizes, place(sample.x), others)


def binned(events: Placed, band: WorkingBand) -> Binned:
    """Returns the counts about a band."""
    middle = 0.5 * (band.below + band.above)  # one unit on both sides, as the density takes it
    curves = WorkingBand(band.basis, band.mean, middle, middle, band.covariance).curves(1.0)
    sample, sizes, slot = events.sample, events.sizes, events.slot
    n_bins = int(np.prod(sizes))
    edges = np.linspace(-WINDOW, WINDOW, _N_CELLS + 1)
    column = _columns(curves.distances(sample.y, sample.x), WINDOW, _N_CELLS)
    first, second = _counted(slot, column, sample.weight, (n_bins, _N_CELLS))
    unit = first.sum(axis=1) / np.maximum(second.sum(axis=1), 1e-300)  # effective events for each unit of weight
    totals = np.maximum(np.bincount(slot, sample.weight, n_bins), 1e-300)
    sums = [np.bincount(slot, sample.weight * each, n_bins) for each in sample.x.T]
    x = np.stack([each / totals for each in sums], axis=1)
    used = first.sum(axis=1) > 0
    scale, shift = curves.value("below", x), curves.value("mean", x)
    others = []
    for (other_x, other_y, other_weight), other in zip(sample.others, events.others, strict=True):
        reach = np.linspace(-_REACH, _REACH, _N_REACH + 1)
        edges_there = shift[:, None] + scale[:, None] * reach - other.rough.value("mean", x)[:, None]
        edges_there /= other.rough.value("below", x)[:, None]
        own = _Grid(other.column, _N_FAR, edges_there)
        here = _Grid(
            _columns(curves.distances(other_y, other_x), _REACH, _N_REACH), _N_REACH,
            np.broadcast_to(reach * (_FAR / _REACH), edges_there.shape),
        )  # fmt: skip
        inside, correlated = _template((here, own), other.slot, other_weight, sizes)
        n_there = inside.sum(axis=1)
        flat = inside + 1e-3 * n_there[:, None] / _N_CELLS + 1e-12
        density = flat / flat.sum(axis=1, keepdims=True)
        n_events = n_there * (other_weight.sum() / (other_weight**2).sum())
        variance = density * correlated / np.maximum(n_events, 1.0)[:, None]
        ratio = n_there / np.maximum(first.sum(axis=1), 1e-300)
        others.append(Template(density[used], variance[used], ratio[used], n_events[used]))
    grid = np.indices(sizes).reshape(len(sizes), -1).T
    rank = (2 * grid + 1) / np.array(sizes) - 1
    return Binned(edges, (first * unit[:, None])[used], x[used], rank[used], others)


def _columns(z: Array, window: float, n_cells: int) -> NDArray[np.int64]:
    """Returns the cell (n,) of each distance within ±window; n_cells for those beyond."""
    column = np.floor((z + window) * (n_cells / (2 * window)))
    return np.where((column >= 0) & (column < n_cells), column, n_cells).astype(np.int64)


def _counted(
    slot: NDArray[np.int64], column: NDArray[np.int64], weight: Array, shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Returns the sums of the weights and of their squares in each bin and cell, without the cell beyond the last."""
    n_bins, n_cells = shape
    flat = slot * (n_cells + 1) + column
    sums = (np.bincount(flat, w, n_bins * (n_cells + 1)) for w in (weight, weight**2))
    first, second = (np.asarray(each, np.float64).reshape(n_bins, n_cells + 1)[:, :-1] for each in sums)
    return first, second


@dataclass(slots=True)
class _Grid:
    """Cells in which another class is counted: the cell (n,) of each event, how many, and where they are read.

    The cells are equal and end at ±_FAR. In their unit, `edges` (J, _N_REACH + 1) are those of the cells about the
    signal's band.
    """

    column: NDArray[np.int64]
    n_cells: int
    edges: Array

    def counted(self, slot: NDArray[np.int64], weight: Array, n_bins: int, rows: NDArray[np.bool_]) -> Array:
        """Returns the sums of weights (J, n_cells) of some of the events."""
        return _counted(slot[rows], self.column[rows], weight[rows], (n_bins, self.n_cells))[0]


def _template(
    grids: Sequence[_Grid], slot: NDArray[np.int64], weight: Array, sizes: tuple[int, ...]
) -> tuple[Array, float]:
    """Returns smoothed sums of weights (J, m) of another class in the cells of the counts, and their variance.

    The variance is that of a cell in units of the sum of the squared weights in it; smoothing makes it small. How
    many bins are averaged, and whether along the class's own band, from whose distances a single species hardly differs
    from bin to bin, or along that of the signal, is found by describing one half of the events by the other half. It is
    the next smaller bandwidth that is taken, because the variance is accounted for and a bias is not.
    """
    n_bins = int(np.prod(sizes))
    half = np.arange(len(slot)) % 2 == 0
    best: tuple[float, _Grid, float] | None = None
    exact: list[Array] = []
    for grid in grids:
        halves = [grid.counted(slot, weight, n_bins, rows) for rows in (half, ~half)]
        exact = exact or [_within_window(_rebinned(each, grid.edges)) for each in halves]
        for smaller, bandwidth in pairwise((0.0, *_BANDWIDTHS)):
            smooth = [_smooth_counts(each, grid.edges, sizes, bandwidth) for each in halves]
            value = _held_out(smooth[0], exact[1]) + _held_out(smooth[1], exact[0])
            if best is None or value > best[0]:
                best = value, grid, smaller
    assert best is not None
    _, grid, bandwidth = best
    counts = grid.counted(slot, weight, n_bins, np.ones(len(slot), bool))
    one = np.zeros((n_bins, _N_REACH))
    one[int(np.ravel_multi_index([size // 2 for size in sizes], sizes)), _N_REACH // 2] = 1
    squares = float(((_averaged(one, sizes, bandwidth) @ _kernel(_N_REACH, _BLUR).T) ** 2).sum())
    return _smooth_counts(counts, grid.edges, sizes, bandwidth), squares


def _held_out(found: Array, other: Array) -> float:
    """Returns the log-likelihood of sums of weights (J, m) by those of another sample."""
    flat = found + 1e-2 * found.sum(axis=1, keepdims=True) / found.shape[1] + 1e-12
    return float((other * np.log(flat / flat.sum(axis=1, keepdims=True))).sum())


def _smooth_counts(counts: Array, edges: Array, sizes: tuple[int, ...], bandwidth: float) -> Array:
    """Returns sums of weights (J, m) of another class in the cells of the counts, from those in a grid.

    They are averaged over so many bins of each quantity in the cells of the grid, and smoothed along z in those of the
    signal: in wider cells the density of a class of several species, whose own band is wide, would lose its shape.
    """
    averaged = _averaged(counts, sizes, bandwidth)
    return np.maximum(_within_window(_rebinned(averaged, edges) @ _kernel(_N_REACH, _BLUR).T), 0)


def _averaged(counts: Array, sizes: tuple[int, ...], bandwidth: float) -> Array:
    """Returns sums of weights (J, m) that are averaged over so many bins of each quantity."""
    if not bandwidth:
        return counts
    grid = counts.reshape(*sizes, -1)
    for axis, size in enumerate(sizes):
        grid = np.moveaxis(np.tensordot(_kernel(size, bandwidth), grid, (1, axis)), 0, axis)
    return grid.reshape(counts.shape)


def _within_window(reached: Array) -> Array:
    """Returns of cells within ±_REACH those within ±WINDOW."""
    beyond = (_N_REACH - _N_CELLS) // 2
    return reached[:, beyond : _N_REACH - beyond]


def _rebinned(counts: Array, edges: Array) -> Array:
    """Returns counts (J, m) in equal cells within ±_FAR in the cells between other edges (J, k + 1)."""
    n_cells = counts.shape[1]
    below = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
    place = np.clip((edges + _FAR) * (n_cells / (2 * _FAR)), 0, n_cells)
    cell = np.minimum(place.astype(np.int64), n_cells - 1)
    at_edges = np.take_along_axis(below, cell, axis=1) + (place - cell) * np.take_along_axis(counts, cell, axis=1)
    return np.diff(at_edges, axis=1)


@lru_cache(maxsize=64)
def _kernel(size: int, bins: float) -> Array:
    """Returns the matrix (size, size) that smooths so many bins: of fourth order, it changes no means nor widths.

    As a matrix it is several times faster than as a filter.
    """
    from scipy.ndimage import gaussian_filter1d

    narrow = gaussian_filter1d(np.eye(size), bins, axis=0, mode="nearest")
    return np.asarray(2 * narrow - gaussian_filter1d(narrow, bins, axis=0, mode="nearest"))
