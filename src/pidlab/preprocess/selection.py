"""Selection: the named cuts of a recipe on a chunk, and the cut flow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.results import CutStep
from pidlab.expressions import selects
from pidlab.preprocess.features import values_of
from pidlab.preprocess.recipe import BestRule, Recipe
from pidlab.read import Chunk
from pidlab.sample import BoolArray, IntArray


def cut_masks(recipe: Recipe, chunk: Chunk) -> list[BoolArray]:
    """Returns (n,) for "all" and each of the recipe's steps, true if the row passes this one and all before it.

    The chunk must hold all candidates of its events, among which the best one is chosen.
    """
    masks = _passed(recipe, chunk)
    return masks if recipe.best is None else [*masks, _best(recipe.best, chunk, masks[-1])]


def _passed(recipe: Recipe, chunk: Chunk) -> list[BoolArray]:
    """Returns (n,) true for all rows, and for each cut true if the row passes this cut and all before it."""
    masks = [np.ones(chunk.n_rows, bool)]
    for _, located in recipe.selection:
        masks.append(selects(located.expression, chunk.arrays, chunk.n_rows) & masks[-1])
    return masks


def _best(rule: BestRule, chunk: Chunk, passed: BoolArray) -> BoolArray:
    """Returns (n,) true for the one of the rows that `passed` in each entry with the best value, the first of equals.

    A row whose value is missing is not chosen.
    """
    values = values_of(rule.by, chunk)
    rows = np.flatnonzero(passed & ~np.isnan(values))
    entry = chunk.entry[rows]
    order = np.lexsort((-values[rows] if rule.is_largest else values[rows], entry))  # stable: the first of equals
    is_first = np.append(True, np.diff(entry[order]) != 0)[: len(rows)]
    chosen = np.zeros(chunk.n_rows, bool)
    chosen[rows[order[is_first]]] = True
    return chosen


def passes_cuts(recipe: Recipe, chunk: Chunk) -> BoolArray:
    """Returns (n,) true if the row passes all cuts, whether or not it is the best candidate of its event."""
    return _passed(recipe, chunk)[-1]


def selected(recipe: Recipe, chunk: Chunk) -> BoolArray:
    """Returns (n,) true if the row passes the whole selection; `chunk` as for `cut_masks`."""
    return cut_masks(recipe, chunk)[-1]


class CutFlow:
    """Numbers and sums of weights by cut (rows) and class (columns); chunks are added with `fill`."""

    def __init__(self, names: tuple[str, ...], classes: tuple[str, ...]) -> None:
        self.names, self.classes = names, classes
        self.n = np.zeros((len(names), len(classes)), np.int64)
        self.weight = np.zeros(self.n.shape)

    def fill(self, y: IntArray, weight: NDArray[np.float64], masks: Sequence[BoolArray]) -> None:
        """Counts the rows of each of `masks` by class `y` (n,), -1 for rows of no class."""
        for step, passed in enumerate(masks):
            mask = passed & (y >= 0)
            self.n[step] += np.bincount(y[mask], minlength=len(self.classes))
            self.weight[step] += np.bincount(y[mask], weights=weight[mask], minlength=len(self.classes))

    def steps(self) -> tuple[CutStep, ...]:
        """Returns the cut flow as results."""
        return tuple(
            CutStep(
                name,
                {c: int(n) for c, n in zip(self.classes, self.n[i], strict=True)},
                {c: float(w) for c, w in zip(self.classes, self.weight[i], strict=True)},
            )
            for i, name in enumerate(self.names)
        )
