"""The report of `apply`: what it counts is what is in the files, whoever counts it, beside what the run lets expect."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from apply_runs import CONTENT, events

import forked
from conftest import write_tree
from pidlab.apply import apply
from pidlab.apply.report import ApplyReport
from pidlab.apply.tally import Tallies, Watched, tally_of
from pidlab.atomic import write_text
from pidlab.cli import main
from pidlab.config.load import check_config
from pidlab.errors import OutputError, UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import run as run_pipeline
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs import shift
from pidlab.runs.bundle import load_bundle
from real_root import ask_root, needs_root

GOLDEN = Path(__file__).parents[1] / "runs" / "golden" / "run"


@pytest.fixture(scope="module", autouse=True)
def small_trees() -> Iterator[None]:
    """Ten trees in place of 150 tell the files from the run: what they find is the promise of `pidlab domain`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shift._BDT, "n_estimators", 10)
        yield


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the figures of working points, which take the most time."""
    monkeypatch.setattr("pidlab.plots.exploring.applied.point_figures", lambda *_: iter(()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with folds on 4,000 events, without figures."""
    folder = tmp_path_factory.mktemp("report")
    write_tree(folder / "train.root", events(4000))
    box = {"type": "cuts", "nested": False}
    config = CONTENT | {
        "models": CONTENT["models"] | {"box": box},
        "evaluate": {"robustness": None, "working_points": [0.9]},
    }
    loaded = check_config(config, {}, folder / "analysis.yaml")
    run_pipeline(loaded, folder / "run", Resources("cpu", 1), Watcher(), figures="none")
    return folder / "run"


def applied(run: Path, output: Path, *files: Path, jobs: int | None = 1, **options: Any) -> dict[str, Any]:
    """Applies the run with a report, and returns report.json."""
    bundle = load_bundle(run)
    report = ApplyReport.of(bundle)
    sources = [Source(str(path), "T") for path in files]
    summaries = apply(bundle, sources, output, Watcher(), jobs=jobs, tallies=report.tallies, **options)
    assert report.write(output, summaries, Watcher(), n_jobs=1) == output / "report.html"
    found: dict[str, Any] = json.loads((output / "report.json").read_text())
    return found


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three thousand rows without labels, some of which have no feature."""
    path = tmp_path_factory.mktemp("unlabelled") / "data.root"
    made = events(3000, 1_000_000, seed=5)
    del made["label"]
    made["b"][::50] = np.nan
    write_tree(path, made, step=700)
    return path


@pytest.fixture(scope="module")
def made(run: Path, unlabelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made")
    applied(run, output, unlabelled)
    return output


def test_what_is_counted_is_what_the_friend_tree_decides(made: Path, unlabelled: Path) -> None:
    with uproot.open(unlabelled) as file, uproot.open(made / "data_pid.root") as friend:
        data, own = file["T"].arrays(library="np"), friend["T_pid"].arrays(library="np")
    selected = own["pid_selected"]
    numbers = json.loads((made / "report.json").read_text())
    assert (numbers["n_rows"], numbers["n_selected"], numbers["n_known"]) == (3000, int(selected.sum()), 0)
    within = np.abs(data["a"]) < 2
    assert [step["n"] for step in numbers["cutflow"]] == [3000, within.sum(), (within & (data["p"] > 1.2)).sum()]
    assert set(numbers["models"]) == {"fisher", "own", "hand", "box"}
    with uproot.open(made / "report.root") as root:
        for model, found in numbers["models"].items():
            for point in found["working_points"]:
                name = point["name"]
                passed = own[f"pid_{model}_{name}"]
                assert point["n"] == passed.sum()
                assert point["share"]["value"] == pytest.approx(passed.sum() / selected.sum(), rel=1e-12)
                for what, rows in (("accepted", passed), ("rejected", selected & ~passed)):
                    for variable, values in (
                        ("a", data["a"]),
                        ("b", data["b"]),
                        ("p", data["p"]),
                        ("p_2", data["p"] * 2.0),
                    ):
                        histogram = root[f"{model}/{name}/{what}/{variable}"]
                        edges = histogram.axis().edges()
                        some = values[rows].astype(np.float64)
                        expected = np.histogram(some[~np.isnan(some)], edges)[0]
                        np.testing.assert_array_equal(histogram.values(), expected)
                        assert histogram.values(flow=True).sum() == rows.sum()
        scores = root["fisher/score"]
        np.testing.assert_array_equal(
            scores.values(), np.histogram(own["pid_fisher"][selected], scores.axis().edges())[0]
        )
        assert "box/score" not in root  # boxes have no score


@pytest.mark.slow
@needs_root
def test_root_draws_the_same_from_the_input_and_its_friend(made: Path, unlabelled: Path) -> None:
    answer = ask_root(
        """
