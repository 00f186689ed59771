"""Measure: probes in data and simulation are counted in bins, and each bin of each working point gets an efficiency."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from pidlab.apply.inputs import find_inputs
from pidlab.datadriven.efficiency.binning import Binning
from pidlab.datadriven.efficiency.estimate import Estimate, Histograms, Shapes
from pidlab.datadriven.efficiency.probes import Point, ProbeCounts, ProbeExpressions, count_probes
from pidlab.datadriven.efficiency.result import (
    NOTHING,
    BinResult,
    EfficiencyResult,
    PointResult,
    Quantity,
    SampleEfficiency,
    scale_factor,
)
from pidlab.datadriven.efficiency.simultaneous import fit_efficiency
from pidlab.datadriven.efficiency.subtraction import by_sidebands, by_sweights
from pidlab.datadriven.massfit.shapes import shape_of
from pidlab.errors import DataError, UsageError, nearest
from pidlab.evaluate.intervals import efficiency as counted_efficiency
from pidlab.measured import Array
from pidlab.progress import Watcher
from pidlab.runs.bundle import Bundle, load_bundle, with_classes

Method = Literal["fit", "sweights", "sideband"]
SIGNAL_SHAPE: Final = "signal_shape"
BACKGROUND_SHAPE: Final = "background_shape"
WINDOW: Final = "window"

_EXCLUDED: Final = 0.001
"""The p-value below which the data exclude a shape; such an alternative says nothing about one that describes them."""


@dataclass(frozen=True, slots=True)
class EfficiencyRequest:
    """What is to be measured, and how.

    Attributes:
        run: the folder of the run whose decisions are measured.
        files: the files of data, as for `pidlab apply`.
        expressions: what is read of a probe.
        low, high: the range of the mass.
        n_mass: the number of bins of the mass.
        binning: the bins of the efficiency.
        shapes: the shapes of the nominal fit.
        signals, backgrounds: names of alternative shapes, for systematics.
        method: how background is separated.
        window: the window of the mass, for sidebands; None for the middle third of the range.
        simulation: files of a simulation; empty for none.
        truth: which probes of the simulation are signal; they are counted. Empty: it is measured as data are.
        simulation_weight: the weight of the probes of the simulation; empty for 1.
        models, working_points: names; empty for all.
        tree: the tree to read, if files hold several.
    """

    run: Path
    files: tuple[str, ...]
    expressions: ProbeExpressions
    low: float
    high: float
    n_mass: int
    binning: Binning
    shapes: Shapes
    signals: tuple[str, ...]
    backgrounds: tuple[str, ...]
    method: Method = "fit"
    window: tuple[float, float] | None = None
    simulation: tuple[str, ...] = ()
    truth: str = ""
    simulation_weight: str = ""
    models: tuple[str, ...] = ()
    working_points: tuple[str, ...] = ()
    tree: str | None = None

    def check(self) -> None:
        """Checks what can be checked before anything is read.

        Raises:
            UsageError: something does not make sense.
        """
        for name, peaks, option in (
            *((name, True, "--signal") for name in (self.shapes.signal, *self.signals)),
            *((name, False, "--background") for name in (self.shapes.background, *self.backgrounds)),
        ):
            if shape_of(name).peaks != peaks:
                kind = "a background" if peaks else "a signal"
                raise UsageError(f"{option}: {name} is the shape of {kind}")
        if not self.low < self.high:
            raise UsageError(f"--range: the lower end, {self.low:g}, is not below the upper one, {self.high:g}")
        if not math.isfinite(self.low) or not math.isfinite(self.high):
            raise UsageError(f"--range: {self.low:g}:{self.high:g} does not end; a fit needs two finite ends")
        if self.truth and not self.simulation:
            raise UsageError("--truth says what is signal in a simulation; name its files with --simulation")
        if self.window is not None and not self.low < self.window[0] < self.window[1] < self.high:
            raise UsageError(f"--window: {self.window[0]:g}:{self.window[1]:g} does not lie within the range")

    @property
    def edges(self) -> Array:
        """(n_mass + 1,) the edges of the mass."""
        return np.linspace(self.low, self.high, self.n_mass + 1)

    def settings(self) -> dict[str, Any]:
        """Returns what the measurement can be repeated from, in JSON's types."""
        x = self.expressions
        return {
            "run": str(self.run), "files": list(self.files), "method": self.method, "mass": x.mass,
            "range": [self.low, self.high], "mass_bins": self.n_mass, "weight": x.weight, "cut": x.cut,
            "signal": self.shapes.signal, "background": self.shapes.background,
            "share_signal": self.shapes.share_signal, "share_background": self.shapes.share_background,
            "alternative_signals": list(self.signals), "alternative_backgrounds": list(self.backgrounds),
            "window": None if self.window is None else list(self.window),
            "simulation": list(self.simulation), "truth": self.truth, "simulation_weight": self.simulation_weight,
        }  # fmt: skip


