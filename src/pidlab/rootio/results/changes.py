"""Changes of a model's numbers as ROOT objects: on changed samples, and when features are shuffled or left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from pidlab.evaluate.results.quality import Importance
from pidlab.evaluate.results.run import Robustness, RobustnessPoint
from pidlab.measured import UNDEFINED, Measured, bounds
from pidlab.rootio.results.named_object import NamedObject, graph_of, labelled, root_text


def robustness_objects(model: str, robustness: Robustness) -> Iterator[NamedObject]:
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


def importance_objects(model: str, importance: Importance) -> Iterator[NamedObject]:
    """Yields histograms with a labelled bin for each feature and half of the interval as error."""
    features = importance.features
    names = [one.feature for one in features]
    auc, efficiency = [one.delta_auc for one in features], [one.delta_efficiency for one in features]
    misid = [one.delta_misid for one in features]
    for quantity, values in _by_quantity(auc, efficiency, misid).items():
        title = f"{model}, one feature shuffled, thresholds as they were;;#Delta {quantity.replace('_', ' of ')}"
        yield NamedObject((model, f"importance_{quantity}"), labelled(names, values, title))
    parts = [UNDEFINED if one.contribution is None else one.contribution for one in features]
    title = f"{model}, mean size of the contribution to the margin;;mean |contribution|"
    yield NamedObject((model, "importance_contribution"), labelled(names, parts, title))


def _rates(points: Sequence[RobustnessPoint]) -> dict[str, list[Measured]]:
    return _by_quantity([p.auc for p in points], [p.efficiency for p in points], [p.misid for p in points])


def _by_quantity(
    auc: list[Measured], efficiency: list[Measured], misid: Sequence[Mapping[str, Measured]]
) -> dict[str, list[Measured]]:
    """Returns the numbers by the name of their quantity, one for each class in `misid`."""
    particles = dict.fromkeys(particle for by_class in misid for particle in by_class)
    rates = {f"misid_{c}": [by_class.get(c, UNDEFINED) for by_class in misid] for c in particles}
    return {"auc": auc, "efficiency": efficiency, **rates}
