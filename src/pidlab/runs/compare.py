"""Finished runs side by side: the results of each, and paired differences on the events that both tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.compare import find_differences
from pidlab.evaluate.regression.compare import judged_together
from pidlab.evaluate.results import (
    AnyResults,
    Comparison,
    ModelResult,
    RegressionModel,
    RegressionResults,
    Results,
    WorkingPoint,
    json_value,
    read_any_results,
)
from pidlab.evaluate.verdicts import Differences, judged
from pidlab.jsonfile import read_json
from pidlab.runs.manifest import refuse_other_folder, verify
from pidlab.runs.residuals import pair_of_regressions
from pidlab.runs.scored_events import FILE as EVENTS
from pidlab.runs.scored_events import ScoredEvents, Scores, read_events
from pidlab.runs.shared_events import (
    FEWEST_SHARED,
    Finished,
    Pair,
    Positions,
    compare_each_two,
    models_to_compare,
    positions_of_same,
)
from pidlab.sample import Sample

Runs = list[Finished[Any]]
"""Finished runs of one kind: all of classes, or all of a target."""


def load_runs(folders: Sequence[Path]) -> Runs:
    """Returns the runs in `folders`, with the shortest names that differ.

    Raises:
        UsageError: a folder is not that of a run, or is named twice; or some runs are of classes and others of a
            target.
        DataError, ModelError: a file of a run is damaged.
    """
    for folder in folders:
        refuse_other_folder(folder, "results.json")
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("the same run is named twice; name different ones")
    for path in resolved:
        verify(path, "results.json", EVENTS)
    found = [_loaded(name, path) for name, path in zip(_names(resolved), resolved, strict=True)]
    of_target = _of_target(found)
    if of_target and len(of_target) < len(found):
        other, run = of_target[0], next(run for run in found if run not in of_target)
        told = f"{run.name} tells {' and '.join(run.results.classes)} apart"
        raise UsageError(
            f"{told}, and {other.name} predicts {other.results.target}; compare runs of classes, or regressions, with "
            "each other"
        )
    return found


def _of_target(runs: Runs) -> list[Finished[RegressionResults]]:
    return [run for run in runs if isinstance(run.results, RegressionResults)]


def _loaded(name: str, path: Path) -> Finished[Any]:
    """Returns the run in the folder `path`.

    Raises:
        DataError, ModelError: a file is damaged, or the results are not those of the scored events.
    """
    results = read_any_results(path / "results.json")
    scored = _with_weight_replicas(path, results, read_events(path))
    sample, same = scored.sample, {*results.models} == {*scored.on_test} == {*scored.on_threshold_sample}
    if isinstance(results, RegressionResults):
        same = same and sample.target is not None
    else:
        same = same and results.classes == sample.classes and results.signal == sample.classes[sample.signal]
    if not same:
        raise ModelError(f"{path}: results.json and {EVENTS} are of two runs; make the run again")
    return Finished(name, results, scored)


def _with_weight_replicas(path: Path, results: AnyResults, scored: ScoredEvents) -> ScoredEvents:
    """Returns the events with the replicas of their weights, if these were fitted to make samples alike."""
    made = results.reweighting
    if made is None or made.used_for == "training" or not {*made.match} <= {*scored.sample.spectators}:
        return scored
    from pidlab.datadriven.reweighting.reweighter import load_reweighter
    from pidlab.datadriven.reweighting.step import replicas_of

    replicas = replicas_of(load_reweighter(path), scored.sample)
    return replace(scored, sample=replace(scored.sample, weight_replicas=replicas))


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns the last parts of each path, as many as make them differ."""
    for depth in range(1, max(len(p.parts) for p in paths) + 1):
        names = ["/".join(p.parts[-depth:]) for p in paths]
        if len(set(names)) == len(names):
            return names
    return [str(p) for p in paths]


def compare_runs(runs: Runs) -> list[Pair[Any]]:
    """Compares every pair of runs: models of one name, and the best of each, on the events that both tested.

    The best is that of largest AUC, or of a target that of smallest RMS.

    Raises:
        ModelError: the files of a run do not fit together.
    """
    if _of_target(runs):
        return compare_each_two(runs, pair_of_regressions, judged_together)
    return compare_each_two(runs, _pair, judged)


def _pair(a: Finished[Results], b: Finished[Results]) -> tuple[Pair[Comparison], tuple[Differences, ...]]:
    """Returns two runs and the differences between their models, before these are judged."""
    ours, theirs = a.results, b.results
    if ours.signal != theirs.signal or set(ours.classes) != set(theirs.classes):
        both = f"{ours.signal} of {', '.join(ours.classes)} and {theirs.signal} of {', '.join(theirs.classes)}"
        return Pair(a.name, b.name, 0, (), f"not comparable: they tell apart {both}"), ()
    test, sample = _shared((a, b), (a.scored.test, b.scored.test))
    if np.bincount(sample.is_signal, minlength=2).min() < FEWEST_SHARED:
        return Pair(a.name, b.name, len(sample), (), "too few test events in common for a paired comparison"), ()
    pairs = models_to_compare(ours, theirs)
    found = [difference for names in pairs for difference in _compared((a, b), names, test, sample)]
    return Pair(a.name, b.name, len(sample), (), _left_out(a, b)), tuple(found)


