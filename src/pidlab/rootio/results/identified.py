"""Features and spectators after identification as ROOT objects: what is accepted by class, its purity, efficiencies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pidlab.evaluate.points.identified import histogram_of, kept, purity
from pidlab.evaluate.results import BinSums, Identified, Results
from pidlab.measured import Array
from pidlab.rootio.histograms import th1
from pidlab.rootio.results.named_object import NamedObject, Titles, graph_of, of_bins, root_text


def identified_objects(results: Results, model: str, folder: str, titles: Titles) -> Iterator[NamedObject]:
    """Yields `identified/POINT/` of a model: for each variable what is accepted, and what it consists of.

    `VARIABLE` and `VARIABLE_CLASS` are TH1 of everything that is accepted and of what each class contributes.
    `VARIABLE_purity` and `VARIABLE_efficiency` are graphs of the share of signal and of the signal's efficiency.

    Args:
        results: the results of the run.
        model: the name of the model.
        folder: its directory.
        titles: gives the titles of axes.
    """
    found = results.identified
    if found is None:
        return
    signal = found.classes.index(results.signal)
    for point, accepted in found.accepted.get(model, {}).items():
        for variable, sums in accepted.sums.items():
            path, edges = (folder, "identified", point), found.edges[variable]
            what, axis = f"{root_text(variable)}, accepted by {model} at {point}", titles(variable)
            n = list(accepted.n.values())
            yield NamedObject((*path, variable), _histogram(edges, sums, None, sum(n), f"{what};{axis}"))
            for i, name in enumerate(found.classes):
                content = _histogram(edges, sums, i, n[i], f"{what}, {name};{axis}")
                yield NamedObject((*path, f"{variable}_{name}"), content)
            for name, values in (
                ("purity", purity(sums, signal)),
                ("efficiency", kept(sums, found.total[variable], signal)),
            ):
                y = (np.asarray(values.value), values.low, values.high)
                graph = graph_of(of_bins(edges), y, f"{what};{axis};{name} of {results.signal}")
                yield NamedObject((*path, f"{variable}_{name}"), graph)


def totals(found: Identified, titles: Titles) -> Iterator[NamedObject]:
    """Yields `identified/VARIABLE_CLASS`: each variable before any decision, in the same bins."""
    for variable, sums in found.total.items():
        for i, name in enumerate(found.classes):
            title = f"{root_text(variable)}, {name}, test sample;{titles(variable)}"
            content = _histogram(found.edges[variable], sums, i, found.n[name], title)
            yield NamedObject(("identified", f"{variable}_{name}"), content)


def _histogram(edges: Array, sums: BinSums, row: int | None, entries: int, title: str) -> Any:
    """Returns the TH1 of one class, or of all classes together if `row` is None."""
    sumw, sumw2 = (s.sum(axis=0) if row is None else s[row] for s in (sums.sumw, sums.sumw2))
    return th1(histogram_of(edges, sumw, sumw2, entries), f"{title};weighted candidates")
