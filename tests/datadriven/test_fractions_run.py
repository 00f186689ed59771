"""`pidlab fractions`: yields in data by the models of a run, against the truth, in JSON, ROOT, figures and a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

from conftest import write_tree
from pidlab.cli import cli
from pidlab.config.load import load_config
from pidlab.datadriven.fractions.analysis import Request, measure_fractions, within
from pidlab.errors import PidlabError, UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher

CONFIG = """\
data: {files: sim.root, event_id: [event]}
classes: {electron: "species == 0", pion: "species == 1", kaon: "species == 2"}
selection: {fiducial: "abs(x) < 2"}
features: [a, b]
evaluate: {robustness: null, importance: false}
models:
  bayes: {type: naive_bayes}
  hand: {type: expression, cut: "a > 0.5"}
"""
TRUE = {"low": (800, 1500, 400), "high": (300, 2000, 600)}


def candidates(rng: np.random.Generator, kind: int, n: int, low: float, high: float) -> dict[str, Any]:
    a, b = ((1.5, 0.0), (-1.0, -0.5), (-0.5, 1.5))[kind]
    p = rng.uniform(low, high, n)
    return {
        "a": rng.normal(a, 1.0, n) - 0.2 * p,
        "b": rng.normal(b, 1.0, n),
        "p": p,
        "x": rng.uniform(-2.2, 2.2, n),
        "species": np.full(n, kind, "i4"),
    }


def table(rng: np.random.Generator, numbers: dict[str, tuple[int, ...]], first: int) -> dict[str, Any]:
    edges = {"low": (0.0, 1.0), "high": (1.0, 3.0)}
    parts = [candidates(rng, kind, n, *edges[name]) for name, own in numbers.items() for kind, n in enumerate(own)]
    order = rng.permutation(sum(len(part["p"]) for part in parts))
    columns = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    return {**columns, "event": np.arange(first, first + len(order))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fractions")
    rng = np.random.default_rng(3)
    write_tree(place / "sim.root", table(rng, {"low": (3000, 3000, 3000), "high": (3000, 3000, 3000)}, 0))
    data = table(rng, TRUE, 10**6)
    write_tree(place / "data.root", {name: values for name, values in data.items() if name != "species"})
    write_tree(place / "truth.root", data)
    (place / "a.yaml").write_text(CONFIG)
    run(load_config(place / "a.yaml"), place / "run", Resources("cpu"), Watcher(), figures="none")
    (place / "folds.yaml").write_text(CONFIG + "folds: 3\n")
    run(load_config(place / "folds.yaml"), place / "folds", Resources("cpu"), Watcher(), figures="none")
    return place


def truth(folder: Path, low: float, high: float) -> np.ndarray:
    with uproot.open(folder / "truth.root") as file:
        data = file["T"].arrays(library="np")
    inside = (np.abs(data["x"]) < 2) & (data["p"] >= low) & (data["p"] < high)
    return np.bincount(data["species"][inside], minlength=3)


@pytest.mark.parametrize("name", ["run", "folds"])
def test_yields_in_bins_are_the_true_ones(folder: Path, name: str) -> None:
    request = Request(folder / name, [str(folder / "data.root")], folder / f"out_{name}", "p: [0, 1, 3]", ["bayes"])
    found = measure_fractions(request, Watcher())
    (model,) = found.models
    assert [(each.low, each.high) for each in model.bins] == [(0, 1), (1, 3)]
    for each in model.bins:
        true = truth(folder, each.low, each.high)
        assert each.n == true.sum()
        for method in (each.fit, each.inverted):
            pulls = [(m.value - n) / (m.high - m.low) * 2 for m, n in zip(method.yields.values(), true, strict=True)]
            assert np.abs(pulls).max() < 3
            shares = [m.value for m in method.fractions.values()]
            assert sum(shares) == pytest.approx(1)
        errors = [(m.yields["kaon"].high - m.yields["kaon"].low) for m in (each.fit, each.inverted)]
        assert errors[0] < errors[1]  # the fit uses the scores, not only the decisions
        assert each.p > 1e-3
        np.testing.assert_allclose(each.matrix.sum(axis=1), 1)


def test_the_command_leaves_json_root_and_figures_and_prints_a_table(folder: Path) -> None:
    target = folder / "command"
    words = ["fractions", str(folder / "run"), str(folder / "data.root"), "--in", "p + 0: [0, 1, 2]", "-o", str(target)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "electron" in done.output
    assert "lie outside the bins of p + 0" in " ".join(done.output.split())
    content = json.loads((target / "fractions.json").read_text())
    assert content["classes"] == ["electron", "pion", "kaon"]
    bayes, hand = content["models"]
    assert bayes["bins"][0]["fit"]["yields"]["pion"].keys() == {"value", "low", "high", "n"}
    assert np.array(bayes["bins"][0]["fit"]["covariance"]).shape == (3, 3)
    assert "does not tell all classes apart" in hand["bins"][0]["fit"]["problem"]
    assert "does not decide between all classes" in hand["bins"][0]["inverted"]["problem"]
    assert any(note.startswith("hand, p + 0 0 to 1: no fit") for note in content["notes"])
    with uproot.open(target / "fractions.root") as file:
        graph = file["bayes/fit_yields_pion"]
        expected = [each["fit"]["yields"]["pion"]["value"] for each in bayes["bins"]]
        np.testing.assert_allclose(graph.values("y"), expected)
        total = sum(file[f"bayes/bin0/fit_{name}"].values().sum() for name in content["classes"])
        assert total == pytest.approx(file["bayes/bin0/data"].values().sum(), rel=0.01)
        assert file["bayes/bin1/matrix"].values().shape == (3, 3)
    names = {path.name for path in target.glob("*.png")}
    assert {"fit_bayes_bin0.png", "fit_bayes_bin1.png", "fractions_bayes.png", "fit_hand_bin0.png"} <= names


def test_cut_and_weight_are_those_of_data(folder: Path) -> None:
    def total(**asked: str) -> float:
        request = Request(folder / "run", [str(folder / "data.root")], folder / "asked", models=["bayes"], **asked)
        (only,) = measure_fractions(request, Watcher()).models[0].bins
        assert (only.low, only.high) == (-np.inf, np.inf)
        return sum(m.value for m in only.fit.yields.values())

    every = total()
    assert every == pytest.approx(truth(folder, 0, 3).sum(), rel=0.01)
    assert total(cut="p < 1") == pytest.approx(truth(folder, 0, 1).sum(), rel=0.01)
    assert total(weight="0.5 + (p < 1)") == pytest.approx(
        1.5 * truth(folder, 0, 1).sum() + 0.5 * truth(folder, 1, 3).sum(), rel=0.01
    )


def test_weights_that_the_templates_have_and_the_candidates_lack_are_told(folder: Path) -> None:
    (folder / "weighted.yaml").write_text(CONFIG.replace("[event]}", "[event], weight: 1 + p}"))
    run(load_config(folder / "weighted.yaml"), folder / "weighted", Resources("cpu"), Watcher(), figures="none")

    def notes(name: str, weight: str) -> str:
        asked = Request(folder / name, [str(folder / "data.root")], folder / "told", models=["bayes"], weight=weight)
        return " ".join(measure_fractions(asked, Watcher()).notes)

    assert "The templates have the weights of the run (1 + p), and each candidate counts once" in notes("weighted", "")
    assert "--weight" not in notes("weighted", "1 + p")
    assert "--weight" not in notes("run", "")


def test_bins_are_edges_or_a_number(folder: Path) -> None:
    assert within("abs(p - 1): [0, 0.5, 1]") == ("abs(p - 1)", [0.0, 0.5, 1.0])
    assert within("p: 4") == ("p", 4)
    assert within("") == ("", 1)
    for text in ("p", "p: [1]", "p: [2, 1]", ": [1, 2]", "p: x", "p: 0", "p: [1, a]"):
        with pytest.raises(UsageError, match="write a variable and its edges"):
            within(text)
    request = Request(folder / "run", [str(folder / "data.root")], folder / "equal", "p: 3", ["bayes"])
    found = measure_fractions(request, Watcher()).models[0].bins
    assert len(found) == 3
    assert sum(each.n for each in found) == truth(folder, 0, 3).sum()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"within": "q: [0, 1]"}, "'q'"),
        ({"cut": "nothing > 1"}, "nothing"),
        ({"weight": "p *"}, "p *"),
        ({"models": ["byes"]}, "did you mean 'bayes'?"),
        ({"files": ["none.root"]}, "none.root"),
        ({"cut": "p > 1e9"}, "no candidate passes the selection of the run and the cut 'p > 1e9'"),
        ({"within": "p: [-2, -1]"}, "candidates lie outside the bins of p; choose others with --in"),
    ],
    ids=["variable", "cut", "weight", "model", "file", "nothing", "outside"],
)
def test_what_cannot_be_read_is_told(folder: Path, asked: dict[str, Any], said: str) -> None:
    given = {"files": [str(folder / "data.root")], **asked}
    with pytest.raises(PidlabError) as error:
        measure_fractions(Request(folder / "run", output=folder / "wrong", **given), Watcher())
    assert said in str(error.value)
    assert not (folder / "wrong").exists()
