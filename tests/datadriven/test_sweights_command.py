"""`pidlab sweights` from a ROOT file to friend trees that ROOT and a configuration take as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from masses import COMPONENTS, HIGH, LOW, toy

from conftest import Run, write_tree
from pidlab.config.load import check_config
from pidlab.datadriven.massfit import SHAPES
from pidlab.datadriven.massfit.settings import FitSettings, load_fit, range_of, with_parameters
from pidlab.datadriven.sweights import analysis, candidates
from pidlab.datadriven.sweights.analysis import SweightsRequest
from pidlab.errors import ConfigError, DataError, UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.read import find_sources
from pidlab.rootio import read_marker
from real_root import ask_root, needs_root

SETTINGS = FitSettings("m", LOW, HIGH, COMPONENTS, cut="trigger", features=("control",))


def table(seed: int, n: int = 4000) -> dict[str, Any]:
    data = toy(n // 4, n - n // 4, seed)
    rng = np.random.default_rng(seed + 100)
    mass = data.mass.copy()
    mass[:20], mass[20:25] = LOW - 0.5, np.nan  # outside of the range, and without a mass
    return {
        "m": mass,
        "control": data.control,
        "other": rng.normal(data.control, 0.3),
        "y": data.is_signal.astype(np.int32),
        "trigger": rng.random(len(mass)) < 0.9,
        "event": np.arange(len(mass)) + 100_000 * seed,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sweights")
    for seed, name in enumerate(("a", "b")):
        write_tree(place / f"{name}.root", table(seed))
    sources = find_sources(["a.root", "b.root"], None, place)
    analysis.run(SweightsRequest(tuple(sources), SETTINGS, place / "out"), Watcher())
    return place


def friend(folder: Path, stem: str) -> dict[str, Any]:
    with uproot.open(folder / "out" / f"{stem}_sweights.root") as file:
        return dict(file["T_sweights"].arrays(library="np"))


def said(folder: Path) -> Any:
    return json.loads((folder / "out" / "sweights.json").read_text())


def test_every_entry_has_its_weight_in_the_order_of_the_input(folder: Path) -> None:
    total = 0.0
    for seed, stem in enumerate(("a", "b")):
        given, found = table(seed), friend(folder, stem)
        assert sorted(found) == ["sw", "sw_background", "sw_used"]
        inside = given["trigger"] & (given["m"] >= LOW) & (given["m"] <= HIGH)
        np.testing.assert_array_equal(found["sw_used"], inside)
        assert np.all(found["sw"][~inside] == 0)
        np.testing.assert_allclose((found["sw"] + found["sw_background"])[inside], 1.0, rtol=1e-9, atol=0)
        assert (found["sw"] < 0).any()
        total += found["sw"].sum()
        marker = read_marker(folder / "out" / f"{stem}_sweights.root")
        assert marker is not None
        assert marker["trees"] == {"T_sweights": len(given["m"])}
    assert total == pytest.approx(said(folder)["weights"]["signal"]["yield"], rel=1e-9)


def test_the_numbers_are_in_the_json_and_what_was_left_out_is_said(folder: Path) -> None:
    found = said(folder)
    given = [table(seed) for seed in range(2)]
    n_selected = sum(int(each["trigger"].sum()) for each in given)
    n_inside = sum(int((each["trigger"] & (each["m"] >= LOW) & (each["m"] <= HIGH)).sum()) for each in given)
    n_invalid = sum(int((each["trigger"] & ~np.isfinite(each["m"])).sum()) for each in given)
    n_rows = sum(len(each["m"]) for each in given)
    assert found["n"] == {"rows": n_rows, "selected": n_selected, "in_range": n_inside, "without_mass": n_invalid}
    notes = " ".join(found["notes"])
    outside = n_selected - n_inside - n_invalid
    assert f"{outside:,} of {n_selected:,} selected candidates lie outside 5.1 to 5.5" in notes
    assert f"and {n_invalid:,} have no mass: their weights are 0" in notes
    assert f"so have the {n_rows - n_selected:,} rows that are not selected" in notes
    assert "independent as far as 2 tests by Kendall's tau tell" in notes
    assert found["fit"]["components"]["signal"]["yield"]["value"] == pytest.approx(1800, abs=300)
    assert found["fit"]["correlation"]["names"] == [
        "signal.mean", "signal.sigma", "signal.yield", "background.slope", "background.yield",
    ]  # fmt: skip
    assert np.allclose(np.diag(found["fit"]["correlation"]["matrix"]), 1)
    assert [(test["feature"], test["where"]) for test in found["independence"]] == [
        ("control", "sidebands"),
        ("control", "peak"),
    ]


def test_the_fit_is_drawn_and_kept_as_root_objects(folder: Path) -> None:
    for name in ("mass.png", "mass.pdf", "weights.png", "weights.pdf"):
        assert (folder / "out" / name).stat().st_size > 3000
    with uproot.open(folder / "out" / "sweights.root") as file:
        assert set(file.keys(cycle=False)) >= {
            "mass", "pulls", "fit", "fit_signal", "fit_background", "parameters", "correlation", "covariance",
            "weight_signal", "weight_background", "notes",
        }  # fmt: skip
        histogram = file["mass"]
        assert histogram.values().sum() == said(folder)["n"]["in_range"]
        assert file["parameters"].axis().labels() == [
            "signal.mean", "signal.sigma", "signal.yield", "background.slope", "background.yield",
        ]  # fmt: skip


@needs_root
def test_root_draws_the_signal_with_the_friend(folder: Path) -> None:
    answer = ask_root(
        """
