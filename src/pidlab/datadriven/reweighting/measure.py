"""Measures what weights do: effective events, distributions, support, and whether samples can still be told apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pidlab.datadriven.reweighting.ratio import Ratio, Support, Weighted, classifier, margins
from pidlab.evaluate.histograms import histogram, robust_edges
from pidlab.evaluate.intervals import effective_number
from pidlab.evaluate.ranking import auc
from pidlab.evaluate.results import ReweightedGroup, Reweighting
from pidlab.measured import UNDEFINED, Array, Measured, format_compact, format_number
from pidlab.sample import BoolArray, IntArray
from pidlab.split import Keys

_BINS = 40
_LEAST_NAMED = 5e-4  # a share that is .1 % when it is rounded
_CERTAIN = 2.0  # standard deviations from which on a difference is shown


class Rows(NamedTuple):
    """Rows of a sample as they are measured.

    Attributes:
        rows: the matched variables, and the weights before anything is made alike.
        event: (n,) hashes of the events.
        fold: (n,) the fold whose ratio was fitted without the row.
        trains: (n,) whether the row trains ratios.
        tests: (n,) whether it is measured; it may train ratios of other folds, but not that of its own.
    """

    rows: Weighted
    event: Keys
    fold: IntArray
    trains: BoolArray
    tests: BoolArray

    def weighted(self, rows: BoolArray, factor: Array | None = None) -> Weighted:
        """Returns some of the rows, whose weights are multiplied by their factor (n,)."""
        found = self.rows.take(rows)
        return found if factor is None else Weighted(found.z, found.weight * factor[rows])


def measured_group(
    name: str,
    classes: Sequence[str],
    match: Sequence[str],
    source: Rows,
    target: Rows,
    factor: Array,
    ratios: Sequence[Ratio],
    *,
    seed: int,
    n_jobs: int | None,
) -> ReweightedGroup:
    """Returns what the weights `factor` (n,) of the rows of `source` do.

    Args:
        name, classes: the name and classes of the group.
        match: the names of the variables.
        source, target: all rows of both.
        factor: (n,) the new weights of `source`, by which its weights are multiplied.
        ratios: the ratios of the folds, whose differences tell the statistical error of the weights.
        seed, n_jobs: the seed and number of threads of the classifier.
    """
    tests, there = source.tests, target.tests
    before, after, wanted = source.weighted(tests), source.weighted(tests, factor), target.weighted(there)
    size = np.abs(before.weight)
    mean = float(np.average(factor[tests], weights=size)) if size.sum() > 0 else math.nan
    relative = factor[tests] / mean
    support = Support.of(source.weighted(source.trains))
    beyond = np.abs(wanted.weight[~support.holds(wanted.z)]).sum()
    variables = {}
    for j, each in enumerate(match):
        edges = robust_edges(np.concatenate([before.z[:, j], wanted.z[:, j]]), _BINS)
        samples = {"target": wanted, "before": before, "after": after}
        variables[each] = {key: histogram(rows.z[:, j], rows.weight, edges) for key, rows in samples.items()}
    largest = float(relative.max(initial=0.0))
    return ReweightedGroup(
        name=name,
        classes=tuple(classes),
        n=int(tests.sum()),
        effective_before=effective_number(before.weight),
        effective_after=effective_number(after.weight),
        largest=largest,
        no_support=_share(size[factor[tests] == 0].sum(), size.sum()),
        out_of_reach=_share(beyond, np.abs(wanted.weight).sum()),
        missing=int(np.isnan(before.z).any(axis=1).sum()),
        auc_before=separation(source, target, None, (), seed=seed, n_jobs=n_jobs),
        auc_after=separation(source, target, factor, ratios, seed=seed, n_jobs=n_jobs),
        variables=variables,
        weights=histogram(relative, np.ones(len(relative)), np.linspace(0.0, max(largest, 1.0), _BINS + 1)),
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else math.nan


def separation(
    source: Rows, target: Rows, factor: Array | None, ratios: Sequence[Ratio], *, seed: int, n_jobs: int | None
) -> Measured:
    """Returns the AUC of a classifier that tells `target` from `source`, of weights times `factor`, on test rows.

    It is trained on the training rows, of which the last fold decides how many trees there are; test rows that train it
    too are those of the first fold alone, which it then does not see. Its interval is that of the test rows. Where the
    weights come from `ratios` of several folds, their statistical error is added in quadrature: that of a jackknife
    over the folds (F. M. Busing, E. Meijer, R. van der Leeden, Statistics and Computing 9 (1999) 3), each of which
    weighs all test rows.
    """
    n_folds = int(max(source.fold.max(initial=0), target.fold.max(initial=0))) + 1
    parts = []
    for each in (source, target):
        unseen = each.tests & (~each.trains | (each.fold == 0))
        learns = each.trains & ~unseen
        holds = each.fold == n_folds - 1
        parts.append((learns & ~holds, learns & holds, unseen))
    (fit, held, test), (target_fit, target_held, target_test) = parts
    booster = classifier(
        source.weighted(fit, factor),
        target.weighted(target_fit),
        source.weighted(held, factor),
        target.weighted(target_held),
        seed=seed,
        n_jobs=n_jobs,
    )
    own, wanted = source.weighted(test, factor), target.weighted(target_test)
    score = np.concatenate([margins(booster, own.z), margins(booster, wanted.z)]).astype(np.float32)
    is_target = np.repeat([False, True], [len(own.z), len(wanted.z)])
    groups = _groups(np.concatenate([source.event[test], target.event[target_test]]))
    found = auc(score, is_target, np.concatenate([own.weight, wanted.weight]), groups)
    if len(ratios) < 2 or not math.isfinite(found.value):
        return found
    unweighted = source.weighted(test)
    areas = []
    for ratio in ratios:
        weight = np.concatenate([unweighted.weight * ratio(unweighted.z), wanted.weight])
        areas.append(auc(score, is_target, weight, groups).value)
    k = len(ratios)
    jackknife = math.sqrt((k - 1) / k * float(((np.array(areas) - np.mean(areas)) ** 2).sum()))
    low, high = (math.hypot(side, jackknife) for side in (found.value - found.low, found.high - found.value))
    return Measured(found.value, found.value - low, found.value + high, found.n)


def _groups(event: Keys) -> IntArray | None:
    """Returns the number (n,) of each row's event; None if no two rows share one."""
    unique, number = np.unique(event, return_inverse=True)
    return None if len(unique) == len(event) else number


