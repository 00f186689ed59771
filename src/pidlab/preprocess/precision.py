"""Precision: features that need double precision, shifted towards zero before they become float32.

Models compute in float32, which has 24 bits: it resolves a Unix time of 1.6e9 s to 128 s, an MJD to five minutes, and
1e-300 not at all. Such a feature is replaced by `(expression) - origin`, or `((expression) - origin) / unit`, computed
in double precision. As an expression of the configuration it applies to training, scoring and every export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.columns import read_by_models
from pidlab.config.polygons import polygons_of
from pidlab.config.schema import CutsModel, OnnxModel, ScoreModel, TmvaModel
from pidlab.errors import DataError
from pidlab.expressions import evaluate, parse
from pidlab.preprocess.features import missing_values, single_matrix, to_single
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.preprocess.store import Column
from pidlab.sample import IntArray, Sample

Doubles = NDArray[np.float64]

_N_COMPARED = 10_000
"""Values compared; among so many draws of a continuous quantity hardly two fall into one step of float32."""
MERGED = 0.02
"""The share of different values that may become the same float32."""
_MOSTLY = 0.5
"""The share from which on a target is refused: its prediction would say nothing of most of its values."""
_FINE = 1e-6
"""A step of float32 below this fraction of the width of the distribution loses nothing that models could use, unless
the values lie in narrow groups far apart, such as codes beside large numbers."""
_CENTRAL = (0.8, 0.5, 0.2)
"""Shares of the values between whose quantiles the width is taken: the widest without codes and outliers is wanted."""
_WIDTHS_OF_FLOAT32 = (1e-30, 1e30)
"""Widths between which float32 needs no other unit."""


@dataclass(slots=True)
class FeatureColumns:
    """The features of a sample, chunk by chunk, in double precision too where float32 might not suffice.

    Attributes:
        singles: (n, d) float32.
        doubles: for each chunk its number of rows, and the columns, by their index, that float32 might not resolve.
    """

    singles: Column
    doubles: list[tuple[int, dict[int, Doubles]]] = field(default_factory=list)

    def add(self, values: Sequence[Doubles]) -> None:
        """Adds a chunk: d arrays (n,), NaN where a value is missing."""
        n = len(values[0]) if values else 0
        self.singles.add(single_matrix(values, n))
        self.doubles.append((n, {j: column for j, column in enumerate(values) if _may_be_merged(column)}))

    def matrix(self, place: IntArray, n: int) -> Any:
        """Returns (n, d) float32, all features in single precision, and keeps none; see `Column.ordered`."""
        return self.singles.ordered(place, n)

    def column(self, j: int, x: Any, place: IntArray) -> Doubles | None:
        """Returns (n,) float64, the feature j in double precision; None if float32 suffices.

        Args:
            j: index of the feature.
            x: (n, d) the features in single precision.
            place: for each row that was added, where it is in x; -1 for rows that were dropped.
        """
        if not any(j in kept for _, kept in self.doubles):
            return None
        start = 0
        values: Doubles = x[:, j].astype(np.float64)
        for n, kept in self.doubles:
            where = place[start : start + n]
            start += n
            if j in kept:
                values[where[where >= 0]] = kept[j][where >= 0]
        return values

    def shifted(self, x: Any, place: IntArray, shifts: Mapping[int, tuple[float, float]]) -> Any:
        """Returns the features x with some of them, by their index, as differences from an origin in some unit."""
        for j, (origin, unit) in shifts.items():
            values = self.column(j, x, place)
            assert values is not None
            x[:, j] = to_single(difference(values, origin, unit))
        return x


def refined(recipe: Recipe, columns: FeatureColumns, place: IntArray, n: int) -> tuple[Recipe, Any, list[str]]:
    """Returns the recipe with shifted features, (n, d) float32 the features by it, and a sentence for each shift.

    The rows go where `place` says, see `Column.ordered`.

    No feature is shifted if there is an imported model, which was trained on the features as they are, nor one that a
    model reads as its own: the formula of a band is one of the variable that the configuration states.

    Raises:
        DataError: such a feature has one value only in float32.
    """
    x = columns.matrix(place, n)
    config = recipe.loaded.config
    imported = [name for name, model in config.models.items() if isinstance(model, OnnxModel | TmvaModel)]
    shifts: dict[int, tuple[float, float]] = {}
    sentences, readers = [], read_by_models(config)
    for j, (feature, located) in enumerate(recipe.features):
        values = columns.column(j, x, place)
        if values is None or (share := merged_share(values)) <= MERGED:
            continue
        what = (
            f"float32, in which models compute, makes {share:.0%} of the different values of {feature.name!r} the same"
        )
        needed = [*imported, *([readers[feature.name]] if feature.name in readers else [])]
        if needed:
            if len(np.unique(to_single(_some_finite(values)))) == 1:
                raise DataError(_lost(feature.name, located.expression.text, values, needed))
            sentences.append(f"{what[0].upper()}{what[1:]}; it is left as it is for {', '.join(needed)}.")
            continue
        origin, unit = origin_and_unit(values)
        left = merged_share(difference(values, origin, unit))
        if left < share - MERGED:
            shifts[j] = origin, unit
            text = _text(located.expression.text, origin, unit)
            sentences.append(f"The feature {feature.name!r} is taken as {text}: {what}.")
        if left > MERGED:
            still = f"and {left:.0%} still" if j in shifts else "and no shift helps"
            advice = "make features of its own of each range of values, such as `x > 1e6 ? x - 1e6 : nan`"
            sentences.append(f"{what[0].upper()}{what[1:]}, {still}: {advice}.")
    if not shifts:
        return recipe, x, sentences
    return _with_shifts(recipe, shifts), columns.shifted(x, place, shifts), sentences


def coarse_scores(recipe: Recipe, sample: Sample) -> list[str]:
    """Returns a sentence for each `score` model whose values float32, in which scores are kept, cannot resolve."""
    step = max(1, len(sample) // _N_COMPARED)
    columns = sample.take(slice(None, None, step)).columns
    sentences = []
    for name, located in recipe.expression_models.items():
        if not isinstance(recipe.loaded.config.models[name], ScoreModel):
            continue
        values = evaluate(located.expression, columns, len(sample.y[::step]))
        share = merged_share(np.asarray(values, np.float64))
        if share > MERGED:
            what = f"Scores are kept in float32, which makes {share:.0%} of the different values of {name!r} the same"
            sentences.append(f"{what}; subtract a number near them in its expression.")
    return sentences


def coarse_target(recipe: Recipe, sample: Sample) -> list[str]:
    """Returns a sentence if float32, in which predictions are kept, cannot resolve the target of a regression.

    Raises:
        DataError: it makes most of the different values the same.
    """
    if recipe.target is None or sample.target is None:
        return []
    target = np.asarray(sample.target, np.float64)
    share = merged_share(target)
    if share <= MERGED:
        return []
    text = recipe.target.expression.text
    said = unresolved(f"the target {text!r}", "predictions are kept", share, text, target)
    if share > _MOSTLY:
        raise DataError(said)
    return [f"{said[0].upper()}{said[1:]}."]


def unresolved(what: str, where: str, share: float, text: str, values: Doubles) -> str:
    """Returns that float32 makes different values of an expression the same, and the difference to write instead."""
    advice = f"write the difference {_text(text, *origin_and_unit(values))}"
    return (
        f"{what} needs double precision: float32, in which {where}, makes {share:.0%} of its values the same; {advice}"
    )


def merged_share(values: Doubles) -> float:
    """Returns the share of the different finite values that become the same float32 as another, or none at all."""
    different = np.unique(_some_finite(values))
    single = to_single(different)
    left = len(np.unique(single[~np.isnan(single)]))
    return 1.0 - left / len(different) if len(different) else 0.0


def _lost(name: str, text: str, values: Doubles, readers: Sequence[str]) -> str:
    """Returns that a feature is nothing in float32, and what to do where pidlab does not shift it."""
    shifted = _text(text, *origin_and_unit(values))
    why = f"and it is left as it is for {', '.join(readers)}"
    return (
        f"float32, in which models compute, makes all values of the feature {name!r} the same, {why}; write {shifted}"
    )


def origin_and_unit(values: Doubles) -> tuple[float, float]:
    """Returns a round number near the median, to be subtracted, and a power of two, to be divided by, mostly 1.

    The width of the distribution is taken between quantiles, so that codes and outliers do not change it. With codes in
    more than a tenth of the events, those quantiles count that leave the most values different.
    """
    finite = _some_finite(values)
    found = [_round_shift(finite, share) for share in _CENTRAL]
    return min(found, key=lambda shift: merged_share(difference(finite, *shift)))


def _round_shift(finite: Doubles, share: float) -> tuple[float, float]:
    """Returns the origin and the unit if the width is that of a central share of the values."""
    low, middle, high = np.quantile(finite, [(1 - share) / 2, 0.5, (1 + share) / 2])
    width = float(high - low) or float(np.ptp(finite))
    step = 10.0 ** np.ceil(np.log10(width)) if 0 < width < np.inf else 0.0
    # values around zero need no origin; a round one is the same for samples that hardly differ
    origin = float(f"{np.round(middle / step) * step:.15g}") if step and abs(middle) > width else 0.0
    unit = 1.0 if _WIDTHS_OF_FLOAT32[0] < width < _WIDTHS_OF_FLOAT32[1] else float(2.0 ** np.round(np.log2(width)))
    return origin, unit


def _some_finite(column: Doubles) -> Doubles:
    """Returns at most about `_N_COMPARED` of the finite values, evenly spaced."""
    finite = column[np.isfinite(column)]
    return finite[:: max(1, len(finite) // _N_COMPARED)]


def _may_be_merged(column: Doubles) -> bool:
    """Returns whether float32 cannot hold the values, or its step is not far below the width of their distribution."""
    some = _some_finite(column)
    if not len(some) or np.array_equal(some, to_single(some)):
        return False
    middle = float(np.median(np.abs(some)))
    low, high = np.quantile(some, [0.1, 0.9])
    if not float(np.finfo(np.float32).tiny) < middle < float(np.finfo(np.float32).max):
        return True
    return bool(np.spacing(np.float32(middle)) > _FINE * (high - low)) or merged_share(some) > MERGED / 2


def difference(values: Doubles, origin: float, unit: float) -> Doubles:
    """Returns the values as the expression of `_text` computes them."""
    with np.errstate(all="ignore"):
        shifted = values - origin if origin else values
        return shifted / unit if unit != 1 else shifted


def _text(expression: str, origin: float, unit: float) -> str:
    name = expression if expression.replace(".", "_").isidentifier() else f"({expression})"
    text = f"{name} {'-' if origin >= 0 else '+'} {abs(origin)!r}" if origin else name
    if unit == 1:
        return text
    return f"({text}) / {unit!r}" if origin else f"{text} / {unit!r}"


def _with_shifts(recipe: Recipe, shifts: dict[int, tuple[float, float]]) -> Recipe:
    """Returns the recipe, including its configuration, with the features of these indices as differences."""
    config, aliases = recipe.loaded.config, dict(recipe.loaded.config.data.aliases)
    polygons = polygons_of(config)
    listed: list[Any] = list(config.features)
    features = list(recipe.features)
    for j, (origin, unit) in shifts.items():
        feature, located = recipe.features[j]
        text = _text(located.expression.text, origin, unit)
        codes = [float(difference(np.array([code]), origin, unit)[0]) for code in missing_values(feature)]
        label = feature.label or ("" if set("$#") & set(feature.name) else _text(feature.name, origin, unit))
        shifted = feature.model_copy(update={"expression": text, "missing": codes, "label": label})
        listed[int(located.key[1])] = shifted
        features[j] = (shifted, LocatedExpression(located.key, parse(text, aliases, polygons)))
    by_name = {recipe.features[j][0].name: shift for j, shift in shifts.items()}
    models = {
        name: _cuts(model, by_name) if isinstance(model, CutsModel) else model for name, model in config.models.items()
    }
    changed = config.model_copy(update={"features": listed, "models": models})
    return replace(recipe, loaded=replace(recipe.loaded, config=changed), features=tuple(features))


def _cuts(model: CutsModel, shifts: dict[str, tuple[float, float]]) -> CutsModel:
    """Returns the section with the ranges and widths of its user converted to the shifted features."""
    ranges, widths = dict(model.ranges), dict(model.min_width)
    for name, (origin, unit) in shifts.items():
        if name in ranges:
            ranges[name] = [float(value) for value in difference(np.array(ranges[name], np.float64), origin, unit)]
        if name in widths:
            widths[name] /= unit
    return model.model_copy(update={"ranges": ranges, "min_width": widths})
