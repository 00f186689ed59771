"""Names that a configuration decides: no branch of a friend tree replaces another, and both names are told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import write_tree
from pidlab.apply import write_run_friends
from pidlab.apply.scoring import Scorer
from pidlab.config.load import check_config
from pidlab.config.names import collisions, friend_branches_of
from pidlab.config.schema import Config
from pidlab.errors import ConfigError, ModelError
from pidlab.models.registry import Resources
from pidlab.pipeline import Analysis, analyse
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, save_bundle

TWO = {"s": "label == 1", "b": "label == 0"}
THREE = {"s": "label == 1", "b": "label == 0", "eff90": "label == 2"}
FISHER = {"type": "fisher"}


def content(classes: dict[str, Any], models: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = {"files": "events.root", "event_id": ["event"]} | more.pop("data", {})
    return {"data": data, "classes": classes, "features": ["x", "y"], "models": models, **more}


@pytest.mark.parametrize(
    ("wrong", "names", "key"),
    [
        (content(TWO, {"bdt": FISHER, "bdt_eff90": FISHER}), ("'bdt'", "'bdt_eff90'", "pid_bdt_eff90"), "bdt_eff90"),
        (content(TWO, {"bdt_eff95": FISHER, "bdt": FISHER}), ("'bdt'", "'bdt_eff95'", "pid_bdt_eff95"), "bdt"),
        (content(TWO, {"selected": FISHER}), ("'selected'", "selection", "pid_selected"), "selected"),
        (content(TWO, {"split": FISHER}), ("'split'", "split", "pid_split"), "split"),
        (content(THREE, {"bdt": FISHER}), ("'bdt'", "'eff90'", "pid_bdt_eff90"), "bdt"),
        (
            content(TWO | {"c_d": "label == 3", "d": "label == 4"}, {"a": FISHER, "a_c": FISHER}),
            ("'a'", "'c_d'", "'a_c'", "'d'", "pid_a_c_d"),
            "d",
        ),
        (
            content(TWO, {"cut": {"type": "expression", "cut": "x > 0"}, "cut_hand": FISHER}),
            ("'cut'", "'cut_hand'", "pid_cut_hand"),
            "cut_hand",
        ),
        (
            content(TWO, {"a": FISHER, "a_eff90_flat": FISHER}, evaluate={"flat": [{"x": "p"}]}),
            ("'a'", "'a_eff90_flat'", "'eff90_flat'"),
            "a_eff90_flat",
        ),
        (
            content(
                TWO,
                {"c": {"type": "cuts", "figure_of_merit": {"name": "significance"}}, "c_best": FISHER},
            ),
            ("'c'", "'c_best'", "pid_c_best"),
            "c_best",
        ),
        (content(TWO, {"x": FISHER}, data={"event_id": ["pid_x"]}), ("'x'", "event_id", "pid_x"), "data.event_id[0]"),
        (content(TWO, {"x": FISHER}, data={"event_id": ["nEl"], "per": "El"}), ("candidates", "event_id"), "data.per"),
    ],
)  # fmt: skip
def test_names_that_meet_in_a_friend_tree_are_refused_with_both(
    wrong: dict[str, Any], names: tuple[str, ...], key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(wrong, {}, Path("a.yaml"))
    (mistake,) = caught.value.mistakes
    assert all(name in mistake.message for name in names), mistake.message
    assert mistake.key.endswith(key)


def test_both_places_in_the_file_are_told(tmp_path: Path) -> None:
    from pidlab.config.load import load_config

    path = tmp_path / "a.yaml"
    path.write_text(
        "data: {files: a.root}\nclasses: {s: x, b: y}\nfeatures: [z]\n"
        "models:\n  bdt: {type: fisher}\n  bdt_eff99: {type: fisher}\n"
    )
    with pytest.raises(ConfigError, match=r"a\.yaml:6:3: models\.bdt_eff99: .*a\.yaml:5:3"):
        load_config(path)


def test_what_differs_is_let_through() -> None:
    """Names that meet only with other working points, or with other numbers of classes, are nobody's mistake."""
    fine = content(
        {"s": "label == 1", "eff90": "label == 0"},
        {"bdt": FISHER, "bdt_eff80": FISHER, "bdt_s": FISHER, "bdt_flat": FISHER, "eff90": FISHER},
    )
    assert check_config(fine, {}, Path("a.yaml")).config.models.keys() == fine["models"].keys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, 3000)
    values = {name: rng.normal(label, 1).astype("f4") for name in ("x", "y")} | {"p": rng.uniform(1, 2, 3000)}
    write_tree(place / "events.root", values | {"label": label, "event": np.arange(3000)})
    return place


