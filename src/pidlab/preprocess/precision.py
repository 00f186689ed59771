"""Precision: features whose values only double precision tells apart, brought near zero before they become float32.

Models compute in float32, which has 24 bits: of a Unix time of 1.6e9 s it keeps 128 s, of an MJD five minutes, of
1e-300 nothing. Such a feature is replaced by `(expression) - origin`, or `((expression) - origin) / unit`, computed in
double precision: as an expression of the configuration it holds in training, in scoring and in every export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import CutsModel, OnnxModel, ScoreModel, TmvaModel
from pidlab.expressions import evaluate, parse
from pidlab.preprocess.features import missing_values
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.sample import Sample

Doubles = NDArray[np.float64]

_N_LOOKED_AT = 10_000
"""Values compared: of so many draws of a continuous quantity hardly two fall into one of float32's steps."""
_MERGED = 0.02
"""The share of different values that may become the same float32."""
_WIDE = 1e-6
"""A step of float32 that is this small against the spread of the values loses nothing that models could use."""
_PLAIN_UNITS = (1e-30, 1e30)
"""Spreads between which float32 needs no unit of its own."""


@dataclass(slots=True)
class Columns:
    """The features of a sample, chunk by chunk, in double precision where float32 might not do.

    Attributes:
        singles: chunks of (n, d) float32.
        doubles: for each chunk the columns, by their index, that float32 might not tell apart.
    """

    singles: list[NDArray[np.float32]] = field(default_factory=list)
    doubles: list[dict[int, Doubles]] = field(default_factory=list)

    def add(self, values: Sequence[Doubles]) -> None:
        """A chunk: d arrays (n,), NaN where a value is missing."""
        x = np.empty((len(values[0]) if values else 0, len(values)), np.float32, order="F")
        kept = {}
        for j, column in enumerate(values):
            x[:, j] = to_single(column)
            if _is_suspicious(column):
                kept[j] = column
        self.singles.append(x)
        self.doubles.append(kept)

    def column(self, j: int) -> Doubles | None:
        """(n,) float64, the feature in all chunks; None where float32 does."""
        if not any(j in kept for kept in self.doubles):
            return None
        parts = [kept.get(j, x[:, j].astype(np.float64)) for kept, x in zip(self.doubles, self.singles, strict=True)]
        return np.concatenate(parts)


