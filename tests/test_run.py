"""A run: what it leaves behind is whole, agrees with itself, and is the same when it is run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import uproot

from conftest import write_tree
from pidlab.apply import apply
from pidlab.config.load import check_config, load_config
from pidlab.errors import DataError, OutputError
from pidlab.models.registry import Resources
from pidlab.models.training import fit_parts
from pidlab.pipeline import run
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import load_bundle
from pidlab.simulate import simulate
from pidlab.split import fold_of, is_validation

pytestmark = pytest.mark.slow

CONTENT: dict[str, Any] = {
    "data": {
        "files": "shms.root",
        "event_id": ["run", "event"],
        "weight": "w",
        "aliases": {"eop": "P.cal.etottracknorm"},
    },
    "classes": {"electron": "species == 0", "pion": "species == 1"},
    "selection": {"acceptance": "abs(P.gtr.dp) < 12", "calorimeter": "eop > 0.05"},
    "features": [
        "P.cal.etottracknorm",
        "P.cal.eprtracknorm",
        {"name": "npe", "expression": "P.hgcer.npeSum", "missing": [-999]},
        {"name": "log_beta", "expression": "log(P.gtr.beta)"},
    ],
    "spectators": ["P.gtr.p"],
    "models": {
        "hand": {"type": "expression", "cut": "eop > 0.75 && P.hgcer.npeSum > 2"},
        "shower": {"type": "score", "expression": "eop"},
        "cuts": {"type": "cuts"},
        "fisher": {"type": "fisher"},
        "bdt": {"type": "bdt", "n_estimators": 40},
        "mlp": {"type": "mlp", "hidden": [10], "epochs": 3},
    },
    "evaluate": {"robustness": {"smear": [0.1], "scale": [], "shift": [], "drop": True}},
}
MODELS = list(CONTENT["models"])


def go(
    folder: Path,
    content: dict[str, Any],
    name: str = "run",
    watcher: Watcher | None = None,
    figures: Literal["none", "all"] = "none",
) -> Path:
    loaded = check_config(content, {}, folder / "analysis.yaml")
    run(loaded, folder / name, Resources("cpu", 2), watcher or Watcher(), figures=figures)
    return folder / name


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shms")
    simulate("shms", folder / "shms.root", 8000, 3)
    return folder


@pytest.fixture(scope="module")
def done(sample: Path) -> Path:
    return go(sample, CONTENT)


@pytest.fixture(scope="module")
def metrics(done: Path) -> Any:
    return json.loads(
        (done / "metrics.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON")
    )


@pytest.fixture(scope="module")
def friend(done: Path) -> Any:
    with uproot.open(done / "friends" / "shms_pid.root") as file:
        return file["T_pid"].arrays(library="np")


@pytest.fixture(scope="module")
def events(sample: Path) -> Any:
    with uproot.open(sample / "shms.root") as file:
        return file["T"].arrays(library="np")


def test_everything_that_a_run_promises_is_there(done: Path) -> None:
    names = {p.name for p in done.iterdir()}
    assert names == {
        *("config.yaml", "manifest.json", "metrics.json", "results.json", "results.root", "report.html"),
        *("events.safetensors", "plots", "models", "friends"),
    }
    assert {p.name for p in (done / "models").iterdir()} == set(MODELS)
    assert not [p for p in done.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".joblib")]


def test_a_run_draws_every_model_but_hand_made_cuts_as_png_and_pdf(sample: Path) -> None:
    learned = ("shower", "fisher")
    few = {**CONTENT, "models": {name: CONTENT["models"][name] for name in ("hand", *learned)}, "spectators": []}
    few["evaluate"] = {"robustness": None, "importance": False}
    plots = go(sample, few, "drawn", figures="all") / "plots"
    pictures = {path.stem for path in plots.glob("*.png")}
    assert pictures == {path.stem for path in plots.glob("*.pdf")}
    assert {"roc", "inputs", "cutflow", "compare", *(f"response_{model}" for model in learned)} <= pictures


def test_the_results_are_told_before_anything_is_drawn_and_few_figures_are_those_of_a_first_look(sample: Path) -> None:
    few = {**CONTENT, "models": {name: CONTENT["models"][name] for name in ("hand", "fisher")}}
    loaded = check_config(few, {}, sample / "analysis.yaml")
    told: list[Any] = []

    for figures, expected in (("none", set()), ("quick", {"roc.png", "response_fisher.png"})):

        def tell(results: Any, name: str = figures) -> None:
            told.append(results)
            assert not [*sample.glob(f"*{name}*/metrics.json"), *sample.glob(f"*{name}*/plots/*")]

        results = run(loaded, sample / figures, Resources("cpu", 2), Watcher(), figures=figures, found=tell)
        assert told[-1] is results
        assert {path.name for path in (sample / figures / "plots").iterdir()} == expected
        assert "fisher" in (sample / figures / "report.html").read_text()


def test_metrics_have_their_schema(metrics: Any) -> None:
    assert metrics["schema"] == 1
    assert (metrics["signal"], metrics["classes"]) == ("electron", ["electron", "pion"])
    for name in MODELS:
        model = metrics["models"][name]
        assert {"test", "train", "validation", "working_points", "overtraining", "training"} <= set(model)
        for point in model["working_points"]:
            assert set(point["misid"]["pion"]) == {"value", "low", "high", "n"}
    bdt = metrics["models"]["bdt"]
    assert [p["name"] for p in bdt["working_points"]] == ["eff90", "eff95", "eff99"]
    assert bdt["test"]["auc"]["low"] < bdt["test"]["auc"]["value"] < bdt["test"]["auc"]["high"]
    assert len(metrics["comparisons"]) == len(MODELS) * (len(MODELS) - 1) // 2
    assert {p["change"] for p in metrics["robustness"]["mlp"]} >= {"smear", "drop"}


def test_the_cut_flow_is_that_of_numpy(metrics: Any, events: Any) -> None:
    masks = {"all": np.ones(len(events["w"]), bool)}
    masks["acceptance"] = np.abs(events["P.gtr.dp"]) < 12
    masks["calorimeter"] = masks["acceptance"] & (events["P.cal.etottracknorm"] > 0.05)
    for step in metrics["cutflow"]:
        for species, name in enumerate(("electron", "pion")):
            mine = masks[step["name"]] & (events["species"] == species)
            assert step["passed"][name] == mine.sum()
            assert step["weighted"][name] == pytest.approx(events["w"][mine].sum(dtype=float), rel=1e-9)


def test_the_friend_has_an_entry_for_every_entry_and_keeps_the_key(friend: Any, events: Any) -> None:
    for name in ("run", "event"):
        assert friend[name].dtype == events[name].dtype
        assert np.array_equal(friend[name], events[name])
    selected = (np.abs(events["P.gtr.dp"]) < 12) & (events["P.cal.etottracknorm"] > 0.05)
    assert np.array_equal(friend["pid_selected"], selected)
    for name in MODELS:
        assert friend[f"pid_{name}"].dtype == np.float32
        assert np.array_equal(np.isnan(friend[f"pid_{name}"]), ~selected)


def test_decisions_are_score_above_threshold_strictly(friend: Any, metrics: Any) -> None:
    for name in MODELS:
        for point in metrics["models"][name]["working_points"]:
            with np.errstate(invalid="ignore"):
                passed = friend[f"pid_{name}"] > np.float32(point["threshold"])
            assert np.array_equal(friend[f"pid_{name}_{point['name']}"], passed)


def test_the_quoted_numbers_follow_from_the_friend_tree(friend: Any, events: Any, metrics: Any) -> None:
    test = friend["pid_split"] == 2
    assert metrics["n"]["test"]["pion"] == (test & (events["species"] == 1)).sum()
    for name in MODELS:
        for point in metrics["models"][name]["working_points"]:
            passed = friend[f"pid_{name}_{point['name']}"]
            for species, quoted in ((0, point["efficiency"]), (1, point["misid"]["pion"])):
                w = np.where(test & (events["species"] == species), events["w"], 0).astype(float)
                assert quoted["value"] == pytest.approx(w[passed].sum() / w.sum(), rel=1e-9, abs=0)
                assert quoted["low"] <= quoted["value"] <= quoted["high"]


def test_thresholds_reach_their_efficiency_on_validation(friend: Any, events: Any, metrics: Any) -> None:
    w = np.where((friend["pid_split"] == 1) & (events["species"] == 0), events["w"], 0).astype(float)
    for name in ("bdt", "mlp", "fisher"):
        for point in metrics["models"][name]["working_points"]:
            reached = w[friend[f"pid_{name}_{point['name']}"]].sum() / w.sum()
            assert point["target"] <= reached < point["target"] + 0.02


def test_the_cut_string_is_the_decision(friend: Any, events: Any, metrics: Any) -> None:
    from pidlab.expressions import parse, selects

    text = metrics["models"]["cuts"]["cut_string"]
    passed = selects(parse(text), events, len(events["w"]))
    assert np.array_equal(passed & friend["pid_selected"], friend["pid_cuts_eff90"])


def test_apply_gives_the_scores_of_the_run_and_leaves_the_input_alone(done: Path, sample: Path, friend: Any) -> None:
    source = sample / "shms.root"
    before = hashlib.sha256(source.read_bytes()).digest()
    apply(load_bundle(done), [Source(str(source), "T")], sample / "applied", Watcher())
    assert hashlib.sha256(source.read_bytes()).digest() == before
    with uproot.open(sample / "applied" / "shms_pid.root") as file:
        again = file["T_pid"].arrays(library="np")
    assert "pid_split" not in again
    for name, values in again.items():
        assert np.array_equal(values, friend[name], equal_nan=values.dtype.kind == "f"), name


def test_inputs_of_one_name_from_two_folders_do_not_collide(done: Path, sample: Path, tmp_path: Path) -> None:
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        simulate("shms", tmp_path / folder / "x.root", 300, i)
    sources = [Source(str(tmp_path / f / "x.root"), "T") for f in ("a", "b")]
    summaries = apply(load_bundle(done, ["fisher"]), sources, tmp_path / "out", Watcher())
    assert [s.target for s in summaries] == [tmp_path / "out" / f / "x_pid.root" for f in ("a", "b")]
    with uproot.open(summaries[0].target) as file:
        assert set(file["T_pid"].keys()) == {
            *("pid_selected", "pid_fisher", "pid_fisher_eff90", "pid_fisher_eff95", "pid_fisher_eff99", "run", "event")
        }


def test_a_second_run_gives_the_same_numbers(sample: Path, metrics: Any) -> None:
    again = json.loads((go(sample, CONTENT, "again") / "metrics.json").read_text())
    for content in (metrics, again):
        for model in content["models"].values():
            model["scoring"] = None
            if model["training"]:
                model["training"]["seconds"] = 0
    assert again == metrics


class StopAt(Watcher):
    def __init__(self, stage: str) -> None:
        self._stage = stage

    def stage(self, name: str) -> None:
        if name == self._stage:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["train", "apply"])
def test_a_stopped_run_leaves_the_old_result(sample: Path, done: Path, stage: str) -> None:
    def state() -> Iterator[tuple[str, bytes]]:
        return ((str(p), p.read_bytes()) for p in sorted(sample.rglob("*")) if p.is_file())

    before = dict(state())
    with pytest.raises(KeyboardInterrupt):
        go(sample, CONTENT, done.name, StopAt(stage))
    assert dict(state()) == before


def test_a_folder_that_is_no_run_is_not_replaced(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    loaded = check_config(CONTENT, {}, sample / "analysis.yaml")
    with pytest.raises(OutputError, match="exists and is not the folder of a run"):
        run(loaded, tmp_path / "thesis", Resources(), Watcher())
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def gaussians(folder: Path, n: int = 3000) -> None:
    """Three classes in files of their own: two files of pions, and two trees in one file."""
    rng = np.random.default_rng(4)

    def cloud(centre: float, size: int) -> dict[str, Any]:
        x = rng.normal(centre, 1, size)
        return {"a": x.astype("f4"), "b": (x + rng.normal(0, 2, size)).astype("f4"), "p": rng.uniform(1, 5, size)}

    write_tree(folder / "pions_1.root", cloud(0, n))
    write_tree(folder / "pions_2.root", cloud(0, n // 2))
    with uproot.recreate(folder / "others.root") as file:
        for name, centre in (("kaons", 1.5), ("protons", 3.0)):
            content = cloud(centre, n)
            file.mktree(name, {k: v.dtype for k, v in content.items()}).extend(content)


def test_several_files_tables_of_their_own_and_three_classes(tmp_path: Path) -> None:
    gaussians(tmp_path)
    content = {
        "classes": {
            "pion": {"files": "pions_*.root"},
            "kaon": {"files": "others.root:kaons", "cut": "p > 2"},
            "proton": {"files": ["others.root"], "tree": "protons", "weight": "p"},
        },
        "signal": "kaon",
        "features": ["a", "b"],
        "spectators": ["p"],
        "models": {"bdt": {"type": "bdt", "n_estimators": 30}, "cuts": {"type": "cuts"}, "fisher": {"type": "fisher"}}
        | {"mlp": {"type": "mlp", "epochs": 3}, "hand": {"type": "expression", "cut": "a > 0.8 && a < 2.2"}},
        "evaluate": {"robustness": None},
    }
    folder = go(tmp_path, content)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["cutflow"][0]["passed"]["pion"] == 4500
    assert metrics["cutflow"][0]["weighted"]["proton"] > 3000 * 2.5
    point = metrics["models"]["mlp"]["working_points"][0]
    assert set(point["misid"]) == {"pion", "proton"}
    assert np.array(metrics["models"]["bdt"]["test"]["confusion_matrix"]["counts"]).shape == (3, 3)
    assert any("file and entry number" in note for note in metrics["notes"])
    with uproot.open(folder / "friends" / "others_pid.root") as file:
        assert {"kaons_pid", "protons_pid"} <= set(file.keys(cycle=False))
        kaons = file["kaons_pid"].arrays(library="np")
    assert {"pid_bdt_pion", "pid_bdt_kaon", "pid_bdt_proton", "pid_hand", "pid_mlp_eff90"} <= set(kaons)
    np.testing.assert_allclose(kaons["pid_mlp_pion"] + kaons["pid_mlp_kaon"] + kaons["pid_mlp_proton"], 1, rtol=1e-5)
    with uproot.open(tmp_path / "others.root") as file:
        p = file["kaons"]["p"].array(library="np")
    assert np.array_equal(kaons["pid_split"] >= 0, p > 2)


def folds_on_noise(folder: Path, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The test and train metrics of a memorising model on random labels, in three folds."""
    rng = np.random.default_rng(seed)
    x, label = rng.normal(size=(3000, 2)), rng.integers(0, 2, 3000)
    folder.mkdir()
    write_tree(folder / "noise.root", {"a": x[:, 0], "b": x[:, 1], "label": label, "event": np.arange(3000)})
    forest = {"type": "bdt", "n_estimators": 60, "max_depth": 12, "learning_rate": 0.5, "early_stopping_rounds": None}
    config = {
        "data": {"files": "noise.root", "event_id": ["event"]},
        "classes": {"s": "label == 1", "b": "label == 0"},
        "features": ["a", "b"],
        "folds": 3,
        "models": {"bdt": forest},
        "evaluate": {"robustness": None, "importance": False},
    }
    model = json.loads((go(folder, config) / "metrics.json").read_text())["models"]["bdt"]
    return model["test"], model["train"]