def default_alternatives(shapes: Shapes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns alternative shapes of signal and background, of another family or with more freedom than the nominal."""
    signal = "double_crystal_ball" if shapes.signal == "crystal_ball" else "crystal_ball"
    background = "exponential" if shapes.background.startswith("chebyshev") else "chebyshev:2"
    return (signal,), (background,)


def measure(request: EfficiencyRequest, watcher: Watcher) -> tuple[EfficiencyResult, dict[str, ProbeCounts]]:
    """Returns the efficiencies, and the probes of "data" and "simulation" that they were measured with.

    Raises:
        UsageError: the request does not make sense, or does not fit the run or the files.
        DataError: an input cannot be read, or holds no probes.
        ModelError: the run is damaged.
    """
    request.check()
    bundle = with_classes(load_bundle(request.run, request.models))
    points = _points(bundle, request.working_points)
    asked = {"data": (request.files, request.expressions)}
    if request.simulation:
        simulated = replace(request.expressions, truth=request.truth, weight=request.simulation_weight)
        asked["simulation"] = request.simulation, simulated
    watcher.stage("apply")
    probes, notes = dict[str, ProbeCounts](), list[str]()
    for sample, (files, expressions) in asked.items():
        sources, unreadable = find_inputs(bundle.recipe, files, request.tree)
        if unreadable:
            raise DataError("\n".join(each.reason for each in unreadable))
        counts = ProbeCounts(request.binning, request.edges, tuple(points))
        count_probes(bundle, sources, expressions, counts, watcher)
        probes[sample] = counts
        if counts.n_outside:
            outside = f"{counts.n_outside:,} selected probes lie outside the bins or the range of the mass"
            notes.append(f"{sample}: {outside}, and {counts.n_probes:,} inside")
    watcher.stage("evaluate")
    results = []
    with watcher.task("fitting", len(points) * request.binning.n_bins, "bins") as task:
        for i, (model, point) in enumerate(points):
            bins = []
            for number in range(request.binning.n_bins):
                bins.append(_bin(request, {name: p.histograms(i, number) for name, p in probes.items()}, number))
                task.advance()
            results.append(PointResult(model, point, tuple(bins)))
    result = EfficiencyResult(request.binning, tuple(results), request.settings(), bundle.fingerprint, ())
    return replace(result, notes=(*notes, *_bad_fits(result))), probes


def _points(bundle: Bundle, wanted: Sequence[str]) -> list[Point]:
    found = [(name, d.name) for name, decisions in bundle.decisions.items() for d in decisions]
    known = {point for _, point in found}
    for point in wanted:
        if point not in known:
            raise UsageError(f"--point: no model has the working point {point!r}; {nearest(point, known)}")
    return [(model, point) for model, point in found if not wanted or point in wanted]


def _bin(request: EfficiencyRequest, histograms: Mapping[str, Histograms], number: int) -> BinResult:
    data = _measured(request, histograms["data"])
    if "simulation" not in histograms:
        return BinResult(number, data, None, NOTHING)
    inside = histograms["simulation"]
    simulation = _counted(inside) if request.truth else _measured(request, inside)
    return BinResult(number, data, simulation, scale_factor(data, simulation))


def _counted(probes: Histograms) -> SampleEfficiency:
    """Returns the efficiency of probes that are known to be signal, with an interval as a run's efficiencies have."""
    sums = [float(p.sum()) for p in (probes.passing, probes.failing, probes.passing2, probes.failing2)]
    n = sums[0] + sums[1]
    measured = counted_efficiency(sums[0], n, sums[2], sums[2] + sums[3]).measured()
    failure = "" if n > 0 else "the bin has no signal probes in the range of the mass"
    counted = Estimate("counted", failure, measured, unconstrained=measured.value)
    return SampleEfficiency(counted, {}, (), Quantity(measured, {}))


def _measured(request: EfficiencyRequest, probes: Histograms) -> SampleEfficiency:
    """Returns the efficiency by the method of the request, with its systematics."""
    shapes = request.shapes
    if request.method == "sideband":
        nominal = by_sidebands(probes, request.window)
        others = {WINDOW: tuple(by_sidebands(probes, window) for window in _windows(request))}
    else:
        method = fit_efficiency if request.method == "fit" else by_sweights
        nominal = method(probes, shapes)
        tried = {
            SIGNAL_SHAPE: [replace(shapes, signal=name) for name in request.signals if name != shapes.signal],
            BACKGROUND_SHAPE: [
                replace(shapes, background=name) for name in request.backgrounds if name != shapes.background
            ],
        }
        others = {
            source: tuple(method(probes, each) for each in some) if probes.total > 0 else ()
            for source, some in tried.items()
            if some
        }
    all_others = itertools.chain.from_iterable(others.values())
    refused = tuple(e.name for e in all_others if e.p_value < _EXCLUDED and not nominal.p_value < _EXCLUDED)
    if not nominal.usable:
        return SampleEfficiency(nominal, others, refused, NOTHING)
    shifts = {source: _shift(nominal, some, refused) for source, some in others.items()}
    return SampleEfficiency(nominal, others, refused, Quantity(nominal.efficiency, shifts))


def _windows(request: EfficiencyRequest) -> list[tuple[float, float]]:
    """Windows a fifth narrower and wider than that of the request."""
    third = (request.high - request.low) / 3
    low, high = request.window or (request.low + third, request.high - third)
    found = [(low + part * (high - low), high - part * (high - low)) for part in (0.1, -0.1)]
    return [(a, b) for a, b in found if request.low < a < b < request.high]


def _shift(nominal: Estimate, others: Sequence[Estimate], refused: Sequence[str]) -> float:
    """Returns the largest change of the efficiency by a source; 0 if the data exclude all others, NaN if all failed."""
    usable = [each for each in others if each.usable]
    if not usable:
        return math.nan
    shifts = [e.efficiency.value - nominal.efficiency.value for e in usable if e.name not in refused]
    return max(shifts, key=abs, default=0.0)


def _bad_fits(result: EfficiencyResult) -> Iterator[str]:
    """Sentences about fits that failed or do not describe the mass, and shapes that the data exclude."""
    failures = list(result.failures())
    if failures:
        n = "1 measurement" if len(failures) == 1 else f"{len(failures)} measurements"
        yield f"{n} of a bin failed, marked in the figures and listed in the report"
    bad = [
        (point.title, result.binning.title(each.number))
        for point, each in result.bins
        if each.data.nominal.p_value < _EXCLUDED
    ]
    if bad:
        first = "; ".join(f"{point} in {place}" for point, place in bad[:3])
        where = f"in {'one bin' if len(bad) == 1 else f'{len(bad)} bins'}"
        more = " …" if len(bad) > 3 else ""
        yield f"{where} the shapes do not describe the data (p-value below {_EXCLUDED:g}): {first}{more}"
    refused = dict.fromkeys(name for _, each in result.bins for name in each.data.refused)
    if refused:
        names = ", ".join(refused)
        yield f"in some bins the data exclude an alternative ({names}), which does not count there as a systematic"
