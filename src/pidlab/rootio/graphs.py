"""ROOT graphs without errors, with symmetric and with asymmetric ones, for `file[key] = …` of uproot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from uproot.models import TAtt, TGraph, TNamed, TObject
from uproot.serialization import numbytes_version

from pidlab.errors import OutputError


class _WithErrors:
    """Writes the error arrays of a graph after its TGraph part, which uproot's models leave out.

    ROOT's streamer puts a byte of value 1 before each array whose length is a member of a base class.
    """

    errors: tuple[str, ...]

    def _serialize(self: Any, out: list[bytes], header: bool, name: str | None, tobject_flags: int) -> None:
        start = len(out)
        self._bases[0]._serialize(out, True, name, tobject_flags)
        out.extend(b"\x01" + self._members[error].astype(">f8").tobytes() for error in self.errors)
        if header:
            out.insert(start, numbytes_version(sum(map(len, out[start:])), 3))


class Model_TGraphErrors_v3(_WithErrors, TGraph.Model_TGraphErrors_v3):  # type: ignore[misc]  # noqa: N801  uproot names classes so
    """A TGraphErrors that can be written."""

    errors = ("fEX", "fEY")


class Model_TGraphAsymmErrors_v3(_WithErrors, TGraph.Model_TGraphAsymmErrors_v3):  # type: ignore[misc]  # noqa: N801  uproot names classes so
    """A TGraphAsymmErrors that can be written."""

    errors = ("fEXlow", "fEXhigh", "fEYlow", "fEYhigh")


def tgraph(x: ArrayLike, y: ArrayLike, title: str = "") -> Any:
    """Returns a TGraph of the points x (n,), y (n,); `title` is ROOT's "title;x title;y title".

    Raises:
        OutputError: If the arrays differ in length or are not one-dimensional.
    """
    xs, ys = _columns(x, y)
    graph = TGraph.Model_TGraph_v4.empty()
    graph._bases.extend(drawn_bases(title, fill_style=1000))
    graph._members.update(fNpoints=len(xs), fX=xs, fY=ys, fFunctions=None, fHistogram=None)
    graph._members.update(fMinimum=-1111.0, fMaximum=-1111.0)  # in ROOT: the range of the points
    graph._deeply_writable = True
    return graph


def tgraph_errors(x: ArrayLike, y: ArrayLike, ex: ArrayLike, ey: ArrayLike, title: str = "") -> Any:
    """Returns a TGraphErrors; points and errors are (n,) each, and errors are not negative.

    Raises:
        OutputError: If the arrays differ in length or are not one-dimensional.
    """
    _, _, *errors = _columns(x, y, ex, ey)
    return _with_errors(Model_TGraphErrors_v3, tgraph(x, y, title), errors)


def tgraph_asymm_errors(
    x: ArrayLike, y: ArrayLike, exl: ArrayLike, exh: ArrayLike, eyl: ArrayLike, eyh: ArrayLike, title: str = ""
) -> Any:
    """Returns a TGraphAsymmErrors; points and the lengths of the error bars below and above them are (n,) each.

    Raises:
        OutputError: If the arrays differ in length or are not one-dimensional.
    """
    _, _, *errors = _columns(x, y, exl, exh, eyl, eyh)
    return _with_errors(Model_TGraphAsymmErrors_v3, tgraph(x, y, title), errors)


def _with_errors(model: Any, points: Any, errors: list[Any]) -> Any:
    graph = model.empty()
    graph._bases.append(points)
    graph._members.update(zip(model.errors, errors, strict=True))
    graph._deeply_writable = True
    return graph


def _columns(*arrays: ArrayLike) -> list[Any]:
    columns = [np.asarray(a, dtype=np.float64) for a in arrays]
    if columns[0].ndim != 1 or any(c.shape != columns[0].shape for c in columns):
        raise OutputError(f"a graph needs equally long columns, not arrays of the shapes {[c.shape for c in columns]}")
    return columns


def drawn_bases(title: str, fill_style: int) -> list[Any]:
    """Returns the base classes of a ROOT object with a title and with attributes of lines, areas and markers."""
    named = TNamed.Model_TNamed.empty()
    named._bases.append(TObject.Model_TObject.empty())
    line, area, marker = (m.empty() for m in (TAtt.Model_TAttLine_v2, TAtt.Model_TAttFill_v2, TAtt.Model_TAttMarker_v2))
    named._members.update(fName="", fTitle=title)
    line._members.update(fLineColor=1, fLineStyle=1, fLineWidth=1)
    area._members.update(fFillColor=0, fFillStyle=fill_style)
    marker._members.update(fMarkerColor=1, fMarkerStyle=20, fMarkerSize=0.7)
    for base in (named, line, area, marker):
        base._deeply_writable = True
    return [named, line, area, marker]
