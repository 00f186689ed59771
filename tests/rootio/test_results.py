"""results.root: what the results say, ROOT reads, object by object."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from example_results import example, hand_model
from pidlab.errors import OutputError
from pidlab.evaluate.intervals import clopper_pearson
from pidlab.evaluate.results import CutStep, EfficiencyMap, Results
from pidlab.measured import UNDEFINED
from pidlab.rootio import read_efficiency, write_results
from pidlab.rootio.results.named_object import root_text
from pidlab.rootio.results.run import _TOP
from real_root import ask_root, needs_root

LABELS = {"P.gtr.p": "$p$ [GeV]", "P.gtr.th": r"$\theta$ [deg]"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    results, path = example(), tmp_path_factory.mktemp("results") / "results.root"
    write_results(path, results, '{"seed": 1}', LABELS)
    return results, path


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    results, path = example(("electron", "pion", "kaon")), tmp_path_factory.mktemp("results") / "results.root"
    write_results(path, results, "{}")
    return results, path


def graph(file: Any, key: str) -> np.ndarray:
    """(6, n): x, y, and the four errors."""
    members = ("fEXlow", "fEXhigh", "fEYlow", "fEYhigh")
    return np.array([*file[key].values("both"), *(file[key].member(m) for m in members)])


def test_a_model_cannot_have_the_name_of_a_directory_of_other_objects(written: tuple[Results, Path]) -> None:
    results, path = written
    with uproot.open(path) as file:
        names = {key.partition("/")[0] for key in file.keys(cycle=False)}
    others = names - results.models.keys()
    assert others <= {*_TOP}
    assert {"maps", "cutflow", "compare"} <= others


EVERYTHING = """
file = ROOT.TFile.Open(given["file"])
answer = {"compression": file.GetCompressionAlgorithm(), "classes": {}, "titles": {}, "drawn": 0}
canvas = ROOT.TCanvas("c", "c", 200, 200)
kept = []
def walk(directory, path):
    for key in directory.GetListOfKeys():
        thing = key.ReadObj()
        kept.append(thing)
        place = path + key.GetName()
        assert key.GetCycle() == 1, place
        answer["classes"][place] = thing.ClassName()
        if thing.InheritsFrom("TDirectory"):
            walk(thing, place + "/")
            continue
        assert thing.GetName() == key.GetName() or thing.InheritsFrom("TObjString"), place
        if thing.InheritsFrom("TObjString"): continue
        thing.Draw("A" if thing.InheritsFrom("TGraph") else "")
        canvas.Update()
        answer["drawn"] += 1
        axes = thing.GetTotalHistogram() if thing.InheritsFrom("TEfficiency") else thing
        answer["titles"][place] = [axes.GetXaxis().GetTitle(), axes.GetYaxis().GetTitle()]
walk(file, "")
answer["provenance"] = str(file.Get("provenance").GetString())
"""


@needs_root
@pytest.mark.parametrize("which", ["written", "three"])
def test_root_reads_and_draws_every_object(which: str, request: pytest.FixtureRequest) -> None:
    results, path = request.getfixturevalue(which)
    answer = ask_root(EVERYTHING, file=path)
    assert answer["compression"] == 1, "JSROOT reads ZLIB from an opened page"
    with uproot.open(path) as file:
        assert answer["classes"].keys() == {key.removesuffix(";1") for key in file.keys(recursive=True)}
    kinds = Counter(answer["classes"].values())
    assert answer["drawn"] == sum(n for kind, n in kinds.items() if kind not in ("TDirectoryFile", "TObjString"))
    n_maps = sum(len(model.maps) for model in results.models.values())
    assert kinds["TEfficiency"] == n_maps
    assert json.loads(answer["provenance"]) == ({"seed": 1} if which == "written" else {})
    if which == "written":
        assert answer["titles"]["mlp/efficiency_p_eff90"] == ["p [GeV]", "electron efficiency"]
        assert answer["titles"]["maps/mlp/misid_pion_p_th_eff95"] == ["p [GeV]", "#theta [deg]"]
        assert answer["titles"]["mlp/roc"] == ["electron efficiency", "pion misidentification"]


@needs_root
def test_root_has_our_histogram_statistics_and_intervals(written: tuple[Results, Path]) -> None:
    results, path = written
    answer = ask_root(
        """
