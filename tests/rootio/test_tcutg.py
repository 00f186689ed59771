"""A TCutG that is written without ROOT is one to ROOT: corners, axes, and what lies inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import uproot

from pidlab.expressions import Polygon
from pidlab.read.root.polygons import read_polygon
from pidlab.rootio import tcutg
from real_root import ask_root, needs_root

LONG = " + ".join(["P.cal.xtrack"] * 40)  # a text of more than 254 characters has a longer length in ROOT
CORNERS = np.random.default_rng(3).normal(size=(11, 2))


def written(path: Path) -> Path:
    with uproot.recreate(path) as file:
        file["polygons/hole"] = tcutg(CORNERS, "x", "y", "around the hole")
        file["polygons/long"] = tcutg(CORNERS, LONG, "")
    return path


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    written(tmp_path / "ours.root")
    hole = read_polygon("ours.root:polygons/hole", tmp_path)
    assert (hole.x, hole.y) == ("x", "y")
    np.testing.assert_array_equal(hole.points, CORNERS)
    assert read_polygon("ours.root:polygons/long", tmp_path).x == LONG


@needs_root
def test_root_reads_corners_axes_and_decides_as_pidlab(tmp_path: Path) -> None:
    code = """
file = ROOT.TFile.Open(given["file"])
cut, other = file.Get("polygons/hole"), file.Get("polygons/long")
answer = {
    "identity": [cut.ClassName(), cut.GetName(), cut.GetTitle(), cut.GetVarX(), cut.GetVarY()],
    "long": [other.GetVarX(), other.GetVarY()],
    "corners": [[cut.GetPointX(i), cut.GetPointY(i)] for i in range(cut.GetN())],
    "inside": [bool(cut.IsInside(x, y)) for x, y in given["points"]],
}
copy = ROOT.TFile(given["copy"], "RECREATE")
cut.Write("again")
copy.Close()
"""
    points = np.vstack([np.random.default_rng(4).normal(size=(3000, 2)), CORNERS])
    path, copy = written(tmp_path / "ours.root"), tmp_path / "copy.root"
    answer = ask_root(code, file=path, copy=copy, points=points.tolist())
    assert answer["identity"] == ["TCutG", "hole", "around the hole", "x", "y"]
    assert answer["long"] == [LONG, ""]
    np.testing.assert_array_equal(answer["corners"], CORNERS)
    inside = Polygon("", "x", "y", tuple(map(tuple, CORNERS.tolist()))).contains(*points.T)
    assert answer["inside"] == inside.tolist()
    assert 200 < inside.sum() < 2900
    np.testing.assert_array_equal(read_polygon("copy.root:again", tmp_path).points, CORNERS)  # ROOT's own version
