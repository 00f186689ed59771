"""Finished runs side by side: what each found, and paired differences where they tested the same events."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pidlab.errors import UsageError
from pidlab.evaluate.compare import find_differences
from pidlab.evaluate.results import Comparison, ModelResult, Results, plain
from pidlab.evaluate.stored import read_results
from pidlab.evaluate.verdicts import Differences, judged
from pidlab.sample import IntArray, Sample
from pidlab.scored import ScoredEvents, Scores, read_events

FEWEST_SHARED = 100
"""Candidates of the signal, and of the others, that two runs must share in test to be compared event by event."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run as it was left behind; `name` tells it from the others."""

    name: str
    results: Results
    scored: ScoredEvents


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs: the test candidates that both have, and the paired comparisons of their models.

    The models are called `run:model`. `note` says why there are no comparisons, or what they leave out.
    """

    a: str
    b: str
    n_shared: int
    comparisons: tuple[Comparison, ...]
    note: str = ""


def load_runs(folders: Sequence[Path]) -> list[Finished]:
    """The runs in `folders`, named as short as tells them apart.

    Raises:
        UsageError: a folder is not that of a run, or is named twice.
        DataError, ModelError: something in it is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if not (path / "results.json").is_file():
            raise UsageError(f"{folder}: is not the folder of a run; it has no results.json")
    if len(set(resolved)) < len(resolved):
        raise UsageError("the same run is named twice; name different ones")
    names = _names(resolved)
    return [
        Finished(name, read_results(path / "results.json"), read_events(path))
        for name, path in zip(names, resolved, strict=True)
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as make them differ."""
    for depth in range(1, max(len(p.parts) for p in paths) + 1):
        names = ["/".join(p.parts[-depth:]) for p in paths]
        if len(set(names)) == len(names):
            return names
    return [str(p) for p in paths]


def compare_runs(runs: Sequence[Finished]) -> list[Pair]:
    """Every pair of runs: models of one name, and the best of each by AUC, on the events that both tested.

    What is said of all of them is judged together.
    """
    found = [_pair(a, b) for a, b in itertools.combinations(runs, 2)]
    comparisons = iter(judged([difference for _, differences in found for difference in differences]))
    return [
        replace(pair, comparisons=tuple(itertools.islice(comparisons, len(differences)))) for pair, differences in found
    ]


def _pair(a: Finished, b: Finished) -> tuple[Pair, tuple[Differences, ...]]:
    """Two runs and what differs between their models, which is not judged yet."""
    ours, theirs = a.results, b.results
    if ours.signal != theirs.signal or set(ours.classes) != set(theirs.classes):
        told = f"{ours.signal} of {', '.join(ours.classes)} and {theirs.signal} of {', '.join(theirs.classes)}"
        return Pair(a.name, b.name, 0, (), f"not comparable: they tell apart {told}"), ()
    test = _shared(a.scored, b.scored, a.scored.test, b.scored.test)
    sample = a.scored.sample.take(a.scored.test[test[0]])
    counts = np.bincount(sample.is_signal, minlength=2)
    if counts.min() < FEWEST_SHARED:
        return Pair(a.name, b.name, len(sample), (), "too few test events in common for a paired comparison"), ()
    aside = _shared(a.scored, b.scored, a.scored.aside, b.scored.aside)
    deciding = a.scored.sample.take(a.scored.aside[aside[0]])
    note = "" if _usable(deciding) else "the intervals leave out how thresholds fluctuate: no events decided both runs'"
    if note:
        aside, deciding = (aside[0][:0], aside[1][:0]), deciding.take(np.zeros(0, np.int64))
    found = [
        difference
        for names in _models(ours, theirs)
        for difference in _compared((a, b), names, test, aside, sample, deciding)
    ]
    return Pair(a.name, b.name, len(sample), (), note), tuple(found)


def _usable(deciding: Sample) -> bool:
    return bool(np.bincount(deciding.is_signal, minlength=2).min() >= FEWEST_SHARED)


def _shared(a: ScoredEvents, b: ScoredEvents, rows_a: IntArray, rows_b: IntArray) -> tuple[IntArray, IntArray]:
    """Positions in `rows_a` and `rows_b` of the same candidates: of one event, one place in it, and one class."""
    key_a, key_b = _identity(a, rows_a), _identity(b, rows_b)
    _, first, second = np.intersect1d(key_a, key_b, assume_unique=True, return_indices=True)
    order = np.argsort(first)
    return first[order], second[order]


def _identity(scored: ScoredEvents, rows: IntArray) -> IntArray:
    """(len(rows),) records of event, place among the event's candidates, and class name's hash."""
    sample = scored.sample
    order = np.lexsort((sample.row, sample.file, sample.event))
    event = sample.event[order]
    starts = np.flatnonzero(np.r_[True, event[1:] != event[:-1]]) if len(event) else np.zeros(0, np.int64)
    place = np.empty(len(event), np.int64)
    place[order] = np.arange(len(event)) - np.repeat(starts, np.diff(np.r_[starts, len(event)]))
    names = np.array([sorted(sample.classes).index(name) for name in sample.classes])
    result = np.zeros(len(rows), [("event", np.uint64), ("place", np.int64), ("particle", np.int64)])
    result["event"], result["place"], result["particle"] = sample.event[rows], place[rows], names[sample.y[rows]]
    return result


def _models(a: Results, b: Results) -> list[tuple[str, str]]:
    """The pairs of models to compare: those of one name, and the best of each run."""
    pairs = [(name, name) for name in a.models if name in b.models]
    best = _best(a), _best(b)
    if best[0] and best[1] and best not in pairs:
        pairs.append(best)
    return pairs


def _best(results: Results) -> str:
    """The model of the largest AUC on test; empty where none has a curve."""
    auc = {name: m.samples["test"].auc.value for name, m in results.models.items() if not m.single_point}
    known = {name: value for name, value in auc.items() if np.isfinite(value)}
    return max(known, key=lambda name: known[name]) if known else ""


def _compared(
    runs: tuple[Finished, Finished],
    models: tuple[str, str],
    test: tuple[IntArray, IntArray],
    aside: tuple[IntArray, IntArray],
    sample: Sample,
    deciding: Sample,
) -> tuple[Differences, ...]:
    on_test: dict[str, Scores] = {}
    on_aside: dict[str, Scores] = {}
    results: dict[str, ModelResult] = {}
    for run, model, rows, rows_aside in zip(runs, models, test, aside, strict=True):
        name = f"{run.name}:{model}"
        columns = [run.scored.sample.classes.index(particle) for particle in sample.classes]
        columns += range(len(columns), run.scored.on_test[model].shape[1])  # the decisions of a model without a score
        on_test[name] = run.scored.on_test[model][rows][:, columns]
        on_aside[name] = run.scored.on_aside[model][rows_aside][:, columns]
        results[name] = replace(run.results.models[model], name=name)
    return find_differences(on_test, sample, on_aside, deciding, results)


def as_json(runs: Sequence[Finished], pairs: Sequence[Pair]) -> str:
    """The comparison for machines: each run's models with their numbers on test, and every pair."""
    models: Mapping[str, object] = {
        run.name: {
            name: {"auc": plain(m.samples["test"].auc), "working_points": plain(m.working_points)}
            for name, m in run.results.models.items()
        }
        for run in runs
    }
    return json.dumps({"schema": 1, "runs": models, "pairs": plain(list(pairs))}, indent=1, allow_nan=False)
