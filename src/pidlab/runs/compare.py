"""Finished runs side by side: what each found, and paired differences where they tested the same events."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.compare import find_differences
from pidlab.evaluate.results import Comparison, ModelResult, Results, WorkingPoint, json_value, read_results
from pidlab.evaluate.verdicts import Differences, judged
from pidlab.runs.manifest import from_run, verify
from pidlab.runs.scored_events import FILE as EVENTS
from pidlab.runs.scored_events import ScoredEvents, Scores, read_events
from pidlab.sample import FloatArray, IntArray, Sample

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
    for path in resolved:
        verify(path, "results.json", EVENTS)
    names = _names(resolved)
    return [_loaded(name, path) for name, path in zip(names, resolved, strict=True)]


def _loaded(name: str, path: Path) -> Finished:
    """A run whose results are those of its scored events.

    Raises:
        DataError, ModelError: something in it is damaged.
    """
    results, scored = read_results(path / "results.json"), read_events(path)
    same = results.classes == scored.sample.classes and results.signal == scored.sample.classes[scored.sample.signal]
    if not same or {*results.models} != {*scored.on_test} or {*results.models} != {*scored.on_aside}:
        raise ModelError(f"{path}: results.json and {EVENTS} are of two runs; make the run again")
    return Finished(name, results, scored)


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

    Raises:
        ModelError: what one of them holds does not fit together.
    """
    found = []
    for a, b in itertools.combinations(runs, 2):
        with from_run(Path(f"{a.name} and {b.name}")):
            found.append(_pair(a, b))
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
    notes = []
    if not _usable(deciding):
        notes.append("the intervals leave out how thresholds fluctuate: no events decided both runs'")
        aside, deciding = (aside[0][:0], aside[1][:0]), deciding.take(np.zeros(0, np.int64))
    sample = replace(sample, spectators=_spectators((a, b), (a.scored.test[test[0]], b.scored.test[test[1]])))
    rows_aside = (a.scored.aside[aside[0]], b.scored.aside[aside[1]])
    deciding = replace(deciding, spectators=_spectators((a, b), rows_aside))
    if left_out := _left_out(a, b):
        notes.append(left_out)
    found = [
        difference
        for names in _models(ours, theirs)
        for difference in _compared((a, b), names, test, aside, sample, deciding)
    ]
    return Pair(a.name, b.name, len(sample), (), "; ".join(notes)), tuple(found)


def _spectators(runs: tuple[Finished, Finished], rows: tuple[IntArray, IntArray]) -> dict[str, FloatArray]:
    """What the flat points of both runs follow, at the rows of each; one name may mean another thing in each run."""
    return {
        _own(run, name): values[chosen]
        for run, chosen in zip(runs, rows, strict=True)
        for name, values in run.scored.sample.spectators.items()
    }


def _own(run: Finished, spectator: str) -> str:
    return f"{run.name}:{spectator}"


def _comparable(run: Finished, other: Finished, point: WorkingPoint) -> bool:
    """Whether a working point can be compared: a flat one needs its spectators, and one that follows the same."""
    if point.flat is None:
        return True
    theirs = (p for m in other.results.models.values() for p in m.working_points if p.name == point.name and p.flat)
    same = all(p.flat is not None and p.flat.names == point.flat.names for p in theirs)
    return same and _keeps(run, point)


def _keeps(run: Finished, point: WorkingPoint) -> bool:
    """Whether a run kept what a working point follows."""
    return point.flat is None or set(point.flat.names) <= run.scored.sample.spectators.keys()


def _left_out(a: Finished, b: Finished) -> str:
    """Which flat working points are not compared, and why; empty where all are."""
    pairs = ((a, b), (b, a))
    points = [(run, p) for run, other in pairs for p in _points(run) if not _comparable(run, other, p)]
    names = ", ".join(sorted({p.name for _, p in points}))
    old = sorted({run.name for run, p in points if not _keeps(run, p)})
    if old:
        return f"{names} are left out: {' and '.join(old)} did not keep what they follow; make that run again"
    return f"{names} are left out: they follow other spectators in {a.name} than in {b.name}" if names else ""


def _points(run: Finished) -> Iterator[WorkingPoint]:
    return (point for model in run.results.models.values() for point in model.working_points)


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
    auc = {name: m.samples["test"].auc.value for name, m in results.models.items() if not m.fixed_cut}
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
    others = runs[::-1]
    for run, other, model, rows, rows_aside in zip(runs, others, models, test, aside, strict=True):
        name = f"{run.name}:{model}"
        columns = [run.scored.sample.classes.index(particle) for particle in sample.classes]
        columns += range(len(columns), run.scored.on_test[model].shape[1])  # the decisions of a model without a score
        on_test[name] = run.scored.on_test[model][rows][:, columns]
        on_aside[name] = run.scored.on_aside[model][rows_aside][:, columns]
        found = run.results.models[model]
        points = tuple(_of_run(run, point) for point in found.working_points if _comparable(run, other, point))
        results[name] = replace(found, name=name, working_points=points)
    return find_differences(on_test, sample, on_aside, deciding, results)


def _of_run(run: Finished, point: WorkingPoint) -> WorkingPoint:
    """The point with the names that the run's own spectators have in the sample of a comparison."""
    if point.flat is None:
        return point
    return replace(point, flat=replace(point.flat, names=tuple(_own(run, name) for name in point.flat.names)))


def as_json(runs: Sequence[Finished], pairs: Sequence[Pair]) -> str:
    """The comparison for machines: each run's models with their numbers on test, and every pair."""
    models: Mapping[str, object] = {
        run.name: {
            name: {"auc": json_value(m.samples["test"].auc), "working_points": json_value(m.working_points)}
            for name, m in run.results.models.items()
        }
        for run in runs
    }
    return json.dumps({"schema": 1, "runs": models, "pairs": json_value(list(pairs))}, indent=1, allow_nan=False)
