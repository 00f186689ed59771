"""ROOT's TEfficiency in one to three dimensions, written and read without ROOT.

Layout of class version 2 (ROOT 5.34 and later): TNamed, line, fill and marker attributes, the priors' parameters, the
confidence level, and two histograms with the number of events that passed and that were tried.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot
from numpy.typing import ArrayLike, NDArray
from uproot.deserialization import numbytes_version as read_numbytes_version
from uproot.deserialization import read_object_any
from uproot.models import TH, TAtt, TNamed, TObject
from uproot.serialization import _serialize_object_any, numbytes_version
from uproot.writing import identify

from pidlab.errors import DataError, OutputError
from pidlab.rootio.histograms import Bins, from_cells, th1, th2, th3, titles
from pidlab.rootio.streamer_info import (
    BASE,
    DOUBLE,
    ENUM,
    OBJECT_ALWAYS,
    OBJECT_POINTER,
    STL,
    Element,
    streamer_info,
)

Array = NDArray[np.float64]

CONFIDENCE_LEVEL: Final = 0.682689492137
"""TEfficiency's default: one standard deviation, to the digits that ROOT writes it with."""

_CLOPPER_PEARSON: Final = 0
_NORMAL: Final = 1
_USES_WEIGHTS: Final = 1 << 18
"""The bit of TEfficiency::EStatusBits that makes ROOT take the sums of squared weights into the errors."""

