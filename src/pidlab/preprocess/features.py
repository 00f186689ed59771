"""Features: the columns that models and evaluation read, from the selected rows of a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Feature
from pidlab.errors import DataError
from pidlab.expressions import evaluate
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.read import Chunk
from pidlab.sample import Sample
from pidlab.split import Keys, event_hash, name_hash


def values_of(stated: LocatedExpression, chunk: Chunk) -> NDArray[np.float64]:
    """(n,) float64, one number a row."""
    return np.asarray(evaluate(stated.expression, chunk.arrays, chunk.n_rows), np.float64)


def missing_values(feature: Feature) -> tuple[float, ...]:
    """The values that mean "missing": the codes, and what a float32 branch holds when a code is written to it.

    No float32 is -999.9, and the branch that was filled with it holds -999.9000244140625.
    """
    with np.errstate(over="ignore"):
        singles = [float(np.float32(code)) for code in feature.missing]
    return tuple(dict.fromkeys([*map(float, feature.missing), *(v for v in singles if np.isfinite(v))]))


def feature_columns(recipe: Recipe, chunk: Chunk) -> list[NDArray[np.float64]]:
    """d arrays (n,) float64, the features; NaN where a value is missing, by the feature's `missing`."""
    columns = []
    for feature, stated in recipe.features:
        values = evaluate(stated.expression, chunk.arrays, chunk.n_rows)
        codes = missing_values(feature)
        absent = [np.equal(values, code) for code in codes]
        column = np.asarray(values, np.float64)
        columns.append(np.where(np.logical_or.reduce(absent), np.nan, column) if codes else column)
    return columns


def feature_matrix(recipe: Recipe, chunk: Chunk) -> NDArray[np.float32]:
    """(n, d) float32; NaN where a value is missing, by the feature's `missing` or because it is not finite."""
    x = np.empty((chunk.n_rows, len(recipe.features)), np.float32, order="F")
    for j, column in enumerate(feature_columns(recipe, chunk)):
        with np.errstate(over="ignore", under="ignore"):
            x[:, j] = column
        x[np.isinf(x[:, j]), j] = np.nan
    return x


def spectator_values(recipe: Recipe, chunk: Chunk) -> dict[str, NDArray[np.float64]]:
    """Name to (n,) float64."""
    return {name: values_of(stated, chunk) for name, stated in recipe.spectators}


def expression_columns(recipe: Recipe, chunk: Chunk) -> dict[str, Any]:
    """The branches that `expression` and `score` models read."""
    return {name: chunk.arrays[name] for name in sorted(recipe.expression_model_branches)}


def expression_scores(recipe: Recipe, name: str, columns: Mapping[str, Any], n: int) -> NDArray[np.float32]:
    """(n,) float32, the signal's score by an `expression` (1 or 0) or `score` model."""
    from pidlab.config.schema import ExpressionModel
    from pidlab.expressions import selects

    expression = recipe.expression_models[name].expression
    if isinstance(recipe.loaded.config.models[name], ExpressionModel):
        return selects(expression, columns, n).astype(np.float32)
    with np.errstate(over="ignore"):
        return np.asarray(evaluate(expression, columns, n), np.float32)


def expression_values_changed(recipe: Recipe, sample: Sample) -> dict[str, Any]:
    """The columns of a sample whose features were changed, with the change carried over.

    A column follows the feature that is just this branch; where the feature has its nominal value, so has the column.
    """
    columns = dict(sample.columns)
    for j, (feature, stated) in enumerate(recipe.features):
        branch = next(iter(stated.expression.branches), "")
        if branch not in columns or stated.expression.text.strip() != branch:
            continue
        nominal = np.asarray(columns[branch], np.float32)
        for code in missing_values(feature):
            nominal = np.where(columns[branch] == code, np.float32(np.nan), nominal)
        x = sample.x[:, j]
        changed = (x != nominal) & ~(np.isnan(x) & np.isnan(nominal))
        columns[branch] = np.where(changed, x, columns[branch])
    return columns


def event_keys(recipe: Recipe, chunk: Chunk, input_name: str) -> Keys:
    """(n,) the hash of the event key: the `event_id` branches, or the input's name and the entry number.

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
