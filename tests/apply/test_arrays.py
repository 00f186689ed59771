"""A finished run in memory gives what its friend trees hold, whatever the arrays come in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas
import pytest
import uproot

import pidlab
from pidlab.config.load import check_config
from pidlab.errors import DataError, UsageError
from pidlab.models.model import Model
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.simulate import simulate

CONTENT: dict[str, Any] = {
    "data": {"files": "shms.root", "event_id": ["run", "event"], "aliases": {"eop": "P.cal.etottracknorm"}},
    "classes": {"electron": "species == 0", "pion": "species == 1"},
    "selection": {"acceptance": "abs(P.gtr.dp) < 12"},
    "features": ["eop", {"name": "npe", "expression": "P.hgcer.npeSum", "missing": [-999]}],
    "models": {"hand": {"type": "expression", "cut": "eop > 0.75"}, "fisher": {"type": "fisher"}},
    "evaluate": {"robustness": None},
}
MUONS: dict[str, Any] = {
    "data": {"files": "nano.root", "per": "Electron"},
    "classes": {"prompt": "Electron_genPartFlav == 1", "fake": "Electron_genPartFlav != 1"},
    "features": ["Electron_sieie", "Electron_hoe", "log(Electron_pt)"],
    "models": {"fisher": {"type": "fisher"}},
    "evaluate": {"robustness": None},
}


def go(folder: Path, content: dict[str, Any]) -> Path:
    loaded = check_config(content, {}, folder / "analysis.yaml")
    run(loaded, folder / "run", Resources("cpu", 1), Watcher(), figures="none")
    return folder / "run"


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A run, the events, and the friend tree."""
    folder = tmp_path_factory.mktemp("flat")
    simulate("shms", folder / "shms.root", 6000, 3)
    made = go(folder, CONTENT)
    with uproot.open(folder / "shms.root") as file, uproot.open(made / "friends" / "shms_pid.root") as friend:
        return made, file["T"].arrays(), friend["T_pid"].arrays(library="np")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["awkward", "numpy", "pandas"])
def test_scores_and_decisions_are_those_of_the_friend_tree(flat: tuple[Path, Any, Any], kind: str) -> None:
    made, events, friend = flat
    columns = {name: ak.to_numpy(events[name]) for name in events.fields}
    arrays = {"awkward": events, "numpy": columns, "pandas": pandas.DataFrame(columns)}[kind]
    loaded = pidlab.load(made)
    assert loaded.models == ("hand", "fisher")
    assert loaded.branches == {"P.cal.etottracknorm", "P.hgcer.npeSum", "P.gtr.dp"}
    scores = loaded.scores(arrays)
    assert set(scores) == {"hand", "fisher"}
    for name, values in scores.items():
        np.testing.assert_array_equal(values, friend[f"pid_{name}"])
    np.testing.assert_array_equal(loaded.decide(arrays, "eff95")["fisher"], friend["pid_fisher_eff95"])
    assert list(loaded.decide(arrays, "hand")) == ["hand"]
    np.testing.assert_array_equal(loaded.selected(arrays), friend["pid_selected"])


