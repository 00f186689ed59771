"""Figures of bands: the band over the data, the pulls, and mean and width of the pulls against each quantity."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pidlab.evaluate.bands import gaussian_density, gaussian_share
from pidlab.evaluate.results import BandVariable, ModelResult, PullTrend, Results
from pidlab.measured import format_percent
from pidlab.plots.bands import band_plane, prose, pull_trend, pulls, shown_lines
from pidlab.plots.canvas.style import class_styles, legend
from pidlab.plots.sheets.sheet import Sheet, grid, label_bottom, label_left, objects_of, one_panel, root_key, stack
from pidlab.plots.sheets.table import FigureTable, histogram_table, table_of

_COLUMNS = 4


def bands(results: Results) -> Iterator[Sheet]:
    """Yields three kinds of figures for each variable of each band."""
    for model in results.models.values():
        for band in model.bands:
            about = {"model": model.name, "variable": band.variable}
            name = model.name if len(model.bands) == 1 else f"{model.name}_{band.variable}"
            if band.panels:
                for particles in _particles_of_figures(results, band):
                    yield _plane_sheet(results, model, band, particles, name, about)
            yield _pull_sheet(results, model, band, name, about)
            for trend in band.trends:
                if np.isfinite(trend.mean).any():
                    yield _trend_sheet(results, model, band, trend, name, about)


def _particles_of_figures(results: Results, band: BandVariable) -> list[list[str]]:
    """Returns the classes of each figure: all in one without groups; with groups one a figure, the signal first."""
    ordered = [results.signal, *(name for name in results.classes if name != results.signal)]
    return [ordered] if len(band.panels) == 1 else [[name] for name in ordered]


def _plane_sheet(
    results: Results, model: ModelResult, band: BandVariable, particles: list[str], name: str, about: dict[str, str]
) -> Sheet:
    groups = ""
    if len(band.panels) > 1:
        some = f"the first {len(band.panels)} of " if len(band.panels) < band.n_groups else ""
        groups = f", a panel for each of {some}{band.n_groups} groups"
    limits = " and ".join(f"{n:.3g} widths ({prose(point)})" for point, n in shown_lines(band).items())
    has_signal = results.signal in particles
    whom = "each class" if len(particles) > 1 else particles[0]
    return Sheet(
        name=f"band_{name}" if has_signal else f"band_{name}_{particles[0]}",
        title=(
            f"{band.variable} against {band.against[0]} with the band {model.name}"
            f"{'' if len(particles) > 1 else f', {particles[0]}'}"
        ),
        alt=(
            f"Density of {whom} in {band.against[0]} and {band.variable} on test{groups}, on a logarithmic scale, "
            f"with the mean of the band {model.name} as a full line"
            f"{f' and its limits at {limits} as broken lines' if limits else ''}."
        ),
        draw=partial(_planes, results, band, particles),
        numbers=partial(_curve_table, band),
        section="bands",
        objects=objects_of(
            model.name, *(f"{_stem(band)}_plane_{root_key(p)}*" for p in particles), f"{_stem(band)}_mean*",
            f"{_stem(band)}_width*",
        ),
        quick=has_signal,
        kind="band",
        about={**about, "particle": particles[0]},
    )  # fmt: skip


def _stem(band: BandVariable) -> str:
    return f"band_{root_key(band.variable)}"


def _planes(results: Results, band: BandVariable, particles: list[str]) -> Figure:
    panels = [(panel, particle) for panel in band.panels for particle in particles if particle in panel.planes]
    n_columns = min(len(panels), _COLUMNS if len(panels) > 6 else 3 if len(panels) > 4 else len(panels))
    size = (5.2, 4.2) if len(panels) <= 2 else (3.4, 3.1)
    figure, axes = grid(len(panels), n_columns, *size, row_gap=0.95, column_gap=0.95)
    styles = class_styles(results.classes, results.signal)
    entries: list[tuple[Any, str]] = []
    for (panel, particle), ax in zip(panels, axes, strict=True):
        entries = band_plane(band, panel, particle, ax, style=styles[particle], labels=results.labels)
    legend(axes[0], entries, above=1.1)
    label_left(axes, n_columns)
    return figure


def _curve_table(band: BandVariable) -> FigureTable:
    """Returns the curves; the planes are in results.root."""
    rows: list[tuple[Any, ...]] = []
    for panel in band.panels:
        c = panel.curve
        columns = (c.x, c.mean, c.mean_error, c.below, c.below_error, c.above, c.above_error)
        rows += [(panel.group, *point) for point in zip(*columns, strict=True)]
    header = ("mean", "error", "width below", "error", "width above", "error")
    return table_of(("group", band.against[0], *header), rows)


def _pull_sheet(results: Results, model: ModelResult, band: BandVariable, name: str, about: dict[str, str]) -> Sheet:
    sign = {"low": "not further below", "high": "not further above", "both": "within"}[band.side]
    kept = "; ".join(
        f"{sign} {n} widths {format_percent(share)} %, of a Gaussian {100 * gaussian_share(float(n), band.side):.4g} %"
        for n, share in band.kept.items()
        if np.isfinite(share.value)
    )
    return Sheet(
        name=f"pulls_{name}",
        title=f"Pulls of {band.variable} by the band {model.name}",
        alt=(
            f"Distance of {band.variable} from the mean of the band {model.name} in widths, for each class of the test "
            f"sample on a log axis, and a unit Gaussian with as many {results.signal} candidates within one width."
            f"{f' Of {results.signal}: {kept}.' if kept else ''}"
        ),
        draw=partial(_pulls, results, band),
        numbers=partial(histogram_table, {band.variable: band.pulls}, "variable"),
        section="bands",
        objects=objects_of(model.name, f"{_stem(band)}_pulls_*"),
        kind="pulls",
        about=about,
    )


def _pulls(results: Results, band: BandVariable) -> Figure:
    x = np.linspace(-5.0, 5.0, 201)
    gaussian = np.column_stack([x, gaussian_density(x, band.core_share)])
    styles = class_styles(results.classes, results.signal)
    return one_panel(partial(pulls, band, gaussian, signal=results.signal, styles=styles), 6.4, 4.4)


def _trend_sheet(
    results: Results, model: ModelResult, band: BandVariable, trend: PullTrend, name: str, about: dict[str, str]
) -> Sheet:
    return Sheet(
        name=f"pulls_{name}_against_{trend.x}",
        title=f"Mean and width of the pulls of {band.variable} by the band {model.name} against {trend.x}",
        alt=(
            f"Mean and width of the Gaussian core of the pulls of {results.signal} on test with errors, in bins of "
            f"{trend.x} that hold equal numbers of candidates; lines at 0 and 1, where a right band has them."
        ),
        draw=partial(_trend, results, trend),
        numbers=partial(_trend_table, trend),
        section="bands",
        objects=objects_of(model.name, f"{_stem(band)}_pulls_*_against_{root_key(trend.x)}"),
        kind="pull_trend",
        about={**about, "against": trend.x},
    )


def _trend(results: Results, trend: PullTrend) -> Figure:
    figure, axes = stack(2, 6.4, 4.8, gap=0.08)
    style = class_styles(results.classes, results.signal)[results.signal]
    for what, ax in zip(("mean", "width"), axes, strict=True):
        pull_trend(trend, what, ax, style=style, labels=results.labels)
    label_bottom(axes)
    return figure


def _trend_table(trend: PullTrend) -> FigureTable:
    columns = (trend.edges[:-1], trend.edges[1:], trend.mean, trend.mean_error, trend.width, trend.width_error, trend.n)
    header = (f"{trend.x} from", "to", "mean", "error", "width", "error", "effective number")
    return table_of(header, zip(*columns, strict=True))
