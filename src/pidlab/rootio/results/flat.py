"""Flat-efficiency working points as ROOT objects: their thresholds, and the efficiency before and after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from pidlab.evaluate.results import FlatThreshold, ModelResult
from pidlab.measured import Array
from pidlab.rootio.efficiency import tefficiency
from pidlab.rootio.graphs import tgraph
from pidlab.rootio.histograms import from_cells, th2
from pidlab.rootio.results.placed import NamedObject


class Titles(Protocol):
    """Axis titles by the name of a spectator."""

    def __getitem__(self, name: str, /) -> str: ...


def flat_objects(model: ModelResult, signal: str, titles: Titles) -> Iterator[NamedObject]:
    """`flat/POINT_threshold` (a TGraph of the nodes, a TH2 for two spectators), and the signal's efficiency on test,
    `flat/POINT_efficiency` and `flat/POINT_constant`, at these thresholds and at the one constant threshold.
    """
    for point in model.working_points:
        if point.flat is not None:
            title = ";".join([f"{model.name}, {point.name}", *(titles[n] for n in point.flat.names), "threshold"])
            yield NamedObject((model.name, "flat", f"{point.name}_threshold"), _thresholds(point.flat, title))
    for found in model.flatness:
        for name, one, chi2 in (
            ("efficiency", found.after, found.chi2_after),
            ("constant", found.before, found.chi2_before),
        ):
            what = f"{model.name}, {found.working_point}: #chi^{{2}}/ndf = {chi2:.3g}/{found.ndf}"
            title = ";".join([what, *(titles[n] for n in one.names), f"{signal} efficiency"])
            cells = [np.nan_to_num(c, nan=0.0) for c in (one.passed, one.total, one.passed2, one.total2)]
            content = tefficiency(cells[0], cells[1], one.edges, title, cells[2], cells[3])
            yield NamedObject((model.name, "flat", f"{found.working_point}_{name}"), content)


def _thresholds(flat: FlatThreshold, title: str) -> Any:
    if len(flat.nodes) == 1:
        return tgraph(flat.nodes[0], flat.values, title)
    x, y = (_around(nodes) for nodes in flat.nodes)
    return th2(from_cells(flat.values, (x, y), np.zeros_like(flat.values), entries=flat.values.size), title)


def _around(nodes: Array) -> Array:
    """(m + 1,) edges of bins with one of the (m,) nodes in each."""
    if len(nodes) == 1:
        return np.array([nodes[0] - 0.5, nodes[0] + 0.5])
    between = (nodes[1:] + nodes[:-1]) / 2
    return np.concatenate([[2 * nodes[0] - between[0]], between, [2 * nodes[-1] - between[-1]]])
