"""TCutG objects are found in files of ROOT, in folders and of any cycle; what is none is told with what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

from conftest import write_tree
from pidlab.cli.entry import cli
from pidlab.errors import DataError
from pidlab.read.root.polygons import polygons_among, read_polygon
from pidlab.rootio import tcutg, tgraph
from real_root import ask_root, needs_root

TRIANGLE = [[0.0, 0.0], [1.0, 0.0], [0.5, 2.0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with uproot.recreate(tmp_path / "holes.root") as file:
        file["hgcer_hole"] = tcutg(TRIANGLE, "xcal + zc * th", "ycal")
        file["old/bare"] = tcutg(TRIANGLE, "", "")
        file["line"] = tcutg(TRIANGLE[:2], "x", "y")
        file["endless"] = tcutg([*TRIANGLE, [float("inf"), 0.0]], "x", "y")
        file["graph"] = tgraph([0.0, 1.0], [1.0, 2.0])
    with uproot.recreate(tmp_path / "none.root") as file:
        file["graph"] = tgraph([0.0, 1.0], [1.0, 2.0])
    (tmp_path / "text.root").write_text("no ROOT")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hole.root:hgcer_hole", r"hole\.root: no such file; did you mean 'holes\.root'"),
        ("holes.root:hgcer_hol", r"holes\.root: no TCutG 'hgcer_hol'; did you mean 'hgcer_hole'\?"),
        ("holes.root:bare", r"no TCutG 'bare'; did you mean 'old/bare'\?"),
        ("holes.root:hgcer_hole;7", r"'hgcer_hole' has no cycle 7; there are: 1"),
        ("holes.root:graph", r"'graph' is a TGraph, and a polygon is a TCutG; known: "),
        ("none.root:hole", r"no TCutG 'hole'; it holds no TCutG at all, but graph"),
        ("holes.root:line", r"the TCutG 'line' has 2 points, and a polygon has 3 or more"),
        ("holes.root:endless", r"the TCutG 'endless' has a point that is not finite"),
        ("text.root:hole", r"text\.root: is not a ROOT file"),
        ("holes.root", r"holes\.root: names no object; write file\.root:name"),
        ("*.root:hole", r"means 3 files; name one"),
    ],
)
def test_what_is_no_polygon_is_told_with_what_is_there(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_polygon(text, folder)


def test_a_damaged_polygon_is_told_with_its_name(folder: Path) -> None:
    with uproot.open(folder / "holes.root") as file:
        key = file.key("hgcer_hole")
        start, stop = key.data_cursor.index, key.data_cursor.index + key.data_compressed_bytes
    content = bytearray((folder / "holes.root").read_bytes())
    content[start + 4 : stop] = b"\xff" * (stop - start - 4)
    (folder / "holes.root").write_bytes(content)
    with pytest.raises(DataError, match=r"holes\.root: hgcer_hole cannot be read as a TCutG"):
        read_polygon("holes.root:hgcer_hole", folder)


def test_inspect_lists_polygons_beside_the_trees_and_in_a_file_without_any(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    shown = CliRunner().invoke(cli, ["inspect", "holes.root"])
    assert shown.exit_code == 0
    line = 'holes.root:hgcer_hole: TCutG, 3 points, axes xcal + zc * th and ycal; cutg("holes.root:hgcer_hole") asks it'
    assert line in shown.output.splitlines()
    assert 'holes.root:old/bare: TCutG, 3 points, axes not stated; cutg("holes.root:old/bare") asks it' in shown.output
    assert CliRunner().invoke(cli, ["inspect", "none.root"]).exit_code == 1
    with uproot.recreate(folder / "both.root") as file:
        file["cut"] = tcutg(TRIANGLE, "x", "y")
        file.mktree("T", {"x": "f8"}).extend({"x": [1.0, 2.0]})
    both = CliRunner().invoke(cli, ["inspect", "both.root"]).output
    assert "both.root:T: 2 entries, 1 branch" in both
    assert 'cutg("both.root:cut") asks it' in both
    write_tree(folder / "tree.root", {"x": np.arange(3.0)})
    assert polygons_among(str(folder / "tree.root")) == {}


@needs_root
def test_files_of_real_root_are_read_with_folders_and_cycles(tmp_path: Path) -> None:
    code = """
file = ROOT.TFile(given["file"], "RECREATE")
def write(n, x):
    cut = ROOT.TCutG("hole", n)
    ROOT.SetOwnership(cut, False)
    for i in range(n):
        cut.SetPoint(i, i + 0.1, i * i)
    cut.SetVarX(x)
    cut.SetVarY("y")
    cut.SetFillColor(2)
    if n == 5:
        cut.GetXaxis().SetTitle("drawn")  # the file then holds the histogram of its axes
    cut.Write()
write(4, "first")
write(5, "second")
file.mkdir("deep").mkdir("er").cd()
write(6, "third")
file.Close()
answer = True
"""
    assert ask_root(code, file=tmp_path / "root.root")
    for name, n, x in (("hole", 5, "second"), ("hole;1", 4, "first"), ("deep/er/hole", 6, "third")):
        polygon = read_polygon(f"root.root:{name}", tmp_path)
        assert (polygon.x, polygon.y) == (x, "y")
        assert polygon.points == tuple((i + 0.1, float(i * i)) for i in range(n))
        assert polygon.short_name == "hole"