chain, friends = ROOT.TChain("T"), ROOT.TChain("T_sweights")
for stem in "ab":
    chain.Add(f"{given['folder']}/{stem}.root")
    friends.Add(f"{given['folder']}/out/{stem}_sweights.root")
chain.AddFriend(friends)
h = ROOT.TH1D("h", "", 10, -1, 3)
chain.Draw("control>>h", "sw", "goff")
frame = ROOT.RDataFrame(chain)
file = ROOT.TFile.Open(f"{given['folder']}/out/sweights.root")
kinds = [file.Get(name).ClassName() for name in ("mass", "fit", "parameters", "correlation", "notes")]
answer = {"drawn": [h.GetBinContent(i) for i in range(12)], "sum": frame.Sum("sw").GetValue(), "kinds": kinds}
""",
        folder=folder,
    )
    control = np.concatenate([table(seed)["control"] for seed in range(2)])
    weight = np.concatenate([friend(folder, stem)["sw"] for stem in "ab"])
    np.testing.assert_allclose(answer["drawn"][1:11], np.histogram(control, 10, (-1, 3), weights=weight)[0], rtol=1e-6)
    assert answer["sum"] == pytest.approx(weight.sum(), rel=1e-9)
    assert answer["kinds"] == ["TH1D", "TGraph", "TH1D", "TH2D", "TObjString"]


def test_the_friend_goes_into_a_configuration_as_it_is(folder: Path) -> None:
    """Weighted by `sw`, the classes have the shares that they have in the true signal, and models are judged by it."""
    content = {
        "data": {
            "files": ["a.root", "b.root"], "friends": ["out/{stem}_sweights.root"], "weight": "sw",
            "event_id": ["event"],
        },
        "classes": {"low": "control < 0.5", "high": "control >= 0.5"},
        "features": ["other"],
        "models": {"hand": {"type": "expression", "cut": "other < 0.7"}, "fisher": {"type": "fisher"}},
        "split": {"test": 0.8, "validation": 0.1},
        "evaluate": {"robustness": None, "importance": False},
    }  # fmt: skip
    results = analyse(check_config(content, {}, folder / "c.yaml"), Resources("cpu", 1), Watcher()).results
    rows = [table(seed) for seed in range(2)]
    columns = {name: np.concatenate([each[name] for each in rows]) for name in ("control", "other", "y")}
    weight = np.concatenate([friend(folder, stem)["sw"] for stem in "ab"])
    low, true = columns["control"] < 0.5, columns["y"] == 1
    weighted = results.cutflow[0].weighted
    assert weighted["low"] == pytest.approx(weight[low].sum(), rel=1e-5)
    assert weighted["high"] == pytest.approx(weight[~low].sum(), rel=1e-5)
    # Signal has a share of 0.16 below 0.5, background one of 0.39; the error of 1,800 candidates is 0.02.
    assert weighted["low"] / (weighted["low"] + weighted["high"]) == pytest.approx(low[true].mean(), abs=0.06)
    assert low.mean() > low[true].mean() + 0.1
    hand = results.models["hand"].working_points[0]
    efficiency = (columns["other"] < 0.7)[true & low].mean()
    assert hand.efficiency.low - 2 * (hand.efficiency.high - hand.efficiency.low) < efficiency
    assert hand.efficiency.high + 2 * (hand.efficiency.high - hand.efficiency.low) > efficiency


def test_candidates_of_a_collection_have_weights_in_their_nesting(tmp_path: Path, pidlab: Run) -> None:
    data = toy(800, 2400, 5)
    counts = np.random.default_rng(5).integers(0, 3, 6000)
    counts = counts[: np.searchsorted(np.cumsum(counts), len(data.mass))]
    n = int(counts.sum())
    flat = {"mass": data.mass[:n], "pt": data.control[:n], "eta": np.random.default_rng(6).normal(data.control[:n])}
    columns = {name: ak.unflatten(values, counts) for name, values in flat.items()}
    with uproot.recreate(tmp_path / "j.root") as file:
        file.mktree(
            "T", {"B": "var * {mass: float64, pt: float64, eta: float64}"}, counter_name=lambda name: f"n{name}"
        )
        file["T"].extend({"B": ak.zip(columns)})
    words = ("sweights", "j.root", "--per", "B", "--mass", "B_mass", "--range", f"{LOW}:{HIGH}", "-o", "out")
    done = pidlab(*words, "--feature", "B_pt", "--replicas", "2")
    assert done.returncode == 0, done.stderr
    assert "B_sw_replica000 and on are the weights by 2 other shapes" in " ".join(done.stdout.split())
    with uproot.open(tmp_path / "out" / "j_sweights.root") as file:
        found = file["T_sweights"].arrays(["nB", "B_sw", "B_sw_used", "B_sw_replica000", "B_sw_replica001"])
    assert ak.num(found["B_sw_replica001"]).tolist() == counts.tolist()
    changes = [ak.sum(found[f"B_sw_replica00{r}"]) - ak.sum(found["B_sw"]) for r in (0, 1)]
    fitted = json.loads((tmp_path / "out" / "sweights.json").read_text())["weights"]["signal"]
    for change in changes:  # of the yield, by shapes that move within their errors
        assert 0 < abs(change) < 3 * np.sqrt(fitted["sum_of_squares"])
    assert found["nB"].tolist() == counts.tolist()
    assert ak.num(found["B_sw"]).tolist() == counts.tolist()
    answer = json.loads((tmp_path / "out" / "sweights.json").read_text())
    assert ak.sum(found["B_sw"]) == pytest.approx(answer["weights"]["signal"]["yield"], rel=1e-9)
    content = {
        "data": {"files": "j.root", "friends": ["out/j_sweights.root"], "per": "B", "weight": "B_sw"},
        "classes": {"low": "B_pt < 1", "high": "B_pt >= 1"},
        "features": ["B_eta"],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None, "importance": False},
    }
    results = analyse(check_config(content, {}, tmp_path / "c.yaml"), Resources("cpu", 1), Watcher()).results
    assert sum(results.cutflow[0].weighted.values()) == pytest.approx(ak.sum(found["B_sw"]), rel=1e-5)


def test_many_candidates_are_read_in_chunks_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "a.root", table(3, 12_000))
    sources = tuple(find_sources("a.root", None, tmp_path))
    whole = analysis.run(SweightsRequest(sources, SETTINGS, tmp_path / "whole"), Watcher())
    monkeypatch.setattr(candidates, "UNBINNED_LIMIT", 5000)
    monkeypatch.setattr(candidates, "N_TESTED", 3000)
    binned = analysis.run(SweightsRequest(sources, SETTINGS, tmp_path / "binned"), Watcher())
    assert (whole.fit.method, binned.fit.method) == ("unbinned", "binned")
    error = whole.fit.parameters["signal.yield"].error
    assert binned.sums["signal"].total == pytest.approx(whole.sums["signal"].total, abs=0.03 * error)
    assert binned.weights is not None
    assert binned.sums["signal"].total == pytest.approx(binned.weights.yields["signal"], rel=1e-3)
    assert 200 < binned.tests[0].n < whole.tests[0].n


def test_a_failed_fit_is_drawn_and_leaves_no_weights(tmp_path: Path, pidlab: Run) -> None:
    rng = np.random.default_rng(1)
    write_tree(tmp_path / "flat.root", {"m": rng.uniform(LOW, HIGH, 300)})
    words = ["sweights", "flat.root", "--mass", "m", "--range", "5.1:5.5", "-o", "out"]
    # Both components are the same line, so that their yields are not known.
    done = pidlab(*words, "--signal", "chebyshev:1", "--background", "chebyshev:1")
    assert done.returncode == 1
    assert "the fit of m failed" in done.stderr
    assert "no weights were written" in done.stderr
    assert (tmp_path / "out" / "mass.png").stat().st_size > 3000
    assert not json.loads((tmp_path / "out" / "sweights.json").read_text())["fit"]["valid"]
    assert not list((tmp_path / "out").glob("*_sweights.root"))


def test_a_poor_fit_and_a_feature_that_depends_on_the_mass_are_said(tmp_path: Path, pidlab: Run) -> None:
    data = toy(1000, 9000, 2, in_background=0.1)
    write_tree(tmp_path / "a.root", {"m": data.mass, "control": data.control})
    words = ["sweights", "a.root", "--mass", "m", "--range", "5.1:5.5", "-o", "out", "--background", "uniform"]
    done = pidlab(*words, "--feature", "cont*")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "the fit does not describe the mass" in out
    assert "control depends on the mass in the sidebands" in out
    assert "there are COWs: --cows 2" in out
    again = pidlab(*words[:-2], "--cows", "2", "--feature", "control")
    assert again.returncode == 0, again.stderr
    with uproot.open(tmp_path / "out" / "a_sweights.root") as file:
        assert set(file["T_sweights"].keys()) == {"sw", "sw_used"}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--range", "5.1:5.5"], 2, "--mass: missing; say what is fitted"),
        (["--mass", "m", "--range", "5.5:5.1"], 2, "the lower end stands first"),
        (["--mass", "m", "--range", "5"], 2, "'5' is no range LOW:HIGH"),
        (["--mass", "mm", "--range", "5.1:5.5"], 2, "unknown branch 'mm'"),
        (["--mass", "m", "--range", "5.1:5.5", "--signal", "gaus"], 2, "did you mean 'gauss'"),
        (["--mass", "m", "--range", "5.1:5.5", "--fix", "signal.width=1"], 2, "gauss has no parameter 'width'"),
        (["--mass", "m", "--range", "5.1:5.5", "--fix", "sgnal.sigma=1"], 2, "did you mean 'signal'?"),
        (["--mass", "m", "--range", "5.1:5.5", "--fix", "signal.sigma=a:b"], 2, "expected a number"),
        (["--mass", "m", "--range", "5.1:5.5", "--feature", "x*"], 1, "no branch matches 'x*'"),
        (["--mass", "m", "--range", "7:8"], 1, "0 lie between 7 and 8"),
        (["--mass", "m", "--range", "5.1:5.5", "--tree", "U"], 1, "no tree 'U'"),
        (["--fit", "none.yaml"], 2, "cannot be read as the settings of a fit"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    folder: Path, tmp_path: Path, pidlab: Run, words: list[str], code: int, sentence: str
) -> None:
    done = pidlab("sweights", folder / "a.root", "-o", tmp_path / "out", *words)
    assert done.returncode == code, done.stderr
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


FIT = """\
mass: m
range: [5.1, 5.5]
cut: trigger
features: [control]
label: $m$ [GeV]
components:
  signal: {shape: double_gauss, parameters: {ratio: 2.0, mean: {start: 5.28, low: 5.2}}}
  reflection: {shape: gauss, parameters: {sigma: signal.sigma, mean: 5.4}}
  background: exponential
