"""ROOT histograms and profiles with the statistics that ROOT itself would keep, for `file[key] = …` of uproot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from uproot.writing import identify

from pidlab.evaluate.results.run import Histogram

Array = NDArray[np.float64]

_MOMENTS = (
    "fTsumw", "fTsumw2", "fTsumwx", "fTsumwx2", "fTsumwy", "fTsumwy2", "fTsumwxy", "fTsumwz", "fTsumwz2", "fTsumwxz",
    "fTsumwyz",
)  # fmt: skip
"""ROOT's names of the moments, in the order of TH1::GetStats; fewer dimensions have the first 4 or 7."""
_NO_AXIS = np.array([0.0, 1.0])
"""The one bin that ROOT gives to the axis after the last one."""


@dataclass(frozen=True, slots=True)
class Bins:
    """A weighted histogram in one, two or three dimensions.

    Attributes:
        edges: for each axis its (b + 1,) bin edges.
        sumw, sumw2: (bx + 2[, by + 2[, bz + 2]]) sums of w and of w², under- and overflow first and last.
        entries: number of filled values, including under- and overflow.
        moments: sums over the values inside all axes, in the order of ROOT's TH1::GetStats: w, w², wx, wx²[, wy,
            wy², wxy[, wz, wz², wxz, wyz]].
    """

    edges: tuple[Array, ...]
    sumw: Array
    sumw2: Array
    entries: float
    moments: tuple[float, ...]


def fill(values: Sequence[ArrayLike], edges: Sequence[ArrayLike], weight: ArrayLike | None = None) -> Bins:
    """Returns the histogram that ROOT's Fill would make of n points in one to three dimensions.

    Args:
        values: for each axis its (n,) values; NaN counts as overflow.
        edges: for each axis its (b + 1,) bin edges.
        weight: (n,) weights, by default 1.
    """
    points = [np.asarray(v, dtype=np.float64) for v in values]
    axes = tuple(np.asarray(e, dtype=np.float64) for e in edges)
    w = np.ones(len(points[0])) if weight is None else np.asarray(weight, dtype=np.float64)
    bins = [find_bins(p, e) for p, e in zip(points, axes, strict=True)]
    shape = tuple(len(e) + 1 for e in axes)
    cell = np.ravel_multi_index(tuple(bins), shape)
    sumw, sumw2 = (
        np.asarray(np.bincount(cell, c, minlength=np.prod(shape)), dtype=np.float64).reshape(shape) for c in (w, w * w)
    )
    inside = np.all([(b > 0) & (b < len(e)) for b, e in zip(bins, axes, strict=True)], axis=0)
    moments = _moments([p[inside] for p in points], w[inside], (w * w)[inside])
    return Bins(axes, sumw, sumw2, len(w), moments)


def from_cells(
    cells: ArrayLike, edges: Sequence[ArrayLike], variances: ArrayLike | None = None, entries: float | None = None
) -> Bins:
    """Returns a histogram of contents (bx[, by[, bz]]) without flows; its moments are those of the bin centres.

    Args:
        cells: sums of w.
        edges: for each axis its (b + 1,) bin edges.
        variances: sums of w² of the same shape; by default `cells`, as for counts.
        entries: number of values; by default the sum of `cells`.
    """
    contents = np.asarray(cells, dtype=np.float64)
    squares = contents if variances is None else np.asarray(variances, dtype=np.float64)
    axes = tuple(np.asarray(e, dtype=np.float64) for e in edges)
    centres = np.meshgrid(*((e[1:] + e[:-1]) / 2 for e in axes), indexing="ij")
    moments = _moments([c.ravel() for c in centres], contents.ravel(), squares.ravel())
    total = float(contents.sum()) if entries is None else entries
    return Bins(axes, np.pad(contents, 1), np.pad(squares, 1), total, moments)


def th1(histogram: Histogram | Bins, title: str = "", labels: Sequence[str] = ()) -> Any:
    """Returns a TH1D; `title` is ROOT's "title;x title;y title", and `labels` name the bins."""
    edges = (histogram.edges,) if isinstance(histogram, Histogram) else histogram.edges
    return _filled(identify.to_TH1x, histogram, edges, title, labels)


def th2(bins: Bins, title: str = "", x_labels: Sequence[str] = (), y_labels: Sequence[str] = ()) -> Any:
    """Returns a TH2D; `title` is ROOT's "title;x title;y title;z title", and the labels name the bins."""
    return _filled(identify.to_TH2x, bins, bins.edges, title, x_labels, y_labels)


def th3(bins: Bins, title: str = "") -> Any:
    """Returns a TH3D; `title` is ROOT's "title;x title;y title;z title"."""
    return _filled(identify.to_TH3x, bins, bins.edges, title)