def sentences(found: Reweighting) -> Iterator[str]:
    """Yields what every reader of the results must know of the weights."""
    variables = _listed(found.match)
    for group in found.groups:
        name = group.name or _listed(group.classes)
        verb = "is" if len(group.classes) == 1 else "are"
        kept = group.effective_after / group.effective_before if group.effective_before > 0 else math.nan
        for_what = {"both": "training and evaluation", "training": "training only", "evaluation": "evaluation only"}
        yield (
            f"Reweighted in {variables}, for {for_what[found.used_for]}: {name} {verb} made like {found.target}. Of "
            f"{group.effective_before:,.0f} effective events {group.effective_after:,.0f} are left ({kept:.0%}); the "
            f"largest weight is {format_number(group.largest, 3)} times the mean. A classifier tells them from "
            f"{found.target} with an AUC of {_shown(group.auc_before)} before and {_shown(group.auc_after)} after "
            "(0.5: not at all), on events that trained neither."
        )
        if group.no_support >= _LEAST_NAMED:
            yield (
                f"{group.no_support:.1%} of {name} lies where {found.target} has no events in {variables}: its weight "
                "is 0."
            )
        if group.out_of_reach >= _LEAST_NAMED:
            yield (
                f"{group.out_of_reach:.1%} of {found.target} lies where {name} has no events in {variables}, which no "
                "weight can mend: narrow the selection to where both are."
            )
        if group.missing:
            yield (
                f"{group.missing:,} of the {group.n:,} events of {name} that are measured lack one of {variables} "
                f"(NaN): they count as a value of its own, by how many of {found.target} lack it, or get weight 0 if "
                "none do."
            )
        error = group.auc_after.value - group.auc_after.low
        if group.auc_after.value - 0.5 > _CERTAIN * error:
            advice = "take narrower bins, or method: classifier" if found.method == "bins" else "give more events"
            yield (
                f"After the weights {name} and {found.target} are still told apart in {variables}: {advice}, or narrow "
                "the selection to where both are."
            )


def _shown(area: Measured) -> str:
    return "–" if area == UNDEFINED else format_compact(area)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
