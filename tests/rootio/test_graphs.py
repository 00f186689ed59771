"""Graphs keep every point and error, to the last bit, and say what their axes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from pidlab.errors import OutputError
from pidlab.rootio import tgraph, tgraph_asymm_errors, tgraph_errors
from real_root import ask_root, needs_root

READ_IN_ROOT = """
file = ROOT.TFile.Open(given["file"])
def buffer(pointer, n): return [pointer[i] for i in range(n)]
answer = {}
for name, getters in given["getters"].items():
    graph = file.Get("deep/er/" + name)
    n = graph.GetN()
    answer[name] = [[graph.ClassName(), graph.GetName(), graph.GetTitle()]]
    answer[name] += [[graph.GetXaxis().GetTitle(), graph.GetYaxis().GetTitle()]] if n else []
    answer[name] += [buffer(getattr(graph, "Get" + g)(), n) for g in getters]
"""
GETTERS = {
    "plain": ["X", "Y"],
    "symmetric": ["X", "Y", "EX", "EY"],
    "asymmetric": ["X", "Y", "EXlow", "EXhigh", "EYlow", "EYhigh"],
    "empty": [],
}


@needs_root
def test_root_reads_every_point_and_error(tmp_path: Path) -> None:
    columns = np.random.default_rng(1).normal(size=(6, 17))
    columns[2:] = np.abs(columns[2:])
    title = "main;p [GeV];#varepsilon"
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["deep/er/plain"] = tgraph(*columns[:2], title)
        file["deep/er/symmetric"] = tgraph_errors(*columns[:4], title)
        file["deep/er/asymmetric"] = tgraph_asymm_errors(*columns, title)
        file["deep/er/empty"] = tgraph_asymm_errors([], [], [], [], [], [])
    answer = ask_root(READ_IN_ROOT, file=tmp_path / "ours.root", getters=GETTERS)
    for name, cls in (("plain", "TGraph"), ("symmetric", "TGraphErrors"), ("asymmetric", "TGraphAsymmErrors")):
        identity, axes, *values = answer[name]
        assert identity == [cls, name, title]
        assert axes == ["p [GeV]", "#varepsilon"]
        np.testing.assert_array_equal(values, columns[: len(values)])
    assert answer["empty"] == [["TGraphAsymmErrors", "empty", ""]]


def test_uproot_reads_back_what_was_written(tmp_path: Path) -> None:
    columns = np.arange(18.0).reshape(6, 3)
    with uproot.recreate(tmp_path / "ours.root") as file:
        file["symmetric"] = tgraph_errors(*columns[:4])
        file["asymmetric"] = tgraph_asymm_errors(*columns)
    with uproot.open(tmp_path / "ours.root") as file:
        np.testing.assert_array_equal(file["symmetric"].member("fEY"), columns[3])
        np.testing.assert_array_equal(file["asymmetric"].errors("low", "y"), columns[4])
        np.testing.assert_array_equal(file["asymmetric"].errors("high", "x"), columns[3])


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(OutputError, match=r"equally long columns.*\(2,\), \(3,\)"):
        tgraph([1, 2], [1, 2, 3])
    with pytest.raises(OutputError, match="equally long"):
        tgraph_asymm_errors([1], [1], [1], [1], [1], [[1]])
