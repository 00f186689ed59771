"""Subtraction: efficiencies from numbers of signal that sidebands of the mass or sWeights leave over."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import chdtrc

from pidlab.datadriven.efficiency.estimate import Estimate, Expectation, Histograms, Shapes, failed
from pidlab.datadriven.efficiency.intervals import generalised_wilson
from pidlab.datadriven.efficiency.simultaneous import chi_square_of, fit_efficiency
from pidlab.evaluate.intervals import symmetric
from pidlab.measured import Array, Measured

_WINDOW = (1 / 3, 2 / 3)
"""The part of the range that counts as signal, if no window is given: the middle third."""


def by_sidebands(probes: Histograms, window: tuple[float, float] | None = None) -> Estimate:
    """Returns the efficiency in a window of the mass, less the background that lies on a line through both sidebands.

    A bin of the mass belongs to the window if its centre does. A density that is linear below the window and above it
    is known there exactly; the same line is drawn separately for passing and failing probes. Signal that leaks into the
    sidebands takes the same part of passing and failing probes, so the efficiency keeps its value.
    """
    edges = probes.edges
    low, high = window or tuple(edges[0] + part * (edges[-1] - edges[0]) for part in _WINDOW)
    centres, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    inside, left, right = (centres > low) & (centres < high), centres <= low, centres >= high
    name = f"sidebands of {low:g} to {high:g}"
    if not (inside.any() and left.any() and right.any()):
        return failed(name, "the range of the mass leaves no sideband on one side of the window")
    # The line through the mean densities of both sidebands at their centres, integrated over the window.
    middle, ends = centres[inside].mean(), (centres[left].mean(), centres[right].mean())
    on_right = (middle - ends[0]) / (ends[1] - ends[0])
    factor = np.zeros(len(centres))
    factor[left] = (1 - on_right) * width[inside].sum() / width[left].sum()
    factor[right] = on_right * width[inside].sum() / width[right].sum()
    lines, outer = [], []
    for counts in (probes.passing, probes.failing):
        density = [float(counts[side].sum() / width[side].sum()) for side in (left, right)]
        line = width * (density[0] + (centres - ends[0]) / (ends[1] - ends[0]) * (density[1] - density[0]))
        lines.append(np.maximum(line, 0.0))
        outer.append((counts[~inside] / probes.scale, lines[-1][~inside] / probes.scale))
    # Whether a line describes both sidebands: signal that leaks into them, or a curved background, does not.
    chi_square, n_bins = chi_square_of(outer)
    n_dof = n_bins - 4  # two heights of each line
    return replace(
        _estimate(name, probes, np.where(inside, 1.0, -factor), factor),
        chi_square=chi_square,
        n_dof=max(n_dof, 0),
        p_value=float(chdtrc(n_dof, chi_square)) if n_dof > 0 else math.nan,
        passing=Expectation(np.where(inside, probes.passing, lines[0]), lines[0]),
        failing=Expectation(np.where(inside, probes.failing, lines[1]), lines[1]),
    )


def by_sweights(probes: Histograms, shapes: Shapes) -> Estimate:
    """Returns the efficiency from sums of sWeights of passing and failing probes.

    The mass of all probes of the bin is fitted at once, passing and failing together, and each bin of the mass gets the
    sWeight of its probes (M. Pivk and F. Le Diberder, NIM A 555 (2005) 356). This needs shapes that are the same for
    passing and for failing probes, of the signal as well as of the background: mass and decision independent within
    both.
    """
    counts, squares = probes.passing + probes.failing, probes.passing2 + probes.failing2
    nothing = np.zeros(len(counts))
    name = f"sWeights of {shapes}"
    # All probes pass and none fails: what is left of the simultaneous fit is that of one mass.
    whole = fit_efficiency(
        Histograms(probes.edges, counts, nothing, squares, nothing),
        Shapes(shapes.signal, shapes.background, True, True),
    )
    if whole.passing is None or whole.failure:
        return failed(name, whole.failure or "nothing was fitted")
    expected = whole.passing
    signal = expected.total - expected.background
    n_signal, n_background = float(signal.sum()), float(expected.background.sum())
    if not (n_signal > 0 and n_background > 0):
        weight = np.full(len(counts), 1.0 if n_signal > 0 else 0.0)
    else:
        weight = _sweights(signal / n_signal, expected.background / n_background, counts, expected.total)
    passing, failing = _shared(whole.passing, probes)
    return replace(
        _estimate(name, probes, weight, 1 - weight),
        parameters=whole.parameters,
        chi_square=whole.chi_square,
        n_dof=whole.n_dof,
        p_value=whole.p_value,
        passing=passing,
        failing=failing,
    )


def _sweights(signal: Array, background: Array, counts: Array, total: Array) -> Array:
    """Returns (m,) the sWeight of the signal in each bin of the mass; shapes (m,) are normalised, `total` is expected.

    The inverse of the matrix W_ij = sum of f_i f_j / total² over the probes is the covariance of the yields.
    """
    safe = np.maximum(total, 1e-12)
    ss, sb, bb = (
        float(np.sum(counts * a * b / safe**2)) for a, b in ((signal,) * 2, (signal, background), (background,) * 2)
    )
    determinant = ss * bb - sb * sb
    return np.asarray((bb * signal - sb * background) / determinant / safe)


def _shared(whole: Expectation, probes: Histograms) -> tuple[Expectation, Expectation]:
    """Returns the fit of all probes in the ratio of passing and failing ones, to be drawn."""
    share = float(probes.passing.sum()) / probes.total
    return (
        Expectation(share * whole.total, share * whole.background),
        Expectation((1 - share) * whole.total, (1 - share) * whole.background),
    )


def _sums(probes: Histograms, weight: Array) -> list[tuple[float, float]]:
    """Returns the weighted number of passing and of failing probes, each with its variance."""
    both = ((probes.passing, probes.passing2), (probes.failing, probes.failing2))
    return [(float(counts @ weight), float(squares @ weight**2)) for counts, squares in both]


def _estimate(name: str, probes: Histograms, of_signal: Array, of_background: Array) -> Estimate:
    """Returns the estimate from the weights (m,) by which probes in the bins of the mass count as signal or background.

    The interval is made from numbers in units of the typical weight of a probe, since Poisson's law, which it contains,
    knows no other unit.
    """
    (passing, passing2), (failing, failing2) = _sums(probes, of_signal)
    n, scale = passing + failing, probes.scale
    counts, squares = (passing / scale, failing / scale), (passing2 / scale**2, failing2 / scale**2)
    efficiency = generalised_wilson(*counts, *squares)
    sides: list[Measured] = [symmetric(value, square**0.5, value) for value, square in _sums(probes, of_background)]
    failure = "" if n > 0 else "no signal is left over when the background is subtracted"
    return Estimate(
        name, failure, efficiency, symmetric(n, (passing2 + failing2) ** 0.5, n), (sides[0], sides[1]),
        unconstrained=efficiency.value,
    )  # fmt: skip
