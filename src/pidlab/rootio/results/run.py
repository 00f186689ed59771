"""`results.root`: every figure of a run as ROOT objects, for TBrowser, JSROOT and macros."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot

from pidlab.evaluate.histograms import density_ratio
from pidlab.evaluate.results import (
    AnyResults,
    Comparison,
    CutStep,
    DetectorTable,
    Exploration,
    Histogram,
    PolygonResult,
    RegressionResults,
    Results,
    Reweighting,
)
from pidlab.measured import Array, bounds
from pidlab.rootio.files import whole_file, writing
from pidlab.rootio.histograms import from_cells, th1
from pidlab.rootio.polygons import tcutg
from pidlab.rootio.results.bands import band_objects
from pidlab.rootio.results.changes import (
    contribution_objects,
    dependence_objects,
    importance_objects,
    robustness_objects,
)
from pidlab.rootio.results.identified import identified_objects, totals
from pidlab.rootio.results.models import model_objects
from pidlab.rootio.results.named_object import (
    NamedObject,
    Titles,
    graph_of,
    key_of,
    labelled,
    of_bins,
    of_matrix,
    of_plane,
    profile_of,
    root_text,
)
from pidlab.rootio.results.regression import regression_model_objects, regression_objects
from pidlab.rootio.results.spectators import efficiency_objects, flat_objects, short_names

_TOP: Final = (
    "maps", "compare", "inputs", "identified", "polygons", "reweighting", "robustness", "cutflow", "notes",
    "provenance",
)  # fmt: skip


def write_results(path: Path, results: AnyResults, provenance: str, labels: Mapping[str, str] | None = None) -> None:
    """Writes `results` to a ROOT file that appears whole or not at all, compressed by ZLIB, which JSROOT reads.

    The file has a directory for each model, then `maps/`, `compare/`, `inputs/`, `identified/`, `reweighting/`,
    `polygons/`, `robustness/`, `cutflow/` and the TObjStrings `notes` and, last, `provenance`; for a regression those
    of them that `pidlab.rootio.results.regression` fills.

    Args:
        path: the file.
        results: the results of a run.
        provenance: text that says where the results come from.
        labels: titles of the axes of features and spectators, such as `p [GeV]` or `$\\theta$ [deg]`; by default
            those of `results`.

    Raises:
        OutputError: If the file cannot be written.
    """
    with whole_file(path, "zlib") as file, writing(path):
        file.update(_contents(results, provenance, labels))  # at once: else uproot writes all streamers for each object


def _contents(results: AnyResults, provenance: str, labels: Mapping[str, str] | None) -> Iterator[tuple[str, Any]]:
    """Yields the path and the content of everything in the file, in its order."""
    yield from named_objects(results, labels)
    yield "notes", "\n".join(results.notes)
    yield "provenance", provenance


def named_objects(results: AnyResults, labels: Mapping[str, str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yields the path and the content of every histogram and graph of `write_results`, as uproot writes them."""
    used, texts = set[str](), results.labels if labels is None else labels
    for name, content in _objects(results, lambda axis: root_text(texts.get(axis, axis))):
        if content is not None:
            yield key_of(name, used), content


def object_names(path: Path) -> tuple[str, ...]:
    """Returns the names of all objects in a file that `write_results` wrote, in their order, without directories."""
    with uproot.open(path) as file:
        kinds = file.classnames(cycle=False)
    return tuple(name for name, kind in kinds.items() if not kind.startswith("TDirectory"))


def _objects(results: AnyResults, titles: Titles) -> Iterator[NamedObject]:
    """Yields the objects of a classification or a regression."""
    if isinstance(results, RegressionResults):
        for name, regressor in results.models.items():
            yield from regression_model_objects(_free(name), regressor, results.target, titles)
        yield from regression_objects(results, titles)
        yield from _of_features(results, f"the prediction of {titles(results.target)}", "prediction", titles)
    else:
        yield from _of_classes(results, titles)
    if results.reweighting is not None:
        yield from _weights(results.reweighting, titles)
    if isinstance(results, Results):
        yield from _polygons(results.polygons, titles)
    yield from _cutflow(results.cutflow)


