"""Drawing: the figures of a measurement of efficiencies, from its result and its probes, in the formats of files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from pidlab.datadriven.efficiency.estimate import Estimate, Histograms
from pidlab.datadriven.efficiency.probes import ProbeCounts
from pidlab.datadriven.efficiency.result import (
    EfficiencyResult,
    PointResult,
    Quantity,
    QuantityColumns,
    SampleEfficiency,
)
from pidlab.measured import format_measured, format_number
from pidlab.plots.canvas.style import context
from pidlab.plots.gallery import rendered, sanitised
from pidlab.plots.probes.efficiencies import Series, Slice, efficiency_figure
from pidlab.plots.probes.fits import FittedMass, fit_figure


def summary_figures(result: EfficiencyResult, *formats: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields the name of each working point's figure, and its content in each of `formats` ("png", "pdf", "svg")."""
    for point in result.points:
        name = sanitised(f"efficiency_{point.name}")
        with context(name):
            edges, axis = result.binning.edges[0], result.binning.names[0]
            figure = efficiency_figure(edges, list(_slices(result, point)), axis=axis, title=point.title)
        yield name, rendered(figure, name, *formats)


def _slices(result: EfficiencyResult, point: PointResult) -> Iterator[Slice]:
    """Yields the bins along the first axis, for each bin of the other axes."""
    binning = result.binning
    numbers = np.arange(binning.n_bins)
    for column in numbers.reshape(binning.shape[0], -1).T:
        along = [point.bins[number] for number in column]
        sides = binning.sides(along[0].number)[1:]
        with_simulation = any(each.simulation is not None for each in along)
        yield Slice(
            title=", ".join(f"{name} {low:g} to {high:g}" for name, low, high in sides),
            data=series_of([each.data.quantity for each in along]),
            simulation=series_of([each.simulation.quantity for each in along if each.simulation is not None])
            if with_simulation
            else None,
            scale_factor=series_of([each.scale_factor for each in along]) if with_simulation else None,
            doubtful=np.array([doubtful(each.data) for each in along]),
        )


def doubtful(sample: SampleEfficiency) -> bool:
    """Returns whether an efficiency is there and the data exclude its shapes, or no alternative could be fitted."""
    lost = any(math.isnan(shift) for shift in sample.quantity.systematics.values())
    return sample.nominal.usable and (sample.nominal.p_value < 0.001 or lost)


def series_of(quantities: list[Quantity]) -> Series:
    """Returns quantities as columns, with the bounds of the statistical and of the whole error."""
    value, low, high, below, above, _ = QuantityColumns.of(quantities)
    return Series(value, low, high, value - below, value + above)


def fit_name(point: PointResult, number: int, sample: str) -> str:
    """Returns the name of the figure of a fit."""
    return sanitised(f"fit_{point.name}_bin{number}_{sample}")


def fit_figures(
    result: EfficiencyResult, probes: Mapping[str, ProbeCounts], *formats: str
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields the name of the figure of every fit, and its content; samples that were counted have none."""
    mass = str(result.settings["mass"])
    for i, point in enumerate(result.points):
        for each in point.bins:
            for sample, found in each.samples.items():
                if found.nominal.name == "counted":
                    continue
                name = fit_name(point, each.number, sample)
                with context(name):
                    drawn = probes[sample].histograms(i, each.number)
                    figure = fit_figure(
                        probes[sample].edges,
                        (_panel("passing", drawn, found), _panel("failing", drawn, found)),
                        mass=mass,
                        lines=_lines(found),
                        failure=found.nominal.failure,
                    )
                yield name, rendered(figure, name, *formats)


def _panel(kind: str, probes: Histograms, found: SampleEfficiency) -> FittedMass:
    """Returns the masses of the "passing" or the "failing" probes with what the fits expect."""
    fitted, *others = (getattr(each, kind) for each in found.tried if each is found.nominal or each.usable)
    counts, variances = getattr(probes, kind), getattr(probes, f"{kind}2")
    if fitted is None:
        return FittedMass(kind, counts, variances, None, None)
    backgrounds = [each.background for each in others if each is not None]
    return FittedMass(kind, counts, variances, fitted.total, fitted.background, backgrounds)


def fit_sentences(found: SampleEfficiency) -> str:
    """Returns what each fit of a bin found, the nominal one first, in one line."""
    return "; ".join(_sentence(each, each.name in found.refused) for each in found.tried)


def _sentence(estimate: Estimate, refused: bool) -> str:
    if not estimate.usable:
        return f"{estimate.name}: failed, {estimate.failure or 'no interval'}"
    quality = f", p-value {format_number(estimate.p_value, 2)}" if estimate.n_dof else ""
    return (
        f"{estimate.name}: ε = {format_measured(estimate.efficiency)}{quality}{', does not count' if refused else ''}"
    )


def _lines(found: SampleEfficiency) -> tuple[str, ...]:
    nominal = found.nominal
    if not nominal.usable:
        return (nominal.name,)
    lines = [nominal.name, f"ε = {format_measured(nominal.efficiency)}"]
    if nominal.n_dof:
        lines.append(f"p-value {format_number(nominal.p_value, 2)}")
    return tuple(lines)