def _own(run: Finished[Results], spectator: str) -> str:
    return f"{run.name}:{spectator}"


def _comparable(run: Finished[Results], other: Finished[Results], point: WorkingPoint) -> bool:
    """Returns whether a working point can be compared: a flat one needs its spectators, in both runs the same."""
    if point.flat is None:
        return True
    theirs = (p for m in other.results.models.values() for p in m.working_points if p.name == point.name and p.flat)
    same = all(p.flat is not None and p.flat.names == point.flat.names for p in theirs)
    return same and _keeps(run, point)


def _keeps(run: Finished[Results], point: WorkingPoint) -> bool:
    """Returns whether a run kept the spectators that a working point follows."""
    return point.flat is None or set(point.flat.names) <= run.scored.sample.spectators.keys()


def _left_out(a: Finished[Results], b: Finished[Results]) -> str:
    """Says which flat working points are not compared, and why; empty if all are."""
    models = [(run, other, m) for run, other in ((a, b), (b, a)) for m in run.results.models.values()]
    points = [(run, p) for run, other, m in models for p in m.working_points if not _comparable(run, other, p)]
    names = ", ".join(sorted({p.name for _, p in points}))
    old = sorted({run.name for run, p in points if not _keeps(run, p)})
    if old:
        return f"{names} are left out: {' and '.join(old)} did not keep what they follow; make that run again"
    return f"{names} are left out: they follow other spectators in {a.name} than in {b.name}" if names else ""


def _shared(runs: tuple[Finished[Results], Finished[Results]], rows: Positions) -> tuple[Positions, Sample]:
    """Returns the positions in `rows` of each run of the same candidates, and the sample of these candidates.

    Candidates are the same if they are of one event, one place in it, and one class. The sample has the spectators of
    both runs, since one name may mean another thing in each.
    """
    positions = positions_of_same(runs[0].scored, runs[1].scored, rows)
    spectators = {
        _own(run, name): values[own[position]]
        for run, own, position in zip(runs, rows, positions, strict=True)
        for name, values in run.scored.sample.spectators.items()
    }
    return positions, replace(runs[0].scored.sample.take(rows[0][positions[0]]), spectators=spectators)


def _threshold_sample(run: Finished[Results]) -> Sample:
    """Returns the threshold sample of a run, with its spectators named as those of the shared candidates."""
    sample = run.scored.sample.take(run.scored.threshold_rows)
    return replace(sample, spectators={_own(run, name): values for name, values in sample.spectators.items()})


def _compared(
    runs: tuple[Finished[Results], Finished[Results]],
    models: tuple[str, str],
    test: Positions,
    sample: Sample,
) -> tuple[Differences, ...]:
    """Returns how one model of each run differs from the other on the test candidates that both have.

    Each model keeps the threshold sample of its own run, of which the other may share some events or none.
    """
    on_test: dict[str, Scores] = {}
    on_threshold_sample: dict[str, Scores] = {}
    deciding: dict[str, Sample] = {}
    results: dict[str, ModelResult] = {}
    for run, other, model, on_both in zip(runs, runs[::-1], models, test, strict=True):
        name = f"{run.name}:{model}"
        columns = [run.scored.sample.classes.index(particle) for particle in sample.classes]
        columns += range(len(columns), run.scored.on_test[model].shape[1])  # the decisions of a model without a score
        on_test[name] = run.scored.on_test[model][on_both][:, columns]
        on_threshold_sample[name] = run.scored.on_threshold_sample[model][:, columns]
        deciding[name] = _threshold_sample(run)
        found = run.results.models[model]
        points = tuple(_of_run(run, point) for point in found.working_points if _comparable(run, other, point))
        results[name] = replace(found, name=name, working_points=points)
    return find_differences(on_test, sample, on_threshold_sample, deciding, results)


def _of_run(run: Finished[Results], point: WorkingPoint) -> WorkingPoint:
    """Returns the point with the names that the run's own spectators have in the sample of a comparison."""
    if point.flat is None:
        return point
    return replace(point, flat=replace(point.flat, names=tuple(_own(run, name) for name in point.flat.names)))


def as_json(runs: Runs, pairs: Sequence[Pair[Any]]) -> str:
    """Returns the comparison for machines: each run's models with their numbers on test, and every pair."""
    models = {run.name: {name: _numbers(m) for name, m in run.results.models.items()} for run in runs}
    return json.dumps({"schema": 1, "runs": models, "pairs": json_value(list(pairs))}, indent=1, allow_nan=False)


def is_comparison(path: Path) -> bool:
    """Returns whether a file is one that `as_json` made."""
    try:
        return read_json(path).keys() == {"schema", "runs", "pairs"}
    except (OSError, ModelError):
        return False


def _numbers(model: ModelResult | RegressionModel) -> object:
    if isinstance(model, RegressionModel):
        return json_value(model.test)
    return {"auc": json_value(model.samples["test"].auc), "working_points": json_value(model.working_points)}