def _of_classes(results: Results, titles: Titles) -> Iterator[NamedObject]:
    """Yields the objects that only a classification has."""
    short = short_names({name for model in results.models.values() for m in model.maps for name in m.names})
    models = results.models
    for model in (replace(model, name=_free(name)) for name, model in models.items()):
        yield from model_objects(model, results)
        yield from efficiency_objects(model, results.signal, short, titles)
        yield from flat_objects(model, results.signal, titles)
        yield from band_objects(model, titles)
    for name in models:
        yield from identified_objects(results, name, _free(name), titles)
    if results.identified is not None:
        yield from totals(results.identified, titles)
    yield from _of_features(results, f"the margin of {results.signal}", f"score of {results.signal}", titles)
    for name, table in results.detectors.items():
        yield from _detectors(_free(name), table)
    yield from _comparisons(results.ordinary_comparisons)
    yield from _inputs(results, titles)
    for name, robustness in results.robustness.items():
        yield from robustness_objects(name, robustness)


def _of_features(results: AnyResults, explained: str, score: str, titles: Titles) -> Iterator[NamedObject]:
    """Yields what each feature does to the models; `explained` and `score` are their numbers in words."""
    found = results if isinstance(results, RegressionResults) else results.exploration
    for name, importance in results.importance.items():
        yield from importance_objects(_free(name), importance)
    for name, table in found.explained.items():
        if name in results.models:
            yield from contribution_objects(_free(name), table, explained, titles)
    for name, dependence in found.dependence.items():
        if name in results.models:
            yield from dependence_objects(_free(name), dependence, score, titles)


def _free(name: str) -> str:
    """Returns the name of a model's directory: another one if it is that of other objects."""
    return f"{name}_model" if name in _TOP else name


def _comparisons(comparisons: Sequence[Comparison]) -> Iterator[NamedObject]:
    curves = [c for c in comparisons if np.isfinite(c.delta_auc).all()]
    pairs = [f"{c.b} - {c.a}" for c in curves]
    deltas = [c.delta_auc for c in curves]
    # The points lie at the centres of the bins of the labelled histogram, so that both can be drawn together.
    x: Array = np.arange(len(pairs), dtype=np.float64) + 0.5
    graph = graph_of((x, x, x), bounds(deltas), "AUC(b) - AUC(a);pair;#Delta AUC")
    yield NamedObject(("compare", "delta_auc"), graph)
    yield NamedObject(("compare", "pairs"), labelled(pairs, deltas, "AUC(b) - AUC(a);;#Delta AUC"))
    for c in comparisons:
        for particle in {point.particle: None for point in c.working_points}:
            points = [point for point in c.working_points if point.particle == particle]
            x = np.array([point.efficiency for point in points])
            axes = f"signal efficiency;#Delta {particle} misidentification"
            graph = graph_of((x, x, x), bounds([p.delta_misid for p in points]), f"{c.b} - {c.a};{axes}")
            yield NamedObject(("compare", f"{c.a}_vs_{c.b}", f"delta_misid_{particle}"), graph)
            axes = f"signal efficiency;{particle} misidentification, {c.a} / {c.b}"
            graph = graph_of((x, x, x), bounds([p.ratio for p in points]), f"{c.a} / {c.b};{axes}")
            yield NamedObject(("compare", f"{c.a}_vs_{c.b}", f"misid_ratio_{particle}"), graph)


def _detectors(model: str, table: DetectorTable) -> Iterator[NamedObject]:
    """Yields labelled histograms of what each detector contributes to a likelihood: AUC and misidentification."""
    names = [row.name for row in table.rows]
    areas = labelled(names, [row.auc for row in table.rows], f"{model}, from some detectors;;AUC")
    yield NamedObject((model, "detectors_auc"), areas)
    for particle in table.rows[0].misid:
        title = f"{model}, from some detectors, at {table.working_point};;{particle} misidentification"
        rates = labelled(names, [row.misid[particle] for row in table.rows], title)
        yield NamedObject((model, f"detectors_misid_{particle}"), rates)