def test_each_method_runs_only_the_models_that_it_needs_and_friend_each_once(
    flat: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, events, friend = flat
    loaded, scores_of, ran = pidlab.load(made), Model.scores_of, []

    def counted(model: Model, *arguments: Any) -> Any:
        ran.append(model.name)
        return scores_of(model, *arguments)

    monkeypatch.setattr(Model, "scores_of", counted)
    loaded.selected(events)
    assert not ran
    loaded.decide(events, "eff95")
    assert ran == ["fisher"]
    ran.clear()
    whole = loaded.friend(events)
    assert sorted(ran) == ["fisher", "hand"]
    assert whole.keys() == friend.keys() - {"run", "event", "pid_split"}
    for name, values in whole.items():
        np.testing.assert_array_equal(values, friend[name])


def test_only_the_branches_that_are_read_are_needed(flat: tuple[Path, Any, Any]) -> None:
    made, events, friend = flat
    loaded = pidlab.load(made, ["fisher"])
    few = {name: ak.to_numpy(events[name]) for name in loaded.branches}
    np.testing.assert_array_equal(loaded.scores(few)["fisher"], friend["pid_fisher"])


def test_what_is_wrong_is_told(flat: tuple[Path, Any, Any]) -> None:
    made, events, _ = flat
    loaded = pidlab.load(made)
    columns = {name: ak.to_numpy(events[name]) for name in loaded.branches}
    with pytest.raises(UsageError, match=r"no model has the working point 'eff9'; did you mean 'eff9"):
        loaded.decide(columns, "eff9")
    with pytest.raises(DataError, match=r"the arrays differ in length"):
        loaded.scores({**columns, "P.gtr.dp": columns["P.gtr.dp"][:-1]})
    del columns["P.hgcer.npeSum"]
    with pytest.raises(DataError, match=r"the arrays have no 'P.hgcer.npeSum'"):
        loaded.scores(columns)
    with pytest.raises(UsageError, match=r"is not the folder of a run"):
        pidlab.load(made / "plots")


@pytest.mark.slow
def test_training_events_get_the_model_that_did_not_see_them(tmp_path: Path) -> None:
    simulate("shms", tmp_path / "shms.root", 4000, 5)
    made = go(tmp_path, {**CONTENT, "folds": 3, "models": {"fisher": {"type": "fisher"}}})
    with uproot.open(tmp_path / "shms.root") as file, uproot.open(made / "friends" / "shms_pid.root") as friend:
        events, expected = file["T"].arrays(), friend["T_pid"]["pid_fisher"].array(library="np")
    loaded = pidlab.load(made)
    columns = {name: ak.to_numpy(events[name]) for name in events.fields}
    np.testing.assert_array_equal(loaded.scores(columns)["fisher"], expected)
    unknown = loaded.scores({**columns, "event": columns["event"] + 10**12})["fisher"]
    without_key = loaded.scores({name: columns[name] for name in loaded.branches})["fisher"]
    np.testing.assert_array_equal(unknown, without_key)
    assert not np.array_equal(unknown, expected, equal_nan=True)


@pytest.fixture(scope="module")
def electrons(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("nano")
    simulate("nano", folder / "nano.root", 3000, 3)
    return go(folder, MUONS), folder / "nano.root"


@pytest.mark.slow
def test_candidates_come_as_lists(electrons: tuple[Path, Path]) -> None:
    made, source = electrons
    with uproot.open(source) as file, uproot.open(made / "friends" / "nano_pid.root") as friend:
        events, expected = file["Events"].arrays(), friend["Events_pid"]["pid_fisher"].array()
    found = pidlab.load(made).scores(events)["fisher"]
    assert ak.all(ak.num(found) == ak.num(expected))
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(found)), ak.to_numpy(ak.flatten(expected)))


def test_a_coffea_processor_uses_it_on_nano_events(electrons: tuple[Path, Path]) -> None:
    pytest.importorskip("coffea", reason="coffea is not installed: pip install coffea")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from coffea import processor
        from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

    made, source = electrons

    class Electrons(processor.ProcessorABC):  # type: ignore[misc]  # coffea has no types
        def __init__(self) -> None:
            self.pid = pidlab.load(made, ["fisher"])

        def process(self, events: Any) -> dict[str, Any]:
            passed = self.pid.decide(events, "eff90")["fisher"]
            good = events.Electron[passed]
            return {"n": int(ak.sum(ak.num(good))), "scores": self.pid.scores(events)["fisher"]}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = NanoEventsFactory.from_root({str(source): "Events"}, schemaclass=NanoAODSchema, mode="eager").events()
        found = Electrons().process(events)
    with uproot.open(made / "friends" / "nano_pid.root") as friend:
        expected = friend["Events_pid"].arrays(["pid_fisher", "pid_fisher_eff90"])
    assert found["n"] == int(ak.sum(expected["pid_fisher_eff90"])) > 0
    np.testing.assert_array_equal(
        ak.to_numpy(ak.flatten(found["scores"])), ak.to_numpy(ak.flatten(expected["pid_fisher"]))
    )


