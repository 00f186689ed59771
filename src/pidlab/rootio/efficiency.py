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
from uproot.models import TH
from uproot.serialization import _serialize_object_any, numbytes_version
from uproot.writing import identify

from pidlab.errors import DataError, OutputError
from pidlab.rootio.graphs import drawn_bases
from pidlab.rootio.histograms import from_cells, th1, th2, th3, titles
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
"""TEfficiency's default, one standard deviation, with the digits that ROOT writes."""

_CLOPPER_PEARSON: Final = 0
_NORMAL: Final = 1
_USES_WEIGHTS: Final = 1 << 18
"""The bit of TEfficiency::EStatusBits that makes ROOT use the sums of squared weights for errors."""

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
_STREAMER: Final = (None, streamer_info("TEfficiency", 0x52931AEB, _ELEMENTS), "TEfficiency", 2)
_HISTOGRAMS: Final = (TH.Model_TH1D_v3, TH.Model_TH2D_v4, TH.Model_TH3D_v4)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The contents of a TEfficiency.

    Attributes:
        passed, total: (bx[, by[, bz]]) events, or sums of w, without flows.
        passed2, total2: the same shape, sums of w².
        edges: for each axis its (b + 1,) bin edges.
        weighted: whether ROOT uses the sums of w² for the errors.
        weight: the weight of every event when efficiencies are combined, by default 1.
        title: the title of the TEfficiency.
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
        """Reads the members from `cursor` on; parameters of priors by bin are skipped."""
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
    """TEfficiency of any version, of which only version 2 is known."""

    known_versions = {2: Model_TEfficiency_v2}  # noqa: RUF012  uproot adds to it


def tefficiency(
    passed: ArrayLike,
    total: ArrayLike,
    edges: Sequence[ArrayLike],
    title: str = "",
    passed2: ArrayLike | None = None,
    total2: ArrayLike | None = None,
) -> Any:
    """Returns a TEfficiency of the events that passed and of all events, (bx[, by[, bz]]) each, without flows.

    ROOT gives Clopper-Pearson intervals for unweighted events and for events of equal weight, of which the numbers
    are stored together with the weight. For weights that differ, ROOT has only the normal approximation,
    variance = (passed2 (1 - 2 e) + total2 e²) / total².

    Args:
        passed, total: sums of w of the events that passed, and of all.
        edges: for each axis its (b + 1,) bin edges.
        title: ROOT's "title;x title;y title".
        passed2, total2: sums of w²; left out for unweighted events.

    Raises:
        OutputError: If shapes disagree with the edges, or unweighted counts are not whole with 0 <= passed <= total.
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
    histogram = (th1, th2, th3)[len(axes) - 1]
    efficiency = Model_TEfficiency_v2.empty()
    efficiency._bases.extend(drawn_bases(titles(title)[0], fill_style=1001))
    efficiency._members.update(
        fBeta_alpha=1.0,
        fBeta_beta=1.0,
        fConfLevel=CONFIDENCE_LEVEL,
        fFunctions=identify.to_TList([]),
        fPassedHistogram=histogram(from_cells(cells[0], axes, squares[0]), title),
        fStatisticOption=_NORMAL if weight is None else _CLOPPER_PEARSON,
        fTotalHistogram=histogram(from_cells(cells[1], axes, squares[1]), title),
        fWeight=1.0 if weight is None else weight,
    )
    efficiency._deeply_writable = True
    return efficiency


def _common_weight(cells: list[Array], squares: list[Array]) -> float | None:
    """Returns the weight that all events share, by their sums of w and of w²; None if weights differ."""
    tried = float(cells[1].sum())
    weight = float(squares[1].sum()) / tried if tried > 0 else 1.0
    passed, total = (np.rint(c / weight) for c in cells)
    same = all(
        np.allclose(weight * n, c, rtol=1e-9, atol=0) and np.allclose(weight * c, s, rtol=1e-9, atol=0)
        for n, c, s in zip((passed, total), cells, squares, strict=True)
    )
    return weight if same and bool(((passed >= 0) & (passed <= total)).all()) else None


def read_efficiency(file_path: Path, key: str) -> Efficiency:
    """Returns the TEfficiency `key` of a ROOT file that pidlab or ROOT wrote.

    Raises:
        DataError: If there is no such file or key, or it is no TEfficiency of class version 2.
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
