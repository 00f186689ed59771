"""Candidates: one row each from reading to the friend tree, and never one event on two sides of the split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from pidlab.apply import apply
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.runs.bundle import load_bundle
from pidlab.simulate import simulate
from real_root import ask_root, needs_root
from test_run import go

CONTENT: dict[str, Any] = {
    "data": {"files": "nano.root", "per": "Electron", "event_id": ["run", "event"]},
    "classes": {"prompt": "Electron_genPartFlav == 1", "fake": "Electron_genPartFlav != 1"},
    "selection": {"kinematics": "Electron_pt > 10 && nElectron < 5", "met": "MET_pt > 5"},
    "features": ["Electron_sieie", "Electron_hoe", {"name": "log_eta", "expression": "log(1 + abs(Electron_eta))"}],
    "spectators": ["Electron_pt", "PV_npvs"],
    "models": {"fisher": {"type": "fisher"}, "hand": {"type": "expression", "cut": "Electron_hoe < 0.05"}},
    "evaluate": {"robustness": None},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nano")
    simulate("nano", folder / "nano.root", 5000, 6)
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


@pytest.mark.slow
def test_the_friend_is_jagged_as_the_collection_is(friend: Any, events: Any) -> None:
    assert len(friend) == len(events)
    assert (friend["nElectron"] == events["nElectron"]).tolist() == [True] * len(events)
    assert ak.num(friend["pid_fisher"]).tolist() == ak.num(events["Electron_pt"]).tolist()
    assert friend["event"].tolist() == events["event"].tolist()


def test_selection_and_hand_cuts_are_those_of_awkward(friend: Any, events: Any) -> None:
    selected = (events["Electron_pt"] > 10) & (events["nElectron"] < 5) & (events["MET_pt"] > 5)
    assert ak.all(friend["pid_selected"] == selected)
    assert ak.all(friend["pid_hand_hand"] == (selected & (events["Electron_hoe"] < np.float32(0.05))))
    assert ak.all(np.isnan(friend["pid_fisher"]) == ~selected)


def test_all_candidates_of_one_event_are_on_one_side(friend: Any) -> None:
    used = friend["pid_split"][friend["pid_split"] >= 0]
    several = used[ak.num(used) > 1]
    assert len(several) > 100
    assert ak.all(ak.min(several, axis=1) == ak.max(several, axis=1))
    assert {0, 1, 2} <= set(ak.flatten(used).tolist())


def test_numbers_count_candidates(folder: Path, events: Any) -> None:
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    flavour = ak.flatten(events["Electron_genPartFlav"])
    assert metrics["cutflow"][0]["passed"] == {"prompt": int(ak.sum(flavour == 1)), "fake": int(ak.sum(flavour != 1))}


def test_apply_gives_the_same_scores(folder: Path, friend: Any) -> None:
    bundle = load_bundle(folder / "run")
    (summary,) = apply(bundle, [Source(str(folder / "nano.root"), "Events")], folder / "applied", Watcher())
    with uproot.open(summary.target) as file:
        again = file["Events_pid"].arrays()
    assert summary.n_rows == ak.sum(ak.num(friend["pid_fisher"]))
    assert np.array_equal(ak.flatten(again["pid_fisher"]), ak.flatten(friend["pid_fisher"]), equal_nan=True)


@pytest.mark.slow
@needs_root
def test_root_draws_the_friend_beside_the_input(folder: Path, events: Any, friend: Any) -> None:
    code = f"""
import ROOT
file = ROOT.TFile.Open({str(folder / "nano.root")!r})
tree = file.Get("Events")
tree.AddFriend("Events_pid", {str(folder / "run" / "friends" / "nano_pid.root")!r})
answer = tree.Draw("Electron_pt", "Events_pid.pid_fisher_eff90", "goff")
"""
    assert ask_root(code) == int(ak.sum(friend["pid_fisher_eff90"]))
