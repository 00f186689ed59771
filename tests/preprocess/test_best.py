"""One candidate an event: the best of those that pass, in the run, its friend, in apply and for arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

import pidlab
from pidlab.apply import apply
from pidlab.errors import ConfigError
from pidlab.export import export
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import load_bundle
from pidlab.simulate import simulate
from test_run import go

CONTENT: dict[str, Any] = {
    "data": {
        "files": "nano.root",
        "per": "Electron",
        "event_id": ["run", "event"],
        "best": "max(Electron_pt)",
    },
    "classes": {"prompt": "Electron_genPartFlav == 1", "fake": "Electron_genPartFlav == 0"},
    "selection": {"central": "abs(Electron_eta) < 2", "low": "Electron_pt < 60"},
    "features": ["Electron_sieie", "Electron_hoe"],
    "models": {"fisher": {"type": "fisher"}, "hand": {"type": "expression", "cut": "Electron_hoe < 0.05"}},
    "evaluate": {"robustness": None},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    simulate("nano", folder / "nano.root", 6000, 6)
    go(folder, CONTENT)
    return folder


@pytest.fixture(scope="module")
def events(folder: Path) -> Any:
    with uproot.open(folder / "nano.root") as file:
        return file["Events"].arrays()


@pytest.fixture(scope="module")
def friend(folder: Path) -> Any:
    with uproot.open(folder / "run" / "friends" / "nano_pid.root") as file:
        return file["Events_pid"].arrays()


def best_of(values: Any, passed: Any) -> Any:
    """True for the largest value among those that passed, by awkward: the others do not compete."""
    place = ak.argmax(ak.where(passed, values, -np.inf), axis=1, keepdims=True)
    return (ak.local_index(values) == ak.fill_none(ak.flatten(place), -1)) & passed


def test_the_friend_has_one_selected_candidate_in_each_event_that_has_any(friend: Any, events: Any) -> None:
    passed = (abs(events["Electron_eta"]) < 2) & (events["Electron_pt"] < 60)
    assert len(friend) == len(events)
    assert ak.num(friend["pid_selected"]).tolist() == ak.num(events["Electron_pt"]).tolist()
    assert ak.all(friend["pid_selected"] == best_of(events["Electron_pt"], passed))
    assert ak.sum(friend["pid_selected"], axis=1).tolist() == ak.values_astype(ak.any(passed, axis=1), int).tolist()
    assert ak.sum(ak.sum(passed, axis=1) > 1) > 100  # there was something to choose
    assert ak.all(np.isnan(friend["pid_fisher"]) == ~friend["pid_selected"])


def test_the_best_is_chosen_whatever_its_class_is(friend: Any, events: Any, folder: Path) -> None:
    """As in data: a candidate of no class may be the best, and then its event trains nothing."""
    flavour = events["Electron_genPartFlav"]
    cutflow = json.loads((folder / "run" / "metrics.json").read_text())["cutflow"]
    assert [step["name"] for step in cutflow] == ["all", "central", "low", "best: max(Electron_pt)"]
    chosen = ak.to_numpy(ak.flatten(flavour[friend["pid_selected"]]))
    assert cutflow[-1]["passed"] == {
        "prompt": int((chosen == 1).sum()),
        "fake": int((chosen == 0).sum()),
    }
    assert np.isin(chosen, [4, 5]).sum() > 50


def test_apply_and_arrays_choose_the_same(folder: Path, friend: Any, events: Any) -> None:
    bundle = load_bundle(folder / "run")
    (summary,) = apply(bundle, [Source(str(folder / "nano.root"), "Events")], folder / "applied", Watcher(), jobs=1)
    with uproot.open(summary.target) as file:
        again = file["Events_pid"].arrays()
    own = pidlab.load(folder / "run").friend(events)
    for name in ("pid_selected", "pid_fisher", "pid_hand_hand"):
        wanted = ak.flatten(friend[name])
        assert np.array_equal(ak.flatten(again[name]), wanted, equal_nan=True), name
        assert np.array_equal(ak.flatten(own[name]), wanted, equal_nan=True), name


def test_the_smallest_of_what_is_not_missing_is_chosen_and_the_first_of_equals(tmp_path: Path) -> None:
    n = 400
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 4, n)
    values = rng.choice([1.0, 2.0, np.nan], counts.sum())
    arrays = {"c_q": ak.unflatten(values, counts), "c_y": ak.unflatten(rng.integers(0, 2, counts.sum()), counts)}
    arrays["c_x"] = arrays["c_y"] + ak.unflatten(rng.normal(size=counts.sum()), counts)
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("T", {name: array.type.content for name, array in arrays.items()})
        file["T"].extend(arrays)
    content = {
        "data": {"files": "a.root", "per": "c", "best": " min( c_q )"},
        "classes": {"a": "c_y == 1", "b": "c_y == 0"},
        "features": ["c_x"],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None},
    }
    go(tmp_path, content)
    with uproot.open(tmp_path / "run" / "friends" / "a_pid.root") as file:
        chosen = file["T_pid"]["pid_selected"].array()
    for row, own in zip(arrays["c_q"].tolist(), chosen.tolist(), strict=True):
        known = [x for x in row if x == x]
        wanted = [bool(known) and i == row.index(min(known)) for i in range(len(row))]
        assert own == wanted


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"best": "Electron_pt"}, r"max\(expression\) or min\(expression\), not 'Electron_pt'"),
        ({"best": "max(Electron_pt > )"}, "the end of the expression"),
        ({"best": "max(Electron_q)"}, "unknown branch 'Electron_q'"),
        ({"per": None, "best": "max(MET_pt)"}, "say in data.per which collection"),
    ],
)
def test_a_wrong_choice_is_explained(folder: Path, data: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        go(folder, {**CONTENT, "data": {**CONTENT["data"], **data}}, "wrong")
    assert "data.best" in str(caught.value)


def test_exports_hold_the_cuts_and_say_that_the_choice_is_left(folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(folder / "run")
    for name, format in (("fisher", "header"), ("hand", "cuts")):
        done = export(bundle, folder / "run", format, [name], tmp_path / format)
        assert all("the one of its event with max(Electron_pt) is left to you" in each.note for each in done)
    header = next((tmp_path / "header").glob("*.h*")).read_text()
    assert "the run takes the one with max(Electron_pt)" in header
