"""Finished regressions side by side: paired differences of their residuals on the events that both tested."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pidlab.evaluate.regression.compare import ResidualDifferences, find_residual_differences
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.results import RegressionComparison, RegressionResults
from pidlab.runs.shared_events import (
    FEWEST_SHARED,
    Finished,
    Pair,
    models_to_compare,
    positions_of_same,
)
from pidlab.sample import IntArray, Sample

_ALIKE = 1e-6
"""The relative difference below which two targets are one: a branch of single precision and an expression of it."""


def pair_of_regressions(
    a: Finished[RegressionResults], b: Finished[RegressionResults]
) -> tuple[Pair[RegressionComparison], list[ResidualDifferences]]:
    """Returns two runs and the differences between their models, before these are judged."""
    positions = positions_of_same(a.scored, b.scored, (a.scored.test, b.scored.test))
    ours, theirs = (_sample(run, own).target for run, own in zip((a, b), positions, strict=True))
    assert ours is not None
    assert theirs is not None
    same = np.isclose(ours, theirs, rtol=_ALIKE, atol=0)
    n_shared, n_other = int(same.sum()), int((~same).sum())
    if n_other > n_shared:
        both = f"{a.name} predicts {a.results.target} and {b.name} {b.results.target}"
        said = f"not comparable: {both}, which differ for {n_other:,} of {len(same):,} test candidates in common"
        return Pair(a.name, b.name, n_shared, (), said), []
    if n_shared < FEWEST_SHARED:
        return Pair(a.name, b.name, n_shared, (), "too few test events in common for a paired comparison"), []
    mine, other = positions[0][same], positions[1][same]
    targets, found = Targets.of(_sample(a, mine)), []
    for model, another in models_to_compare(a.results, b.results):
        predicted = [Predicted.of(_prediction(*each), targets) for each in ((a, model, mine), (b, another, other))]
        found.append(find_residual_differences((f"{a.name}:{model}", f"{b.name}:{another}"), *predicted))
    return Pair(a.name, b.name, n_shared, (), "; ".join(_notes(a, b, n_other))), found


def _sample(run: Finished[RegressionResults], own: IntArray) -> Sample:
    """Returns some test candidates of a run."""
    return run.scored.sample.take(run.scored.test[own])


def _prediction(run: Finished[RegressionResults], model: str, own: IntArray) -> Prediction:
    """Returns what a model predicts for some test candidates, with its width if the run kept one."""
    width = run.scored.widths_on_test.get(model)
    return Prediction(run.scored.on_test[model][own, 0], None if width is None else width[own])


def _notes(a: Finished[RegressionResults], b: Finished[RegressionResults], n_other: int) -> Iterator[str]:
    """Yields what is left out: candidates that are not the same, and log-likelihoods of runs that kept no widths."""
    if n_other:
        # Where the runs select other candidates of an event, the first of one run is not the first of the other.
        yield f"{n_other:,} candidates in the same place of an event have another target and are left out"
    with_width = {run.name: {m.name for m in run.results.models.values() if m.test.pulls is not None} for run in (a, b)}
    old = [run.name for run in (a, b) if with_width[run.name] - run.scored.widths_on_test.keys()]
    if old:
        yield f"log-likelihoods are left out: {' and '.join(old)} did not keep the widths; make that run again"