_NO_PRIORS: Final = bytes(numbytes_version(4, 10)) + struct.pack(">i", 0)
_PRIOR: Final = "prior beta distribution"
_ELEMENTS: Final = (
    Element("TNamed", "The basis for a named object (name, title)", BASE, version=1, checksum=0xDFB74A3C),
    Element("TAttLine", "Line attributes", BASE, version=2, checksum=0x94074549),
    Element("TAttFill", "Fill area attributes", BASE, version=2, checksum=0xFFD92A92),
    Element("TAttMarker", "Marker attributes", BASE, version=2, checksum=0x291D8BEC),
    Element("fBeta_alpha", f"Global parameter for {_PRIOR} (default = 1)", DOUBLE, "double"),
    Element("fBeta_beta", f"Global parameter for {_PRIOR} (default = 1)", DOUBLE, "double"),
    Element("fBeta_bin_params", f"Parameter for {_PRIOR} different bin by bin", STL, "vector<pair<double,double> >"),
    Element("fConfLevel", "Confidence level (default = 0.683, 1 sigma)", DOUBLE, "double"),
    Element("fFunctions", "->Pointer to list of functions", OBJECT_ALWAYS, "TList*"),
    Element("fPassedHistogram", "Histogram for events which passed certain criteria", OBJECT_POINTER, "TH1*"),
    Element(
        "fStatisticOption", "Defines how the confidence intervals are determined", ENUM, "TEfficiency::EStatOption"
    ),
    Element("fTotalHistogram", "Histogram for total number of events", OBJECT_POINTER, "TH1*"),
    Element("fWeight", "Weight for all events (default = 1)", DOUBLE, "double"),
)
_STREAMER: Final = (None, streamer_info("TEfficiency", 2, 0x52931AEB, _ELEMENTS), "TEfficiency", 2)
_HISTOGRAMS: Final = (TH.Model_TH1D_v3, TH.Model_TH2D_v4, TH.Model_TH3D_v4)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What a TEfficiency counts.

    Attributes:
        passed, total: (bx[, by[, bz]]) events, or sums of w, without flows.
        passed2, total2: the same shape, sums of w².
        edges: for each axis its (b + 1,) bin edges.
        weighted: whether ROOT uses the sums of w² for the errors.
        weight: what every event counts for when efficiencies are combined, 1 unless said otherwise.
        title: of the efficiency.
    """

    passed: Array
    total: Array
    passed2: Array
    total2: Array
    edges: tuple[Array, ...]
    weighted: bool
    weight: float
    title: str


class Model_TEfficiency_v2(uproot.model.VersionedModel):  # type: ignore[misc]  # noqa: N801  uproot finds it by this name
    """TEfficiency as uproot reads and writes it."""

    class_rawstreamers = (
        *dict.fromkeys(streamer for model in _HISTOGRAMS for streamer in model.class_rawstreamers),
        _STREAMER,
    )
    writable = True

    def read_members(self, chunk: Any, cursor: Any, context: Any, file: Any) -> None:
        """Read from `cursor` on; the parameters of a bin by bin prior are skipped."""
        here = (chunk, cursor, context, file, self._file)
        for base in ("TNamed", "TAttLine", "TAttFill", "TAttMarker"):
            self._bases.append(file.class_named(base).read(*here, self._parent, concrete=self.concrete))
        members = self._members
        members["fBeta_alpha"], members["fBeta_beta"] = cursor.fields(chunk, struct.Struct(">dd"), context)
        start = cursor.index
        n_bytes, _, _ = read_numbytes_version(chunk, cursor, context)
        cursor.move_to(start + n_bytes)
        members["fConfLevel"] = cursor.field(chunk, struct.Struct(">d"), context)
        members["fFunctions"] = file.class_named("TList").read(*here, self.concrete)
        members["fPassedHistogram"] = read_object_any(*here, self)
        members["fStatisticOption"] = cursor.field(chunk, struct.Struct(">i"), context)
        members["fTotalHistogram"] = read_object_any(*here, self)
        members["fWeight"] = cursor.field(chunk, struct.Struct(">d"), context)

    def _serialize(self, out: list[bytes], header: bool, name: str | None, tobject_flags: int) -> None:
        start, members = len(out), self._members
        flags = tobject_flags | (_USES_WEIGHTS if members["fStatisticOption"] == _NORMAL else 0)
        for base in self._bases:
            base._serialize(out, True, name, flags)
        out += [struct.pack(">dd", members["fBeta_alpha"], members["fBeta_beta"]), _NO_PRIORS]
        out.append(struct.pack(">d", members["fConfLevel"]))
        members["fFunctions"]._serialize(out, True, None, 0)
        _serialize_object_any(out, members["fPassedHistogram"], f"{name}_passed")
        out.append(struct.pack(">i", members["fStatisticOption"]))
        _serialize_object_any(out, members["fTotalHistogram"], f"{name}_total")
        out.append(struct.pack(">d", members["fWeight"]))
        if header:
            out.insert(start, numbytes_version(sum(map(len, out[start:])), 2))


class Model_TEfficiency(uproot.model.DispatchByVersion):  # type: ignore[misc]  # noqa: N801  uproot finds it by this name
    """TEfficiency of any version; only version 2 is known."""

    known_versions = {2: Model_TEfficiency_v2}  # noqa: RUF012  uproot adds to it


def tefficiency(
    passed: ArrayLike,
    total: ArrayLike,
    edges: Sequence[ArrayLike],
    title: str = "",
    passed2: ArrayLike | None = None,
    total2: ArrayLike | None = None,
) -> Any:
    """A TEfficiency from what passed and what was tried, (bx[, by[, bz]]) each, without flows.

    Without `passed2` and `total2` (sums of w²) the events are unweighted and ROOT gives Clopper-Pearson intervals.
    So it does where these say that all events weigh the same: the numbers of events are stored then, with that
    weight. For weights that differ ROOT knows only its normal approximation, variance = (passed2 (1 - 2 e) +
    total2 e²) / total². `title` is ROOT's "title;x title;y title".

    Raises:
        OutputError: shapes disagree with the edges, or unweighted counts are no counts of a part and its whole.
    """
    axes = [np.asarray(e, dtype=np.float64) for e in edges]
    cells = [np.asarray(c, dtype=np.float64) for c in (passed, total)]
    squares = [
        c if s is None else np.asarray(s, dtype=np.float64) for c, s in zip(cells, (passed2, total2), strict=True)
    ]
    shape = tuple(len(e) - 1 for e in axes)
    if not 1 <= len(axes) <= 3 or any(c.shape != shape for c in (*cells, *squares)):
        raise OutputError(f"{title}: an efficiency needs one to three axes and a number a bin, {shape}, four times")
    weight = _common_weight(cells, squares)
    if weight is not None:
        cells = squares = [np.rint(c / weight) for c in cells]
    elif passed2 is None and total2 is None:
        raise OutputError(
            f"{title}: unweighted counts must be whole numbers with 0 <= passed <= total; "
            "give the sums of squared weights (passed2, total2) for weighted events"
        )
    efficiency = Model_TEfficiency_v2.empty()
    efficiency._bases.extend(_bases(titles(title)[0]))
    efficiency._members.update(
        fBeta_alpha=1.0,
        fBeta_beta=1.0,
        fConfLevel=CONFIDENCE_LEVEL,
        fFunctions=identify.to_TList([]),
        fPassedHistogram=_histogram(from_cells(cells[0], axes, squares[0]), title),
        fStatisticOption=_NORMAL if weight is None else _CLOPPER_PEARSON,
        fTotalHistogram=_histogram(from_cells(cells[1], axes, squares[1]), title),
        fWeight=1.0 if weight is None else weight,
    )
    efficiency._deeply_writable = True
    return efficiency


def _common_weight(cells: list[Array], squares: list[Array]) -> float | None:
    """The weight that all events can have had, from their sums of w and of w²; None where there is no such weight."""
    tried = float(cells[1].sum())
    weight = float(squares[1].sum()) / tried if tried > 0 else 1.0
    passed, total = (np.rint(c / weight) for c in cells)
    same = all(
        np.allclose(weight * n, c, rtol=1e-9, atol=0) and np.allclose(weight * c, s, rtol=1e-9, atol=0)
        for n, c, s in zip((passed, total), cells, squares, strict=True)
    )
    return weight if same and bool(((passed >= 0) & (passed <= total)).all()) else None


def _histogram(bins: Bins, title: str) -> Any:
    return (th1, th2, th3)[len(bins.edges) - 1](bins, title)


def _bases(title: str) -> list[Any]:
    named = TNamed.Model_TNamed.empty()
    named._bases.append(TObject.Model_TObject.empty())
    named._members.update(fName="", fTitle=title)
    line, area, marker = (m.empty() for m in (TAtt.Model_TAttLine_v2, TAtt.Model_TAttFill_v2, TAtt.Model_TAttMarker_v2))
    line._members.update(fLineColor=1, fLineStyle=1, fLineWidth=1)
    area._members.update(fFillColor=0, fFillStyle=1001)
    marker._members.update(fMarkerColor=1, fMarkerStyle=20, fMarkerSize=0.7)
    return [named, line, area, marker]


def read_efficiency(file_path: Path, key: str) -> Efficiency:
    """The TEfficiency `key` of a ROOT file, written by us or by ROOT.

    Raises:
        DataError: there is no such file or key, it is no TEfficiency, or one of another class version.
    """
    try:
        with uproot.open(file_path, custom_classes={**uproot.classes, "TEfficiency": Model_TEfficiency}) as file:
            name = file.classname_of(key)
            model = file[key] if name == "TEfficiency" else None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file_path}: {key!r} cannot be read ({error})") from error
    if not isinstance(model, Model_TEfficiency_v2):
        raise DataError(f"{file_path}: {key!r} is a {name}, not a TEfficiency of class version 2")
    histograms = [model.member("fPassedHistogram"), model.member("fTotalHistogram")]
    passed, total = (np.asarray(h.values(), dtype=np.float64) for h in histograms)
    passed2, total2 = (np.asarray(h.variances(), dtype=np.float64) for h in histograms)
    edges = tuple(np.asarray(axis.edges(), dtype=np.float64) for axis in histograms[1].axes)
    weighted = bool(model.member("@fBits") & _USES_WEIGHTS)
    return Efficiency(passed, total, passed2, total2, edges, weighted, model.member("fWeight"), model.member("fTitle"))