report, data = ROOT.TFile.Open(given["report"]), ROOT.TFile.Open(given["data"])
tree = data.Get("T")
tree.AddFriend("T_pid", given["friend"])
answer = {}
for name, variable, cut in (
    ("fisher/eff90/accepted/a", "a", "pid_fisher_eff90"),
    ("fisher/eff90/rejected/p", "p", "pid_selected && !pid_fisher_eff90"),
    ("box/eff90/accepted/p_2", "p * 2", "pid_box_eff90"),
    ("fisher/score", "pid_fisher", "pid_selected"),
):
    ours, own = report.Get(name), report.Get(name).Clone(f"own{len(answer)}")
    own.SetDirectory(ROOT.gROOT)
    ROOT.gROOT.cd()
    own.Reset()
    tree.Draw(f"{variable} >> {own.GetName()}", cut, "goff")
    bins = range(ours.GetNbinsX() + 2)
    answer[name] = [[h.GetBinContent(i) for i in bins] for h in (ours, own)]
    expected = report.Get(name + "_expected")
    answer[name + "_expected"] = [expected.GetSumOfWeights(), expected.GetBinError(bins[1])]
""",
        report=made / "report.root",
        data=unlabelled,
        friend=made / "data_pid.root",
    )
    for name in ("fisher/eff90/accepted/a", "fisher/eff90/rejected/p", "box/eff90/accepted/p_2", "fisher/score"):
        assert answer[name][0] == answer[name][1]
        assert sum(answer[name][0]) > 100
        assert answer[f"{name}_expected"][0] > 100


def test_the_expectation_is_the_test_sample_scaled_to_the_selected_rows(made: Path, run: Path) -> None:
    results = json.loads((run / "metrics.json").read_text())
    numbers = json.loads((made / "report.json").read_text())
    shares = numbers["mixture"]["shares"]
    n_test = results["n"]["test"]
    assert shares["s"] == pytest.approx(n_test["s"] / sum(n_test.values()), rel=1e-12)
    (point,) = results["models"]["hand"]["working_points"]
    expected = shares["s"] * point["efficiency"]["value"] + shares["b"] * point["misid"]["b"]["value"]
    (found,) = numbers["models"]["hand"]["working_points"]
    assert found["expected"]["value"] == pytest.approx(expected, rel=1e-12)
    # The rows are of the same distribution: within four standard deviations of both.
    error = np.hypot(found["share"]["high"] - found["share"]["value"], found["expected"]["high"] - expected)
    assert abs(found["share"]["value"] - expected) < 4 * error
    with uproot.open(made / "report.root") as root:
        whole, part = root["hand/hand/accepted/a_expected"], root["hand/hand/accepted/a_expected_s"]
        assert whole.values(flow=True).sum() == pytest.approx(numbers["n_selected"] * expected, rel=1e-9)
        s = numbers["n_selected"] * shares["s"] * point["efficiency"]["value"]
        assert part.values(flow=True).sum() == pytest.approx(s, rel=1e-9)
        # Of equal weights w the error of a bin with k test events is w √k.
        scale = numbers["n_selected"] / sum(n_test.values())
        np.testing.assert_allclose(whole.errors(), np.sqrt(scale * whole.values()), rtol=1e-9)


def test_the_page_stands_alone_and_says_what_must_be_known(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    for said in ("rows pass the selection", "abundances in the files may be others", "A BDT cannot tell", "acc"):
        assert said in page
    # Scores, each working point, and two figures of the comparison with the run.
    n_points = sum(len(m["working_points"]) for m in json.loads((made / "report.json").read_text())["models"].values())
    assert page.count("<img") == 1 + n_points + 2
    assert page.count('alt="Rows of the files that') == n_points


def bare(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """report.json and the contents of report.root, without the names of the inputs."""
    numbers = json.loads((path / "report.json").read_text())
    del numbers["provenance"]
    with uproot.open(path / "report.root") as root:
        kinds = root.classnames(cycle=False)
        return numbers, {k: root[k].values(flow=True).tolist() for k, kind in kinds.items() if kind.startswith("TH")}


@pytest.mark.usefixtures("without_figures")
def test_pieces_and_threads_change_nothing(
    run: Path, unlabelled: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pidlab.apply.inputs.STEP", 500)
    applied(run, tmp_path, unlabelled, jobs=None)
    assert bare(tmp_path) == bare(made)


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")
def test_processes_change_nothing(
    run: Path, unlabelled: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProcessPoolExecutor(1, forked.context()) as executor:
        applied(run, tmp_path, unlabelled, executor=executor)
    assert bare(tmp_path) == bare(made)


@pytest.mark.usefixtures("without_figures")
def test_finished_friends_are_counted_again_and_failed_inputs_are_not(
    run: Path, unlabelled: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data_pid.root", "report.json"):
        shutil.copy(made / name, tmp_path / name)
    before = (tmp_path / "data_pid.root").stat().st_mtime_ns
    broken = unlabelled.parent / "broken.root"
    whole = unlabelled.read_bytes()
    broken.write_bytes(whole[:3000] + bytes(3000) + whole[6000:])
    numbers = applied(run, tmp_path, unlabelled, broken)
    assert (tmp_path / "data_pid.root").stat().st_mtime_ns == before
    assert not (tmp_path / "broken_pid.root").exists()
    assert numbers["n_rows"] == 3000
    assert "1 of 2 inputs could not be scored" in numbers["notes"][0]
    assert numbers["models"] == json.loads((made / "report.json").read_text())["models"]


@pytest.mark.usefixtures("without_figures")
def test_a_page_that_cannot_be_written_leaves_the_report_as_it_was(
    run: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied(run, tmp_path, unlabelled)
    before = {name: (tmp_path / name).read_bytes() for name in ("report.html", "report.json", "report.root")}

    def full(path: Path, text: str) -> None:
        if path.suffix == ".html":
            raise OutputError(f"{path}: cannot be written (No space left on device)")
        write_text(path, text)

    monkeypatch.setattr("pidlab.apply.report.write_text", full)
    with pytest.raises(OutputError, match=re.escape(f"{tmp_path / 'report.html'}: cannot be written")):
        applied(run, tmp_path, unlabelled, force=True)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("without_figures")
def test_what_the_files_or_the_machine_lack_is_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    config = (copy / "config.yaml").read_text()
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]  # the checksums, of which that of the configuration changes
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "config.yaml").write_text(config.replace("train.root", "gone.root").replace("- p\n", "- c\n"))
    content = events(1000, 7_000_000)
    write_tree(tmp_path / "data.root", content)
    numbers = applied(run, tmp_path / "own", tmp_path / "data.root")
    assert numbers["domain"] is not None
    numbers = applied(copy, tmp_path / "out", tmp_path / "data.root")
    assert numbers["domain"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The events of the run cannot be read here" in page
    assert "gone.root" in page


def test_a_file_of_which_nothing_is_selected_has_a_page_too(run: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "data.root", events(500, 8_000_000) | {"p": np.zeros(500, np.float32)})
    numbers = applied(run, tmp_path / "out", tmp_path / "data.root")
    assert (numbers["n_rows"], numbers["n_selected"], numbers["domain"]) == (500, 0, None)
    assert numbers["models"]["hand"]["working_points"][0]["share"]["value"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "0 of 500 rows pass the selection" in page
    assert "No row passes the selection." in page
    assert "<img" not in page


def test_a_run_of_an_earlier_version_says_that_it_has_no_expectation(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    with pytest.raises(UsageError, match=r"earlier version.*`pidlab evaluate .*run` measures them without training"):
        ApplyReport.of(load_bundle(tmp_path / "run"))


def test_the_same_events_are_kept_however_they_are_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pidlab.apply.tally.MOST_KEPT", 300)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5_000, 2)).astype(np.float32)
    event = np.repeat(np.arange(2_500, dtype=np.uint64), 2)
    watched = Watched((("a", (0.0, 1.0)),), (), (("m", "t"),))

    def kept(step: int) -> Any:
        tallies = Tallies(watched)
        for start in range(0, 5_000, step):
            rows = slice(start, start + step)
            n = len(event[rows])
            tally = tally_of(watched, [n, n], x[rows], ["a", "b"], {}, [x[rows, 0] > 0], {}, event[rows])
            tally.thin(tallies.share)
            tallies.add(tally)
        tallies.output_is_whole()
        return tallies.whole

    whole = kept(5_000)
    assert 75 < len(whole.event) <= 300
    assert set(np.unique(whole.event, return_counts=True)[1]) == {2}  # whole events
    for step in (100, 999):
        other = kept(step)
        np.testing.assert_array_equal(np.sort(other.event), np.sort(whole.event))
        np.testing.assert_array_equal(
            other.x[np.argsort(other.event, kind="stable")], whole.x[np.argsort(whole.event, kind="stable")]
        )
        np.testing.assert_array_equal(other.accepted["a"], whole.accepted["a"])
        assert other.n.tolist() == [(x[:, 0] > 0).sum()]


@pytest.mark.usefixtures("without_figures")
def test_the_command_names_the_page(
    run: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "apply",
        str(run),
        str(unlabelled),
        str(tmp_path / "gone.root"),
        "-o",
        str(tmp_path / "out"),
        "--report",
        "--model",
        "hand",
        "--jobs",
        "1",
    ]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 1  # for the file that is not there
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 2 inputs could not be scored" in page
    assert "gone.root" in page
    assert f"report: {tmp_path / 'out' / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    shutil.copytree(GOLDEN, tmp_path / "old")
    with pytest.raises(SystemExit) as left:
        main([words[0], str(tmp_path / "old"), *words[2:]])
    assert left.value.code == 2
    assert "earlier version" in capsys.readouterr().err
