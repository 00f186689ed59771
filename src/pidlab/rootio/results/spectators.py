"""What depends on spectators as ROOT objects: efficiencies in bins of them, and flat-efficiency working points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pidlab.evaluate.results import EfficiencyMap, FlatThreshold, ModelResult
from pidlab.rootio.efficiency import tefficiency
from pidlab.rootio.graphs import tgraph
from pidlab.rootio.histograms import from_cells, th2
from pidlab.rootio.results.named_object import NamedObject, Titles, around, graph_of


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Returns the last dotted part of each name, or all of it if two names end alike."""
    names = list(names)
    ends = Counter(name.rpartition(".")[2] for name in names)
    return {name: end if ends[end := name.rpartition(".")[2]] == 1 else name for name in names}


def efficiency_objects(
    model: ModelResult, signal: str, short: Mapping[str, str], titles: Titles
) -> Iterator[NamedObject]:
    """Yields the maps of a model: TEfficiency with a graph for one spectator, with a histogram for two.

    Args:
        model: one of the results.
        signal: the name of the signal.
        short: spectator to its name in the names of objects.
        titles: gives the titles of axes.
    """
    for result in model.maps:
        yield from _map(model.name, result, signal, short, titles)


def _map(
    model: str, result: EfficiencyMap, signal: str, short: Mapping[str, str], titles: Titles
) -> Iterator[NamedObject]:
    rate = "efficiency" if result.particle == signal else f"misid_{result.particle}"
    name = "_".join([rate, *(short[n] for n in result.names), result.working_point])
    word = "efficiency" if result.particle == signal else "misidentification"
    axes = ";".join([*(titles(n) for n in result.names), f"{result.particle} {word}"])
    n_thin = int(result.thin.sum())
    thin = f", {n_thin} bins below {result.least:g} effective events" if n_thin else ""
    title = f"{model}, {result.working_point}{thin};{axes}"
    content = _tefficiency(result, title)
    if len(result.names) == 1:
        yield NamedObject((model, name), content)
        low, high = result.edges[0][:-1], result.edges[0][1:]
        centres, half = (low + high) / 2, (high - low) / 2
        x = (centres, centres - half, centres + half)
        graph = graph_of(x, (result.value, result.low, result.high), title)
        yield NamedObject((model, f"{name}_graph"), graph)
        return
    yield NamedObject(("maps", model, name), content)
    error = (result.high - result.low) / 2
    bins = from_cells(np.nan_to_num(result.value), result.edges, np.nan_to_num(error) ** 2, float(np.nansum(result.n)))
    yield NamedObject(("maps", model, f"{name}_value"), th2(bins, title))


def _tefficiency(one: EfficiencyMap, title: str) -> Any:
    passed, total, passed2, total2 = (np.nan_to_num(c) for c in (one.passed, one.total, one.passed2, one.total2))
    return tefficiency(passed, total, one.edges, title, passed2, total2)


def flat_objects(model: ModelResult, signal: str, titles: Titles) -> Iterator[NamedObject]:
    """Yields the thresholds of flat working points, and the efficiency of the signal on test.

    `flat/POINT_threshold` is a TGraph of the nodes, or a TH2 for two spectators. `flat/POINT_efficiency` holds the
    efficiency at these thresholds, and `flat/POINT_constant` that at the constant threshold.
    """
    for point in model.working_points:
        if point.flat is not None:
            title = ";".join([f"{model.name}, {point.name}", *(titles(n) for n in point.flat.names), "threshold"])
            yield NamedObject((model.name, "flat", f"{point.name}_threshold"), _thresholds(point.flat, title))
    for found in model.flatness:
        for name, one, chi2 in (
            ("efficiency", found.after, found.chi2_after),
            ("constant", found.before, found.chi2_before),
        ):
            what = f"{model.name}, {found.working_point}: #chi^{{2}}/ndf = {chi2:.3g}/{found.ndf}"
            title = ";".join([what, *(titles(n) for n in one.names), f"{signal} efficiency"])
            yield NamedObject((model.name, "flat", f"{found.working_point}_{name}"), _tefficiency(one, title))


def _thresholds(flat: FlatThreshold, title: str) -> Any:
    if len(flat.nodes) == 1:
        return tgraph(flat.nodes[0], flat.values, title)
    x, y = (around(nodes) for nodes in flat.nodes)
    return th2(from_cells(flat.values, (x, y), np.zeros_like(flat.values), entries=flat.values.size), title)