file = ROOT.TFile.Open(given["file"])
h, e = file.Get("mlp/score_electron"), file.Get("mlp/efficiency_p_eff90")
n = e.GetTotalHistogram().GetNbinsX()
answer = [[h.GetEntries(), h.GetEffectiveEntries(), h.GetMean(), h.GetStdDev()],
          [h.GetBinContent(i) for i in range(h.GetNcells())], [h.GetBinError(i) for i in range(h.GetNcells())],
          [[e.GetEfficiency(i), e.GetEfficiencyErrorLow(i), e.GetEfficiencyErrorUp(i)] for i in range(1, n + 1)]]
""",
        file=path,
    )
    histogram = results.models["mlp"].response["test"]["electron"]
    w, w2, wx, wx2 = histogram.moments
    expected = [histogram.entries, w * w / w2, wx / w, np.sqrt(wx2 / w - (wx / w) ** 2)]
    np.testing.assert_allclose(answer[0], expected, rtol=1e-12, atol=0)
    np.testing.assert_array_equal(answer[1], histogram.sumw)
    np.testing.assert_allclose(np.square(answer[2]), histogram.sumw2, rtol=1e-14, atol=0)
    made = next(m for m in results.models["mlp"].maps if (m.names, m.particle) == (("P.gtr.p",), "electron"))
    filled = made.total > 0
    value, low, high = np.array(answer[3])[filled].T
    bounds = clopper_pearson(made.passed[filled], made.total[filled])
    np.testing.assert_allclose(value, made.value[filled], rtol=1e-14, atol=0)
    np.testing.assert_allclose([value - low, value + high], bounds, rtol=0, atol=1e-9)


def test_curves_and_points_are_the_results(written: tuple[Results, Path]) -> None:
    results, path = written
    roc = results.models["mlp"].roc["pion"]
    with uproot.open(path) as file:
        points = graph(file, "mlp/roc")
        expected = [
            roc.efficiency, roc.misid, roc.efficiency - roc.efficiency_low, roc.efficiency_high - roc.efficiency,
            roc.misid - roc.misid_low, roc.misid_high - roc.misid,
        ]  # fmt: skip
        np.testing.assert_array_equal(points, np.maximum(expected, 0))
        rejected = graph(file, "mlp/rejection")
        some = roc.misid_low > 0
        np.testing.assert_array_equal(rejected[1], 1 / roc.misid[some])
        np.testing.assert_allclose(rejected[1] - rejected[4], 1 / roc.misid_high[some], rtol=1e-12)
        np.testing.assert_allclose(rejected[1] + rejected[5], 1 / roc.misid_low[some], rtol=1e-12)
        points = graph(file, "mlp/working_points_pion")
        measured = [p.misid["pion"] for p in results.models["mlp"].working_points]
        np.testing.assert_array_equal(points[1], [m.value for m in measured])
        np.testing.assert_allclose(points[1] + points[5], [m.high for m in measured], rtol=1e-14)
        np.testing.assert_array_equal(
            file["mlp/history_loss"].values("y"), results.models["mlp"].training.history["loss"]
        )
        assert "hand/roc" not in file
        assert len(graph(file, "hand/working_points_pion")[0]) == 1


def test_maps_keep_counts_and_intervals(written: tuple[Results, Path]) -> None:
    results, path = written
    with uproot.open(path) as file:
        for made in results.models["mlp"].maps:
            rate = "efficiency" if made.particle == "electron" else "misid_pion"
            one = len(made.names) == 1
            key = f"mlp/{rate}_p_{made.working_point}" if one else f"maps/mlp/{rate}_p_th_{made.working_point}"
            read = read_efficiency(path, key)
            np.testing.assert_array_equal([read.passed, read.total], [made.passed, made.total])
            filled = made.total > 0
            if one:
                points = graph(file, f"{key}_graph")
                np.testing.assert_array_equal(points[1], made.value[filled])
                np.testing.assert_allclose(points[1] - points[4], made.low[filled], rtol=1e-12)
                np.testing.assert_allclose(points[1] + points[5], made.high[filled], rtol=1e-12)
                np.testing.assert_allclose(points[0] - points[2], made.edges[0][:-1][filled], rtol=1e-12)
            else:
                np.testing.assert_array_equal(file[f"{key}_value"].values()[filled], made.value[filled])


def test_tables_have_their_labels(written: tuple[Results, Path]) -> None:
    results, path = written
    with uproot.open(path) as file:
        confusion = file["mlp/confusion"]
        assert confusion.axis("x").labels() == ["electron", "pion"]
        np.testing.assert_array_equal(confusion.values(), results.models["mlp"].samples["test"].confusion)
        cutflow = file["cutflow/pion"]
        assert cutflow.axis().labels() == [step.name for step in results.cutflow]
        assert cutflow.values().tolist() == [step.passed["pion"] for step in results.cutflow]
        correlation = file["inputs/correlation_electron"]
        np.testing.assert_array_equal(correlation.values(), results.correlation["electron"])
        assert correlation.axis("y").labels() == [*results.features]
        assert file["notes"] == "\n".join(results.notes)


def test_comparisons_and_robustness(written: tuple[Results, Path]) -> None:
    results, path = written
    pair = next(c for c in results.comparisons if (c.a, c.b) == ("cuts", "mlp"))
    with uproot.open(path) as file:
        delta = graph(file, "compare/delta_auc")
        assert delta[1].tolist() == [c.delta_auc.value for c in results.comparisons if c.delta_auc is not UNDEFINED]
        assert file["compare/pairs"].axis().labels() == ["mlp - cuts"]
        points = graph(file, "compare/cuts_vs_mlp/delta_misid_pion")
        np.testing.assert_array_equal(points[1], [p.delta_misid.value for p in pair.working_points])
        np.testing.assert_allclose(
            points[1] - points[4], [p.delta_misid.low for p in pair.working_points], rtol=1e-9, atol=0
        )
        smeared = [p for p in results.robustness["mlp"].points if (p.change, p.feature) == ("smear", "log_npe")]
        points = graph(file, "robustness/mlp/auc_smear_log_npe")
        assert points[0].tolist() == sorted(p.size for p in smeared)
        assert points[1].tolist() == [p.auc.value for p in sorted(smeared, key=lambda p: p.size)]
        assert file["robustness/mlp/auc_drop"].axis().labels() == [*results.features]


def test_the_unchanged_sample_stands_among_the_changes(tmp_path: Path) -> None:
    results = example()
    robustness = results.robustness["mlp"]
    nominal = replace(robustness.points[0], change="nominal", feature="all", size=0.0)
    results = replace(results, robustness={"mlp": replace(robustness, nominal=nominal)})
    write_results(tmp_path / "r.root", results, "{}")
    with uproot.open(tmp_path / "r.root") as file:
        points = graph(file, "robustness/mlp/auc_scale_all")
        assert points[0].tolist() == [0.98, 1.0, 1.02]
        assert points[1][1] == nominal.auc.value
        assert 0.0 in graph(file, "robustness/mlp/auc_shift_all")[0]
        assert file["robustness/mlp/auc_drop"].axis().labels()[0] == "none"


def test_several_classes_have_a_curve_each(three: tuple[Results, Path]) -> None:
    results, path = three
    rocs = results.models["mlp"].roc
    with uproot.open(path) as file:
        for key, against in (("roc", "rest"), ("roc_pion", "pion"), ("roc_kaon", "kaon")):
            np.testing.assert_array_equal(graph(file, f"mlp/{key}")[1], rocs[against].misid)
        assert "mlp/roc_rest" not in file
        assert "mlp/score_kaon_train" in file


def with_nothing_measured(made: EfficiencyMap) -> EfficiencyMap:
    nothing, zero = np.full_like(made.value, np.nan), np.zeros_like(made.total)
    return replace(
        made, passed=zero, total=zero, passed2=zero, total2=zero, value=nothing, low=nothing, high=nothing, n=zero
    )


@needs_root
def test_what_was_not_measured_does_not_fail(tmp_path: Path) -> None:
    results = example()
    mlp = results.models["mlp"]
    empty = [with_nothing_measured(m) for m in mlp.maps]
    never = replace(mlp.working_points[0], misid={"pion": UNDEFINED}, efficiency=UNDEFINED)
    mlp = replace(mlp, maps=tuple(empty), working_points=(never,), training=None, overtraining=None, response={})
    points = [replace(p, auc=UNDEFINED, misid={}) for p in results.robustness["mlp"].points]
    results = replace(
        results,
        models={"mlp": mlp, "hand": results.models["hand"]},
        robustness={"mlp": replace(results.robustness["mlp"], points=tuple(points))},
        correlation={"pion": np.full((4, 4), np.nan)},
        comparisons=(),
        cutflow=(),
        inputs={},
        n={},
    )
    write_results(tmp_path / "r.root", results, "{}")
    answer = ask_root(EVERYTHING, file=tmp_path / "r.root")
    assert answer["classes"]["mlp/efficiency_p_eff90"] == "TEfficiency"
    assert "mlp/efficiency_p_eff90_graph" not in answer["classes"], "a graph without points cannot be drawn"
    assert "robustness/mlp/auc_drop" not in answer["classes"]
    assert "robustness/mlp/efficiency_drop" in answer["classes"]


@needs_root
def test_weighted_and_negative_sums_are_written(tmp_path: Path) -> None:
    results = example()
    mlp = results.models["mlp"]
    maps = [replace(m, passed=m.passed - 400.5, passed2=2 * m.passed2, total2=3 * m.total2) for m in mlp.maps]
    write_results(tmp_path / "r.root", replace(results, models={"mlp": replace(mlp, maps=tuple(maps))}), "{}")
    assert read_efficiency(tmp_path / "r.root", "mlp/efficiency_p_eff90").weighted
    assert ask_root(EVERYTHING, file=tmp_path / "r.root")["classes"]["mlp/efficiency_p_eff90"] == "TEfficiency"


def test_keys_are_unique_and_plain(tmp_path: Path) -> None:
    results = example()
    mlp = results.models["mlp"]
    maps = tuple(replace(m, names=(n,)) for n in ("P.gtr.x", "H.gtr.x", "P.gtr.y") for m in mlp.maps[:1])
    names = ["mlp", "maps", "provenance", "cutflow", "MLP"]
    models = {name: replace(mlp, name=name, maps=maps) for name in names}
    histograms = next(iter(results.inputs.values()))
    inputs = {"a.b": histograms, "a/b": histograms, "a b": histograms, "../é": histograms}
    write_results(tmp_path / "r.root", replace(results, models=models, inputs=inputs), '{"whole": true}')
    with uproot.open(tmp_path / "r.root") as file:
        keys = file.keys(recursive=True)
        plain = [key.removesuffix(";1") for key in keys]
        assert all(key.endswith(";1") for key in keys)
        assert len(set(plain)) == len(plain)
        assert all(part.replace("_", "a").isalnum() and part.isascii() for key in plain for part in key.split("/"))
        assert {"inputs/a_b_pion", "inputs/a_b_pion_2", "inputs/a_b_pion_3", "inputs/__pion"} <= set(plain)
        assert {"mlp/efficiency_P_gtr_x_eff90", "mlp/efficiency_H_gtr_x_eff90", "mlp/efficiency_y_eff90"} <= set(plain)
        assert {"MLP/roc", "maps_model/roc", "provenance_model/roc", "cutflow_model/roc", "cutflow/pion"} <= set(plain)
        assert json.loads(file["provenance"]) == {"whole": True}


def test_a_run_of_somebodys_cuts_only(tmp_path: Path) -> None:
    hand = hand_model(np.random.default_rng(1), ("electron", "pion"))
    bare = Results("electron", ("electron", "pion"), (), {}, (CutStep("all", {}, {}),), {"hand": hand}, (), {}, {}, {})
    write_results(tmp_path / "r.root", bare, "{}")
    with uproot.open(tmp_path / "r.root") as file:
        assert {"hand/working_points_pion", "hand/confusion", "provenance"} <= set(file.keys(cycle=False))


def test_labels_become_tlatex() -> None:
    assert root_text(r"$\theta_{\mathrm{lab}}$ [deg]") == "#theta_{lab} [deg]"
    assert root_text("a;b") == "a#;b"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/results\.root: cannot be written.*make the directory first"):
        write_results(tmp_path / "missing" / "results.root", example(), "{}")
    assert not any(tmp_path.iterdir())
