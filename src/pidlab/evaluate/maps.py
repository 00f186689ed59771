"""Maps: the fraction that passes a working point, in bins of one or two spectators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import axes_of
from pidlab.config.schema import Map
from pidlab.evaluate.histograms import OUTSIDE, bins_of
from pidlab.evaluate.intervals import Interval, Sums, blocks, efficiency, fraction, sums_by
from pidlab.evaluate.points.flat import check_spectators, decided_by
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import Score, event_groups
from pidlab.evaluate.results import EfficiencyMap, WorkingPoint
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

_MEASURED = ("passed", "total", "passed2", "total2", "value", "low", "high", "n")


def efficiency_maps(
    score: Score, points: Sequence[WorkingPoint], sample: Sample, asked: Sequence[Map], least: float = 10.0
) -> tuple[EfficiencyMap, ...]:
    """Returns the fraction that passes for each map, working point and class, with bounds for whole events.

    A map along each spectator that has none of its own is added: in the bins that a map of two spectators has for it,
    or else in 10 bins as `edges_of` finds them. Candidates outside the edges or without the spectator are in no bin;
    the last bin contains its upper edge. Empty bins are NaN, and bins with fewer than `least` effective events are
    thin.

    Raises:
        UsageError: A map names something that is no spectator.
    """
    check_spectators("maps", {name for m in asked for name in (m.x, m.y) if name is not None}, sample)
    bins = {m.y: m.y_bins for m in asked if m.y is not None} | {m.x: m.bins for m in asked}
    alone = {m.x for m in asked if m.y is None}
    maps = [*asked, *(Map(x=name, bins=bins.get(name, 10)) for name in sample.spectators if name not in alone)]
    decisions = [(point.name, np.packbits(passes(*decided_by(point, score, sample)))) for point in points]
    return tuple(result for m in maps for result in maps_in(m, decisions, sample, least))


def maps_in(
    m: Map, decisions: list[tuple[str, NDArray[np.uint8]]], sample: Sample, least: float
) -> Iterable[EfficiencyMap]:
    """Yields the fraction that passes, in the bins of one map, for each class and named decision (n,) by `np.packbits`.

    Raises:
        UsageError: The map names something that is no spectator.
    """
    names = tuple(axes_of(m))
    axes = [sample.spectators[name] for name in names]
    edges = map_edges(m, sample, sample.weight != 0)  # without weight a candidate is in no sum and moves no edge
    shape = tuple(len(e) - 1 for e in edges)
    k, size = len(sample.classes), int(np.prod(shape))
    sums = np.zeros((1 + len(decisions), 2, k * size))
    groups = event_groups(sample)
    cells = None if groups is None else np.full(len(sample), OUTSIDE)
    for rows in blocks(len(sample)):
        bin_of = bins_of([values[rows] for values in axes], edges)
        held = bin_of != OUTSIDE
        cell, w = (sample.y[rows].astype(np.intp) * size + bin_of)[held], sample.weight[rows][held]
        if cells is not None:
            cells[rows][held] = cell
        sums[0] += _sums(cell, w, k * size)
        for i, (_, packed) in enumerate(decisions):
            passing = np.unpackbits(packed[rows.start // 8 : -(-rows.stop // 8)], count=rows.stop - rows.start)
            sums[i + 1] += _sums(cell, w * passing[held], k * size)
    total, total2 = sums[0].reshape(2, k, *shape)
    shared = None if groups is None or cells is None else _SharedEvents.of(cells, groups, sample.weight, k * size)
    for (point, packed), both in zip(decisions, sums[1:], strict=True):
        passed, passed2 = both.reshape(2, k, *shape)
        rates = efficiency(passed, total, passed2, total2)
        if shared is not None:
            decided = np.unpackbits(packed, count=len(sample)).astype(np.bool_)
            rates = shared.widened(rates, decided, Sums(passed, total - passed, passed2, total2, total2, total2))
        for c, particle in enumerate(sample.classes):
            counts, bounds = [s[c] for s in (passed, total, passed2, total2)], [part[c] for part in rates]
            found: dict[str, Any] = dict(zip(_MEASURED, counts + bounds, strict=True))
            yield EfficiencyMap(point, particle, names, edges, **found, least=least)


class _SharedEvents(NamedTuple):
    """The candidates of a map by their events, where some events have several candidates in a bin.

    Attributes:
        rows: the candidates that are in a bin.
        weight: their weights.
        pair: for each of them the number of its bin and event.
        bin_of: for each such pair its bin.
        is_shared: for each bin whether it holds several candidates of an event.
    """

    rows: IntArray
    weight: FloatArray
    pair: IntArray
    bin_of: IntArray
    is_shared: BoolArray

    @classmethod
    def of(cls, cells: IntArray, groups: IntArray, weight: FloatArray, n_bins: int) -> _SharedEvents | None:
        """Returns the candidates with bins `cells` (n,), or `OUTSIDE`, and events `groups` (n,); None if none share."""
        rows = np.flatnonzero(cells != OUTSIDE)
        n_events = int(groups.max()) + 1
        pairs, pair = np.unique(cells[rows] * n_events + groups[rows], return_inverse=True)
        bin_of = pairs // n_events
        counts = np.bincount(cells[rows], minlength=n_bins), np.bincount(bin_of, minlength=n_bins)
        if len(pairs) == len(rows):
            return None
        return cls(rows, weight[rows].astype(np.float64), pair, bin_of, counts[0] > counts[1])

    def widened(self, rates: Interval, passing: BoolArray, sums: Sums) -> Interval:
        """Returns the rates by bin, with the variances of whole events in the bins in which candidates share some.

        Args:
            rates: of independent candidates.
            passing: (n,) the decision.
            sums: sums of weights and of their squares, of the shape of the rates.
        """
        n_bins = len(self.is_shared)
        passed = sums_by(self.pair, self.weight * passing[self.rows], len(self.bin_of))
        failed = sums_by(self.pair, self.weight, len(self.bin_of)) - passed
        squares = (passed * passed, failed * failed, passed * failed)
        passed2, failed2, cross = (sums_by(self.bin_of, s, n_bins).reshape(sums.passed.shape) for s in squares)
        of_events = fraction(Sums(sums.passed, sums.failed, passed2, failed2, cross, sums.total2), independent=False)
        is_shared = self.is_shared.reshape(sums.passed.shape)
        return Interval(*(np.where(is_shared, own, each) for own, each in zip(of_events, rates, strict=True)))


def _sums(cell: IntArray, weight: FloatArray, size: int) -> tuple[Array, Array]:
    return sums_by(cell, weight, size), sums_by(cell, weight * weight, size)


def map_edges(m: Map, sample: Sample, rows: BoolArray) -> tuple[Array, ...]:
    """Returns the bin edges along each spectator of a map, for the candidates `rows` (n,) of a sample."""
    bins = (m.bins, m.y_bins)
    return tuple(edges_of(sample.spectators[name], rows, n) for name, n in zip(axes_of(m), bins, strict=False))


def edges_of(values: FloatArray, rows: BoolArray, bins: Sequence[float] | int | None) -> Array:
    """Returns given edges, or the edges of that many equally populated bins of `rows`; fewer bins if values repeat.

    A given outer edge that is infinite becomes the furthest value of `rows`, so that its bin can be drawn and written
    as an axis of ROOT, and holds the same candidates. Of equally populated bins, each of a few whole numbers, such as
    those of sectors, has one of its own, whose edges lie halfway to the next.
    """
    finite = values[rows & np.isfinite(values)]
    if not isinstance(bins, int):
        return _finite_edges(np.asarray(bins, np.float64), finite)
    if not len(finite):
        return np.array([0.0, 1.0])
    quantiles = np.quantile(finite, np.linspace(0, 1, bins + 1), overwrite_input=True)
    edges = np.asarray(np.unique(quantiles), dtype=np.float64)
    if len(edges) <= bins:  # values repeat, as they do where there are no more than `bins` of them
        numbers = np.unique(finite).astype(np.float64)
        if len(numbers) <= bins and np.array_equal(numbers, np.floor(numbers)):
            return np.concatenate([numbers[:1] - 0.5, (numbers[1:] + numbers[:-1]) / 2, numbers[-1:] + 0.5])
    return edges if len(edges) > 1 else np.array([edges[0] - 0.5, edges[0] + 0.5])


def _finite_edges(edges: Array, values: FloatArray) -> Array:
    """Returns rising edges, with the furthest of the values, or of the other edges, in place of infinite ones."""
    known = np.concatenate([edges[np.isfinite(edges)], values])
    if not len(known):
        known = np.zeros(1)
    finite = np.where(np.isinf(edges), np.where(edges < 0, known.min(), known.max()), edges)
    if not finite[0] < finite[1]:  # no value lies in the first bin, so that any width is right
        finite[0] -= max(1.0, 0.1 * abs(finite[0]))
    if not finite[-2] < finite[-1]:
        finite[-1] += max(1.0, 0.1 * abs(finite[-1]))
    return np.asarray(finite, np.float64)
