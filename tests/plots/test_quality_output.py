"""Calibration, importance, figures of merit, pairs and matrices in figures, tables, ROOT files and metrics.json."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import uproot
from matplotlib.figure import Figure
from test_classes import pairs_of, result_of

from evaluate_samples import evaluated, hand_cuts, one_feature, three_samples
from example_results import example
from pidlab.evaluate.importance import measure_importance
from pidlab.evaluate.results import FeatureImportance, Importance
from pidlab.measured import UNDEFINED, Measured
from pidlab.plots import gallery
from pidlab.plots.canvas.style import LineStyle
from pidlab.plots.merit import merit
from pidlab.report.page import render
from pidlab.rootio import write_results
from pidlab.runs.record import metrics
from real_root import ask_root, needs_root

EXAMPLES = {2: example(), 4: example(("electron", "pion", "kaon", "proton"))}


def results_of(k):
    """Results of the example run with what was measured of `hand` and `mlp` in place of its own."""
    if k == 2:
        samples = three_samples()
        mlp = evaluated(samples=samples, calibration="temperature")
        hand = evaluated(hand_cuts, samples, kind="expression", fixed_cut=True)
        test = samples["test"]
        importance = {
            "hand": measure_importance(hand_cuts, test, hand, seed=1),
            "mlp": measure_importance(one_feature, test, mlp, seed=1, contributions=(test.x, test)),
        }
        models = {"hand": dataclasses.replace(hand, name="hand"), "mlp": dataclasses.replace(mlp, name="mlp")}
        alone = {"comparisons": (), "robustness": {}}
        return dataclasses.replace(EXAMPLES[2], models=models, importance=importance, **alone)
    models = {"mlp": dataclasses.replace(result_of(pairs_of()), name="mlp")}
    return dataclasses.replace(EXAMPLES[4], models=models, comparisons=(), robustness={})


@pytest.fixture(scope="module")
def results():
    return {k: results_of(k) for k in (2, 4)}


@pytest.mark.slow
def test_every_model_has_the_figures_it_can_have(results):
    kinds = ("calibration", "importance", "merit", "matrix", "roc_pairs")
    names = {k: [n for n in gallery.catalogue(r) if n.startswith(kinds)] for k, r in results.items()}
    assert sorted(names[2]) == sorted(
        ["calibration_mlp", "merit_mlp", "matrix_hand", "matrix_mlp", "importance_hand", "importance_mlp"]
    )
    assert sorted(names[4]) == ["calibration_mlp", "matrix_mlp", "merit_mlp", "roc_pairs_mlp"]
    for k, r in results.items():
        sheets = gallery.catalogue(r)
        for name in names[k]:
            assert gallery.rendered(gallery.drawn(sheets[name], name), name, "svg")
            table = sheets[name].numbers()
            assert table.rows
            assert all(len(row) == len(table.header) for row in table.rows)


def test_tables_hold_what_was_measured(results):
    sheets = gallery.catalogue(results[2])
    curve = results[2].models["mlp"].calibration
    rows = np.array(sheets["calibration_mlp"].numbers().rows)
    np.testing.assert_array_equal(rows.T, [curve.score, curve.fraction, curve.low, curve.high, curve.n])
    matrix = results[2].models["mlp"].matrix
    shares = [row[2] for row in sheets["matrix_mlp"].numbers().rows]
    np.testing.assert_array_equal(shares, matrix.rate.ravel())
    table = sheets["importance_mlp"].numbers()
    value = table.rows[0][table.header.index("ΔAUC")]
    assert value == results[2].importance["mlp"].features[0].delta_auc.value
    assert "mean |contribution|" in table.header
    assert "ΔAUC" not in sheets["importance_hand"].numbers().header


def test_many_features_are_drawn_with_the_weightiest_first():
    moved = Measured(-0.1, -0.2, -0.05, 100)
    features = tuple(
        FeatureImportance(f"$feature_{i}", Measured(-i / 1e3, -0.05, 0.01, 9), moved, {"pion": UNDEFINED})
        for i in range(40)
    )
    results = dataclasses.replace(EXAMPLES[2], importance={"mlp": Importance("eff90", 1000, 3, features)})
    figure = gallery.drawn(gallery.catalogue(results)["importance_mlp"], "importance_mlp")
    ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert ticks == [f"$feature_{i}" for i in range(39, 14, -1)]
    assert gallery.rendered(figure, "importance_mlp", "png", "svg")
    one = Importance("eff90", 10, 3, (dataclasses.replace(features[0], delta_auc=UNDEFINED),))
    drawn = gallery.catalogue(dataclasses.replace(results, importance={"mlp": one}))["importance_mlp"]
    assert gallery.rendered(gallery.drawn(drawn, "x"), "x", "svg")


def test_metrics_have_every_number_with_its_interval(results):
    two, four = (json.loads(json.dumps(metrics(results[k]), allow_nan=False)) for k in (2, 4))
    model = two["models"]["mlp"]
    assert set(model["calibration"]["rms_error"]) == {"value", "low", "high", "n"}
    assert model["calibration"]["method"] == "temperature"
    assert set(model["figures_of_merit"]["best"]) == {"significance", "punzi"}
    assert model["figures_of_merit"]["basis"] == "sample"
    assert len(two["importance"]["mlp"]["features"]) == 2
    assert "calibration" not in two["models"]["hand"]
    assert "auc_pairs" not in model
    assert set(four["models"]["mlp"]["auc_pairs"]["pion"]) == {"kaon", "proton"}
    assert len(four["models"]["mlp"]["class_points"]["kaon"]) == 3
    assert np.shape(four["models"]["mlp"]["matrix"]["low"]) == (4, 4)


@pytest.mark.slow
def test_the_report_shows_them(results, tmp_path):
    for k, r in results.items():
        page = render(r, title="t", config_yaml="", manifest={}, figures=gallery.write(r, tmp_path, formats=()))
        assert "Calibration of mlp" in page
        assert ("Pairs of classes by mlp" in page) == (k == 4)


@pytest.fixture(scope="module")
def files(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    for k, r in results.items():
        write_results(folder / f"{k}.root", r, "{}")
    return folder


def test_root_objects_are_the_results(files, results):
    with uproot.open(files / "2.root") as file:
        curve = results[2].models["mlp"].calibration
        graph = file["mlp/calibration"]
        np.testing.assert_allclose(graph.member("fY"), curve.fraction, rtol=1e-12)
        np.testing.assert_allclose(graph.member("fX"), curve.score, rtol=1e-12)
        scan = results[2].models["mlp"].scan
        np.testing.assert_allclose(file["mlp/merit_punzi"].member("fY"), scan.merits["punzi"].value, rtol=1e-12)
        assert file["mlp/merit_punzi_best"].member("fX")[0] == scan.merits["punzi"].best
        matrix = file["mlp/matrix"]
        np.testing.assert_allclose(matrix.values(), results[2].models["mlp"].matrix.rate, rtol=1e-12)
        shuffled = file["mlp/importance_auc"]
        expected = [f.delta_auc.value for f in results[2].importance["mlp"].features]
        np.testing.assert_allclose(shuffled.values(), expected, rtol=1e-12)
        assert "hand/importance_auc" not in file
        assert "hand/importance_efficiency" in file
        assert "mlp/importance_contribution" in file
    with uproot.open(files / "4.root") as file:
        pair = results[4].models["mlp"].roc_pairs["pion"]["kaon"]
        np.testing.assert_allclose(file["mlp/roc_pairs_pion_kaon"].member("fY"), pair.misid, rtol=1e-12)
        points = file["mlp/class_points_kaon_pion"].member("fX")
        expected = [p.efficiency.value for p in results[4].models["mlp"].class_points["kaon"]]
        np.testing.assert_allclose(points, expected, rtol=1e-12)


@needs_root
def test_root_itself_reads_and_draws_them(files, results):
    names = ["mlp/calibration", "mlp/merit_significance", "mlp/merit_significance_best", "mlp/matrix",
             "mlp/importance_auc", "mlp/importance_contribution"]  # fmt: skip
    answer = ask_root(
        """