"""


def test_a_file_says_what_is_fitted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "fit.yaml").write_text(FIT)
    settings = load_fit(tmp_path / "fit.yaml")
    assert (settings.mass, settings.low, settings.high) == ("m", 5.1, 5.5)
    assert list(settings.components) == ["signal", "reflection", "background"]
    assert settings.components["reflection"].parameters == {"sigma": "signal.sigma", "mean": 5.4}
    sources = tuple(find_sources(str(folder / "a.root"), None, tmp_path))
    found = analysis.run(SweightsRequest(sources, settings, tmp_path / "out"), Watcher())
    assert found.fit.parameters["reflection.sigma"].value == found.fit.parameters["signal.sigma"].value
    assert set(found.sums) == {"signal", "reflection", "background"}


def test_the_file_on_the_page_is_read_and_its_shapes_are_all_there(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweights.md").read_text(encoding="utf-8")
    (tmp_path / "fit.yaml").write_text(page.partition('```yaml title="fit.yaml"\n')[2].partition("```")[0])
    assert list(load_fit(tmp_path / "fit.yaml").components) == ["signal", "reflection", "background"]
    for name, shape in SHAPES.items():
        row = re.search(rf"^\| `{name}(?::N)?` \|(.*)\|$", page, re.MULTILINE)
        assert row is not None, name
        told = re.findall(r"`(\w+)`", row[1])
        assert told == list(shape.names) or name in ("chebyshev", "voigt", "crystal_ball")


def test_all_mistakes_of_a_file_are_told_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "fit.yaml").write_text(
        "mass: m\nrange: [5.5, 5.1]\ncomponent: {}\ncomponents:\n  signal: {shape: gaus}\n  b-g: exponential\n"
        "  c: {shape: gauss, parameters: {width: 1, sigma: {begin: 2}, mean: signal.mean}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_fit(tmp_path / "fit.yaml")
    told = {
        mistake.key: (mistake.place.rpartition("fit.yaml")[2], mistake.message) for mistake in caught.value.mistakes
    }
    assert told["range"][0].startswith(":2:")
    assert "did you mean 'components'" in told["component"][1]
    assert "did you mean 'gauss'" in told["components.signal.shape"][1]
    assert "letters, digits and underscores" in told["components.b-g"][1]
    assert "no parameter 'width'" in told["components.c.parameters.width"][1]
    assert "unknown key" in told["components.c.parameters.sigma.begin"][1]
    assert "to share" in told["components.c.parameters.mean"][1]
    assert told["components.c.parameters.mean"][0].startswith(":7:")


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "mass: 3\nrange: 5\ncomponents: []", "components: {a: {shape: 3}}", "a: b: c"]
)
def test_no_text_of_a_file_is_a_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / "fit.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"fit\.yaml:\d+:\d+"):
        load_fit(tmp_path / "fit.yaml")


def test_words_for_parameters() -> None:
    found = with_parameters(COMPONENTS, ["signal.sigma=0.02", "background.yield=500:0:1000"])
    assert found["signal"].parameters["sigma"] == 0.02
    assert found["background"].parameters["yield"].high == 1000  # type: ignore[union-attr]
    assert (
        with_parameters(COMPONENTS, ["signal.mean=background.slope"])["signal"].parameters["mean"] == "background.slope"
    )
    assert range_of("-1:2.5") == (-1.0, 2.5)
    with pytest.raises(UsageError, match=r"expected COMPONENT\.PARAMETER=VALUE"):
        with_parameters(COMPONENTS, ["sigma"])


def test_an_input_that_changes_between_the_readings_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "a.root", table(0))
    real = analysis.fit

    def fit_and_change(*arguments: Any, **options: Any) -> Any:
        write_tree(tmp_path / "a.root", table(1, 3000))
        return real(*arguments, **options)

    monkeypatch.setattr(analysis, "fit", fit_and_change)
    with pytest.raises(DataError, match="changed while it was read"):
        analysis.run(
            SweightsRequest(tuple(find_sources("a.root", None, tmp_path)), SETTINGS, tmp_path / "out"), Watcher()
        )
    assert not list((tmp_path / "out").glob("*_sweights.root"))
