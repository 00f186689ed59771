"""A first look: some of the models, and some of the events, with nothing of it in what is taken elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from conftest import write_tree
from pidlab.cli import cli
from pidlab.config.choose import without_model
from pidlab.config.load import load_config
from pidlab.errors import ConfigError, UsageError
from pidlab.evaluate.points.merit import Merit
from pidlab.models.registry import Resources
from pidlab.pipeline import analysis, run
from pidlab.preprocess.draw import Draw
from pidlab.progress import Watcher
from pidlab.runs.bundle import load_bundle
from pidlab.runs.reproduce import reproduce
from pidlab.split import draw_order

N = 4000
CONFIG = """\
data: {files: events.root, event_id: [event]}
classes: {signal: "y == 1", other: "y == 0"}
selection: {low: "a < 3"}
features: [a, b]
models:
  hand: {type: expression, cut: "a > 0.5"}
  fisher: {type: fisher}
  cuts: {type: cuts, figure_of_merit: {name: significance}}
tune: {cuts: {search: [archive]}}
evaluate: {robustness: null, importance: false, working_points: [0.9]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates an event, one of each class or both of one."""
    place = tmp_path_factory.mktemp("look")
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, N).astype("i4")
    columns = {"a": rng.normal(y).astype("f4"), "b": rng.normal(y / 2).astype("f4"), "y": y}
    write_tree(place / "events.root", {**columns, "event": np.arange(N) // 2})
    (place / "a.yaml").write_text(CONFIG)
    return place


def metrics(output: Path) -> Any:
    return json.loads((output / "metrics.json").read_text())


def made(folder: Path, name: str, *overrides: str, only: tuple[str, ...] = ()) -> Path:
    loaded = load_config(folder / "a.yaml", overrides, only)
    run(loaded, folder / name, Resources("cpu"), Watcher(), figures="none")
    return folder / name


def test_only_some_models_are_trained_and_the_configuration_of_the_run_has_no_others(folder: Path) -> None:
    output = made(folder, "only", only=("fisher",))
    assert list(metrics(output)["models"]) == ["fisher"]
    kept = load_config(output / "config.yaml").config
    assert (list(kept.models), kept.tune) == (["fisher"], {})
    assert list(load_bundle(output).models) == ["fisher"]


def test_an_unknown_name_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--only fischer: .* no model 'fischer'; did you mean 'fisher'\?"):
        load_config(folder / "a.yaml", only=["fischer"])
    with pytest.raises(UsageError, match=r"--set models.cut=null: .* no model 'cut'; did you mean 'cuts'\?"):
        load_config(folder / "a.yaml", ["models.cut=null"])


def test_null_leaves_a_model_out_with_all_that_refers_to_it(folder: Path) -> None:
    config = load_config(folder / "a.yaml", ["models.cuts=null"]).config
    assert (list(config.models), config.tune) == (["hand", "fisher"], {})
    with pytest.raises(ConfigError, match="models"):
        load_config(folder / "a.yaml", [f"models.{name}=null" for name in ("cuts", "hand", "fisher")])
    content: dict[str, Any] = {"models": {"a": {}, "b": {}}, "style": {"reference": "a", "label": "x"}}
    without_model(content, "a", "--only")
    assert content == {"models": {"b": {}}, "style": {"label": "x"}}


def test_the_commands_options_say_the_same(folder: Path) -> None:
    words = ["run", str(folder / "a.yaml"), "-o", str(folder / "said"), "--figures", "none", "--only", "hand"]
    done = CliRunner().invoke(cli, [*words, "--only", "fisher", "--events", "500"])
    assert done.exit_code == 0, done.output
    said = metrics(folder / "said")
    assert list(said["models"]) == ["hand", "fisher"]
    assert "A first look at 500 events" in done.output


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60),
    st.integers(1, 80),
    st.lists(st.integers(1, 20), min_size=1, max_size=20),
)
def test_the_same_events_are_drawn_however_they_are_read(events: list[int], n: int, sizes: list[int]) -> None:
    keys = np.array(events, np.uint64)
    wanted = np.isin(draw_order(keys, 1), np.unique(draw_order(keys, 1))[:n])
    draw, start, offered = Draw(n, 1), 0, []
    for size in [*sizes, len(keys)]:
        offered.append(draw.offer(keys[start : start + size]))
        start += size
    assert np.array_equal(draw.holds(keys), wanted)
    assert not (wanted & ~np.concatenate(offered)[: len(keys)]).any()  # what is drawn has never been dropped
    assert draw.n_events == len(np.unique(keys[wanted]))


def test_few_more_events_than_are_drawn_are_held_while_reading() -> None:
    n, m = 1000, 200_000
    keys = np.random.default_rng(1).integers(0, 2**63, m).astype(np.uint64)
    draw = Draw(n, 1)
    held = sum(int(draw.offer(chunk).sum()) for chunk in np.split(keys, 400))
    assert held < 1.2 * n * (1 + math.log(m / n))


@pytest.mark.parametrize("folds", ["null", "3"])
def test_a_first_look_takes_whole_events_and_every_class_by_its_share(folder: Path, folds: str) -> None:
    output = made(folder, f"share{folds}", "events=600", f"folds={folds}")
    n = metrics(output)["n"]
    parts = ["test"] if folds != "null" else ["train", "validation", "test"]
    by_class = {c: sum(n[part][c] for part in parts) for c in ("signal", "other")}
    all_of = metrics(output)["cutflow"][-1]["passed"]
    for name, number in by_class.items():  # within five standard deviations
        assert abs(number - all_of[name] * 600 / (N / 2)) < 5 * math.sqrt(number)
    with uproot.open(output / "friends" / "events_pid.root") as file:
        friends = file["T_pid"].arrays(library="np")
    used = {*friends["event"][friends["pid_split"] >= 0]}
    assert len(used) == 600
    selected = friends["pid_selected"]
    assert all(friends["pid_split"][selected & np.isin(friends["event"], [*used])] >= 0)
    assert np.isfinite(friends["pid_fisher"][selected]).all()  # the events that were not drawn have scores too


def test_nothing_of_a_first_look_is_in_cuts_selection_and_thresholds(folder: Path) -> None:
    output = made(folder, "look", "events=600")
    found, config = metrics(output), load_config(output / "config.yaml").config
    assert config.events == 600
    assert config.selection == {"low": "a < 3"}
    assert found["models"]["hand"]["working_points"][0]["cut_string"] == "a > 0.5"
    for point in found["models"]["cuts"]["working_points"]:
        assert {word for word in point["cut_string"].split() if word.isidentifier()} <= {"a", "b"}
    assert any("600 events, which hold" in note for note in found["notes"])
    words = ["apply", str(output), str(folder / "events.root"), "-o", str(folder / "applied"), "-q"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    with uproot.open(folder / "applied" / "events_pid.root") as file:
        applied = file["T_pid"].arrays(library="np")
    with uproot.open(output / "friends" / "events_pid.root") as file:
        own = file["T_pid"].arrays(library="np")
    assert all(np.array_equal(applied[name], own[name], equal_nan=True) for name in applied)


def test_a_first_look_is_made_again_on_the_same_events(folder: Path) -> None:
    assert reproduce(made(folder, "again", "events=500", "models.cuts=null"), Resources("cpu"), Watcher()).identical


def test_more_events_than_there_are_change_nothing(folder: Path) -> None:
    asked, without = made(folder, "many", f"events={N}", "models.cuts=null"), made(folder, "all", "models.cuts=null")
    for each in (found := [metrics(asked), metrics(without)]):
        for model in each["models"].values():
            model.pop("scoring", None)
            model.pop("training", None)
    assert found[0] == found[1]


def test_expected_numbers_of_a_figure_of_merit_are_those_of_all_events(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the cut that is best for a tenth of the luminosity would be taken to the analysis."""
    expected: list[Any] = []

    def watched(figure: Any, numbers: Any, punzi: float) -> Merit:
        expected.append(numbers)
        return Merit(figure, numbers, punzi)

    monkeypatch.setattr(analysis, "Merit", watched)
    output = made(folder, "tenth", "events=200", only=("cuts",))
    assert expected == [metrics(output)["cutflow"][-1]["weighted"]]