file = ROOT.TFile(given["path"])
canvas = ROOT.TCanvas()
drawn = {}
for name in given["names"]:
    thing = file.Get(name)
    thing.Draw("colz text" if thing.InheritsFrom("TH2") else "hist" if thing.InheritsFrom("TH1") else "ap")
    canvas.Update()
    drawn[name] = thing.ClassName()
graph = file.Get("mlp/calibration")
answer = {"classes": drawn, "low": [graph.GetErrorYlow(i) for i in range(graph.GetN())],
          "label": file.Get("mlp/importance_auc").GetXaxis().GetBinLabel(1)}
""",
        path=files / "2.root",
        names=names,
    )
    assert set(answer["classes"].values()) == {"TGraphAsymmErrors", "TH2D", "TH1D"}
    curve = results[2].models["mlp"].calibration
    np.testing.assert_allclose(answer["low"], curve.fraction - curve.low, rtol=1e-9, atol=1e-15)
    assert answer["label"] == "f0"


def test_a_threshold_that_everything_passes_is_called_below_0():
    scan = evaluated().scan
    best = dataclasses.replace(scan.merits["punzi"], best=-float(np.finfo(np.float32).tiny))
    ax = Figure().subplots()
    merit(dataclasses.replace(scan, merits={**scan.merits, "punzi": best}), "punzi", ax, style=LineStyle("k", "o", "-"))
    assert ax.get_legend().get_texts()[0].get_text().startswith("below 0 by validation; test: ")