def _filled(make: Any, sums: Histogram | Bins, edges: Sequence[Array], title: str, *labels: Sequence[str]) -> Any:
    """Returns the histogram that `make`, a function of uproot, makes of `sums`."""
    main, *axis_titles = titles(title)
    axes = zip("xyz", axis_titles, [*edges, _NO_AXIS], [*labels, (), (), ()], strict=False)
    return make(
        fName=None,
        fTitle=main,
        data=_flat(sums.sumw),
        fEntries=float(sums.entries),
        **dict(zip(_MOMENTS, sums.moments, strict=False)),
        fSumw2=_flat(sums.sumw2),
        **{f"f{x.upper()}axis": _axis(f"{x}axis", name, e, text) for x, name, e, text in axes},
    )


def tprofile(x: ArrayLike, y: ArrayLike, edges: ArrayLike, weight: ArrayLike | None = None, title: str = "") -> Any:
    """Returns a TProfile of y (n,) in bins of x (n,), with the error of the mean, as ROOT's TProfile::Fill makes it."""
    xs, ys, axis = (np.asarray(v, dtype=np.float64) for v in (x, y, edges))
    w = np.ones(len(xs)) if weight is None else np.asarray(weight, dtype=np.float64)
    cell = find_bins(xs, axis)
    content, squares, per_bin, per_bin2 = (
        np.bincount(cell, c, minlength=len(axis) + 1) for c in (w * ys, w * ys * ys, w, w * w)
    )
    inside = (cell > 0) & (cell < len(axis))
    sums = _moments([xs[inside], ys[inside]], w[inside], (w * w)[inside])
    main, x_title, y_title, _ = titles(title)
    return identify.to_TProfile(
        fName=None,
        fTitle=main,
        data=content,
        fEntries=float(len(xs)),
        **dict(zip(_MOMENTS, sums[:6], strict=False)),
        fSumw2=squares,
        fBinEntries=per_bin,
        fBinSumw2=per_bin2,
        fXaxis=_axis("xaxis", x_title, axis),
        fYaxis=_axis("yaxis", y_title, _NO_AXIS),
    )


def titles(title: str) -> tuple[str, str, str, str]:
    """Returns the four parts of ROOT's "title;x;y;z"; `#;` stands for a semicolon."""
    parts = [part.replace("#;", ";") for part in re.split(r"(?<!#);", title)]
    main, x, y, z = (*parts, "", "", "", "")[:4]
    return main, x, y, z


def find_bins(values: Array, edges: Array) -> NDArray[np.int64]:
    """Returns ROOT's bin numbers (n,), 0 for underflow; a bin includes its lower edge, and NaN is overflow.

    This agrees with TAxis::FindFixBin of ROOT 6.40. Earlier versions compute the bin by a division if bins are equally
    wide, and may put a value on an edge into the neighbouring bin.
    """
    return np.asarray(np.searchsorted(edges, values, side="right"), dtype=np.int64)


def _is_regular(edges: Array) -> bool:
    """Returns whether ROOT computes exactly these edges from the range alone."""
    return bool(np.array_equal(edges, np.linspace(edges[0], edges[-1], len(edges))))


def _moments(points: Sequence[Array], w: Array, w2: Array) -> tuple[float, ...]:
    """Returns ROOT's sums: w and w², then for each axis wa, wa², and wab for each axis b before it."""
    sums = [w.sum(), w2.sum()]
    for i, a in enumerate(points):
        sums += [(w * a).sum(), (w * a * a).sum(), *((w * b * a).sum() for b in points[:i])]
    return tuple(map(float, sums))


def _flat(cells: Array) -> Array:
    """Returns cells in ROOT's order, in which x varies fastest."""
    return np.ascontiguousarray(np.asarray(cells, dtype=np.float64).T).reshape(-1)


def _axis(name: str, title: str, edges: Array, labels: Sequence[str] = ()) -> Any:
    """Returns a TAxis, with explicit edges if ROOT does not compute the same from the range."""
    return identify.to_TAxis(
        fName=name,
        fTitle=title,
        fNbins=len(edges) - 1,
        fXmin=float(edges[0]),
        fXmax=float(edges[-1]),
        fXbins=None if _is_regular(edges) else np.asarray(edges, dtype=np.float64),
        fLabels=_labels(labels) if labels else None,
    )


def _labels(labels: Sequence[str]) -> Any:
    """Returns bin labels as TAxis keeps them: strings whose unique identifier is the bin number."""
    strings = [identify.to_TObjString(label) for label in labels]
    for number, string in enumerate(strings, start=1):
        string._bases[0]._members["@fUniqueID"] = number
    return identify.to_THashList(strings)