EOP = "P.cal.etottracknorm"
GAPS = np.arange(200) % 7 == 3


def with_gaps(kind: str, values: Any) -> Any:
    """The values without those of every seventh row, in the way that each library has for it."""
    if kind == "awkward":
        return ak.mask(ak.Array(values), ~GAPS)
    if kind == "masked":
        return np.ma.masked_array(values, GAPS)
    if kind == "pandas":
        return pandas.Series(values).astype("Float64" if values.dtype.kind == "f" else "Int64").mask(GAPS)
    return np.array([None if gap else v for v, gap in zip(values.tolist(), GAPS, strict=True)], dtype=object)


@pytest.mark.parametrize("kind", ["awkward", "masked", "pandas", "objects"])
def test_a_missing_number_is_a_nan_and_a_missing_integer_is_refused(flat: tuple[Path, Any, Any], kind: str) -> None:
    made, events, _ = flat
    columns = {name: ak.to_numpy(events[name])[:200] for name in events.fields}
    loaded = pidlab.load(made)
    as_nan = np.where(GAPS, np.nan, columns[EOP])
    expected = loaded.scores({**columns, EOP: as_nan})["fisher"]
    assert not np.array_equal(expected, loaded.scores(columns)["fisher"], equal_nan=True)
    found = loaded.scores({**columns, EOP: with_gaps(kind, columns[EOP])})["fisher"]
    np.testing.assert_array_equal(found, expected)
    where = (
        r"etottracknorm' has no value in 29 of 200 rows, the first in row 3; only floating-point values may be missing"
    )
    with pytest.raises(DataError, match=where):
        loaded.scores({**columns, EOP: with_gaps(kind, (100 * columns[EOP]).astype(np.int64))})


@pytest.mark.parametrize("whole_numbers", [False, True])
@pytest.mark.parametrize("kind", ["awkward", "masked", "pandas"])
def test_a_type_that_allows_gaps_without_one_changes_nothing(
    flat: tuple[Path, Any, Any], whole_numbers: bool, kind: str
) -> None:
    made, events, _ = flat
    columns = {each: ak.to_numpy(events[each])[:200] for each in events.fields}
    if whole_numbers:
        columns[EOP] = (100 * columns[EOP]).astype(np.int64)
    values = columns[EOP]
    whole = {
        "awkward": ak.mask(ak.Array(values), np.ones(200, bool)),
        "masked": np.ma.masked_array(values, np.zeros(200, bool)),
        "pandas": pandas.Series(values).astype("Int64" if whole_numbers else "Float64"),
    }[kind]
    loaded = pidlab.load(made)
    np.testing.assert_array_equal(loaded.scores({**columns, EOP: whole})["fisher"], loaded.scores(columns)["fisher"])


@pytest.mark.slow
def test_gaps_in_jagged_arrays(tmp_path: Path) -> None:
    simulate("nano", tmp_path / "nano.root", 2000, 4)
    made = go(tmp_path, MUONS)
    with uproot.open(tmp_path / "nano.root") as file:
        events = file["Events"].arrays(["Electron_sieie", "Electron_hoe", "Electron_pt"], entry_stop=300)
    columns = {name: events[name] for name in events.fields}
    loaded = pidlab.load(made)
    hoe = columns["Electron_hoe"]
    low = hoe < ak.mean(hoe)
    expected = loaded.scores({**columns, "Electron_hoe": ak.where(low, hoe, np.nan)})["fisher"]
    found = loaded.scores({**columns, "Electron_hoe": ak.mask(hoe, low)})["fisher"]
    np.testing.assert_array_equal(ak.to_numpy(ak.flatten(found)), ak.to_numpy(ak.flatten(expected)))
    with pytest.raises(DataError, match="'Electron_hoe' has no value in 1 of 300 rows, the first in row 2"):
        loaded.scores({**columns, "Electron_hoe": ak.mask(hoe, np.arange(300) != 2)})
