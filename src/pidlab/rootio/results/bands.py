"""Bands as ROOT objects: mean and widths as TGraphErrors, the variable as TH2, pulls as TH1, their core as graphs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pidlab.evaluate.results import BandPanel, BandVariable, ModelResult, PullTrend
from pidlab.measured import Array
from pidlab.rootio.graphs import tgraph_errors
from pidlab.rootio.histograms import th1
from pidlab.rootio.results.named_object import NamedObject, Titles, of_plane, root_text


def band_objects(model: ModelResult, titles: Titles) -> Iterator[NamedObject]:
    """Yields what the directory of a model holds of each variable of a band.

    With VARIABLE the variable's name and GROUP the group's, left out without groups: `band_VARIABLE_mean_GROUP`,
    `band_VARIABLE_width_below_GROUP` and `…_width_above_GROUP` (one, `…_width_GROUP`, where they are equal),
    `band_VARIABLE_plane_CLASS_GROUP`, `band_VARIABLE_pulls_CLASS`, and `band_VARIABLE_pulls_mean_against_X` and
    `…_pulls_width_against_X`.

    Args:
        model: one of the results.
        titles: gives the titles of axes.
    """
    for band in model.bands:
        stem = f"band_{band.variable}"
        for panel in band.panels:
            yield from _panel(model.name, stem, band, panel, titles)
        for particle, histogram in band.pulls.items():
            title = f"{model.name}, {particle}, test sample;({root_text(band.variable)} - #mu) / #sigma"
            content = th1(histogram, f"{title};weighted candidates")
            yield NamedObject((model.name, f"{stem}_pulls_{particle}"), content)
        for trend in band.trends:
            yield from _trend(model.name, stem, trend, titles)


def _panel(model: str, stem: str, band: BandVariable, panel: BandPanel, titles: Titles) -> Iterator[NamedObject]:
    group = (panel.group,) if panel.group else ()
    where = f"{model}{f', {root_text(panel.group)}' if panel.group else ''}"
    x, y = titles(band.against[0]), titles(band.variable)
    curve = panel.curve
    columns = {"mean": (curve.mean, curve.mean_error)}
    if np.array_equal(curve.below, curve.above):
        columns["width"] = (curve.above, curve.above_error)
    else:
        columns |= {"width_below": (curve.below, curve.below_error), "width_above": (curve.above, curve.above_error)}
    for name, (value, error) in columns.items():
        what = y if name == "mean" else f"{name.replace('_', ' ')} of {y}"
        graph = _graph(curve.x, np.zeros_like(curve.x), value, error, f"{where}: {name.replace('_', ' ')};{x};{what}")
        yield NamedObject((model, "_".join((stem, name, *group))), graph)
    for particle, plane in panel.planes.items():
        title = f"{where}, {particle}, test sample;{x};{y};weighted candidates"
        content = of_plane(plane, band.x_edges, band.y_edges, title)
        yield NamedObject((model, "_".join((stem, "plane", particle, *group))), content)


def _trend(model: str, stem: str, trend: PullTrend, titles: Titles) -> Iterator[NamedObject]:
    centre, half = (trend.edges[1:] + trend.edges[:-1]) / 2, np.diff(trend.edges) / 2
    for what, value, error in (
        ("mean", trend.mean, trend.mean_error),
        ("width", trend.width, trend.width_error),
    ):
        title = f"{model}: {what} of the core of the pulls, test sample;{titles(trend.x)};{what}"
        graph = _graph(centre, half, value, error, title)
        yield NamedObject((model, f"{stem}_pulls_{what}_against_{trend.x}"), graph)


def _graph(x: Array, x_error: Array, y: Array, y_error: Array, title: str) -> object:
    """Returns a TGraphErrors of the points that are numbers; errors that are not are 0. None without points."""
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return None
    return tgraph_errors(x[known], y[known], x_error[known], np.nan_to_num(y_error[known]), title)
