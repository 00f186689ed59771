"""ROOT's TCutG, written without ROOT: a polygon with the expressions of its axes.

Layout of class version 2 (ROOT 4 and later): a TGraph with the corners, and the texts fVarX and fVarY.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import uproot
from numpy.typing import ArrayLike
from uproot.models import TGraph
from uproot.serialization import numbytes_version, string

from pidlab.rootio.graphs import tgraph
from pidlab.rootio.streamer_info import BASE, STRING, Element, streamer_info

_ELEMENTS: Final = (
    Element("TGraph", "Graph graphics class", BASE, version=4, checksum=0x05F7F465),
    Element("fVarX", "X variable", STRING, "TString"),
    Element("fVarY", "Y variable", STRING, "TString"),
)
_STREAMER: Final = (None, streamer_info("TCutG", 0x406F471B, _ELEMENTS), "TCutG", 2)


class Model_TCutG_v2(uproot.model.VersionedModel):  # type: ignore[misc]  # noqa: N801  uproot names classes so
    """A TCutG that can be written."""

    class_rawstreamers = (*TGraph.Model_TGraph_v4.class_rawstreamers, _STREAMER)
    writable = True

    def _serialize(self, out: list[bytes], header: bool, name: str | None, tobject_flags: int) -> None:
        start = len(out)
        self._bases[0]._serialize(out, True, name, tobject_flags)
        out += [string(self._members["fVarX"]), string(self._members["fVarY"])]
        if header:
            out.insert(start, numbytes_version(sum(map(len, out[start:])), 2))


def tcutg(points: ArrayLike, x: str, y: str, title: str = "") -> Any:
    """Returns a TCutG of the corners (n, 2), which `TCutG::IsInside` joins from the last to the first.

    Args:
        points: the corners.
        x, y: the expressions of the axes.
        title: the title of the TCutG.

    Raises:
        OutputError: If the points are no list of pairs.
    """
    corners = np.asarray(points, np.float64)
    polygon = Model_TCutG_v2.empty()
    polygon._bases.append(tgraph(corners[:, 0], corners[:, 1], title))
    polygon._members.update(fVarX=x, fVarY=y)
    polygon._deeply_writable = True
    return polygon
