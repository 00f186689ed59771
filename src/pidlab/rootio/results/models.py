"""One model as ROOT objects: response, ROC curves, working points, history, calibration, merit, and matrices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pidlab.evaluate.results import Calibration, DecisionMatrix, ModelResult, Results, Roc, Scan
from pidlab.measured import UNDEFINED, bounds
from pidlab.rootio.histograms import th1
from pidlab.rootio.results.named_object import Column, NamedObject, graph_of, histories, of_matrix

_MERITS = {
    "purity": "S / (S + B)",
    "significance": "S / #sqrt{S + B}",
    "punzi": "#epsilon / (a/2 + #sqrt{B})",
}


def model_objects(model: ModelResult, results: Results) -> Iterator[NamedObject]:
    """Yields what the directory of a model holds, except for what depends on spectators."""
    yield from _rocs(model, results.signal)
    yield from _working_points(model, results.signal)
    yield from _optimal_points(model, results.signal)
    for sample, classes in model.response.items():
        suffix = () if sample == "test" else (sample,)
        for name, histogram in classes.items():
            title = f"{model.name}, {name}, {sample} sample;score of {results.signal};weighted candidates"
            yield NamedObject((model.name, "_".join(("score", name, *suffix))), th1(histogram, title))
    if "test" in model.samples:
        test, n = model.samples["test"], sum(results.n.get("test", {}).values())
        title = f"{model.name}: confusion matrix, test sample;true class;decided class;weighted candidates"
        yield NamedObject((model.name, "confusion"), of_matrix(test.confusion, test.classes, title, n))
    yield from histories(model.name, model.name, model.training)
    if model.calibration is not None:
        yield _calibration(model.name, model.calibration, results.signal)
    if model.scan is not None:
        yield from _scan(model.name, model.scan)
    if model.matrix is not None:
        yield _matrix(model.name, model.matrix)
    yield from _pairs(model)
    yield from _class_points(model)


def _rocs(model: ModelResult, signal: str) -> Iterator[NamedObject]:
    """Yields `roc` against all others together or the only other class, and `roc_CLASS` against each of several."""
    if not model.roc:
        return
    first = "rest" if "rest" in model.roc else next(iter(model.roc))
    yield from _roc(model.name, model.roc[first], signal, "")
    if len(model.roc) > 1:
        for against in (name for name in model.roc if name != "rest"):
            yield from _roc(model.name, model.roc[against], signal, f"_{against}")


def _roc(model: str, roc: Roc, signal: str, suffix: str) -> Iterator[NamedObject]:
    other = "misidentification" if roc.against == "rest" else f"{roc.against} misidentification"
    title = f"{model}: {signal} against {roc.against};{signal} efficiency;"
    x: Column = (roc.efficiency, roc.efficiency_low, roc.efficiency_high)
    yield NamedObject((model, "roc" + suffix), graph_of(x, (roc.misid, roc.misid_low, roc.misid_high), title + other))
    with np.errstate(divide="ignore"):  # where nothing passes, the rejection has no upper bound and no point
        value, low, high = (np.asarray(1 / m, dtype=np.float64) for m in (roc.misid, roc.misid_high, roc.misid_low))
    yield NamedObject((model, "rejection" + suffix), graph_of(x, (value, low, high), f"{title}1 / {other}"))


def _working_points(model: ModelResult, signal: str) -> Iterator[NamedObject]:
    particles = {particle: None for point in model.working_points for particle in point.misid}
    for particle in particles:
        points = [point for point in model.working_points if particle in point.misid and point.flat is None]
        x = bounds([point.efficiency for point in points])
        title = f"{model.name}, working points;{signal} efficiency;{particle} misidentification"
        graph = graph_of(x, bounds([point.misid.get(particle, UNDEFINED) for point in points]), title)
        yield NamedObject((model.name, f"working_points_{particle}"), graph)


def _optimal_points(model: ModelResult, signal: str) -> Iterator[NamedObject]:
    """Yields the sweet spot and Youden's point of each ROC curve, named as the curve is: `optimal_points[_CLASS]`."""
    main = "rest" if "rest" in model.optimal_points else next(iter(model.optimal_points), "")
    for against, points in model.optimal_points.items():
        other = "misidentification" if against == "rest" else f"{against} misidentification"
        names = ", ".join(f"{point.name} (score > {point.threshold:.6g})" for point in points)
        title = f"{model.name}, {signal} against {against}: {names};{signal} efficiency;{other}"
        x, y = bounds([point.efficiency for point in points]), bounds([point.misid[against] for point in points])
        suffix = "" if against == main else f"_{against}"
        yield NamedObject((model.name, f"optimal_points{suffix}"), graph_of(x, y, title))


def _calibration(model: str, curve: Calibration, signal: str) -> NamedObject:
    weighting = ", classes of equal weight" if curve.balanced else ""
    weighting = ", classes weighted by the priors" if curve.abundances else weighting
    title = f"{model}, calibration: {curve.method};mean score of {signal};share of {signal}{weighting}"
    x = (curve.score, curve.score, curve.score)
    return NamedObject((model, "calibration"), graph_of(x, (curve.fraction, curve.low, curve.high), title))


def _scan(model: str, scan: Scan) -> Iterator[NamedObject]:
    """Yields a graph of each figure of merit against threshold, and a point at the threshold chosen for it."""
    x = (scan.threshold, scan.threshold, scan.threshold)
    numbers = ", ".join(f"{n:.6g} {particle}" for particle, n in scan.expected.items())
    for name, merit in scan.merits.items():
        formula = _MERITS[name].replace("a/2", f"{scan.sigma:g}/2")
        title = f"{model}, for {numbers};threshold;{formula}"
        yield NamedObject((model, f"merit_{name}"), graph_of(x, (merit.value, merit.low, merit.high), title))
        if merit.best is not None:
            best = np.array([merit.best])
            point = graph_of((best, best, best), bounds([merit.at_best]), title)
            yield NamedObject((model, f"merit_{name}_best"), point)


def _matrix(model: str, matrix: DecisionMatrix) -> NamedObject:
    """Returns rates with half of their intervals as errors; 0 if a class is absent."""
    errors = np.nan_to_num(matrix.high - matrix.low) / 2
    title = f"{model}: share of each true class, test sample;true class;decided class;share"
    content = of_matrix(matrix.rate, matrix.classes, title, float(matrix.n.sum()), errors**2)
    return NamedObject((model, "matrix"), content)


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
