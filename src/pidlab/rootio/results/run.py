"""`results.root`: every figure of a run as ROOT objects, for TBrowser, JSROOT and macros."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
import uproot
from numpy.typing import NDArray

from pidlab.evaluate.results import (
    Comparison,
    CutStep,
    EfficiencyMap,
    ModelResult,
    Results,
    RobustnessPoint,
    RobustnessResult,
    Roc,
)
from pidlab.measured import UNDEFINED, Measured
from pidlab.rootio.efficiency import tefficiency
from pidlab.rootio.files import WholeFile, writing
from pidlab.rootio.graphs import tgraph
from pidlab.rootio.histograms import from_cells, th1, th2
from pidlab.rootio.results.flat import flat_objects
from pidlab.rootio.results.placed import Column, NamedObject, bounds, graph_of, labelled
from pidlab.rootio.results.quality import importances, quality

Array = NDArray[np.float64]


_TOP: Final = ("maps", "compare", "inputs", "robustness", "cutflow", "notes", "provenance")


def write_results(path: Path, results: Results, provenance: str, labels: Mapping[str, str] | None = None) -> None:
    """Write `results` to a ROOT file (ZLIB, which JSROOT reads) that appears whole or not at all.

    One directory a model, then `maps/`, `compare/`, `inputs/`, `robustness/`, `cutflow/` and the TObjStrings
    `notes` and `provenance`, the latter last. `labels` gives features and spectators their axis titles, such as
    `p [GeV]` or `$\\theta$ [deg]`; left out, those of the results.

    Raises:
        OutputError: the file cannot be written.
    """
    used: set[str] = set()
    with WholeFile(path, "zlib") as file, writing(path):
        for place, content in _objects(results, _Titles(results.labels if labels is None else labels)):
            if content is not None:
                file[_key(place, used)] = content
        file["notes"] = "\n".join(results.notes)
        file["provenance"] = provenance


def object_names(path: Path) -> tuple[str, ...]:
    """The names of all objects in a file that `write_results` wrote, directories left out, in their order."""
    with uproot.open(path) as file:
        kinds = file.classnames(cycle=False)
    return tuple(name for name, kind in kinds.items() if not kind.startswith("TDirectory"))


def root_text(label: str) -> str:
    r"""A label for ROOT's TLatex from one with TeX between dollars: `$\theta$ [deg]` becomes `#theta [deg]`.

    TLatex has no `\mathrm{x}`, since it writes letters upright anyway, and no thin spaces.
    """
    plain = re.sub(r"\\(?:mathrm|mathit|text|rm)\s*\{([^{}]*)\}", r"\1", label)
    plain = re.sub(r"\\[,;:! ]", " ", plain).replace(r"\%", "%")
    return re.sub(r"\\(?=[A-Za-z])", "#", plain.replace("$", "")).replace(";", "#;")


class _Titles:
    """Axis titles by the name of a feature or spectator."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels

    def __getitem__(self, name: str) -> str:
        return root_text(self._labels.get(name, name))


def _key(place: Sequence[str], used: set[str]) -> str:
    """A path of plain names that no object has yet: odd characters become underscores, doubles are numbered."""
    parts = [re.sub(r"[^A-Za-z0-9_]+", "_", part) or "_" for part in place]
    key, number = "/".join(parts), 1
    while key in used:
        number += 1
        key = "/".join(parts) + f"_{number}"
    used.add(key)
    return key


def _objects(results: Results, titles: _Titles) -> Iterator[NamedObject]:
    spectators = {name for model in results.models.values() for m in model.maps for name in m.names}
    short = _short_names(spectators)
    for model in map(_beside_ours, results.models.values()):
        yield from _model(model, results)
        yield from quality(model, results.signal)
        for efficiency_map in model.maps:
            yield from _map(model.name, efficiency_map, results.signal, short, titles)
        yield from flat_objects(model, results.signal, titles)
    for name, importance in results.importance.items():
        yield from importances(_beside_ours(results.models[name]).name, importance)
    yield from _comparisons(results.ordinary_comparisons)
    yield from _inputs(results, titles)
    for name, robustness in results.robustness.items():
        yield from _robustness(name, robustness)
    yield from _cutflow(results.cutflow)


def _beside_ours(model: ModelResult) -> ModelResult:
    """The model, renamed where its directory would be one that holds something else."""
    return replace(model, name=f"{model.name}_model") if model.name in _TOP else model


def _short_names(names: Iterable[str]) -> dict[str, str]:
    """The last dotted part of each name, or all of it where two names end alike."""
    names = list(names)
    ends = Counter(name.rpartition(".")[2] for name in names)
    return {name: end if ends[end := name.rpartition(".")[2]] == 1 else name for name in names}


def _model(model: ModelResult, results: Results) -> Iterator[NamedObject]:
    yield from _rocs(model, results.signal)
    yield from _working_points(model, results.signal)
    for sample, classes in model.response.items():
        suffix = () if sample == "test" else (sample,)
        for name, histogram in classes.items():
            title = f"{model.name}, {name}, {sample} sample;score of {results.signal};weighted candidates"
            yield NamedObject((model.name, "_".join(("score", name, *suffix))), th1(histogram, title))
    if "test" in model.samples:
        test = model.samples["test"]
        edges = np.arange(len(test.classes) + 1.0)
        n = sum(results.n.get("test", {}).values())
        bins = from_cells(test.confusion, (edges, edges), entries=n)
        title = f"{model.name}: confusion matrix, test sample;true class;decided class;weighted candidates"
        yield NamedObject((model.name, "confusion"), th2(bins, title, test.classes, test.classes))
    if model.training is not None:
        for quantity, values in model.training.history.items():
            graph = tgraph(np.arange(1, len(values) + 1), values, f"{model.name};epoch;{root_text(quantity)}")
            yield NamedObject((model.name, f"history_{quantity}"), graph)


