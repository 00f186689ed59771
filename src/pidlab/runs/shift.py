"""Domain shift: whether a classifier tells the events of a run from the rows of other files, and by which features."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import DataError
from pidlab.evaluate.domain import measure_shift
from pidlab.evaluate.results import Shift, json_value
from pidlab.jsonfile import write_json
from pidlab.models.base import Classifier
from pidlab.models.registry import estimator_class
from pidlab.preprocess.events import branches_read, check_table, input_keys, load
from pidlab.preprocess.features import event_keys, feature_matrix
from pidlab.preprocess.recipe import Recipe
from pidlab.preprocess.selection import selected
from pidlab.progress import Watcher
from pidlab.read import Table
from pidlab.runs.bundle import load_bundle
from pidlab.runs.whole import filled_folder
from pidlab.sample import Sample, concatenate
from pidlab.split import Keys, fold_of, share_of

CLASSES = ("run", "files")
_FOLDS = 5
ROWS_AT_LEAST = 20
"""Of fewer, some of the five parts that train each other hold none."""
_ROWS_AT_MOST = 200_000
_PAIRS_AT_MOST = 20_000
"""Of more candidates what fold models have in common is not measured: the interval is small, and ten models are not."""
_BDT: Mapping[str, Any] = {
    "n_estimators": 150,
    "max_depth": 4,
    "learning_rate": 0.1,
    "early_stopping_rounds": None,
}


def compare_domain(
    run: Path,
    files: Sequence[str],
    output: Path,
    watcher: Watcher,
    *,
    tree: str | None = None,
    n_jobs: int | None = None,
) -> Shift:
    """Tells the events that a run used from the selected rows of `files`; `domain.json` and figures go to `output`.

    The events of a regression are those whose target is known.

    The events of the run count with their weights; where its configuration states `evaluate.abundance`, its classes
    are mixed in that ratio. Of more than 200,000 rows about that many are taken, whole events, on either side. A BDT
    is trained five times, each time without a fifth of the events by the hash of their key, and scores that fifth.

    Raises:
        UsageError: `run` is not the folder of a run.
        ConfigError: an expression does not fit the branches of a file.
        DataError: an input cannot be read, or too few rows are selected.
        OutputError: the result cannot be written.
    """
    recipe = load_bundle(run).recipe
    watcher.stage("load")
    events = load(recipe, watcher)
    recipe = events.recipe
    ours = as_mixture(events.sample, recipe.loaded.config.evaluate.abundance)
    theirs = selected_rows(recipe, files, tree, watcher)
    predicts = recipe.target is not None
    shift = shift_between(ours, theirs, recipe.loaded.config.seed, n_jobs, watcher, predicts=predicts)
    _write(shift, output, recipe)
    return shift


def shift_between(
    ours: Sample, theirs: Sample, seed: int, n_jobs: int | None, watcher: Watcher, *, predicts: bool = False
) -> Shift:
    """How well BDTs tell the events of a run, as `as_mixture` gives them, from the rows of files."""
    sample = labelled(ours, theirs)
    watcher.stage("train")
    score = OutOfFold(sample, seed, n_jobs, watcher)
    watcher.stage("evaluate")
    return measure_shift(score, sample, seed=seed, predicts=predicts)


def selected_rows(recipe: Recipe, files: Sequence[str], tree: str | None, watcher: Watcher) -> Sample:
    """Returns the rows of `files` that pass the selection, each with weight 1, of one class.

    Raises:
        DataError: no row passes, or too few to compare.
    """
    sources = recipe.inputs(list(files), tree)
    keys, x, event = input_keys(sources), [], []
    with watcher.task("reading", 0, "entries") as task:
        for source in sources:
            with Table(source, recipe.per) as table:
                check_table(recipe, table)
                for chunk in table.chunks(branches_read(recipe)):
                    rows = chunk.take(np.flatnonzero(selected(recipe, chunk)))
                    x.append(feature_matrix(recipe, rows))
                    event.append(event_keys(recipe, rows, keys[source]))
                    task.advance(chunk.n_entries)
    n = sum(map(len, x))
    if not n:
        raise DataError(f"{', '.join(files)}: no row passes the selection of the run; look at its cut flow")
    if n < ROWS_AT_LEAST:
        raise DataError(
            f"{', '.join(files)}: {n} rows pass the selection of the run; {ROWS_AT_LEAST} or more are compared with it"
        )
    return rows_of(np.concatenate(x), np.concatenate(event), recipe)


def rows_of(x: NDArray[np.float32], event: Keys, recipe: Recipe) -> Sample:
    """Returns a sample of rows of files, with features (n, d or more), hashes of events (n,), and weight 1."""
    n = len(event)
    return Sample(
        x=x, y=np.zeros(n, np.int64), weight=np.ones(n), event=event,
        features=tuple(f.name for f, _ in recipe.features), classes=CLASSES, signal=1, spectators={}, columns={},
        file=np.zeros(n, np.int32), row=np.arange(n),
    )  # fmt: skip


def as_mixture(sample: Sample, abundance: Mapping[str, float] | None) -> Sample:
    """Returns the sample with its classes in the ratio of `abundance`; None leaves the weights as they are."""
    if abundance is None:
        return sample
    sums = np.bincount(sample.y, sample.weight, len(sample.classes))
    wanted = np.array([abundance[name] for name in sample.classes])
    factor = np.divide(wanted, sums, out=np.zeros_like(sums), where=sums > 0)
    return replace(sample, weight=sample.weight * factor[sample.y] * sums.sum() / wanted.sum())


def labelled(ours: Sample, theirs: Sample) -> Sample:
    """Returns one sample of two classes, "run" and "files"; the latter is the signal."""
    parts = []
    for index, part in enumerate((ours, theirs)):
        some = part.take(share_of(part.event, _ROWS_AT_MOST / max(len(part), _ROWS_AT_MOST), 1))
        y = np.full(len(some), index, np.int64)
        parts.append(replace(some, y=y, classes=CLASSES, signal=1, spectators={}, axes={}, columns={}, target=None))
    return concatenate(parts)


class OutOfFold:
    """Scores by BDTs that did not see the events: one a fold, trained on the other folds at equal class weights.

    If there are at most 20,000 candidates, ten more are trained without two folds each. They tell how much the models
    have in common.
    """

    def __init__(self, sample: Sample, seed: int, n_jobs: int | None, watcher: Watcher) -> None:
        self.fold = fold_of(sample.event, _FOLDS, seed).astype(np.int64)
        left_out: list[tuple[int, ...]] = [(k,) for k in range(_FOLDS)]
        if len(sample) <= _PAIRS_AT_MOST:
            left_out += itertools.combinations(range(_FOLDS), 2)
        self._models: dict[tuple[int, ...], Classifier] = {}
        with watcher.task("training", len(left_out)) as task:
            for folds in left_out:
                self._models[folds] = self._trained(sample.take(~np.isin(self.fold, folds)), seed, n_jobs)
                task.advance()

    @staticmethod
    def _trained(sample: Sample, seed: int, n_jobs: int | None) -> Classifier:
        """Returns a BDT for two classes of equal weight."""
        weight = np.abs(sample.weight)
        weight = weight / np.bincount(sample.y, weight)[sample.y]
        model = estimator_class("bdt")(**_BDT, seed=seed, n_jobs=n_jobs, device="cpu")
        return model.fit(sample.x, sample.y, weight)

    def __call__(self, sample: Sample) -> NDArray[np.float32]:
        """Returns (n, 2) scores of the sample, or of the same candidates with other features."""
        result = np.empty((len(sample), 2), np.float32)
        for fold in range(_FOLDS):
            rows = np.flatnonzero(self.fold == fold)
            if len(rows):
                result[rows] = self._models[fold,].scores(sample.x[rows])
        return result

    def without(self, sample: Sample) -> NDArray[np.float32] | None:
        """Returns (n, 5) the signal's score by models that saw neither a candidate's fold nor that of the column."""
        if len(self._models) == _FOLDS:
            return None
        result = np.empty((len(sample), _FOLDS), np.float32)
        for own, other in itertools.product(range(_FOLDS), repeat=2):
            rows = np.flatnonzero(self.fold == own)
            if len(rows):
                model = self._models[tuple(sorted({own, other}))]
                result[rows, other] = model.scores(sample.x[rows])[:, sample.signal]
        return result


def as_json(shift: Shift) -> dict[str, Any]:
    """Returns the content of `domain.json`, schema 1, which leaves the histograms to the figures."""
    content = json_value(shift)
    return {"schema": 1} | {name: content[name] for name in ("sentence", "n", "auc", "features")}


def _write(shift: Shift, output: Path, recipe: Recipe) -> None:
    from pidlab.plots.domain import domain_figures
    from pidlab.plots.gallery import rendered, save

    with filled_folder(output) as folder:
        write_json(folder / "domain.json", as_json(shift))
        for name, figure in domain_figures(shift, recipe.loaded.config.axis_labels):
            for suffix, content in rendered(figure, name, "png", "pdf").items():
                save(folder / f"{name}.{suffix}", content)