def to_single(values: Doubles) -> NDArray[np.float32]:
    """(n,) float32, NaN where a value is not finite there."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    single[np.isinf(single)] = np.nan
    return single


def refined(recipe: Recipe, columns: Columns) -> tuple[Recipe, NDArray[np.float32], list[str]]:
    """The recipe with the features brought near zero that need it, (n, d) float32 by it, and a sentence for each.

    Features are left alone where a model is brought that was trained on them as they are.
    """
    x = np.concatenate(columns.singles)
    config = recipe.loaded.config
    brought = [name for name, model in config.models.items() if isinstance(model, OnnxModel | TmvaModel)]
    shifts: dict[int, tuple[float, float]] = {}
    told = []
    for j, (feature, stated) in enumerate(recipe.features):
        values = columns.column(j)
        if values is None or (share := merged_share(values)) <= _MERGED:
            continue
        what = (
            f"float32, in which models compute, makes {share:.0%} of the different values of {feature.name!r} the same"
        )
        if brought:
            told.append(f"{what[0].upper()}{what[1:]}; it is left as it is for {', '.join(brought)}.")
            continue
        origin, unit = origin_and_unit(values)
        shifts[j] = origin, unit
        x[:, j] = to_single(_shifted(values, origin, unit))
        told.append(f"The feature {feature.name!r} is taken as {_text(stated.expression.text, origin, unit)}: {what}.")
    return (_with_shifts(recipe, shifts) if shifts else recipe), x, told


def coarse_scores(recipe: Recipe, sample: Sample) -> list[str]:
    """A sentence for each `score` model whose values float32, in which scores are kept, cannot tell apart."""
    step = max(1, len(sample) // _N_LOOKED_AT)
    columns = {name: values[::step] for name, values in sample.columns.items()}
    told = []
    for name, stated in recipe.expression_models.items():
        if not isinstance(recipe.loaded.config.models[name], ScoreModel):
            continue
        values = evaluate(stated.expression, columns, len(sample.y[::step]))
        share = merged_share(np.asarray(values, np.float64))
        if share > _MERGED:
            what = f"makes {share:.0%} of the different values of {name!r} the same"
            told.append(f"Scores are kept in float32, which {what}; subtract a number near them in its expression.")
    return told


def merged_share(values: Doubles) -> float:
    """The share of the different finite values that become the same float32 as another, or none at all."""
    some = values[np.isfinite(values)]
    some = some[:: max(1, len(some) // _N_LOOKED_AT)]
    different = np.unique(some)
    single = to_single(different)
    left = len(np.unique(single[~np.isnan(single)]))
    return 1.0 - left / len(different) if len(different) else 0.0


def origin_and_unit(values: Doubles) -> tuple[float, float]:
    """What to subtract, a round number amid the values, and what to divide by: a power of two, 1 where it can be.

    The middle and the spread are quantiles, so that codes and outliers do not move them.
    """
    finite = values[np.isfinite(values)]
    low, middle, high = np.quantile(finite, [0.1, 0.5, 0.9])
    spread = float(high - low) or float(np.ptp(finite))
    step = 10.0 ** np.ceil(np.log10(spread)) if 0 < spread < np.inf else 0.0
    # a value amid zero needs no origin; a round one is the same for samples that hardly differ
    origin = float(f"{np.round(middle / step) * step:.15g}") if step and abs(middle) > spread else 0.0
    unit = 1.0 if _PLAIN_UNITS[0] < spread < _PLAIN_UNITS[1] else float(2.0 ** np.round(np.log2(spread)))
    return origin, unit


def _is_suspicious(column: Doubles) -> bool:
    """True where float32's step at the values is not far below their spread in the column, or has no digits there."""
    some = column[np.isfinite(column)]
    some = some[:: max(1, len(some) // _N_LOOKED_AT)]
    if not len(some) or np.array_equal(some, to_single(some)):
        return False
    middle = float(np.median(np.abs(some)))
    low, high = np.quantile(some, [0.1, 0.9])
    if not np.finfo(np.float32).tiny < middle < np.finfo(np.float32).max:
        return True
    return bool(np.spacing(np.float32(middle)) > _WIDE * (high - low))


def _shifted(values: Doubles, origin: float, unit: float) -> Doubles:
    """As the expression of `_text` computes it."""
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
    """The recipe, its configuration too, with the features of these indices as differences."""
    config, aliases = recipe.loaded.config, dict(recipe.loaded.config.data.aliases)
    listed: list[Any] = list(config.features)
    features = list(recipe.features)
    for j, (origin, unit) in shifts.items():
        feature, stated = recipe.features[j]
        text = _text(stated.expression.text, origin, unit)
        codes = [float(_shifted(np.array([code]), origin, unit)[0]) for code in missing_values(feature)]
        label = feature.label or ("" if set("$#") & set(feature.name) else _text(feature.name, origin, unit))
        listed[j] = feature.model_copy(update={"expression": text, "missing": codes, "label": label})
        features[j] = (listed[j], LocatedExpression(stated.key, parse(text, aliases)))
    by_name = {recipe.features[j][0].name: shift for j, shift in shifts.items()}
    models = {
        name: _cuts(model, by_name) if isinstance(model, CutsModel) else model for name, model in config.models.items()
    }
    changed = config.model_copy(update={"features": listed, "models": models})
    return replace(recipe, loaded=replace(recipe.loaded, config=changed), features=tuple(features))


def _cuts(model: CutsModel, shifts: dict[str, tuple[float, float]]) -> CutsModel:
    """The ranges and widths that its user gave, for the features as differences."""
    ranges, widths = dict(model.ranges), dict(model.min_width)
    for name, (origin, unit) in shifts.items():
        if name in ranges:
            ranges[name] = [float(value) for value in _shifted(np.array(ranges[name], np.float64), origin, unit)]
        if name in widths:
            widths[name] /= unit
    return model.model_copy(update={"ranges": ranges, "min_width": widths})