def made(folder: Path, output: Path, wanted: dict[str, Any]) -> tuple[Bundle, Analysis]:
    """The models of a configuration, trained and saved."""
    done = analyse(check_config(wanted, {}, folder / "a.yaml"), Resources("cpu", 1), Watcher())
    output.mkdir()
    return save_bundle(output, done.recipe, done.models, done.results.models), done


MODELS: dict[str, Any] = {
    "cuts": {"type": "cuts", "figure_of_merit": {"name": "significance"}},
    "boxes": {"type": "cuts", "nested": False},
    "fisher": FISHER,
    "score": {"type": "score", "expression": "x + y"},
    "cut": {"type": "expression", "cut": "x > 0.5"},
}
EVALUATE = {"flat": [{"x": "p", "bins": 3}], "robustness": None, "importance": False, "working_points": [0.8, 0.95]}


@pytest.mark.slow
@pytest.mark.parametrize("classes", [TWO, TWO | {"c": "label == 2"}], ids=["two", "three"])
def test_the_branches_that_are_foretold_are_those_that_friends_have(folder: Path, classes: dict[str, str]) -> None:
    wanted = content(classes, MODELS, evaluate=EVALUATE)
    output = folder / f"run{len(classes)}"
    bundle, done = made(folder, output, wanted)
    write_run_friends(bundle, done.inputs, done.scored, done.scores, done.outputs, output / "friends", Watcher())
    with uproot.open(output / "friends" / "events_pid.root") as file:
        names = file["T_pid"].keys()
    assert len(names) == len(set(names))
    assert set(names) == {b.name for b in friend_branches_of(Config.model_validate(wanted))}


def test_a_run_whose_columns_meet_is_not_scored(folder: Path) -> None:
    """Written by an earlier version, or by hand: a column that replaces another is never returned."""
    wanted = content(TWO, {"fisher": FISHER}, evaluate={"robustness": None, "importance": False})
    bundle, _ = made(folder, folder / "meets", wanted)
    models = {**bundle.models, "fisher_eff90": bundle.models["fisher"]}
    twice = replace(bundle, models=models, decisions={**bundle.decisions, "fisher_eff90": ()})
    with pytest.raises(ModelError, match="two columns of this run would be called 'pid_fisher_eff90'"):
        Scorer(twice)


def test_every_pair_that_meets_is_found() -> None:
    """Against the definition: any two of the branches with one name, whatever asks for them."""
    words = ["a", "a_eff90", "eff90", "a_eff90_eff90", "b", "a_b", "selected"]
    for models in itertools.combinations(words, 3):
        for classes in (("s", "t"), ("s", "b", "eff90"), ("s", "eff90_eff90", "t")):
            config = Config.model_validate(
                content(dict.fromkeys(classes, "x"), dict.fromkeys(models, FISHER), evaluate={"working_points": [0.9]})
            )
            scores = [f"{m}_{c}" for m in models for c in classes] if len(classes) > 2 else list(models)
            names = ["selected", "split", *scores, *(f"{m}_eff90" for m in models)]
            assert bool(list(collisions(config))) == (len(set(names)) < len(names)), (models, classes)
