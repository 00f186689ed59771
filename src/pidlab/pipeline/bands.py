"""What a band gives on test: arrays and curves for the evaluation, by fold models that never saw the candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pidlab.evaluate.bands import BandValues, band_variable
from pidlab.evaluate.results import BandCurve, ModelResult
from pidlab.models.fold import FoldModel
from pidlab.models.model import Model
from pidlab.sample import Sample

if TYPE_CHECKING:  # scikit-learn, which models that are expressions do not need
    from pidlab.measured import Array
    from pidlab.models.band.estimator import Band


def with_bands(result: ModelResult, model: Model, test: Sample) -> ModelResult:
    """Returns the result with the variables of the model, if it is a band; with categories of bands it is unchanged."""
    fitted = [each for each in model.fitted if isinstance(each, FoldModel)]
    if model.kind != "band" or not fitted:
        return result
    fixed = dict(model.fixed_points)
    points = sorted((p for p in result.working_points if p.flat is None), key=lambda p: p.name not in fixed)
    lines = {p.name: -p.threshold for p in points if np.isfinite(p.threshold) and p.threshold < 0}
    return replace(result, bands=tuple(band_variable(each, test, lines) for each in _values(model, fitted, test)))


def _values(model: Model, fitted: Sequence[FoldModel], test: Sample) -> list[BandValues]:
    """Returns each variable of a band for the candidates of test."""
    bands: list[Band] = [each.estimator for each in fitted]
    first, columns = bands[0], fitted[0].inputs(test.x)
    names = [test.features[j] for j in fitted[0].columns]
    v, d = len(first.variables_), first.n_against
    pulls = model.outputs(test)
    group = np.zeros(len(test), np.int64)
    groups = {0: ""}
    if first.by is not None:
        value = columns[:, v + d]
        group = np.where(np.isfinite(value), value, np.iinfo(np.int32).min).astype(np.int64)
        groups = {int(g): f"{names[v + d]} = {g}" for g in sorted({int(g) for band in bands for g in band.groups_})}
    return [
        BandValues(
            variable=names[j],
            against=tuple(names[v : v + d]),
            side=first.sides_[j],
            values=columns[:, j],
            x=columns[:, v : v + d],
            pulls=pulls[:, j],
            group=group,
            groups=groups,
            curve=partial(_curve, bands, j),
        )
        for j in range(v)
    ]


def _curve(bands: Sequence[Band], variable: int, group: int, against: Array) -> BandCurve:
    """Returns the curves of a group as the mean over the fold models that have it."""
    at, columns = (variable, group, against), []
    for band in (band for band in bands if group in band.groups_):
        widths = [of(*at, side) for of in (band.width, band.width_error) for side in ("low", "high")]
        columns.append([band.mean(*at), band.mean_error(*at), *widths])
    return BandCurve(against[:, 0], *np.mean(columns, axis=0))
