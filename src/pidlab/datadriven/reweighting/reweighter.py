"""Reweighter: for each group of classes a density ratio, fitted in folds, and the weights that it gives to rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.datadriven.reweighting.balance import Factors
from pidlab.datadriven.reweighting.ratio import BinRatio, Ratio, TreeRatio, Weighted
from pidlab.errors import ModelError
from pidlab.jsonfile import read_json, write_json
from pidlab.measured import Array
from pidlab.sample import BoolArray, FloatArray, IntArray
from pidlab.split import Keys, fold_of

FILE = "reweighting.json"
FOLDER = "reweighting"
SCHEMA = 1
BRANCH = "pid_weight"
"""The branch of weights in friend trees; the weight for one class is called so with the class behind it."""


@dataclass(frozen=True, slots=True)
class Group:
    """The classes that share a density ratio.

    Attributes:
        name: the class; empty if all classes that are reweighted share one ratio.
        classes: the names of its classes.
        ratios: one for each fold.
        scale: the factor that keeps the sum of weights of the training events.
        factors: those of the weights' replicas, which tell their statistical error; empty in runs of older versions.
        shapes: factors of each fold, which tell the error of the trees' shape; empty for bins and in older runs.
    """

    name: str
    classes: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    scale: float
    factors: tuple[Factors, ...] = ()
    shapes: tuple[Factors, ...] = ()

    @property
    def branch(self) -> str:
        """The branch of its weights in friend trees."""
        return f"{BRANCH}_{self.name}" if self.name else BRANCH


@dataclass(frozen=True, slots=True)
class Reweighter:
    """The weights of a run.

    Attributes:
        match: the d expressions in which the samples are made alike.
        groups: those that are reweighted; other classes keep their weights.
        seed: the seed of the division into folds.
        method: classifier or bins.
        target: the class, or "" for files of their own.
    """

    match: tuple[str, ...]
    groups: tuple[Group, ...]
    seed: int
    method: str
    target: str

    @property
    def branches(self) -> dict[str, Group]:
        """Branch of friend trees to the group whose weights it holds."""
        return {group.branch: group for group in self.groups}

    def weights(self, group: Group, z: FloatArray, event: Keys | None = None, known: BoolArray | None = None) -> Array:
        """Returns the weight (n,) of each row if it belonged to a class of `group`.

        Args:
            group: one of `groups`.
            z: (n, d) the matched variables.
            event: (n,) hashes of the events, by which a row takes the ratio that was fitted without it; None if no row
                is of the run.
            known: (n,) whether a row is of the run; None if all are. Other rows take the mean over the folds.
        """
        n_folds = len(group.ratios)
        fold: IntArray = np.full(len(z), -1)
        if event is not None and n_folds > 1:
            fold = fold_of(event, n_folds, self.seed)
            fold = fold if known is None else np.where(known, fold, -1)
        return out_of_fold(group.ratios, z, fold) * group.scale

    def save(self, run: Path) -> None:
        """Writes the folder `reweighting` of a run."""
        folder = run / FOLDER
        folder.mkdir()
        groups = []
        for i, group in enumerate(self.groups):
            folds = [ratio.save(folder, f"{i}_{k}") for k, ratio in enumerate(group.ratios)]
            content = {"name": group.name, "classes": list(group.classes), "scale": group.scale, "folds": folds}
            if isinstance(ratio := group.ratios[0], BinRatio):
                content["edges"] = [edges.tolist() for edges in ratio.edges]
            content["replicas"] = [_saved(each) for each in group.factors]
            content["shapes"] = [_saved(each) for each in group.shapes]
            groups.append(content)
        about = {"schema": SCHEMA, "match": list(self.match), "method": self.method, "target": self.target}
        write_json(folder / FILE, about | {"seed": self.seed, "groups": groups})


def load_reweighter(run: Path) -> Reweighter:
    """Returns the reweighter that a run saved.

    Raises:
        ModelError: its files are damaged.
    """
    folder = run / FOLDER
    content = read_json(folder / FILE)
    if content.get("schema") != SCHEMA:
        raise ModelError(f"{folder / FILE}: written by another version of pidlab; make the run again")
    try:
        groups = []
        for i, each in enumerate(content["groups"]):
            ratios: tuple[Ratio, ...] = tuple(
                TreeRatio.load(folder, f"{i}_{k}", fold) if content["method"] == "classifier" else _bins(each, fold)
                for k, fold in enumerate(each["folds"])
            )
            factors, shapes = (
                tuple(_factors(one, len(content["match"])) for one in each.get(key, ()))
                for key in ("replicas", "shapes")
            )
            if any(len(one.values) != len(ratios) for one in shapes):
                raise ValueError("the factors of the folds are not as many as folds")
            name, classes = str(each["name"]), tuple(map(str, each["classes"]))
            groups.append(Group(name, classes, ratios, float(each["scale"]), factors, shapes))
        match = tuple(map(str, content["match"]))
        return Reweighter(match, tuple(groups), int(content["seed"]), str(content["method"]), str(content["target"]))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / FILE}: is damaged ({error}); copy the folder of the run again") from error


def _saved(factors: Factors) -> dict[str, Any]:
    """Returns the factors in types of JSON, the outermost edges as text where they are infinite."""
    edges = [[each if np.isfinite(each) else str(each) for each in own.tolist()] for own in factors.edges]
    values = factors.values.astype(np.float32).tolist()  # they tell an error, of which a few digits are known
    return {"columns": list(factors.columns), "edges": edges, "values": values}


def _factors(content: Mapping[str, Any], n_variables: int) -> Factors:
    columns = tuple(map(int, content["columns"]))
    edges = tuple(np.array([float(each) for each in own]) for own in content["edges"])
    values = np.array(content["values"], np.float64)
    if values.shape[1:] != tuple(map(len, edges)) or len(columns) != len(edges) or not (values >= 0).all():
        raise ValueError("the factors of the replicas do not fit their edges")
    if not all(0 <= column < n_variables for column in columns):
        raise ValueError("the factors of the replicas are of variables that there are not")
    return Factors(columns, edges, values)


def _bins(group: Mapping[str, Any], fold: Mapping[str, Any]) -> Ratio:
    edges = tuple(np.array(each, np.float64) for each in group["edges"])
    values = np.array(fold["values"], np.float64)
    if values.shape != tuple(map(len, edges)) or not (values >= 0).all():
        raise ValueError("the weights of the bins do not fit their edges")
    return BinRatio(edges, values)


Fit = Callable[[Weighted, Weighted, Weighted, Weighted, int], Ratio]
"""Fits the ratio of two training samples, given rows of both that are held out, and the number of the fold."""


def fitted_ratios(
    source: Weighted, target: Weighted, fold: IntArray, target_fold: IntArray, n_folds: int, fit: Fit
) -> tuple[Ratio, ...]:
    """Returns a ratio for each fold, fitted on the rows of all others.

    Args:
        source, target: the training events.
        fold, target_fold: (n,) the fold of each of their rows.
        n_folds: how many there are.
        fit: fits one ratio.
    """
    found = []
    for k in range(n_folds):
        here, there = fold == k, target_fold == k
        found.append(fit(source.take(~here), target.take(~there), source.take(here), target.take(there), k))
    return tuple(found)


def out_of_fold(ratios: Sequence[Ratio], z: FloatArray, fold: IntArray) -> Array:
    """Returns the ratio (n,) of each row by the fit that did not see it; of fold -1, the mean of all fits."""
    result = np.empty(len(z))
    for k in np.unique(fold):
        rows = np.flatnonzero(fold == k)
        result[rows] = np.mean([ratio(z[rows]) for ratio in (ratios if k < 0 else (ratios[k],))], axis=0)
    return result
