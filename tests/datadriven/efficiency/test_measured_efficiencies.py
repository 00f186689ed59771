"""From files to files: efficiencies against the truth, what is left behind, and what is done with it afterwards."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import correctionlib
import numpy as np
import pytest
import uproot
from probe_run import BINS, ProbeRun, make_probe_run
from probe_toys import Toy

import pidlab
from conftest import write_tree
from pidlab.apply import apply, find_inputs
from pidlab.apply.scoring import Scorer
from pidlab.cli.entry import cli
from pidlab.config.load import check_config
from pidlab.datadriven.efficiency.binning import parse_bins
from pidlab.datadriven.efficiency.estimate import Estimate, Shapes, failed
from pidlab.datadriven.efficiency.measure import EfficiencyRequest, _measured, default_alternatives, measure
from pidlab.datadriven.efficiency.output import write_efficiencies
from pidlab.datadriven.efficiency.probes import ProbeExpressions
from pidlab.datadriven.efficiency.replicas import replicas
from pidlab.datadriven.efficiency.result import (
    NOTHING,
    BinResult,
    EfficiencyResult,
    PointResult,
    Quantity,
    SampleEfficiency,
    read_result,
)
from pidlab.datadriven.efficiency.weights import EfficiencyWeights, with_efficiencies
from pidlab.errors import DataError, ModelError, UsageError
from pidlab.measured import Measured
from pidlab.models.model import Model
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher
from pidlab.read import Table
from pidlab.rootio.efficiency import read_efficiency
from pidlab.runs.bundle import Bundle, Decision, load_bundle
from real_root import ask_root, needs_root

CRYSTAL_BALL = Shapes("crystal_ball", "exponential")


def request_of(made: ProbeRun, **changes: Any) -> EfficiencyRequest:
    binning = parse_bins(BINS)
    signals, backgrounds = default_alternatives(CRYSTAL_BALL)
    request = EfficiencyRequest(
        run=made.run, files=(str(made.folder / "data.root"),), expressions=ProbeExpressions("mass", binning.names),
        low=60, high=120, n_mass=60, binning=binning, shapes=CRYSTAL_BALL, signals=signals, backgrounds=backgrounds,
        simulation=(str(made.folder / "simulation.root"),), truth="species == 0",
    )  # fmt: skip
    return replace(request, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ProbeRun:
    return make_probe_run(tmp_path_factory.mktemp("probes"))


@pytest.fixture(scope="module")
def result(made: ProbeRun) -> EfficiencyResult:
    """Measured once, and written to `efficiency` in the folder of the run."""
    result, probes = measure(request_of(made), Watcher())
    write_efficiencies(made.folder / "efficiency", result, probes, Watcher(), fits=False, n_replicas=4)
    return result


@pytest.fixture
def arrays(made: ProbeRun) -> Any:
    with uproot.open({made.folder / "data.root": "probes"}) as tree:
        return tree.arrays(library="np")


# --- the measurement


@pytest.mark.slow
def test_efficiencies_in_twelve_bins_agree_with_the_truth(
    made: ProbeRun, result: EfficiencyResult, arrays: Any
) -> None:
    cells = result.binning.find([arrays["p"].astype(float), np.abs(arrays["eta"]).astype(float)])
    decided = pidlab.load(made.run)
    assert [point.name for point in result.points] == ["fisher_eff90", "hand_hand"]
    for point in result.points:
        passed = decided.decide(arrays, point.working_point)[point.model]
        truth = made.truth("data.root", passed, cells)
        assert all(each.data.quantity.usable for each in point.bins)
        values = np.array([each.data.quantity.measured[:3] for each in point.bins])
        # The truth is of the same electrons, so the binomial part of the errors is common: |pulls| are mostly small.
        pulls = (values[:, 0] - truth) / np.where(
            values[:, 0] > truth, values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]
        )
        assert np.abs(pulls).max() < 3
        assert abs(pulls.mean()) < 3 / np.sqrt(len(pulls))


@pytest.mark.slow
def test_simulation_is_counted_and_scale_factors_are_below_one(made: ProbeRun, result: EfficiencyResult) -> None:
    for point in result.points:
        for each in point.bins:
            assert each.simulation is not None
            assert each.simulation.nominal.name == "counted"
            factor = each.scale_factor
            expected = each.data.quantity.measured.value / each.simulation.quantity.measured.value
            assert factor.measured.value == pytest.approx(expected)
            assert factor.measured.value < 1
            assert (
                factor.systematics.keys()
                == each.data.quantity.systematics.keys()
                == {"signal_shape", "background_shape"}
            )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sweights", "fit"])
def test_a_simulation_without_truth_is_measured_as_data_are(made: ProbeRun, method: Any) -> None:
    binning = parse_bins("p: [20, 60]")
    request = request_of(
        made, binning=binning, truth="", method=method, signals=(), backgrounds=(), models=("hand",),
        expressions=ProbeExpressions("mass", binning.names, cut="abs(eta) < 0.8"),
    )  # fmt: skip
    found, _ = measure(request, Watcher())
    one = found.points[0].bins[0]
    assert one.simulation is not None
    assert one.simulation.nominal.name.endswith("crystal_ball on exponential")
    assert one.scale_factor.usable


def test_a_wrong_background_is_caught_by_the_systematic() -> None:
    """A straight line for an exponential background: the shift to the right shape is the bias, up to fluctuations."""
    toy = Toy(n=6000, background=0.6)
    request = EfficiencyRequest(
        run=Path("run"), files=(), expressions=ProbeExpressions("mass", ("p",)), low=60, high=120, n_mass=60,
        binning=parse_bins("p: [0, 1]"), shapes=Shapes("gauss", "chebyshev:1"), signals=(),
        backgrounds=("exponential",),
    )  # fmt: skip
    found = _measured(request, toy.asimov())
    bias = found.quantity.measured.value - toy.efficiency
    assert abs(bias) > 2 * (found.quantity.measured.high - found.quantity.measured.value)
    assert found.quantity.systematics["background_shape"] == pytest.approx(-bias, rel=0.02)
    low, high = found.quantity.total
    assert found.quantity.measured.value - low <= toy.efficiency <= found.quantity.measured.value + high


def test_an_alternative_that_the_data_exclude_does_not_count() -> None:
    toy = Toy(n=100_000, background=0.6)
    request = EfficiencyRequest(
        run=Path("run"), files=(), expressions=ProbeExpressions("mass", ("p",)), low=60, high=120, n_mass=60,
        binning=parse_bins("p: [0, 1]"), shapes=Shapes("gauss", "exponential"), signals=(),
        backgrounds=("uniform",),
    )  # fmt: skip
    found = _measured(request, toy.draw(np.random.default_rng(1)))
    assert found.refused == ("gauss on uniform",)
    assert found.quantity.systematics == {"background_shape": 0.0}


def test_a_bin_without_probes_is_said_and_drawn(made: ProbeRun, tmp_path: Path) -> None:
    binning = parse_bins("p: [20, 60, 99, 100.5, 130]")
    request = request_of(made, binning=binning, models=("hand",), simulation=(), truth="", signals=(), backgrounds=(),
                         expressions=ProbeExpressions("mass", binning.names))  # fmt: skip
    found, probes = measure(request, Watcher())
    empty = found.points[0].bins[3]
    assert not empty.data.quantity.usable
    assert any(
        "p 100.5 to 130, data: crystal_ball on exponential failed, since the bin has no probes" in s
        for s in found.failures()
    )
    assert any("1 measurement of a bin failed" in note for note in found.notes)
    write_efficiencies(tmp_path / "out", found, probes, Watcher())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the bin has no probes" in page
    assert (tmp_path / "out" / "fits" / "fit_hand_hand_bin3_data.png").is_file()
    content = json.loads((tmp_path / "out" / "efficiency.json").read_text())
    assert content["points"][0]["bins"][3]["data"]["value"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shapes": Shapes("exponential", "exponential")}, "--signal: exponential is the shape of a background"),
        ({"backgrounds": ("gauss",)}, "--background: gauss is the shape of a signal"),
        ({"low": 130}, "--range"),
        ({"simulation": ()}, "--truth"),
        ({"window": (50, 80)}, "--window"),
        ({"working_points": ("eff9",)}, "did you mean 'eff90'"),
        ({"expressions": ProbeExpressions("masss", ("p", "abs(eta)"))}, "--mass: .*Did you mean 'mass'"),
        ({"expressions": ProbeExpressions("mass", ("p", "abs(eta)"), cut="p >")}, "--cut"),
    ],
)
def test_mistakes_are_told_by_their_option(made: ProbeRun, changes: Any, said: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)" + said):
        measure(request_of(made, **changes), Watcher())


def test_a_range_without_probes_is_an_error_of_the_data(made: ProbeRun) -> None:
    with pytest.raises(DataError, match="none of 60,000 selected probes"):
        measure(request_of(made, low=500, high=600), Watcher())


# --- what is left behind


@pytest.mark.slow
def test_what_is_read_again_is_what_was_written(made: ProbeRun, result: EfficiencyResult) -> None:
    again = read_result(made.folder / "efficiency")
    assert again.binning.names == result.binning.names
    for one, other in zip(result.points, again.points, strict=True):
        for a, b in zip(one.bins, other.bins, strict=True):
            assert a.data.quantity == b.data.quantity
            assert a.scale_factor == b.scale_factor
            assert _without_drawing(a.data.nominal) == _without_drawing(b.data.nominal)


def _without_drawing(estimate: Estimate) -> Estimate:
    return replace(estimate, passing=None, failing=None)


@pytest.mark.slow
def test_the_report_leads_from_each_number_to_its_fit(made: ProbeRun, tmp_path: Path) -> None:
    binning = parse_bins("p: [20, 40, 60]")
    expressions = ProbeExpressions("mass", binning.names)
    request = request_of(made, binning=binning, expressions=expressions, signals=(), backgrounds=())
    result, probes = measure(request, Watcher())
    write_efficiencies(tmp_path / "efficiency", result, probes, Watcher())
    page = (tmp_path / "efficiency" / "report.html").read_text()
    assert [(point.name, len(point.bins)) for point in result.points] == [("fisher_eff90", 2), ("hand_hand", 2)]
    for point in result.points:
        for each in point.bins:
            name = f"fit_{point.name}_bin{each.number}_data"
            assert f'href="#{name}"' in page
            assert f'<figure id="{name}">' in page
            assert (tmp_path / "efficiency" / "fits" / f"{name}.png").is_file()
    assert "http" not in page.replace("http-equiv", "").replace("www.w3.org", "")


@pytest.mark.slow
def test_correctionlib_gives_nominal_and_every_variation(made: ProbeRun, result: EfficiencyResult) -> None:
    corrections = correctionlib.CorrectionSet.from_file(str(made.folder / "efficiency" / "corrections.json"))
    point = result.points[0]
    factor = corrections["fisher_eff90_scale_factor"]
    for each in point.bins:
        (_, low_p, high_p), (_, low_eta, high_eta) = result.binning.sides(each.number)
        at = ((low_p + high_p) / 2, (low_eta + high_eta) / 2)
        q = each.scale_factor
        assert factor.evaluate(*at, "nominal") == pytest.approx(q.measured.value)
        assert factor.evaluate(*at, "stat_up") == pytest.approx(q.measured.high)
        assert factor.evaluate(*at, "down") == pytest.approx(q.measured.value - q.total[0])
        shift = q.systematics["background_shape"]
        assert factor.evaluate(*at, "background_shape_up") == pytest.approx(q.measured.value + shift)
        efficiency = corrections["fisher_eff90_efficiency"].evaluate(low_p, low_eta, "nominal")
        assert efficiency == pytest.approx(each.data.quantity.measured.value)
    moved = replicas([each.scale_factor for each in point.bins], 4)
    assert factor.evaluate(15.0, 0.1, "replica3") == pytest.approx(moved[3, 0])
    with pytest.raises(RuntimeError, match="below bounds"):
        factor.evaluate(5.0, 0.1, "nominal")


@pytest.mark.slow
def test_counts_of_the_simulation_are_a_tefficiency(made: ProbeRun, result: EfficiencyResult) -> None:
    stored = read_efficiency(made.folder / "efficiency" / "efficiency.root", "fisher/eff90/simulation_counts")
    expected = [each.simulation.quantity.measured.value for each in result.points[0].bins if each.simulation]
    np.testing.assert_allclose((stored.passed / stored.total).ravel(), expected, rtol=1e-12)
    assert not stored.weighted


@needs_root
def test_real_root_reads_histograms_graphs_and_the_header(made: ProbeRun, result: EfficiencyResult) -> None:
    code = """
