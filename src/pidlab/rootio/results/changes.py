"""Changes of a model's numbers as ROOT objects: on changed samples, and when a feature is shuffled or given a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from pidlab.evaluate.results import (
    Explained,
    Importance,
    PartialDependence,
    RegressionImportance,
    RobustnessPoint,
    RobustnessResult,
)
from pidlab.measured import UNDEFINED, Measured, bounds
from pidlab.rootio.graphs import tgraph
from pidlab.rootio.histograms import from_cells, th2
from pidlab.rootio.results.named_object import NamedObject, Titles, around, graph_of, labelled, root_text

RESIDUALS = {"rms": "RMS", "mae": "mean |residual|", "sigma68": "#sigma_{68}"}
_MOST_FEATURES = 12  # whose contributions to single candidates are written: those that their figure shows


def robustness_objects(model: str, robustness: RobustnessResult) -> Iterator[NamedObject]:
    """Yields graphs against the size of each change; the unchanged sample has the size that changes nothing.

    Dropped features have no size. They are the bins of labelled histograms, after the unchanged sample.
    """
    nominal = [] if robustness.nominal is None else [replace(robustness.nominal, feature="none")]
    dropped = [point for point in robustness.points if point.change == "drop"]
    if dropped:
        names = [point.feature for point in (*nominal, *dropped)]
        for quantity, values in _rates([*nominal, *dropped]).items():
            title = f"{model} without one feature;;{quantity}"
            yield NamedObject(("robustness", model, f"{quantity}_drop"), labelled(names, values, title))
    rest = [point for point in robustness.points if point.change != "drop"]
    rest.sort(key=lambda point: (point.change, point.feature))
    for (change, feature), group in groupby(rest, key=lambda point: (point.change, point.feature)):
        neutral = [replace(point, size=1.0 if change == "scale" else 0.0) for point in nominal]
        points = sorted([*neutral, *group], key=lambda point: point.size)
        x = np.array([point.size for point in points])
        for quantity, values in _rates(points).items():
            title = f"{model}: {change} {root_text(feature)};{change};{quantity}"
            graph = graph_of((x, x, x), bounds(values), title)
            yield NamedObject(("robustness", model, f"{quantity}_{change}_{feature}"), graph)


def importance_objects(model: str, importance: Importance | RegressionImportance) -> Iterator[NamedObject]:
    """Yields histograms with a labelled bin for each feature and half of the interval as error."""
    if isinstance(importance, RegressionImportance):
        sample, explained = "test sample", "prediction"
        deltas = {name: [getattr(one, f"delta_{name}") for one in importance.features] for name in RESIDUALS}
    else:
        sample, explained = "thresholds as they were", "margin"
        features = importance.features
        auc, efficiency = [one.delta_auc for one in features], [one.delta_efficiency for one in features]
        deltas = _by_quantity(auc, efficiency, [one.delta_misid for one in features])
    names = [one.feature for one in importance.features]
    for quantity, values in deltas.items():
        text = RESIDUALS.get(quantity, quantity.replace("_", " of "))
        title = f"{model}, one feature shuffled, {sample};;#Delta {text}"
        yield NamedObject((model, f"importance_{quantity}"), labelled(names, values, title))
    parts = [one.contribution or UNDEFINED for one in importance.features]
    title = f"{model}, mean size of the contribution to the {explained};;mean |contribution|"
    yield NamedObject((model, "importance_contribution"), labelled(names, parts, title))


def contribution_objects(model: str, table: Explained, quantity: str, titles: Titles) -> Iterator[NamedObject]:
    """Yields, for each of the features that contribute most, the contribution to single candidates over its value.

    `quantity` is what they contribute to, such as the margin of a class.
    """
    size = np.nan_to_num(np.abs(table.contribution)).mean(axis=0) if len(table.contribution) else []
    for j in np.argsort(-np.asarray(size), kind="stable")[:_MOST_FEATURES]:
        feature, known = table.features[j], np.isfinite(table.value[:, j]) & np.isfinite(table.contribution[:, j])
        title = f"{model}, single candidates of test;{titles(feature)};contribution to {quantity}"
        graph = tgraph(table.value[known, j], table.contribution[known, j], title) if known.any() else None
        yield NamedObject((model, f"contribution_{feature}"), graph)


def dependence_objects(
    model: str, dependence: Sequence[PartialDependence], quantity: str, titles: Titles
) -> Iterator[NamedObject]:
    """Yields the mean score against each feature, that without its value, and the scores of single candidates.

    `quantity` is the score in words, or the prediction of a regression.

    A cell of the latter holds the score of one candidate, a number along y, at one value, which lies in the bin; it is
    0 if the candidate has no score.
    """
    for one in dependence:
        known = ~np.isnan(one.value)
        x, about = one.value[known], f"{model}, partial dependence on test"
        mean = (one.mean[known], one.low[known], one.high[known])
        graph = graph_of((x, x, x), mean, f"{about};{titles(one.feature)};mean {quantity}")
        yield NamedObject((model, f"dependence_{one.feature}"), graph)
        if not known.all():
            number = Measured(float(one.mean[-1]), float(one.low[-1]), float(one.high[-1]), one.n)
            title = f"{about}, without a value of {root_text(one.feature)};;mean {quantity}"
            yield NamedObject((model, f"dependence_{one.feature}_missing"), labelled(["missing"], [number], title))
        if len(x) > 1 and len(one.curves):
            rows = np.arange(len(one.curves) + 1.0)
            cells = from_cells(np.nan_to_num(one.curves[:, known].T), (around(x), rows), entries=len(one.curves))
            title = f"{model}, single candidates of test;{titles(one.feature)};candidate"
            yield NamedObject((model, f"dependence_{one.feature}_candidates"), th2(cells, title))


def _rates(points: Sequence[RobustnessPoint]) -> dict[str, list[Measured]]:
    return _by_quantity([p.auc for p in points], [p.efficiency for p in points], [p.misid for p in points])


def _by_quantity(
    auc: list[Measured], efficiency: list[Measured], misid: Sequence[Mapping[str, Measured]]
) -> dict[str, list[Measured]]:
    """Returns the numbers by the name of their quantity, one for each class in `misid`."""
    particles = dict.fromkeys(particle for by_class in misid for particle in by_class)
    rates = {f"misid_{c}": [by_class.get(c, UNDEFINED) for by_class in misid] for c in particles}
    return {"auc": auc, "efficiency": efficiency, **rates}
