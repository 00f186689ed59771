"""Apply: whatever it is cut into and however often it is called, every entry gets its own score once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from apply_runs import content, damage, events, friend, make_inputs, make_run

from conftest import Run, write_tree
from pidlab.apply import Summary, apply, find_inputs, friend_paths
from pidlab.apply.scoring import Scorer
from pidlab.errors import UsageError
from pidlab.evaluate.results.run import FlatThreshold
from pidlab.models.model import Model
from pidlab.progress import Task, Watcher
from pidlab.read import Source
from pidlab.runs.bundle import Bundle, load_bundle


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("apply"))


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Bundle:
    return load_bundle(finished)


def sources(*paths: Path) -> list[Source]:
    return [Source(str(path), "T") for path in paths]


def check_own(path: Path, made: Mapping[str, Any]) -> None:
    """The friend at `path` is that of these events: a model that is an expression gives each entry its known score."""
    got = friend(path)
    selected = (np.abs(made["a"]) < 2) & (made["p"] > 1.2)
    assert np.array_equal(got["event"], made["event"])
    assert np.array_equal(got["pid_selected"], selected)
    expected = (made["a"].astype("f8") + 0.001 * made["event"]).astype("f4")
    assert np.array_equal(got["pid_own"][selected], expected[selected])
    assert np.isnan(got["pid_own"][~selected]).all()
    assert np.array_equal(got["pid_hand_hand"], selected & (made["a"] > 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [None, 1])
def test_every_entry_gets_its_own_score_whatever_the_baskets(
    bundle: Bundle, tmp_path: Path, jobs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pidlab.apply.inputs.STEP", 2_000)
    for step in (700, 3_000, 20_000):
        (path,) = make_inputs(tmp_path / str(step), 1, step=step)
        (summary,) = apply(bundle, sources(path), tmp_path / "out", Watcher(), jobs=jobs)
        check_own(summary.target, events(20_000, 1_000_000))
        assert summary.n_rows == 20_000
        assert summary.n_selected == friend(summary.target)["pid_selected"].sum()
        assert summary.n_passed["hand"] == friend(summary.target)["pid_hand_hand"].sum()
        assert {"read", "select", "fisher", "own", "hand", "write"} == set(summary.seconds)


def test_formats_that_are_read_from_their_beginning_give_the_same(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pidlab.apply.inputs.STEP", 700)
    made = events(5_000, 77)
    np.savez(tmp_path / "x.npz", **made)
    (summary,) = apply(bundle, [Source(str(tmp_path / "x.npz"), "x")], tmp_path / "out", Watcher())
    path = tmp_path / "out" / "x_pid.root"
    assert summary.target == path
    with uproot.open(path) as file:
        assert file["x_pid"].num_entries == 5_000
        assert np.array_equal(file["x_pid"]["event"].array(library="np"), made["event"])
    assert not (tmp_path / "out" / "attach.C").exists()


def test_an_empty_tree_gets_an_empty_friend(bundle: Bundle, tmp_path: Path) -> None:
    write_tree(tmp_path / "none.root", events(0))
    (summary,) = apply(bundle, sources(tmp_path / "none.root"), tmp_path / "out", Watcher())
    assert (summary.n_rows, len(friend(summary.target)["pid_own"])) == (0, 0)


def by_hand(contender: Model, made: Mapping[str, Any], fold: int | None) -> Any:
    """(n,) float32 scores of one fold model, or the mean of all."""
    x = np.stack([made["a"], made["b"]], axis=1).astype("f4")
    models = contender.fitted if fold is None else contender.fitted[fold : fold + 1]
    return np.mean([f.scores(x)[:, 0] for f in models], axis=0).astype("f4")


def test_events_of_the_run_take_the_model_that_did_not_see_them(bundle: Bundle, finished: Path, tmp_path: Path) -> None:
    """In a file of old and new events, in another order, the old ones have the scores of the run."""
    old, new = events(4000), events(1000, 50_000)
    order = np.random.default_rng(1).permutation(5000)
    made = {name: np.concatenate([old[name], new[name]])[order] for name in old}
    write_tree(tmp_path / "mixed.root", made)
    (summary,) = apply(bundle, sources(tmp_path / "mixed.root"), tmp_path / "out", Watcher())
    got = friend(summary.target)
    is_old = (made["event"] < 4000) & got["pid_selected"]
    assert summary.n_known == is_old.sum()
    of_run = friend(finished / "friends" / "train_pid.root")["pid_fisher"]
    assert np.array_equal(got["pid_fisher"][is_old], of_run[made["event"][is_old]])
    others = got["pid_selected"] & ~is_old
    mean = by_hand(bundle.models["fisher"], made, None)
    assert np.array_equal(got["pid_fisher"][others], mean[others])
    assert (mean[is_old] != got["pid_fisher"][is_old]).mean() > 0.9


def test_without_the_events_of_the_run_all_take_the_mean_and_it_is_said(
    bundle: Bundle, tmp_path: Path, finished: Path
) -> None:
    class Notes(Watcher):
        said: tuple[str, ...] = ()

        def note(self, sentence: str) -> None:
            self.said += (sentence,)

    notes = Notes()
    bare = dataclasses.replace(bundle, folder=None)
    (summary,) = apply(bare, sources(finished.parent / "train.root"), tmp_path, notes)
    assert "mean of the fold models" in notes.said[0]
    assert summary.n_known == 0
    got, mean = friend(summary.target), by_hand(bundle.models["fisher"], events(4000), None)
    assert np.array_equal(got["pid_fisher"][got["pid_selected"]], mean[got["pid_selected"]])


def test_a_decision_may_follow_spectators_that_no_model_reads(bundle: Bundle, tmp_path: Path) -> None:
    flat = FlatThreshold(("p * 2",), (np.array([3.0, 6.0, 9.0]),), np.array([-1.0, 0.5, 2.0]))
    eff90 = dataclasses.replace(bundle.decisions["fisher"][0], flat=flat)
    following = dataclasses.replace(bundle, decisions={**bundle.decisions, "fisher": (eff90,)})
    (path,) = make_inputs(tmp_path, 1, n=3_000)
    (summary,) = apply(following, sources(path), tmp_path / "out", Watcher())
    got, made = friend(summary.target), events(3_000, 1_000_000)
    threshold = np.interp(made["p"].astype("f8") * 2, flat.nodes[0], flat.values).astype("f4")
    expected = got["pid_selected"] & (np.nan_to_num(got["pid_fisher"], nan=-np.inf) > threshold)
    assert np.array_equal(got["pid_fisher_eff90"], expected)
    assert 0.05 < expected.mean() < 0.95


def test_a_second_call_leaves_finished_outputs_alone(bundle: Bundle, tmp_path: Path) -> None:
    inputs, out = make_inputs(tmp_path, 2, n=3_000), tmp_path / "out"

    def call(**options: Any) -> tuple[list[bool], list[Summary]]:
        before = {p: p.stat().st_ino for p in out.glob("*_pid.root")}
        summaries = apply(bundle, sources(*inputs), out, Watcher(), **options)
        kept = [before.get(s.target) == s.target.stat().st_ino for s in summaries]
        assert [s.skipped for s in summaries] == kept
        return kept, summaries

    assert call()[0] == [False, False]
    _, first = call(force=True)
    kept, again = call()
    assert kept == [True, True]
    assert [s.n_passed for s in again] == [s.n_passed for s in first]
    write_tree(inputs[1], events(3_000, 9))
    assert call()[0] == [True, False]
    check_own(again[1].target, events(3_000, 9))
    again[0].target.write_bytes(again[0].target.read_bytes()[:-200])
    assert call()[0] == [False, True]
    fewer = dataclasses.replace(bundle, fingerprint="of other models")
    assert not apply(fewer, sources(*inputs), out, Watcher())[0].skipped


def test_a_file_moved_elsewhere_is_the_same_input(bundle: Bundle, tmp_path: Path) -> None:
    (path,) = make_inputs(tmp_path / "here", 1, n=500)
    apply(bundle, sources(path), tmp_path / "out", Watcher())
    (tmp_path / "there").mkdir()
    moved = path.rename(tmp_path / "there" / path.name)
    assert apply(bundle, sources(moved), tmp_path / "out", Watcher())[0].skipped


def test_an_input_that_was_altered_in_place_is_scored_again(bundle: Bundle, tmp_path: Path) -> None:
    """Its UUID, its length and the time that it states are what they were."""
    path = tmp_path / "in.root"
    with uproot.recreate(path, compression=None) as file:
        file.mktree("T", {name: values.dtype for name, values in events(500).items()}).extend(events(500))
    before = apply(bundle, sources(path), tmp_path / "out", Watcher())[0]
    assert apply(bundle, sources(path), tmp_path / "out", Watcher())[0].skipped
    raw, stored = path.read_bytes(), events(500)["a"].astype(">f4").tobytes()
    assert raw.count(stored) == 1
    path.write_bytes(raw.replace(stored, (-events(500)["a"]).astype(">f4").tobytes()))
    again = apply(bundle, sources(path), tmp_path / "out", Watcher())[0]
    assert not again.skipped
    assert again.n_passed != before.n_passed
    check_own(again.target, events(500) | {"a": -events(500)["a"]})


@pytest.mark.slow
def test_an_input_that_is_cut_short_while_it_is_read_stops_no_other(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(tmp_path, 3, n=200_000)
    score, begun = Scorer.__call__, []

    def cut_short(self: Scorer, chunk: Any, name: str) -> Any:
        begun.append(name)
        with inputs[1].open("rb+") as file:
            file.truncate(300_000)
        return score(self, chunk, name)

    monkeypatch.setattr(Scorer, "__call__", cut_short)
    summaries = apply(bundle, sources(*inputs), tmp_path / "out", Watcher(), jobs=1)
    assert [bool(s.failure) for s in summaries] == [False, True, False]
    assert "in1.root" in summaries[1].failure
    assert sorted(p.name for p in (tmp_path / "out").glob("*_pid.root")) == ["in0_pid.root", "in2_pid.root"]


def test_an_input_that_changes_while_it_is_read_has_no_friend(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, score = make_inputs(tmp_path, 2, n=500), Scorer.__call__

    def touched(self: Scorer, chunk: Any, name: str) -> Any:
        os.utime(inputs[0])
        return score(self, chunk, name)

    monkeypatch.setattr(Scorer, "__call__", touched)
    summaries = apply(bundle, sources(*inputs), tmp_path / "out", Watcher(), jobs=1)
    assert "in0.root:T: was changed while it was read" in summaries[0].failure
    assert not summaries[1].failure
    assert not summaries[0].target.exists()


def test_a_damaged_input_is_named_with_branch_and_entries_and_stops_no_other(bundle: Bundle, tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, 3)
    damage(inputs[1], "b", 2)
    summaries = apply(bundle, sources(*inputs), tmp_path / "out", Watcher())
    assert "in1.root:T: branch 'b', entries 0 to 19,999 cannot be read" in summaries[1].failure
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("attach.C", "attach.py", "in0_pid.root", "in2_pid.root")
    ]
    for i in (0, 2):
        check_own(summaries[i].target, events(20_000, 1_000_000 + i * 20_000))


def test_inputs_are_words_patterns_and_lists(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_inputs(tmp_path / "d", 3, n=10)
    Path("list.txt").write_text("# two of them\nd/in0.root:T\n\n d/in2.root \nd/gone.root\n")
    found, lost = find_inputs(bundle.recipe, ["@list.txt", "d/in[12].root"], None)
    assert [Path(s.path).name for s in found] == ["in0.root", "in2.root", "in1.root"]
    assert [each.name for each in lost] == ["d/gone.root"]
    with pytest.raises(UsageError, match=r"none.txt: this list of inputs cannot be read \(No such file"):
        find_inputs(bundle.recipe, ["@none.txt"], None)


def test_progress_counts_every_entry_and_tells_the_rate(bundle: Bundle, tmp_path: Path) -> None:
    from contextlib import contextmanager

    class Counting(Watcher, Task):
        total = done = 0
        rates: tuple[float, ...] = ()

        @contextmanager
        def task(self, name: str, total: int, unit: str = "") -> Any:
            self.total = total
            yield self

        def advance(self, amount: int = 1, numbers: Mapping[str, float] | None = None) -> None:
            self.done += amount
            self.rates += tuple((numbers or {}).values())

    inputs, watcher = make_inputs(tmp_path, 3), Counting()
    damage(inputs[0], "b", 0)
    apply(bundle, sources(*inputs), tmp_path / "out", watcher)
    assert (watcher.done, watcher.total) == (60_000, 60_000)
    assert all(rate > 0 for rate in watcher.rates)


def test_the_command_tells_what_it_did_and_exits_with_1_for_what_it_could_not(
    finished: Path, pidlab: Run, tmp_path: Path
) -> None:
    inputs = make_inputs(tmp_path, 2, n=3_000)
    inputs[1].write_bytes(inputs[1].read_bytes()[:2_000])
    Path(tmp_path / "all.txt").write_text("in0.root\nin1.root\nmissing.root\n")
    done = pidlab("apply", finished, "@all.txt", "-o", "out")
    assert done.returncode == 1
    assert "3,000" in done.stdout
    assert "seconds, all workers together: select" in done.stdout
    assert "pidlab: 2 of 3 inputs could not be scored:" in done.stderr
    assert "in1.root" in done.stderr
    assert "missing.root: no such file" in done.stderr
    assert list(content(tmp_path / "out")) == ["in0_pid.root"]
    again = pidlab("apply", finished, "in0.root", "-o", "out")
    assert again.returncode == 0
    assert "1 of the friend files were finished already" in again.stderr
    assert "(was finished)" in again.stdout


@pytest.mark.parametrize("way", ["https://host/data/../../../x.root", "https://host/./a/../../../../etc/x.root"])
def test_no_address_leads_a_friend_out_of_the_output(tmp_path: Path, way: str) -> None:
    output = tmp_path / "out"
    for paths in ([way], [way, "https://host/data/y.root"], ["https://host/a/b/z.root", way]):
        for target in friend_paths(paths, output).values():
            assert target.resolve().is_relative_to(output.resolve())
