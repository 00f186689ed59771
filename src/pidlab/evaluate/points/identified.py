"""After identification: features and spectators of what each working point accepts, and what it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.histograms import bin_numbers, histograms_by_class, robust_edges
from pidlab.evaluate.intervals import Interval, blocks, efficiency
from pidlab.evaluate.points.flat import decided_by
from pidlab.evaluate.points.working_points import passes
from pidlab.evaluate.ranking import Score
from pidlab.evaluate.results import Accepted, BinSums, Histogram, Identified, WorkingPoint
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray, Sample

_BINS = 25
"""Bins of a variable: half of those of the inputs, so that a bin of what is accepted still holds a purity."""
_BINS_OF_SIGNAL = 16
_NARROW, _TAIL = 0.4, 0.005
"""The share of the range below which the signal gets bins of its own, and of the signal beyond either of their ends."""
_TOGETHER = 4
"""Decisions that are counted in one pass, by which of their 2⁴ combinations a candidate passes."""

Decided = tuple[WorkingPoint, Score]
"""A working point, and the score (n,) of which its threshold decides."""


def identified(
    sample: Sample, models: Mapping[str, Sequence[Decided]], inputs: Mapping[str, Mapping[str, Histogram]]
) -> Identified:
    """Returns features and spectators of a sample, of all candidates and of those that each working point accepts.

    The sample is read once, in blocks, so that it may be larger than the memory.

    Args:
        sample: the candidates, with weights of any sign.
        models: model to its working points and scores on these candidates.
        inputs: feature, then class, to its histogram, from which the bins are made.
    """
    places = {name: j for j, name in enumerate(sample.features)}
    spectators = tuple(name for name in sample.spectators if name not in places)
    signal = sample.classes[sample.signal]
    edges = {name: edges_for(by_class, signal) for name, by_class in inputs.items()}
    for name in spectators:
        values = sample.spectators[name]
        edges[name] = edges_for(histograms_by_class(values, sample, robust_edges(values)), signal)
    k = len(sample.classes)
    sizes = {name: k * (len(e) + 1) for name, e in edges.items()}
    total = {name: np.zeros((2, size)) for name, size in sizes.items()}
    found = {
        model: {name: np.zeros((len(points), 2, size)) for name, size in sizes.items()}
        for model, points in models.items()
    }
    n_accepted = {model: np.zeros((len(points), k), np.int64) for model, points in models.items()}
    for rows in blocks(len(sample)):
        part = sample.take(rows)
        x, y = np.asarray(part.x), part.y.astype(np.intp)
        masks = {
            model: [passes(*decided_by(point, score[rows], part)) for point, score in points]
            for model, points in models.items()
        }
        for model, decided in masks.items():
            for i, mask in enumerate(decided):
                n_accepted[model][i] += np.bincount(y[mask], minlength=k)
        combined = {model: combinations(decided) for model, decided in masks.items()}
        weights = part.weight, part.weight * part.weight
        for name, e in edges.items():
            values = x[:, places[name]] if name in places else part.spectators[name]
            cell = y * (len(e) + 1) + bin_numbers(np.asarray(values, np.float64), e)
            total[name] += [np.bincount(cell, w, sizes[name]) for w in weights]
            for model, groups in combined.items():
                for i, w in enumerate(weights):
                    found[model][name][:, i] += sums_of_decisions(groups, cell, sizes[name], w)
    counts = np.bincount(sample.y, minlength=k)
    return Identified(
        classes=sample.classes,
        spectators=spectators,
        edges=edges,
        n={c: int(n) for c, n in zip(sample.classes, counts, strict=True)},
        total={name: _sums(sums, k) for name, sums in total.items()},
        accepted={
            model: {
                point.name: Accepted(
                    {c: int(n) for c, n in zip(sample.classes, n_accepted[model][i], strict=True)},
                    {name: _sums(sums[i], k) for name, sums in found[model].items()},
                )
                for i, (point, _) in enumerate(points)
            }
            for model, points in models.items()
        },
    )


def _sums(both: Array, k: int) -> BinSums:
    return BinSums(*both.reshape(2, k, -1).copy())


def edges_for(by_class: Mapping[str, Histogram], signal: str) -> Array:
    """Returns bin edges for a variable, from its histograms in twice as many bins as are needed.

    Two bins become one. Where the signal fills less than two fifths of the range, as an energy loss with a long tail,
    its range is divided into bins of its own, since what is accepted looks like the signal: with 25 equal bins nothing
    of it would be seen. Bins of whole numbers are not changed.
    """
    edges, sumw = by_class[signal].edges, by_class[signal].sumw[1:-1]
    few = edges if len(edges) - 1 <= _BINS else np.append(edges[:-1:2], edges[-1])
    cumulated = np.cumsum(np.maximum(sumw, 0.0))
    if holds_whole_numbers(edges) or not len(cumulated) or not cumulated[-1] > 0:
        return few
    first, last = (int(np.searchsorted(cumulated, share * cumulated[-1])) for share in (_TAIL, 1 - _TAIL))
    low, high = edges[first], edges[min(last, len(sumw) - 1) + 1]
    if high - low >= _NARROW * (edges[-1] - edges[0]):
        return few
    return np.concatenate([few[few < low], np.linspace(low, high, _BINS_OF_SIGNAL + 1), few[few > high]])


def holds_whole_numbers(edges: Array) -> bool:
    """Returns whether all edges are half-integers, as those of variables that only have whole values."""
    return bool(np.all(edges - np.floor(edges) == 0.5))


Combination = tuple[int, NDArray[np.intp]]
"""How many decisions, at most four, and for each of n candidates which of them it passes, as bits of a number (n,)."""


def combinations(decisions: Sequence[BoolArray]) -> list[Combination]:
    """Returns the decisions (n,) in groups that are counted in one pass each."""
    groups = []
    for start in range(0, len(decisions), _TOGETHER):
        some = decisions[start : start + _TOGETHER]
        bits = np.zeros(len(some[0]), np.intp)
        for i, mask in enumerate(some):
            bits += mask.astype(np.intp) << i
        groups.append((len(some), bits))
    return groups


def sums_of_decisions(
    groups: Sequence[Combination], cell: IntArray, size: int, weight: FloatArray | None = None
) -> NDArray[np.float64 | np.int64]:
    """Returns the sums (p, size) of weight (n,) by cell (n,) of what each of p decisions accepts; counts by default.

    A candidate is added once for all decisions of a group, in the row of their combination; the row of a decision is
    the sum of those of the combinations in which it is passed.
    """
    rows = []
    for n_decisions, bits in groups:
        n = 1 << n_decisions
        by_bits = np.bincount(bits * size + cell, weight, n * size).reshape(n, size)
        passed = np.arange(n)[None, :] >> np.arange(n_decisions)[:, None] & 1
        rows += [by_bits[row == 1].sum(axis=0) for row in passed]
    return np.array(rows).reshape(-1, size)


def purity(accepted: BinSums, signal: int) -> Interval:
    """Returns the share of signal of what is accepted in each bin (b,), with bounds for independent candidates."""
    everything, everything2 = accepted.sumw[:, 1:-1].sum(axis=0), accepted.sumw2[:, 1:-1].sum(axis=0)
    return efficiency(accepted.sumw[signal, 1:-1], everything, accepted.sumw2[signal, 1:-1], everything2)


def kept(accepted: BinSums, total: BinSums, row: int) -> Interval:
    """Returns the share of one class that is accepted in each bin (b,), with bounds for independent candidates."""
    own, own2 = accepted.sumw[row, 1:-1], accepted.sumw2[row, 1:-1]
    return efficiency(own, total.sumw[row, 1:-1], own2, total.sumw2[row, 1:-1])


def histogram_of(edges: Array, sumw: Array, sumw2: Array, entries: int) -> Histogram:
    """Returns a histogram of sums (b + 2,); its moments are those of the bin centres."""
    centres, inside = (edges[1:] + edges[:-1]) / 2, sumw[1:-1]
    moments = inside.sum(), sumw2[1:-1].sum(), (inside * centres).sum(), (inside * centres * centres).sum()
    return Histogram(
        edges, sumw, sumw2, entries, (float(moments[0]), float(moments[1]), float(moments[2]), float(moments[3]))
    )
