"""Calibration, importance, figures of merit, pairs of classes and the matrix as ROOT objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pidlab.evaluate.results import Calibration, DecisionMatrix, Importance, ModelResult, Scan
from pidlab.measured import UNDEFINED, Measured
from pidlab.rootio.histograms import from_cells, th2
from pidlab.rootio.results.placed import NamedObject, bounds, graph_of, labelled

_MERITS = {
    "purity": "S / (S + B)",
    "significance": "S / #sqrt{S + B}",
    "punzi": "#epsilon / (a/2 + #sqrt{B})",
}


def quality(model: ModelResult, signal: str) -> Iterator[NamedObject]:
    """What there is of these in the directory of a model."""
    if model.calibration is not None:
        yield _calibration(model.name, model.calibration, signal)
    if model.scan is not None:
        yield from _scan(model.name, model.scan)
    if model.matrix is not None:
        yield _matrix(model.name, model.matrix)
    yield from _pairs(model)
    yield from _class_points(model)


def _calibration(model: str, curve: Calibration, signal: str) -> NamedObject:
    weighting = ", classes of equal weight" if curve.balanced else ""
    title = f"{model}, calibration: {curve.method};mean score of {signal};share of {signal}{weighting}"
    x = (curve.score, curve.score, curve.score)
    return NamedObject((model, "calibration"), graph_of(x, (curve.fraction, curve.low, curve.high), title))


def _scan(model: str, scan: Scan) -> Iterator[NamedObject]:
    """A graph for each figure against threshold, and a point at the threshold chosen for it."""
    x = (scan.threshold, scan.threshold, scan.threshold)
    numbers = ", ".join(f"{n:.6g} {particle}" for particle, n in scan.expected.items())
    for name, merit in scan.merits.items():
        formula = _MERITS[name].replace("a/2", f"{scan.sigma:g}/2")
        title = f"{model}, for {numbers};threshold;{formula}"
        yield NamedObject((model, f"merit_{name}"), graph_of(x, (merit.value, merit.low, merit.high), title))
        if merit.best is not None:
            best = np.array([merit.best])
            point = graph_of((best, best, best), bounds([merit.at_best]), f"{title}")
            yield NamedObject((model, f"merit_{name}_best"), point)


def _matrix(model: str, matrix: DecisionMatrix) -> NamedObject:
    """Rates with half their intervals as errors; 0 where a class is absent."""
    edges = np.arange(len(matrix.classes) + 1.0)
    errors = np.nan_to_num(matrix.high - matrix.low) / 2
    bins = from_cells(np.nan_to_num(matrix.rate), (edges, edges), errors**2, entries=float(matrix.n.sum()))
    title = f"{model}: share of each true class, test sample;true class;decided class;share"
    return NamedObject((model, "matrix"), th2(bins, title, matrix.classes, matrix.classes))


def _pairs(model: ModelResult) -> Iterator[NamedObject]:
    for one, curves in model.roc_pairs.items():
        for other, roc in curves.items():
            score = f"s_{{{one}}} / (s_{{{one}}} + s_{{{other}}})"
            title = f"{model.name}: {one} against {other} alone, by {score};{one} efficiency;{other} misidentification"
            x = (roc.efficiency, roc.efficiency_low, roc.efficiency_high)
            graph = graph_of(x, (roc.misid, roc.misid_low, roc.misid_high), title)
            yield NamedObject((model.name, f"roc_pairs_{one}_{other}"), graph)


def _class_points(model: ModelResult) -> Iterator[NamedObject]:
    for particle, points in model.class_points.items():
        for other in {name: None for point in points for name in point.misid}:
            title = f"{model.name}, cuts on the score of {particle};{particle} efficiency;{other} misidentification"
            misid = bounds([point.misid.get(other, UNDEFINED) for point in points])
            graph = graph_of(bounds([point.efficiency for point in points]), misid, title)
            yield NamedObject((model.name, f"class_points_{particle}_{other}"), graph)


def importances(model: str, importance: Importance) -> Iterator[NamedObject]:
    """Histograms with one labelled bin a feature, half the interval as error."""
    names = [one.feature for one in importance.features]
    for quantity, values in _changes(importance).items():
        title = f"{model}, one feature shuffled, thresholds as they were;;#Delta {quantity.replace('_', ' of ')}"
        yield NamedObject((model, f"importance_{quantity}"), labelled(names, values, title))
    parts = [UNDEFINED if one.contribution is None else one.contribution for one in importance.features]
    title = f"{model}, mean size of the contribution to the margin;;mean |contribution|"
    yield NamedObject((model, "importance_contribution"), labelled(names, parts, title))


def _changes(importance: Importance) -> dict[str, Sequence[Measured]]:
    misids = {particle: None for one in importance.features for particle in one.delta_misid}
    return {
        "auc": [one.delta_auc for one in importance.features],
        "efficiency": [one.delta_efficiency for one in importance.features],
        **{f"misid_{c}": [one.delta_misid.get(c, UNDEFINED) for one in importance.features] for c in misids},
    }
