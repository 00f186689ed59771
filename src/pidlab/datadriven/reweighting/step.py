"""The step of a run that makes its classes alike: fits the weights on training events, and gives them to all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Reweight, ReweightTarget
from pidlab.datadriven.reweighting.balance import balanced, weight_replicas
from pidlab.datadriven.reweighting.measure import Rows, measured_group, sentences
from pidlab.datadriven.reweighting.ratio import Weighted, bin_ratio, equal_populations, tree_ratio
from pidlab.datadriven.reweighting.reweighter import Fit, Group, Reweighter, fitted_ratios, out_of_fold
from pidlab.datadriven.reweighting.target import read_target
from pidlab.errors import DataError
from pidlab.evaluate.results import Reweighting
from pidlab.measured import Array
from pidlab.preprocess.events import Input
from pidlab.preprocess.precision import MERGED, merged_share, unresolved
from pidlab.preprocess.recipe import Recipe
from pidlab.progress import Watcher
from pidlab.sample import BoolArray, FloatArray, Sample, WeightReplicas
from pidlab.split import Part, Parts, fold_of, split

_TEST_SHARE = 0.25  # of the target's events, where the configuration says by an expression which events are test


@dataclass(frozen=True, slots=True)
class Reweighted:
    """The weights of the events of a run.

    Attributes:
        reweighter: gives weights to any rows.
        factor: (n,) by which the weight of each row of the sample is multiplied; 1 for classes that keep theirs.
        result: what the weights do.
        inputs: the files of the target; empty if it is a class.
    """

    reweighter: Reweighter
    factor: Array
    result: Reweighting
    inputs: tuple[Input, ...]

    def applied(self, sample: Sample, purpose: str) -> Sample:
        """Returns the sample with the weights for "training" or "evaluation", which has their replicas too."""
        if self.result.used_for not in (purpose, "both"):
            return sample
        replicas = None if purpose == "training" else replicas_of(self.reweighter, sample)
        return replace(sample, weight=sample.weight * self.factor, weight_replicas=replicas)


def replicas_of(reweighter: Reweighter, sample: Sample) -> WeightReplicas | None:
    """Returns the replicas of the weights of a sample; None if the run was made by a version without them.

    Candidates of classes that keep their weights share a cell, in which all factors are 1.
    """
    z = matched_variables(sample, reweighter.match)
    cell, tables, n_cells = np.zeros(len(sample), np.int32), list[FloatArray](), 1
    directions, steps = list[NDArray[np.float32]](), list[FloatArray]()
    for i, group in enumerate(reweighter.groups):
        own = np.flatnonzero(_belongs(sample, group.classes))
        found = weight_replicas(group.factors, z[own], group.ratios, group.shapes, reweighter.seed + i)
        if found is None:
            return None
        cell[own] = n_cells + found.cell
        tables.append(found.factors)
        n_cells += found.factors.shape[1]
        if len(found.directions):
            # Classes are fitted apart from each other, so that each has directions and steps of its own.
            directions.append(np.zeros((len(found.directions), len(sample)), np.float32))
            directions[-1][:, own] = found.directions
            steps.append(found.steps)
    if not tables:
        return None
    factors = np.concatenate([np.ones((len(tables[0]), 1)), *tables], axis=1)
    if not directions:
        return WeightReplicas(factors, cell)
    return WeightReplicas(factors, cell, np.concatenate(directions), np.concatenate(steps, axis=1))


def matched_variables(sample: Sample, match: tuple[str, ...]) -> FloatArray:
    """Returns (n, d) float64, the matched variables of a sample, which are among its spectators."""
    return np.column_stack([np.asarray(sample.spectators[name], np.float64) for name in match])


def reweight(
    recipe: Recipe,
    sample: Sample,
    parts: Parts,
    watcher: Watcher,
    *,
    n_jobs: int | None = None,
    reweighter: Reweighter | None = None,
) -> Reweighted:
    """Returns the weights of the section `reweight` for all rows of a sample, and measures what they do.

    Args:
        recipe: the recipe, whose configuration has the section.
        sample: all rows.
        parts: what each is for.
        watcher: is told of the progress, and gets the sentences.
        n_jobs: threads; None for as many as are of use.
        reweighter: that of a finished run; None to fit one.

    Raises:
        ConfigError: an expression does not fit the branches of the target.
        DataError: the target cannot be read, float32 cannot resolve a variable, or a sample has no positive sum of
            weights.
    """
    asked, seed = recipe.loaded.config.reweight, recipe.loaded.config.seed
    assert asked is not None
    samples = _Samples.of(recipe, asked, sample, parts, watcher)
    if reweighter is None:
        reweighter = _fitted(recipe, asked, samples, watcher, n_jobs)
    factor = np.ones(len(sample))
    found = []
    for group in reweighter.groups:
        own = _belongs(sample, group.classes)
        source = _taken(samples.rows, own)
        factor[own] = reweighter.weights(group, source.rows.z, source.event)
        about = group.name, group.classes, reweighter.match
        with watcher.task("measuring the weights", 0):
            found.append(
                measured_group(*about, source, samples.target, factor[own], group.ratios, seed=seed, n_jobs=n_jobs)
            )
    result = Reweighting(reweighter.match, samples.target_name, asked.method, asked.used_for, tuple(found))
    for sentence in sentences(result):
        watcher.note(sentence)
    if asked.used_for != "training" and any(group.factors for group in reweighter.groups):
        rates = "efficiencies, misidentification rates, purities, accuracies, maps, ROC curves and AUC"
        what = rates if recipe.target is None else "all numbers"
        watcher.note(
            f"The intervals of {what} on test, and of comparisons, include the statistical error of these weights."
        )
    return Reweighted(reweighter, factor, result, samples.inputs)


def training_weighted(recipe: Recipe, sample: Sample, parts: Parts, watcher: Watcher) -> Sample:
    """Returns the sample with the weights of training, as `reweight` gives them, and measures nothing.

    Raises:
        ConfigError, DataError: as `reweight`.
    """
    asked = recipe.loaded.config.reweight
    if asked is None or asked.used_for == "evaluation":
        return sample
    samples = _Samples.of(recipe, asked, sample, parts, watcher)
    reweighter = _fitted(recipe, asked, samples, watcher, None)
    weight = sample.weight.copy()
    for group in reweighter.groups:
        own = _belongs(sample, group.classes)
        weight[own] *= reweighter.weights(group, samples.rows.rows.z[own], sample.event[own])
    return replace(sample, weight=weight)


@dataclass(frozen=True, slots=True)
class _Samples:
    """What ratios are fitted to.

    Attributes:
        sample: all rows of the run; `rows` are the same as they are measured.
        target: the rows to which classes are made alike, called `target_name` in sentences, read from `inputs`.
        n_folds: of the fits.
        seed: of the division into folds, and of replicas.
    """

    sample: Sample
    rows: Rows
    target: Rows
    target_name: str
    inputs: tuple[Input, ...]
    n_folds: int
    seed: int

    @classmethod
    def of(cls, recipe: Recipe, asked: Reweight, sample: Sample, parts: Parts, watcher: Watcher) -> _Samples:
        """Returns the rows of a run and of its target, which is read if it has files of its own.

        Raises:
            ConfigError, DataError: as `reweight`.
        """
        config = recipe.loaded.config
        n_folds = config.folds or asked.folds
        fold = fold_of(sample.event, n_folds, config.split.seed).astype(np.int64)
        variables = Weighted(matched_variables(sample, tuple(asked.match)), sample.weight)
        rows = Rows(variables, sample.event, fold, *_trained(parts))
        target, inputs, name = _target(recipe, asked, sample, rows, n_folds, watcher)
        _check_precision(asked, rows, target)
        return cls(sample, rows, target, name, inputs, n_folds, config.split.seed)


def _check_precision(asked: Reweight, rows: Rows, target: Rows) -> None:
    """Checks that float32, in which trees fit ratios and tell what is left to mend, resolves the matched variables.

    Raises:
        DataError: it makes different values of one the same.
    """
    for j, text in enumerate(asked.match):
        values = np.concatenate([rows.rows.z[:, j], target.rows.z[:, j]])
        if (share := merged_share(values)) > MERGED:
            raise DataError(unresolved(f"reweight.match: {text!r}", "trees compute", share, text, values))


def _fitted(recipe: Recipe, asked: Reweight, samples: _Samples, watcher: Watcher, n_jobs: int | None) -> Reweighter:
    """Returns the ratios of all groups of classes, fitted."""
    config, classes_of = recipe.loaded.config, _classes(asked, samples.sample)
    fit, groups = _fit(asked, samples.target, seed=config.seed, n_jobs=n_jobs), []
    with watcher.task("reweighting", len(classes_of)) as task:
        for name, classes in classes_of.items():
            groups.append(_group(name, classes, samples, fit))
            task.advance()
    to = asked.to if isinstance(asked.to, str) else ""
    return Reweighter(tuple(asked.match), tuple(groups), config.split.seed, asked.method, to)


def _trained(parts: Parts) -> tuple[BoolArray, BoolArray]:
    """Returns (n,) whether each row trains weights, and whether it is measured; with folds all rows do both."""
    if parts.fold is not None:
        return ~parts.validation, np.ones(len(parts.part), bool)
    return parts.part == Part.TRAIN, parts.part == Part.TEST


def _classes(asked: Reweight, sample: Sample) -> dict[str, tuple[str, ...]]:
    """Returns the name of each group to its classes: one for each class, or one of all, named "", for files."""
    chosen = tuple(name for name in asked.classes or sample.classes if name != asked.to)
    return {name: (name,) for name in chosen} if isinstance(asked.to, str) else {"": chosen}


def _belongs(sample: Sample, classes: tuple[str, ...]) -> BoolArray:
    return np.isin(sample.y, [sample.classes.index(name) for name in classes])


def _taken(rows: Rows, chosen: BoolArray) -> Rows:
    values, event, fold, trains, tests = rows
    return Rows(values.take(chosen), event[chosen], fold[chosen], trains[chosen], tests[chosen])


def _target(
    recipe: Recipe, asked: Reweight, sample: Sample, rows: Rows, n_folds: int, watcher: Watcher
) -> tuple[Rows, tuple[Input, ...], str]:
    """Returns the rows of the target, the files that were read for it, and its name in sentences."""
    if isinstance(asked.to, str):
        return _taken(rows, _belongs(sample, (asked.to,))), (), asked.to
    assert isinstance(asked.to, ReweightTarget)
    located = dict(recipe.spectators)
    read = read_target(recipe, asked.to, [located[name] for name in asked.match], watcher)
    config = recipe.loaded.config
    fold = fold_of(read.event, n_folds, config.split.seed).astype(np.int64)
    if config.folds:
        every = np.ones(len(fold), bool)
        trains, tests = every, every
    else:
        share = config.split.test if isinstance(config.split.test, float) else _TEST_SHARE
        is_test = split(read.event, share, 0.0, config.split.seed) == Part.TEST
        trains, tests = ~is_test, is_test
    name = "the target" if recipe.target is None else "the files of reweight"  # the target is what is predicted
    return Rows(read.rows, read.event, fold, trains, tests), read.inputs, name


def _fit(asked: Reweight, target: Rows, *, seed: int, n_jobs: int | None) -> Fit:
    """Returns the function that fits one ratio."""
    if asked.method == "classifier":
        return lambda a, b, held_a, held_b, k: tree_ratio(a, b, held_a, held_b, seed=seed + k, n_jobs=n_jobs)
    edges = _edges(asked, target)
    return lambda a, b, _, __, ___: bin_ratio(a, b, edges)


def _edges(asked: Reweight, target: Rows) -> list[NDArray[np.float64]]:
    """Returns the edges of the bins of each variable; bins of equal population hold as much of the target each."""
    found = []
    for j, name in enumerate(asked.match):
        stated = asked.bins.get(name, 20) if isinstance(asked.bins, Mapping) else asked.bins
        if isinstance(stated, list):
            found.append(np.array(stated, np.float64))
        else:
            found.append(equal_populations(target.rows.z[target.trains, j], stated))
    return found


def _group(name: str, classes: tuple[str, ...], samples: _Samples, fit: Fit) -> Group:
    """Returns the fitted ratios of one group of classes.

    Raises:
        DataError: the sum of weights of the group or of the target is not positive.
    """
    rows, target, n_folds = samples.rows, samples.target, samples.n_folds
    own = _taken(rows, _belongs(samples.sample, classes) & rows.trains)
    wanted = _taken(target, target.trains)
    for what, each in ((name or "the classes", own), ("the target", wanted)):
        for k in range(n_folds):
            if not each.rows.weight[each.fold != k].sum() > 0:
                raise DataError(
                    f"reweight: the weights of the training events of {what} do not have a positive sum without fold "
                    f"{k}; give more events, or fewer folds"
                )
    ratios = fitted_ratios(own.rows, wanted.rows, own.fold, wanted.fold, n_folds, fit)
    unbalanced = out_of_fold(ratios, own.rows.z, own.fold)
    events = own.event, wanted.event
    ratios, factors, shapes = balanced(ratios, own.rows, wanted.rows, unbalanced, events, samples.seed)
    new = own.rows.weight * out_of_fold(ratios, own.rows.z, own.fold)
    if not new.sum() > 0:
        raise DataError(
            f"reweight: {name or 'no class'} has no training event where the target has any; look at "
            f"{', '.join(classes)} and at the target in the matched variables"
        )
    return Group(name, classes, ratios, float(own.rows.weight.sum() / new.sum()), factors, shapes)