def test_folds_score_every_event_by_a_model_that_never_saw_it(tmp_path: Path) -> None:
    """Random labels that a memorising model learns by heart give an out-of-fold AUC of one half."""
    pulls = []
    for seed in range(4):
        test, train = folds_on_noise(tmp_path / str(seed), seed)
        pulls.append((test["auc"]["value"] - 0.5) / ((test["auc"]["high"] - test["auc"]["low"]) / 2))
        assert train["auc"]["value"] > 0.99
        assert sum(test["auc"]["n_by_class"].values()) > 2700  # of 3000 events
    assert abs(np.mean(pulls)) < 3 / np.sqrt(len(pulls))


def test_a_declared_test_sample_is_used(sample: Path) -> None:
    content = CONTENT | {"split": {"test": "event % 4 == 0"}, "models": {"fisher": {"type": "fisher"}}}
    folder = go(sample, content | {"evaluate": {"robustness": None}}, "declared")
    with uproot.open(folder / "friends" / "shms_pid.root") as file:
        friend = file["T_pid"].arrays(library="np")
    used = friend["pid_split"] >= 0
    assert np.array_equal(friend["pid_split"][used] == 2, friend["event"][used] % 4 == 0)


def test_an_event_in_two_classes_is_refused(sample: Path) -> None:
    content = CONTENT | {"classes": {"electron": "species == 0", "any": "species <= 1"}}
    with pytest.raises(DataError, match=r"rows of shms.root:T, the first in entry \d+, are in two classes"):
        go(sample, content, "overlap")


