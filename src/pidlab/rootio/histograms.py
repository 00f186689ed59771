"""ROOT histograms and profiles with the sums that ROOT itself would keep, ready for `file[key] = …` of uproot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from uproot.writing import identify

from pidlab.evaluate.results import Histogram

Array = NDArray[np.float64]

_MOMENTS = {
    2: ("fTsumw", "fTsumw2", "fTsumwx", "fTsumwx2", "fTsumwy", "fTsumwy2", "fTsumwxy"),
    3: (
        *("fTsumw", "fTsumw2", "fTsumwx", "fTsumwx2", "fTsumwy", "fTsumwy2"),
        *("fTsumwxy", "fTsumwz", "fTsumwz2", "fTsumwxz", "fTsumwyz"),
    ),
}


@dataclass(frozen=True, slots=True)
class Bins:
    """A weighted histogram in one, two or three dimensions.

    Attributes:
        edges: for each axis its (b + 1,) bin edges.
        sumw, sumw2: (bx + 2[, by + 2[, bz + 2]]) sums of w and of w², under- and overflow first and last.
        entries: number of values filled, flows included.
        moments: sums over what is inside all axes, in the order of ROOT's TH1::GetStats: w, w², wx, wx²[, wy, wy²,
            wxy[, wz, wz², wxz, wyz]].
    """

    edges: tuple[Array, ...]
    sumw: Array
    sumw2: Array
    entries: float
    moments: tuple[float, ...]


def fill(values: Sequence[ArrayLike], edges: Sequence[ArrayLike], weight: ArrayLike | None = None) -> Bins:
    """What ROOT's Fill makes of n values on each of one to three axes.

    `values` holds (n,) an axis, `edges` (b + 1,) an axis, `weight` is (n,) or left out for 1. A value goes to the
    bin that ROOT's TAxis::FindFixBin gives; NaN counts as overflow.
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
    """Contents (bx[, by[, bz]]) that are already binned, without flows; the moments are those of the bin centres.

    `variances` are the sums of w² (left out: the contents, as for counts), `entries` the number of values (left
    out: the sum of the contents).
    """
    contents = np.asarray(cells, dtype=np.float64)
    squares = contents if variances is None else np.asarray(variances, dtype=np.float64)
    axes = tuple(np.asarray(e, dtype=np.float64) for e in edges)
    centres = np.meshgrid(*((e[1:] + e[:-1]) / 2 for e in axes), indexing="ij")
    moments = _moments([c.ravel() for c in centres], contents.ravel(), squares.ravel())
    total = float(contents.sum()) if entries is None else entries
    return Bins(axes, np.pad(contents, 1), np.pad(squares, 1), total, moments)


def th1(histogram: Histogram | Bins, title: str = "", labels: Sequence[str] = ()) -> Any:
    """A TH1D; `title` is ROOT's "title;x title;y title", `labels` name the bins."""
    edges = histogram.edges if isinstance(histogram, Histogram) else histogram.edges[0]
    main, x_title, y_title, _ = titles(title)
    w, w2, wx, wx2 = histogram.moments
    return identify.to_TH1x(
        fName=None,
        fTitle=main,
        data=_flat(histogram.sumw),
        fEntries=float(histogram.entries),
        fTsumw=w,
        fTsumw2=w2,
        fTsumwx=wx,
        fTsumwx2=wx2,
        fSumw2=_flat(histogram.sumw2),
        fXaxis=_axis("xaxis", x_title, edges, labels),
        fYaxis=_axis("yaxis", y_title, np.array([0.0, 1.0])),
    )


