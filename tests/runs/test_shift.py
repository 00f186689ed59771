"""Data against simulation: a like sample is not told apart, an unlike one is, and by the feature that was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from conftest import Run, write_tree
from evaluate_samples import sample_of
from pidlab.config.load import check_config
from pidlab.errors import ConfigError, DataError, UsageError
from pidlab.evaluate.domain import measure_shift, shared_training
from pidlab.evaluate.ranking import auc, auc_in_folds, event_groups, signal_score
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.runs.shift import OutOfFold, as_mixture, compare_domain, labelled
from pidlab.sample import Sample
from pidlab.split import fold_of

pytestmark = pytest.mark.slow

CONTENT: dict[str, Any] = {
    "data": {"files": "mc.root", "event_id": ["event"], "weight": "w"},
    "classes": {"electron": "kind == 0", "pion": "kind == 1"},
    "selection": {"some": "a > -3"},
    "features": ["a", "b", {"name": "c", "expression": "c", "missing": [-999]}],
    "models": {"fisher": {"type": "fisher"}},
    "evaluate": {"robustness": None},
}


def table(path: Path, n: int, seed: int, *, scale: float = 1.0, pions: float = 0.5, first: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    kind = (rng.random(n) < pions).astype(np.int32)
    a, b, c = (rng.normal(size=n) + shift * (kind == 0) for shift in (1.0, 0.5, 0.0))
    c[rng.random(n) < 0.1] = -999
    arrays = {"a": a, "b": b * scale, "c": c, "kind": kind, "event": np.arange(first, first + n)}
    return write_tree(path, arrays | {"w": np.where(rng.random(n) < 0.1, -1.0, 1.0)})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domain")
    table(folder / "mc.root", 4000, 1)
    run(check_config(CONTENT, {}, folder / "a.yaml"), folder / "run", Resources("cpu", 1), Watcher(), figures="none")
    return folder / "run"


def test_files_like_the_run_are_not_told_apart(done: Path, tmp_path: Path) -> None:
    data = table(tmp_path / "data.root", 4000, 2, first=10**6)
    shift = compare_domain(done, [str(data)], tmp_path / "out", Watcher(), n_jobs=1)
    assert abs(shift.auc.value - 0.5) < 3.5 * (shift.auc.high - shift.auc.low) / 2
    assert "cannot tell" in shift.sentence.split(":")[0]
    assert min(s.ks_p for s in shift.features) > 1e-3


def test_a_feature_of_another_scale_is_found_and_named(done: Path, tmp_path: Path, pidlab: Run) -> None:
    table(tmp_path / "data.root", 3000, 3, scale=1.5, first=10**6)
    answer = pidlab("domain", done, "data.root", "-o", "out", "--jobs", 1, "-q")
    assert answer.returncode == 0, answer.stderr
    assert "A BDT tells the" in answer.stdout
    content = json.loads((tmp_path / "out" / "domain.json").read_text())
    assert content["auc"]["low"] > 0.55
    assert content["features"][0]["name"] == "b"
    assert content["features"][0]["ks_p"] < 0.01
    with uproot.open(tmp_path / "data.root") as file:
        assert content["n"]["files"] == int((file["T"]["a"].array(library="np") > -3).sum())
    np.testing.assert_allclose(content["features"][-1]["missing"], 0.1, atol=0.03)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "domain.json", "domain.png", "domain.pdf", "domain_inputs.png", "domain_inputs.pdf"
    }  # fmt: skip


def test_the_runs_own_file_is_never_told_apart_although_a_bdt_could_remember_it(done: Path, tmp_path: Path) -> None:
    shift = compare_domain(done, [str(done.parent / "mc.root")], tmp_path / "out", Watcher(), n_jobs=1)
    assert abs(shift.auc.value - 0.5) < 0.03


def test_the_stated_abundance_is_what_the_files_are_held_against() -> None:
    rng = np.random.default_rng(4)
    y = (rng.random(6000) < 0.5).astype(int)
    ours = sample_of(y, x=rng.normal(size=(6000, 1)) + 2 * y[:, None], classes=("electron", "pion"))
    mostly = (rng.random(6000) < 0.8).astype(int)
    theirs = sample_of(mostly, x=rng.normal(size=(6000, 1)) + 2 * mostly[:, None], event=np.arange(6000) + 6000)
    found = {}
    for name, abundance in (("as weighted", None), ("as stated", {"electron": 1.0, "pion": 4.0})):
        sample = labelled(as_mixture(ours, abundance), theirs)
        found[name] = measure_shift(OutOfFold(sample, 1, 1, Watcher()), sample, seed=1)
    assert found["as weighted"].auc.low > 0.55
    error = found["as stated"].auc.high - found["as stated"].auc.value
    assert abs(found["as stated"].auc.value - 0.5) < 4 * error


def sides(n: int, rng: np.random.Generator, *, shift: float = 0.0, signed: bool = False, n_features: int = 2) -> Sample:
    """Two samples of `n` events with two candidates that vary together, `shift` apart in one feature."""
    apart = np.r_[shift, np.zeros(n_features - 1)]
    parts = []
    for i, first in enumerate((0, 10**6)):
        event = np.repeat(np.arange(n), 2) + first
        x = rng.normal(size=(2 * n, n_features)) + rng.normal(size=(n, n_features))[event - first] + apart * i
        weight = np.where(rng.random(2 * n) < 0.15, -1.0, 1.0) if signed else None
        parts.append(sample_of(np.zeros(2 * n), x=x, event=event, weight=weight))
    return labelled(*parts)


def test_the_interval_of_the_auc_covers_a_half_where_there_is_no_difference() -> None:
    """Out of fold, by events of several candidates and weights of both signs."""
    rng, away = np.random.default_rng(5), []
    for i in range(4):
        sample = sides(100, rng, signed=True)
        area = measure_shift(OutOfFold(sample, i, 1, Watcher()), sample, seed=i).auc
        away.append((area.value - 0.5) / ((area.high - area.low) / 2))
    # The squares of four standard deviates add to 17 at most, but for one time in five hundred.
    assert np.sum(np.square(away)) < 17


class Linear:
    """Fold models that score along the difference of the means of what trained them: as fast as a sum."""

    def __init__(self, sample: Sample, seed: int) -> None:
        self.fold = fold_of(sample.event, 5, seed).astype(np.int64)
        self._sample = sample

    def _along(self, *left_out: int) -> Any:
        rows = ~np.isin(self.fold, left_out)
        means = [self._sample.x[rows & (self._sample.y == c)].mean(axis=0) for c in range(2)]
        return self._sample.x @ (means[1] - means[0])

    def without(self, sample: Sample) -> Any:
        scores = np.stack([[self._along(k, j) for j in range(5)] for k in range(5)])
        return scores[self.fold, :, np.arange(len(sample))]

    def __call__(self, sample: Sample) -> Any:
        own = np.stack([self._along(k) for k in range(5)])[self.fold, np.arange(len(sample))]
        return np.stack([-own, own], axis=1)


@pytest.mark.parametrize("n", [75, 300])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_interval_covers_although_fold_models_are_trained_on_each_others_tests(n: int, shift: float) -> None:
    """For a linear rule and no difference the variance is twice that of the test events: .52 covered for .683."""
    rng, areas, narrow = np.random.default_rng(6), [], []
    for i in range(100):
        sample = sides(n, rng, shift=shift, n_features=10)
        models, groups = Linear(sample, i), event_groups(sample)
        scores = signal_score(models(sample), sample)
        inflation = 1 + shared_training(models, sample, groups)
        areas.append(auc_in_folds(scores, sample.is_signal, sample.weight, models.fold, groups, inflation=inflation))
        narrow.append(auc_in_folds(scores, sample.is_signal, sample.weight, models.fold, groups))
    truth = np.mean([area.value for area in areas]) if shift else 0.5
    covered, before = (np.mean([area.low <= truth <= area.high for area in found]) for found in (areas, narrow))
    # 100 samples scatter by .047 about .683. Where the shift is plain, models hardly depend on who trained them.
    assert 0.6 < covered < (0.85 if shift else 0.78), (covered, before)
    assert shift or before < 0.6


def test_only_candidates_of_one_fold_are_compared() -> None:
    """Fold models on scales of their own: within each fold the classes are in order, and across they are not."""
    score, fold = np.array([1, 2, 101, 102, 1, 2], np.float32), np.array([0, 0, 1, 1, 2, 2])
    is_signal = np.array([False, True] * 3)
    assert auc_in_folds(score, is_signal, np.ones(6), fold).value == 1
    assert auc(score, is_signal, np.ones(6)).value < 1


def test_what_cannot_be_compared_is_said(done: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "far.root", {"a": np.full(9, -9.0), "b": np.ones(9), "c": np.ones(9), "event": np.arange(9)})
    with pytest.raises(DataError, match="no row passes the selection of the run"):
        compare_domain(done, [str(tmp_path / "far.root")], tmp_path / "out", Watcher())
    write_tree(tmp_path / "less.root", {"a": np.ones(9), "b": np.ones(9), "event": np.arange(9)})
    with pytest.raises(ConfigError, match="'c'"):
        compare_domain(done, [str(tmp_path / "less.root")], tmp_path / "out", Watcher())
    with pytest.raises(UsageError, match="is not the folder of a run"):
        compare_domain(tmp_path, [str(tmp_path / "far.root")], tmp_path / "out", Watcher())
    assert not (tmp_path / "out").exists()