def test_what_was_switched_off_stays_off_in_the_configuration_left_behind(sample: Path) -> None:
    switched_off = {
        **CONTENT,
        "models": {"bdt": {"type": "bdt", "n_estimators": 5, "early_stopping_rounds": None, "max_bin": 64}},
        "evaluate": {"robustness": None},
    }
    left = load_config(go(sample, switched_off, "switched_off") / "config.yaml").config
    assert left.evaluate.robustness is None
    assert (left.models["bdt"].early_stopping_rounds, left.models["bdt"].model_extra) == (None, {"max_bin": 64})


def test_networks_of_folds_that_train_together_are_those_that_train_alone(sample: Path) -> None:
    content = {**CONTENT, "folds": 3, "models": {"mlp": {"type": "mlp", "hidden": [8], "epochs": 4, "batch_size": 64}}}
    loaded = check_config(content, {}, sample / "analysis.yaml")
    recipe = compile_recipe(loaded)
    events = load(recipe, Watcher()).sample
    fold = fold_of(events.event, 3, loaded.config.split.seed)
    watched = is_validation(events.event, 0.15, loaded.config.split.seed)
    pairs = [(events.take((fold != i) & ~watched), events.take((fold != i) & watched)) for i in range(3)]
    given = recipe, Resources("cpu", 1), None
    together = fit_parts("mlp", loaded.config.models["mlp"], pairs, *given)
    for model, pair in zip(together, pairs, strict=True):
        (alone,) = fit_parts("mlp", loaded.config.models["mlp"], [pair], *given)
        np.testing.assert_allclose(model.scores(events.x), alone.scores(events.x), rtol=1e-4, atol=0)


def test_everything_left_behind_has_the_usual_permissions(done: Path) -> None:
    (done.parent / "usual").touch()
    usual = (done.parent / "usual").stat().st_mode
    assert {p.name for p in done.rglob("*") if p.is_file() and p.stat().st_mode != usual} == set()


def test_the_spread_of_the_members_of_an_ensemble_is_told(sample: Path) -> None:
    two = {"type": "mlp", "hidden": [8], "epochs": 3, "members": 2}
    content = {**CONTENT, "models": {"two": two, "one": {**two, "members": 1}}, "evaluate": {"robustness": None}}
    made = go(sample, content, "members")
    models = json.loads((made / "metrics.json").read_text())["models"]
    assert "The members' probabilities scatter by 0." in models["two"]["note"]
    assert "members" not in models["one"]["note"]