def _inputs(results: Results, titles: Titles) -> Iterator[NamedObject]:
    for feature, classes in results.inputs.items():
        for name, histogram in classes.items():
            title = f"{root_text(feature)}, {name}, test sample;{titles(feature)};weighted candidates"
            yield NamedObject(("inputs", f"{feature}_{name}"), th1(histogram, title))
        if results.signal in classes:
            yield from _ratios(feature, results.signal, classes, titles)
    yield from _exploration(results.exploration, titles)
    for name, matrix in results.correlation.items():
        n, title = results.n.get("test", {}).get(name, 0), f"linear correlation, {name} (0 where a feature is constant)"
        content = of_matrix(matrix, results.features, title, n, np.zeros_like(matrix))
        yield NamedObject(("inputs", f"correlation_{name}"), content)


def _ratios(feature: str, signal: str, classes: Mapping[str, Histogram], titles: Titles) -> Iterator[NamedObject]:
    """Yields graphs of the signal's density over that of each other class, for bins in which both are positive."""
    for name, histogram in classes.items():
        if name != signal:
            ratio, error = density_ratio(classes[signal], histogram)
            title = f"{root_text(feature)}, {signal} over {name}, test sample;{titles(feature)};{signal} / {name}"
            graph = graph_of(of_bins(histogram.edges), (ratio, ratio - error, ratio + error), title)
            yield NamedObject(("inputs", f"{feature}_ratio_{name}"), graph)


def _exploration(found: Exploration, titles: Titles) -> Iterator[NamedObject]:
    """Yields scaled features, and for each pair of features and class its TH2 and the graph of its profile."""
    for feature, classes in found.scaled.items():
        for name, histogram in classes.items():
            title = f"{root_text(feature)} after scaling, {name}, test sample;{titles(feature)}, scaled"
            yield NamedObject(("inputs", f"{feature}_scaled_{name}"), th1(histogram, f"{title};weighted candidates"))
    for pair in found.pairs:
        for name, plane in pair.planes.items():
            title = f"{root_text(pair.y)} against {root_text(pair.x)}, {name}, test sample"
            axes = f"{title};{titles(pair.x)};{titles(pair.y)}"
            stem = f"{pair.x}_{pair.y}_{name}"
            yield NamedObject(("inputs", stem), of_plane(plane, pair.x_edges, pair.y_edges, axes))
            yield NamedObject(("inputs", f"{stem}_profile"), profile_of(plane, pair.x_edges, axes))


def _weights(found: Reweighting, titles: Titles) -> Iterator[NamedObject]:
    """Yields the matched variables of each group before and after its weights, those of the target, and the weights."""
    for group in found.groups:
        folder = ("reweighting", group.name or "all")
        for variable, by_key in group.variables.items():
            for key, histogram in by_key.items():
                title = f"{root_text(variable)}, {key};{titles(variable)};weighted candidates"
                yield NamedObject((*folder, f"{variable}_{key}"), th1(histogram, title))
        yield NamedObject((*folder, "weights"), th1(group.weights, "weights;weight / mean weight;candidates"))


def _polygons(polygons: Sequence[PolygonResult], titles: Titles) -> Iterator[NamedObject]:
    """Yields every polygon as a TCutG, and the distribution of each class over its axes as TH2."""
    for polygon in polygons:
        title = root_text(polygon.name)
        yield NamedObject(("polygons", polygon.short_name), tcutg(polygon.points, polygon.x, polygon.y, title))
        if polygon.pair is not None:
            for name, plane in polygon.pair.planes.items():
                axes = f"{title}, {name}, test sample;{titles(polygon.pair.x)};{titles(polygon.pair.y)}"
                content = of_plane(plane, polygon.pair.x_edges, polygon.pair.y_edges, axes)
                yield NamedObject(("polygons", f"{polygon.short_name}_{name}"), content)


def _cutflow(steps: Sequence[CutStep]) -> Iterator[NamedObject]:
    labels = [step.name for step in steps]
    edges = (np.arange(len(steps) + 1.0),)
    for name in {name: None for step in steps for name in step.passed}:
        passed = np.array([step.passed.get(name, 0) for step in steps], dtype=np.float64)
        yield NamedObject(("cutflow", name), th1(from_cells(passed, edges), f"{name};;candidates", labels))
        weighted = np.array([step.weighted.get(name, 0.0) for step in steps])
        bins = from_cells(weighted, edges, np.zeros_like(weighted), entries=float(passed.sum()))
        yield NamedObject(("cutflow", f"{name}_weighted"), th1(bins, f"{name};;weighted candidates", labels))
