"""What makes numbers look better or surer than they are is said before anything is trained, and nothing else is."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import write_tree
from evaluate_samples import sample_of
from pidlab.config.load import check_config
from pidlab.errors import DataError
from pidlab.models.registry import Resources
from pidlab.pipeline import preprocess, run
from pidlab.preprocess.data_checks import copies_across, heavy_events, telling_features
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order() -> None:
    """Begin every test at the same place of the generator, whichever tests ran before."""
    RNG.bit_generator.state = np.random.default_rng(6).bit_generator.state


def rows_of(n):
    return {"train": np.arange(n // 2), "test": np.arange(n // 2, n)}


def test_one_event_that_outweighs_its_class_is_named_with_class_and_sample():
    weight = np.ones(2000)
    weight[1502] = 1e9
    (told,) = heavy_events(sample_of(np.arange(2000) % 2, weight=weight), rows_of(2000))
    assert "One event carries 100.00% of the weight of the class 'electron' in the test sample" in told
    assert "counts for 1.0 events, not 500" in told


def test_a_hundredth_that_carries_most_is_named_and_moderate_weights_are_not():
    y = np.arange(4000) % 2
    wide = sample_of(y, weight=np.exp(3 * RNG.normal(size=4000)))
    told = list(heavy_events(wide, rows_of(4000)))
    assert len(told) == 4
    assert all("10 of 1,000 events carry" in each or "One event" in each for each in told)
    for weight in (np.ones(4000), RNG.exponential(size=4000), np.where(RNG.random(4000) < 0.3, -1.0, 1.0)):
        assert not list(heavy_events(sample_of(y, weight=weight), rows_of(4000)))


def test_candidates_of_one_event_are_one_event():
    weight = np.where(np.arange(400) < 40, 100.0, 1.0)
    event = np.where(np.arange(400) < 40, 0, np.arange(400))
    y = np.zeros(400, int)
    everything = {"test": np.arange(400)}
    assert list(heavy_events(sample_of(y, weight=weight, event=event, classes=("electron", "pion")), everything))
    assert not list(heavy_events(sample_of(y, weight=weight), everything))


Y = np.arange(2000) % 2
THREE = np.arange(3000) % 3
TELLING = {
    "missing in one class": (Y, np.where(Y == 0, RNG.normal(size=2000), np.nan), "missing"),
    "a code in one class": (Y, np.where(Y == 0, RNG.normal(size=2000), -999), "is -999 in all"),
    "a constant": (Y, np.where(Y == 1, RNG.normal(size=2000), 0), "is 0 in all"),
    "the truth": (Y, 1.0 * Y, "in all events of the class"),
    "the truth, smeared": (Y, 10 * Y + RNG.uniform(size=2000), "alone assigns"),
    "the truth in codes": (Y, np.where(Y == 0, RNG.choice([11, -11], 2000), RNG.choice([211, -211], 2000)), "alone"),
    "the truth of three": (THREE, np.array([5.0, 1.0, 3.0])[THREE] + 0.1 * RNG.normal(size=3000), "alone assigns"),
}
PLAIN = {
    "a good feature": (Y, RNG.normal(3.0 * Y)),
    "no hit in most": (Y, np.where(RNG.random(2000) < np.where(Y == 0, 0.1, 0.95), 0, RNG.exponential(size=2000))),
    "missing more often": (Y, np.where(RNG.random(2000) < np.where(Y == 0, 0.05, 0.9), np.nan, RNG.normal(size=2000))),
    "few numbers": (Y, 1.0 * RNG.poisson(3 + 2 * Y)),
}


@pytest.mark.parametrize(("y", "values", "words"), TELLING.values(), ids=TELLING)
def test_a_feature_that_holds_the_class_is_named(y, values, words):
    sample = sample_of(y, x=np.stack([RNG.normal(size=len(y)), values], axis=1), classes=("a", "b", "c")[: y.max() + 1])
    (told,) = telling_features(sample)
    assert told.startswith("The feature 'f1' ")
    assert words in told


@pytest.mark.parametrize(("y", "values"), PLAIN.values(), ids=PLAIN)
def test_a_feature_that_merely_separates_is_not(y, values):
    assert not list(telling_features(sample_of(y, x=values[:, None])))


@pytest.mark.parametrize("n", [40, 100, 300, 1000])
def test_a_feature_of_few_events_holds_the_class_only_if_it_does(n):
    y = np.arange(n) % 2
    for values in (RNG.normal(size=n), RNG.normal(2.0 * y), RNG.integers(0, 20, n)):
        assert not list(telling_features(sample_of(y, x=values[:, None])))
    (told,) = telling_features(sample_of(y, x=(10 * y + RNG.uniform(size=n))[:, None]))
    assert "'f0' alone assigns 100.00% of the events" in told


def halves(sample):
    return (np.arange(len(sample)) % 2).astype(np.int8)


def test_copies_of_measured_rows_across_the_split_are_counted():
    x = RNG.normal(size=(500, 3))
    sample = sample_of(np.tile(np.arange(500) % 2, 2), x=np.concatenate([x, x]))
    part = np.where(np.arange(1000) < 600, 0, 2)
    assert copies_across(sample, part).startswith("800 of 1,000 rows (80.00%) repeat a row on another side")
    assert copies_across(sample, np.tile(part[:500], 2)) is None  # both copies on one side


def test_copies_of_digitised_rows_are_found_where_all_are_copied():
    x = RNG.integers(0, 200, (1000, 3))
    sample = sample_of(np.tile(np.arange(1000) % 2, 2), x=np.concatenate([x, x]))
    assert "2,000 of 2,000 rows" in copies_across(sample, np.repeat([0, 1], 1000))


@pytest.mark.parametrize("times", [2, 5, 10])
def test_copies_are_found_however_many_there_are_and_whatever_their_weights(times):
    x, y = RNG.normal(size=(300, 3)), np.arange(300) % 2
    sample = sample_of(np.tile(y, times), x=np.tile(x, (times, 1)), weight=RNG.exponential(size=300 * times))
    part = (np.arange(300 * times) >= 300).astype(np.int8)
    assert f"{300 * times:,} of {300 * times:,} rows (100.00%) repeat" in copies_across(sample, part)


def test_a_few_copies_among_many_rows_are_found():
    x = RNG.normal(size=(3000, 2))
    x[-10:] = x[:10]
    assert copies_across(sample_of(np.zeros(3000), x=x), np.repeat([0, 2], 1500)).startswith("20 of 3,000 rows")


@pytest.mark.parametrize(
    "x",
    [
        RNG.integers(0, 5, (4000, 2)),
        RNG.integers(0, 60, (3000, 2)),
        RNG.poisson(100, (3000, 1)),
        np.where(RNG.random((3000, 1)) < 0.5, 0, RNG.normal(size=(3000, 4))),  # no hit in half of the events
        RNG.integers(0, 60, (3000, 1)) ** np.arange(1, 4),
        RNG.normal(size=(3000, 2)),
    ],
)
def test_rows_that_merely_have_the_same_codes_are_no_copies(x):
    sample = sample_of(np.arange(len(x)) % 2, x=x)
    assert copies_across(sample, halves(sample)) is None


def write(path: Path, n: int, times: int = 1) -> None:
    rng = np.random.default_rng(8)
    columns = {"label": rng.integers(0, 2, n), "x": rng.normal(size=n), "y": rng.normal(size=n)}
    with uproot.recreate(path) as file:
        file.mktree("T", {k: v.dtype for k, v in columns.items()}).extend(
            {k: np.tile(v, times) for k, v in columns.items()}
        )


class Notes(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, sentence: str) -> None:
        self.said.append(sentence)


def content(files: Path, named: list[str]) -> dict[str, Any]:
    return {
        "data": {"files": [str(files / name) for name in named]},
        "classes": {"s": "label == 1", "b": "label == 0"},
        "features": ["x", "y"],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None, "importance": False},
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write(folder / "once.root", 600)
    write(folder / "twice.root", 600, 2)
    shutil.copy(folder / "once.root", folder / "copy.root")
    (folder / "link.root").symlink_to("once.root")
    return folder


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (["once.root"], []),
        (["twice.root"], ["repeat a row on another side of the split"]),
        (["once.root", "copy.root"], ["copy.root:T repeats once.root:T", "repeat a row on another side of the split"]),
        (["once.root", "link.root"], ["link.root:T repeats once.root:T", "repeat a row on another side of the split"]),
    ],
)
def test_events_that_are_there_twice_are_told_of(files: Path, named: list[str], words: list[str]) -> None:
    notes = Notes()
    recipe = compile_recipe(check_config(content(files, named), {}, files / "a.yaml"))
    preprocess(recipe, load(recipe, notes), notes)
    told = [note for note in notes.said if "repeat" in note]
    assert len(told) == len(words)
    assert all(word in note for word, note in zip(words, told, strict=True))


@pytest.mark.slow
def test_the_notes_of_a_run_are_in_its_metrics(files: Path, tmp_path: Path) -> None:
    loaded = check_config(content(files, ["twice.root"]), {}, tmp_path / "a.yaml")
    run(loaded, tmp_path / "run", Resources("cpu", 1), Watcher(), figures="none")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert any("repeat a row on another side of the split" in note for note in metrics["notes"])
    area = metrics["models"]["fisher"]["test"]["auc"]
    assert set(area["n_by_class"]) == {"s", "b"}
    assert area["n"] == min(area["n_by_class"].values())


def test_with_folds_the_sides_are_the_folds():
    x = RNG.normal(size=(300, 2))
    sample = sample_of(np.zeros(600), x=np.concatenate([x, x]))
    assert copies_across(sample, np.repeat([0, 3], 300).astype(np.int8)) is not None


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_weights_whose_squares_no_number_holds_are_refused(tmp_path: Path, size: float) -> None:
    write_tree(tmp_path / "a.root", {"label": np.arange(200) % 2, "x": RNG.normal(size=200), "y": np.full(200, size)})
    given = content(tmp_path, ["a.root"])
    given["data"]["weight"], given["features"] = "label == 0 ? y : 1", ["x"]
    recipe = compile_recipe(check_config(given, {}, tmp_path / "a.yaml"))
    with pytest.raises(DataError, match=re.escape(f"of the class 'b' is {size:g}; only weights between")):
        preprocess(recipe, load(recipe, Watcher()), Watcher())


def test_a_class_without_weight_is_named() -> None:
    y = np.arange(200) % 2
    sample = sample_of(y, weight=np.where(y == 0, 0.0, 1.0))
    (note,) = heavy_events(sample, {"test": np.arange(200)})
    assert note.startswith("All 100 events of the class 'electron' in the test sample have the weight 0: ")