def th2(bins: Bins, title: str = "", x_labels: Sequence[str] = (), y_labels: Sequence[str] = ()) -> Any:
    """A TH2D; `title` is ROOT's "title;x title;y title;z title", the labels name the bins."""
    main, *axis_titles = titles(title)
    return identify.to_TH2x(
        fName=None,
        fTitle=main,
        data=_flat(bins.sumw),
        fEntries=float(bins.entries),
        **dict(zip(_MOMENTS[2], bins.moments, strict=True)),
        fSumw2=_flat(bins.sumw2),
        fXaxis=_axis("xaxis", axis_titles[0], bins.edges[0], x_labels),
        fYaxis=_axis("yaxis", axis_titles[1], bins.edges[1], y_labels),
        fZaxis=_axis("zaxis", axis_titles[2], np.array([0.0, 1.0])),
    )


def th3(bins: Bins, title: str = "") -> Any:
    """A TH3D; `title` is ROOT's "title;x title;y title;z title"."""
    main, *axis_titles = titles(title)
    names = ("xaxis", "yaxis", "zaxis")
    x, y, z = (_axis(n, t, e) for n, t, e in zip(names, axis_titles, bins.edges, strict=True))
    return identify.to_TH3x(
        fName=None,
        fTitle=main,
        data=_flat(bins.sumw),
        fEntries=float(bins.entries),
        **dict(zip(_MOMENTS[3], bins.moments, strict=True)),
        fSumw2=_flat(bins.sumw2),
        fXaxis=x,
        fYaxis=y,
        fZaxis=z,
    )


def tprofile(x: ArrayLike, y: ArrayLike, edges: ArrayLike, weight: ArrayLike | None = None, title: str = "") -> Any:
    """A TProfile of y (n,) in bins of x (n,), with the error on the mean, as ROOT's TProfile::Fill makes it."""
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
        **dict(zip(_MOMENTS[2][:6], sums[:6], strict=True)),
        fSumw2=squares,
        fBinEntries=per_bin,
        fBinSumw2=per_bin2,
        fXaxis=_axis("xaxis", x_title, axis),
        fYaxis=_axis("yaxis", y_title, np.array([0.0, 1.0])),
    )


def titles(title: str) -> tuple[str, str, str, str]:
    """ROOT's "title;x;y;z" in its four parts; `#;` stands for a semicolon."""
    parts = [part.replace("#;", ";") for part in re.split(r"(?<!#);", title)]
    main, x, y, z = (*parts, "", "", "", "")[:4]
    return main, x, y, z


def find_bins(values: Array, edges: Array) -> NDArray[np.int64]:
    """(n,) ROOT's bin numbers, 0 the underflow: a bin holds its lower edge and not its upper one, NaN is overflow.

    TAxis::FindFixBin of ROOT 6.40 does the same; earlier ones divide where the bins are equally wide, and may put a
    value that lies on an edge beside it.
    """
    return np.asarray(np.searchsorted(edges, values, side="right"), dtype=np.int64)


def _is_regular(edges: Array) -> bool:
    """Whether ROOT, given only the range, would come to exactly these edges."""
    return bool(np.array_equal(edges, np.linspace(edges[0], edges[-1], len(edges))))


def _moments(points: Sequence[Array], w: Array, w2: Array) -> tuple[float, ...]:
    """ROOT's sums: w, w², then for each axis those with its values alone and with each axis before it."""
    sums = [w.sum(), w2.sum()]
    for i, a in enumerate(points):
        sums += [(w * a).sum(), (w * a * a).sum(), *((w * b * a).sum() for b in points[:i])]
    return tuple(map(float, sums))


def _flat(cells: Array) -> Array:
    """Cells in ROOT's order, x running fastest."""
    return np.ascontiguousarray(np.asarray(cells, dtype=np.float64).T).reshape(-1)


def _axis(name: str, title: str, edges: Array, labels: Sequence[str] = ()) -> Any:
    """A TAxis, with explicit edges where ROOT could not come to the same ones from the range."""
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
    """Bin labels as TAxis keeps them: strings whose unique identifier is the bin number."""
    strings = [identify.to_TObjString(label) for label in labels]
    for number, string in enumerate(strings, start=1):
        string._bases[0]._members["@fUniqueID"] = number
    return identify.to_THashList(strings)