def _rocs(model: ModelResult, signal: str) -> Iterator[NamedObject]:
    """`roc` against all others together, or the first other class; `roc_CLASS` against each of several."""
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


def _map(
    model: str, result: EfficiencyMap, signal: str, short: Mapping[str, str], titles: _Titles
) -> Iterator[NamedObject]:
    rate = "efficiency" if result.particle == signal else f"misid_{result.particle}"
    name = "_".join([rate, *(short[n] for n in result.names), result.working_point])
    word = "efficiency" if result.particle == signal else "misidentification"
    axes = ";".join([*(titles[n] for n in result.names), f"{result.particle} {word}"])
    n_thin = int(result.thin.sum())
    thin = f", {n_thin} bins below {result.least:g} effective events" if n_thin else ""
    title = f"{model}, {result.working_point}{thin};{axes}"
    cells = [np.nan_to_num(c, nan=0.0) for c in (result.passed, result.total, result.passed2, result.total2)]
    content = tefficiency(cells[0], cells[1], result.edges, title, cells[2], cells[3])
    if len(result.names) == 1:
        yield NamedObject((model, name), content)
        centres, half = _centres(result.edges[0])
        x = (centres, centres - half, centres + half)
        graph = graph_of(x, (result.value, result.low, result.high), title)
        yield NamedObject((model, f"{name}_graph"), graph)
        return
    yield NamedObject(("maps", model, name), content)
    error = (result.high - result.low) / 2
    bins = from_cells(np.nan_to_num(result.value), result.edges, np.nan_to_num(error) ** 2, float(np.nansum(result.n)))
    yield NamedObject(("maps", model, f"{name}_value"), th2(bins, title))


def _comparisons(comparisons: Sequence[Comparison]) -> Iterator[NamedObject]:
    curves = [c for c in comparisons if np.isfinite(c.delta_auc).all()]
    pairs = [f"{c.b} - {c.a}" for c in curves]
    deltas = [c.delta_auc for c in curves]
    place: Array = (
        np.arange(len(pairs), dtype=np.float64) + 0.5
    )  # the centres of the labelled histogram's bins, to draw one over the other
    graph = graph_of((place, place, place), bounds(deltas), "AUC(b) - AUC(a);pair;#Delta AUC")
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


def _inputs(results: Results, titles: _Titles) -> Iterator[NamedObject]:
    for feature, classes in results.inputs.items():
        for name, histogram in classes.items():
            title = f"{root_text(feature)}, {name}, test sample;{titles[feature]};weighted candidates"
            yield NamedObject(("inputs", f"{feature}_{name}"), th1(histogram, title))
    edges = np.arange(len(results.features) + 1.0)
    for name, matrix in results.correlation.items():
        n = results.n.get("test", {}).get(name, 0)
        bins = from_cells(np.nan_to_num(matrix), (edges, edges), np.zeros_like(matrix), entries=n)
        title = f"linear correlation, {name} (0 where a feature is constant)"
        yield NamedObject(("inputs", f"correlation_{name}"), th2(bins, title, results.features, results.features))


def _robustness(model: str, robustness: RobustnessResult) -> Iterator[NamedObject]:
    """Graphs against the size of each change, the unchanged sample at its neutral size; dropped features have no
    size and stand in labelled histograms, the unchanged sample first.
    """
    nominal = [] if robustness.nominal is None else [replace(robustness.nominal, feature="none")]
    dropped = [point for point in robustness.points if point.change == "drop"]
    if dropped:
        names = [point.feature for point in (*nominal, *dropped)]
        for quantity, values in _quantities([*nominal, *dropped]).items():
            title = f"{model} without one feature;;{quantity}"
            yield NamedObject(("robustness", model, f"{quantity}_drop"), labelled(names, values, title))
    rest = [point for point in robustness.points if point.change != "drop"]
    rest.sort(key=lambda point: (point.change, point.feature))
    for (change, feature), group in groupby(rest, key=lambda point: (point.change, point.feature)):
        neutral = [replace(point, size=1.0 if change == "scale" else 0.0) for point in nominal]
        points = sorted([*neutral, *group], key=lambda point: point.size)
        x = np.array([point.size for point in points])
        for quantity, values in _quantities(points).items():
            title = f"{model}: {change} {root_text(feature)};{change};{quantity}"
            graph = graph_of((x, x, x), bounds(values), title)
            yield NamedObject(("robustness", model, f"{quantity}_{change}_{feature}"), graph)


def _quantities(points: Sequence[RobustnessPoint]) -> dict[str, list[Measured]]:
    misids = {particle: None for point in points for particle in point.misid}
    return {
        "auc": [point.auc for point in points],
        "efficiency": [point.efficiency for point in points],
        **{f"misid_{particle}": [point.misid.get(particle, UNDEFINED) for point in points] for particle in misids},
    }


def _cutflow(steps: Sequence[CutStep]) -> Iterator[NamedObject]:
    labels = [step.name for step in steps]
    edges = (np.arange(len(steps) + 1.0),)
    for name in {name: None for step in steps for name in step.passed}:
        passed = np.array([step.passed.get(name, 0) for step in steps], dtype=np.float64)
        yield NamedObject(("cutflow", name), th1(from_cells(passed, edges), f"{name};;candidates", labels))
        weighted = np.array([step.weighted.get(name, 0.0) for step in steps])
        bins = from_cells(weighted, edges, np.zeros_like(weighted), entries=float(passed.sum()))
        yield NamedObject(("cutflow", f"{name}_weighted"), th1(bins, f"{name};;weighted candidates", labels))


def _centres(edges: Array) -> tuple[Array, Array]:
    """Bin centres and half widths."""
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
