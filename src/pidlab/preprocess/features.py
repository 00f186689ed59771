"""Features: the columns that models and the evaluation read, computed from the selected rows of a chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import ExpressionModel, Feature
from pidlab.errors import DataError
from pidlab.expressions import branch_of, evaluate, selects
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.read import Chunk
from pidlab.sample import IntArray, Sample
from pidlab.split import Keys, event_hash, name_hash


def values_of(located: LocatedExpression, chunk: Chunk) -> NDArray[np.float64]:
    """Returns (n,) float64, the value of the expression in each row."""
    return np.asarray(evaluate(located.expression, chunk.arrays, chunk.n_rows), np.float64)


def refuse_infinite(weight: NDArray[np.float64], entry: IntArray, what: str) -> None:
    """Refuses weights (n,) of rows of these entries if one is not finite; `what` is the place and the weight.

    Raises:
        DataError: one is not.
    """
    bad = np.flatnonzero(~np.isfinite(weight))
    if len(bad):
        raise DataError(f"{what} is {weight[bad[0]]} in entry {entry[bad[0]]:,}; weights must be finite")


def missing_values(feature: Feature) -> tuple[float, ...]:
    """Returns the values that mean "missing": the codes, and each code rounded to float32, as a branch may hold it.

    For example, no float32 is -999.9, and a float32 branch that is filled with it holds -999.9000244140625.
    """
    with np.errstate(over="ignore"):
        singles = [float(np.float32(code)) for code in feature.missing]
    return tuple(dict.fromkeys([*map(float, feature.missing), *(v for v in singles if np.isfinite(v))]))


def feature_columns(recipe: Recipe, chunk: Chunk) -> list[NDArray[np.float64]]:
    """Returns d + c arrays (n,) float64: the features, NaN where the value is one of the feature's `missing`, and the
    conditions, 1 where they hold and 0 elsewhere."""
    columns = []
    for feature, located in recipe.features:
        values = evaluate(located.expression, chunk.arrays, chunk.n_rows)
        codes = missing_values(feature)
        absent = [np.equal(values, code) for code in codes]
        column = np.asarray(values, np.float64)
        columns.append(np.where(np.logical_or.reduce(absent), np.nan, column) if codes else column)
    for _, located in recipe.conditions:
        columns.append(selects(located.expression, chunk.arrays, chunk.n_rows).astype(np.float64))
    return columns


def feature_matrix(recipe: Recipe, chunk: Chunk) -> NDArray[np.float32]:
    """Returns (n, d + c) float32, the features and the conditions; NaN where a value is missing or not finite."""
    return single_matrix(feature_columns(recipe, chunk), chunk.n_rows)


def single_matrix(columns: Sequence[NDArray[np.float64]], n: int) -> NDArray[np.float32]:
    """Returns (n, d) float32, the d columns (n,); NaN where a value is not finite in float32."""
    x = np.empty((n, len(columns)), np.float32, order="F")
    for j, column in enumerate(columns):
        x[:, j] = to_single(column)
    return x


def to_single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns (n,) float32, NaN where a value is not finite in it."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    single[np.isinf(single)] = np.nan
    return single


def polygon_axes(recipe: Recipe) -> dict[str, LocatedExpression]:
    """Returns the axes of the polygons by the text of their expressions."""
    return {axis.expression.text: axis for polygon in recipe.polygons for axis in (polygon.x, polygon.y)}


def expression_columns(recipe: Recipe, chunk: Chunk) -> dict[str, Any]:
    """Returns what `expression` and `score` models read; a list that belongs to the event is its own `whole_list`."""
    names, arrays = sorted(recipe.expression_model_branches), chunk.arrays
    return {name: arrays[name] if name in arrays else arrays[branch_of(name)] for name in names}


def expression_scores(recipe: Recipe, name: str, columns: Mapping[str, Any], n: int) -> NDArray[np.float32]:
    """Returns (n,) float32, the signal's score by an `expression` (1 or 0) or `score` model."""
    expression = recipe.expression_models[name].expression
    if isinstance(recipe.loaded.config.models[name], ExpressionModel):
        return selects(expression, columns, n).astype(np.float32)
    with np.errstate(over="ignore"):
        return np.asarray(evaluate(expression, columns, n), np.float32)


def expression_values_changed(recipe: Recipe, sample: Sample) -> dict[str, Any]:
    """Returns the columns of a sample whose features were changed, with the same change applied to them.

    A column is changed if a feature is just this branch, in the rows in which the feature differs from the branch.
    """
    columns = dict(sample.columns)
    for j, (feature, located) in enumerate(recipe.features):
        branch = next(iter(located.expression.branches), "")
        if branch not in columns or located.expression.text.strip() != branch:
            continue
        nominal = np.asarray(columns[branch], np.float32)
        for code in missing_values(feature):
            nominal = np.where(columns[branch] == code, np.float32(np.nan), nominal)
        x = sample.x[:, j]
        changed = (x != nominal) & ~(np.isnan(x) & np.isnan(nominal))
        columns[branch] = np.where(changed, x, columns[branch])
    return columns


def event_keys(recipe: Recipe, chunk: Chunk, input_name: str) -> Keys:
    """Returns (n,) the hash of the event key: the `event_id` branches, or the input's name and the entry number.

    Raises:
        DataError: a branch of `event_id` does not hold integers.
    """
    if not recipe.event_id:
        return event_hash([np.full(chunk.n_rows, name_hash(input_name)), chunk.entry])
    for name in recipe.event_id:
        if chunk.arrays[name].dtype.kind not in "iub":
            kind = chunk.arrays[name].dtype
            raise DataError(
                f"{input_name}: event_id: {name!r} holds {kind}; event keys must be integers "
                "(as float32, events above 2^24 become the same)"
            )
    return event_hash([chunk.arrays[name] for name in recipe.event_id])
