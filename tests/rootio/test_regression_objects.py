"""The ROOT objects of a regression, as ROOT itself and uproot read them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import uproot

from pidlab.evaluate.results import RegressionResults
from pidlab.plots.gallery import catalogue
from pidlab.plots.sheets.picture import Picture
from pidlab.report.page import objects_of
from pidlab.rootio.results.run import object_names, write_results
from real_root import ask_root, needs_root
from regression_samples import toy_results


@pytest.fixture(scope="module")
def results() -> RegressionResults:
    return toy_results(1500)


@pytest.fixture(scope="module")
def file(results: RegressionResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regression") / "results.root"
    write_results(path, results, json.dumps({"pidlab": "1"}))
    return path


def test_histograms_and_graphs_hold_the_results(results: RegressionResults, file: Path) -> None:
    mlp = results.models["mlp"]
    with uproot.open(file) as root:
        assert np.array_equal(root["mlp/residual"].values(flow=True), mlp.residuals["test"].sumw)
        assert np.array_equal(root["mlp/pulls"].variances(flow=True), mlp.pulls.sumw2)
        assert np.array_equal(root["mlp/prediction_against_target"].values(), mlp.plane.plane.sumw)
        trend = next(t for t in mlp.trends if t.x == "P")
        graph = root["mlp/sigma68_against_P"]
        x, y = graph.values()
        assert np.allclose(x, (trend.edges[1:] + trend.edges[:-1]) / 2, rtol=1e-12)
        assert np.array_equal(y, trend.sigma68)
        assert np.allclose(y + graph.errors("high")[1], trend.sigma68_high, rtol=1e-12)
        assert np.allclose(y - graph.errors("low")[1], trend.sigma68_low, rtol=1e-12)
        compared = root["compare/metrics_rms"]
        assert list(compared.axis().labels()) == list(results.models)
        assert np.allclose(compared.values(), [m.rms.value for m in results.models.values()], rtol=1e-12)
        assert list(root["inputs/correlation"].axis(0).labels())[-1] == results.target
        assert json.loads(str(root["provenance"])) == {"pidlab": "1"}
        deltas = [one.delta_rms for one in results.importance["linear"].features]
        shuffled = root["linear/importance_rms"]
        assert list(shuffled.axis().labels()) == list(results.features)
        assert np.allclose(shuffled.values(), [delta.value for delta in deltas], rtol=1e-12)
        assert np.allclose(shuffled.errors(), [(delta.high - delta.low) / 2 for delta in deltas], rtol=1e-9)
        one = results.dependence["mlp"][0]
        assert np.array_equal(root["mlp/dependence_x0"].values()[1], one.mean[~np.isnan(one.value)])
        assert "linear/contribution_x0" in root
        assert "mlp/importance_contribution" not in root


def test_every_figure_has_its_objects(results: RegressionResults, file: Path) -> None:
    names = object_names(file)
    for name, sheet in catalogue(results).items():
        picture = Picture(name, sheet.title, sheet.alt, "", None, sheet.section, sheet.objects)
        assert objects_of(picture, names), name
        for pattern in sheet.objects:
            one = picture._replace(objects=(pattern,))
            assert objects_of(one, names) or "history" in pattern or pattern.endswith("_*"), pattern


def test_a_model_may_be_called_as_a_directory(tmp_path: Path) -> None:
    results = toy_results(900)
    model = dataclasses.replace(results.models["mlp"], name="compare")
    renamed = dataclasses.replace(results, models={"compare": model}, comparisons=())
    write_results(tmp_path / "results.root", renamed, "{}")
    with uproot.open(tmp_path / "results.root") as root:
        assert "compare_model/residual" in root
        assert "compare/metrics_rms" in root


@needs_root
def test_root_reads_the_same_numbers(results: RegressionResults, file: Path) -> None:
    answer = ask_root(
        """
file = ROOT.TFile.Open(given["file"])
residual, plane, graph = (file.Get("mlp/" + n) for n in ("residual", "prediction_against_target", "bias_against_P"))
answer = {
    "integral": residual.Integral(0, residual.GetNbinsX() + 1), "mean": residual.GetMean(), "rms": residual.GetRMS(),
    "plane": plane.Integral(), "x": plane.GetXaxis().GetTitle(), "points": graph.GetN(), "y": graph.GetPointY(3),
    "high": graph.GetErrorYhigh(3), "axis": graph.GetXaxis().GetTitle(),
    "label": file.Get("compare/metrics_rms").GetXaxis().GetBinLabel(4),
}
""",
        file=file,
    )
    mlp = results.models["mlp"]
    trend = next(t for t in mlp.trends if t.x == "P")
    assert answer["integral"] == mlp.test.n
    assert answer["mean"] == pytest.approx(mlp.test.bias.value, abs=0.2 * mlp.test.rms.value)
    assert answer["rms"] == pytest.approx(mlp.test.rms.value, rel=0.1)  # without under- and overflow
    assert answer["plane"] == pytest.approx(mlp.plane.plane.sumw.sum())
    assert answer["x"] == results.target
    assert answer["points"] == len(trend.bias)
    assert answer["y"] == trend.bias[3]
    assert answer["high"] == pytest.approx(trend.bias_high[3] - trend.bias[3], rel=1e-9)
    assert answer["axis"] == "P (GeV)"
    assert answer["label"] == "mlp"
