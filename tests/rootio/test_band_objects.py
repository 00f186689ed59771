"""Bands in results.root, as real ROOT reads them: mean and width with errors, the variable, and the pulls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from band_values import band_values
from example_results import example
from pidlab.evaluate.bands import band_variable
from pidlab.evaluate.results import BandVariable
from pidlab.rootio import write_results
from real_root import ask_root, needs_root

CODE = """
file = ROOT.TFile.Open(given["file"])
def graph(name):
    g = file.Get(name)
    n = g.GetN()
    parts = (g.GetPointX, g.GetPointY, g.GetErrorX, g.GetErrorY)
    return [g.ClassName(), *([float(part(i)) for i in range(n)] for part in parts)]
def histogram(name):
    h = file.Get(name)
    return [h.ClassName(), h.Integral(), h.GetEntries(), h.GetMean(), h.GetXaxis().GetTitle(), h.GetYaxis().GetTitle()]
answer = {name: graph(name) for name in given["graphs"]} | {name: histogram(name) for name in given["histograms"]}
answer["names"] = [key.GetName() for key in file.Get("mlp").GetListOfKeys() if key.GetName().startswith("band_")]
"""


def _band() -> BandVariable:
    values, sample = band_values()
    return band_variable(values._replace(variable="P.cal.e/p"), sample, {"sigma3": 3.0})


@needs_root
def test_root_reads_mean_and_width_with_errors_and_the_histograms(tmp_path: Path) -> None:
    results, band = example(), _band()
    first, second = band.panels
    # in the second group the two sides differ in width
    wider = replace(second.curve, above=2 * second.curve.above)
    band = replace(band, panels=(first, replace(second, curve=wider)))
    results = replace(results, models={**results.models, "mlp": replace(results.models["mlp"], bands=(band,))})
    write_results(tmp_path / "results.root", results, "{}", {"p": "$p$ [GeV]"})
    stem = "mlp/band_P_cal_e_p"
    graphs = {
        f"{stem}_mean_sector_1": (first.curve.mean, first.curve.mean_error),
        f"{stem}_width_sector_1": (first.curve.above, first.curve.above_error),
        f"{stem}_width_below_sector_2": (wider.below, wider.below_error),
        f"{stem}_width_above_sector_2": (wider.above, wider.above_error),
        f"{stem}_pulls_mean_against_p": (band.trends[0].mean, band.trends[0].mean_error),
        f"{stem}_pulls_width_against_p": (band.trends[0].width, band.trends[0].width_error),
    }
    planes = {f"{stem}_plane_{c}_sector_{i + 1}": p.planes[c] for i, p in enumerate(band.panels) for c in p.planes}
    pulls = {f"{stem}_pulls_{c}": h for c, h in band.pulls.items()}
    found = ask_root(CODE, file=tmp_path / "results.root", graphs=list(graphs), histograms=[*planes, *pulls])
    for name, (value, error) in graphs.items():
        kind, x, y, _, y_error = found[name]
        assert kind == "TGraphErrors"
        assert len(x) == len(value)
        np.testing.assert_array_equal(y, value)
        np.testing.assert_array_equal(y_error, error)
    np.testing.assert_array_equal(found[f"{stem}_mean_sector_1"][1], first.curve.x)
    np.testing.assert_allclose(found[f"{stem}_pulls_mean_against_p"][3], np.diff(band.trends[0].edges) / 2)
    for name, plane in planes.items():
        kind, total, entries, _, x_title, y_title = found[name]
        assert (kind, x_title, y_title) == ("TH2D", "p [GeV]", "P.cal.e/p")
        assert total == pytest.approx(plane.sumw.sum())
        assert entries == plane.entries
    for name, histogram in pulls.items():
        kind, total, entries, mean, x_title, _ = found[name]
        assert (kind, x_title) == ("TH1D", "(P.cal.e/p - #mu) / #sigma")
        assert total == pytest.approx(histogram.sumw[1:-1].sum())
        assert entries == histogram.entries
        assert mean == pytest.approx(histogram.moments[2] / histogram.moments[0])
    assert len(found["names"]) == len(graphs) + 1 + len(planes) + len(pulls)