file = ROOT.TFile.Open(given["folder"] + "/efficiency.root")
map_ = file.Get("fisher/eff90/scale_factor")
graph = file.Get("fisher/eff90/graph_data_1")
counts = file.Get("fisher/eff90/simulation_counts")
ROOT.gInterpreter.Declare('#include "' + given["folder"] + '/efficiency.h"')
e = ROOT.pidlab_efficiency
answer = {
    "class": map_.ClassName(), "value": map_.GetBinContent(2, 1), "error": map_.GetBinError(2, 1),
    "graph": [graph.GetPointY(0), graph.GetErrorYlow(0), graph.GetErrorYhigh(0), graph.GetN()],
    "counts": counts.GetEfficiency(counts.GetGlobalBin(2, 1)),
    "header": [e.fisher_eff90_sf(25.0, 0.1), e.fisher_eff90_sf(25.0, 0.1, e.Variation.background_shape_up),
               e.fisher_eff90_sf_replica(25.0, 0.1, 2), e.fisher_eff90_efficiency(100.0, 2.4)],
    "outside": [e.fisher_eff90_sf_outside(9.0, 0.1), e.fisher_eff90_sf_outside(100.0, 2.4), e.bin(20.0, 0.8)],
}
"""
    answer = ask_root(code, folder=made.folder / "efficiency")
    bins = result.points[0].bins
    q, data, counted = bins[3].scale_factor, bins[1].data.quantity, bins[3].simulation
    assert counted is not None
    assert answer["class"] == "TH2D"
    assert answer["value"] == pytest.approx(q.measured.value)
    assert answer["error"] == pytest.approx(max(q.total))
    expected = data.measured.value, data.measured.value - data.measured.low, data.measured.high - data.measured.value, 4
    assert answer["graph"] == pytest.approx(expected)
    assert answer["counts"] == pytest.approx(counted.quantity.measured.value)
    moved = replicas([each.scale_factor for each in bins], 3)
    shifted = q.measured.value + q.systematics["background_shape"]
    last = bins[11].data.quantity.measured.value
    assert answer["header"] == pytest.approx([q.measured.value, shifted, moved[2, 3], last])
    assert answer["outside"] == [True, False, 4]


# --- what an analysis does with it


@pytest.mark.slow
def test_friends_and_load_give_every_candidate_its_efficiency(
    made: ProbeRun, result: EfficiencyResult, arrays: Any, tmp_path: Path
) -> None:
    bundle, said = with_efficiencies(load_bundle(made.run), made.folder / "efficiency", 2)
    assert said == ()
    sources, _ = find_inputs(bundle.recipe, [str(made.folder / "data.root")], None)
    summary = apply(bundle, sources, tmp_path / "friends", Watcher())[0]
    assert not summary.failure
    with uproot.open({summary.target: "probes_pid"}) as tree:
        friend = tree.arrays(library="np")
    cells = result.binning.find([arrays["p"].astype(float), np.abs(arrays["eta"]).astype(float)])
    bins = result.points[0].bins
    values = np.array([each.data.quantity.measured.value for each in bins])
    factors = [each.scale_factor for each in bins]
    np.testing.assert_array_equal(friend["pid_efficiency_bin"], cells)
    np.testing.assert_allclose(friend["pid_fisher_eff90_efficiency"], values[cells], rtol=1e-6)
    np.testing.assert_allclose(
        friend["pid_fisher_eff90_sf_error"], np.array([max(q.total) for q in factors])[cells], rtol=1e-6
    )
    for name, quantities in (("sf", factors), ("efficiency", [each.data.quantity for each in bins])):
        moved = replicas(quantities, 2)[1][cells]
        np.testing.assert_allclose(friend[f"pid_fisher_eff90_{name}_replica001"], moved, rtol=1e-6)
    assert not friend["pid_fisher_eff90_outside"].any()
    loaded = pidlab.load(made.run, efficiency=made.folder / "efficiency", replicas=2).friend(arrays)
    for name, column in loaded.items():
        np.testing.assert_array_equal(column, friend[name])
    assert {*friend} - {*loaded} == {"event"}
    # a second call finds the friend finished, one with other replicas makes it again
    assert apply(bundle, sources, tmp_path / "friends", Watcher())[0].skipped
    other, _ = with_efficiencies(load_bundle(made.run), made.folder / "efficiency", 1)
    assert not apply(other, sources, tmp_path / "friends", Watcher())[0].skipped


@pytest.mark.slow
def test_the_command_measures_and_applies(made: ProbeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run, out = str(made.folder / "data.root"), str(made.run), str(tmp_path / "out")
    options = [
        "--mass",
        "mass",
        "--range",
        "60:120",
        "--bins",
        "p: [20, 60]",
        "--method",
        "sideband",
        "--window",
        "80:102",
    ]
    cli.main(["efficiency", run, data, *options, "--model", "hand", "-o", out, "-q"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "hand at hand" in said
    assert "p 20 to 60" in said
    cli.main(["apply", run, data, "--efficiency", out, "-o", str(tmp_path / "friends"), "-q"], standalone_mode=False)
    captured = capsys.readouterr()
    assert "has no efficiencies of fisher" in captured.out + captured.err
    with uproot.open({tmp_path / "friends" / "data_pid.root": "probes_pid"}) as tree:
        outside = tree["pid_hand_hand_outside"].array(library="np")
        efficiency = tree["pid_hand_hand_efficiency"].array(library="np")
    np.testing.assert_array_equal(np.isnan(efficiency), outside)
    assert 0 < outside.mean() < 1


def _map(values: list[Quantity], edges: str = "pt: [0, 10, 20]") -> EfficiencyResult:
    """A result with a map of one working point and nothing else."""
    bins = tuple(BinResult(i, SampleEfficiency(failed("", ""), {}, (), q), None, NOTHING) for i, q in enumerate(values))
    return EfficiencyResult(parse_bins(edges), (PointResult("hand", "hand", bins),), {}, "", ())


def test_an_event_has_the_product_of_its_candidates_and_the_error_that_they_share(tmp_path: Path) -> None:
    pt = ak.Array([[5.0, 5.0], [], [5.0, 15.0], [25.0, 5.0], [1.0, 15.0, 15.0]])
    write_tree(tmp_path / "jagged.root", {"El": ak.zip({"pt": pt, "x": pt}), "event": np.arange(5)})
    content = {
        "data": {"files": "jagged.root", "per": "El", "event_id": ["event"]},
        "classes": {"s": "El_pt > 3", "b": "El_pt <= 3"}, "features": ["El_x"],
        "selection": {"hard": "El_pt > 2"},
        "models": {"hand": {"type": "expression", "cut": "El_x > 10"}},
    }  # fmt: skip
    recipe = compile_recipe(check_config(content, {}, tmp_path / "a.yaml"))
    values = [
        Quantity(Measured(0.8, 0.78, 0.82, 100), {"shape": 0.008}),
        Quantity(Measured(0.5, 0.49, 0.51, 100), {"shape": -0.01}),
    ]
    weights = EfficiencyWeights(recipe, _map(values, "El_pt: [0, 10, 20]"), ["hand"], 2)
    model = Model("hand", "expression", recipe, (), None, None)
    bundle = Bundle(recipe, {"hand": model}, {"hand": (Decision("hand", 0.5),)}, "x").with_additions(weights)
    source = find_inputs(recipe, [str(tmp_path / "jagged.root")], None)[0][0]
    scorer = Scorer(bundle)
    with Table(source, recipe.per) as table:
        scorer.check(table)
        scored = scorer(table.span(scorer.branches, 0, 5), "jagged")
    summary = apply(bundle, [source], tmp_path / "friends", Watcher())[0]
    with uproot.open({summary.target: "T_pid"}) as tree:
        friend = tree.arrays()
    for name, column in scored.keys.items():
        np.testing.assert_array_equal(friend[name].to_numpy(), column)
    assert friend["pid_efficiency_bin"].tolist() == [[0, 0], [], [0, 1], [-1, 0], [-1, 1, 1]]
    assert pickle.loads(pickle.dumps(weights)) == weights  # so that a process loads its models once
    product = scored.keys["pid_event_hand_hand_efficiency"]
    np.testing.assert_allclose(product[[0, 1, 2, 4]], [0.64, 1.0, 0.4, 0.25], rtol=1e-6)
    assert scored.keys["pid_event_hand_hand_outside"].tolist() == [False, False, False, True, False]
    error = scored.keys["pid_event_hand_hand_efficiency_error"] / product
    same = np.hypot(2 * 0.02 / 0.8, 2 * 0.01)  # two candidates of one bin share both errors
    mixed = math.sqrt((0.02 / 0.8) ** 2 + (0.01 / 0.5) ** 2 + (0.01 - 0.02) ** 2)  # the systematic acts against itself
    np.testing.assert_allclose(error[[0, 1, 2]], [same, 0.0, mixed], rtol=1e-5)
    moved = replicas(values, 2)
    expected = [moved[1, 0] ** 2, 1.0, moved[1, 0] * moved[1, 1]]
    np.testing.assert_allclose(scored.keys["pid_event_hand_hand_efficiency_replica001"][:3], expected, rtol=1e-6)
    outside = scored.columns["pid_hand_hand_outside"]
    assert outside.tolist() == [False, False, False, False, True, False, False, False, False]
    assert scored.columns["pid_efficiency_bin"].tolist() == [0, 0, 0, 1, -1, 0, -1, 1, 1]


def test_replicas_spread_as_the_errors_and_move_common_sources_together() -> None:
    values = [
        Quantity(Measured(0.8, 0.78, 0.82, 100), {"shape": 0.03}),
        Quantity(Measured(0.5, 0.49, 0.51, 100), {"shape": 0.03}),
    ]
    moved = replicas(values, 3000)
    np.testing.assert_allclose(moved.std(axis=0), [np.hypot(0.02, 0.03), np.hypot(0.01, 0.03)], rtol=0.05)
    correlation = np.corrcoef(moved.T)[0, 1]
    assert correlation == pytest.approx(0.03**2 / (np.hypot(0.02, 0.03) * np.hypot(0.01, 0.03)), abs=0.04)
    np.testing.assert_array_equal(replicas(values, 5), moved[:5])


def test_a_folder_of_something_else_or_a_damaged_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pidlab efficiency"):
        read_result(tmp_path)
    (tmp_path / "efficiency.json").write_text('{"schema": 1, "axes": []}')
    with pytest.raises(ModelError, match="damaged"):
        read_result(tmp_path)


def test_the_reference_table_of_pidcalib2_is_reproduced(shared: Path) -> None:
    """The look-up by momentum, pseudorapidity and number of tracks gives the bin and efficiency that pidcalib2 gave.

    The bins are LHCb's usual ones: thresholds of the Cherenkov detectors at 9.3 and 15.6 GeV, then even steps.
    """
    folder = shared / "pidcalib2"
    with uproot.open({folder / "ref_test_data.root": "DecayTree"}) as tree:
        tracks = tree.arrays(library="np")
    with uproot.open({folder / "ref_PID_eff.root": "PID_eff_tree"}) as tree:
        reference = tree.arrays(library="np")
    momentum = ", ".join(map(repr, [3000.0, 9300.0, 15600.0, *np.linspace(19000, 100000, 16).tolist()]))
    eta = ", ".join(map(repr, np.linspace(1.5, 5, 5).tolist()))
    binning = parse_bins(f"Bach_P: [{momentum}]; Bach_ETA: [{eta}]; nTracks: [0, 50, 200, 300, 500]")
    found = binning.find([tracks[name].astype(float) for name in binning.names])
    expected = np.where(np.isnan(reference["Bach_PID_index"]), -1, reference["Bach_PID_index"]).astype(int)
    np.testing.assert_array_equal(found, expected)
    # A map with the efficiency of the first track of each bin gives all other tracks theirs.
    values = np.full(binning.n_bins, np.nan)
    for number, efficiency in zip(found[::-1], reference["PID_eff"][::-1], strict=True):
        if number >= 0:
            values[number] = efficiency
    looked_up = np.append(values, np.nan)[found]
    np.testing.assert_array_equal(looked_up, reference["PID_eff"])
