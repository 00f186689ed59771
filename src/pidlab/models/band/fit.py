"""Fits the mean and the width of the signal's core as functions of one or two quantities.

The counts in cells of (x, z), with the distance z of the variable from a first band in its widths, have as their
density, in each bin of x, the core (`density.core_cells`), a wide exponential tail on either side, a smooth background,
and the density of each other class, whose events may be mislabelled as signal. All of it is fitted together by
penalised maximum likelihood: nothing is cut away that would have to be corrected for, and the errors know of the
contamination.
The first band is a rough one (`start`); the fit is repeated about its own result.

The likelihood may have two maxima where a side of the core becomes an exponential early, at 1.2 widths say. At the
right one the core has this exponential. At the other one the core is a Gaussian up to three widths, a tail of a fifth
of the events with a decay length of 1.2 widths takes the place of the exponential, and a background mends what is left.
With 50,000 events no cell's expected count differs between them by more than .4 of its standard deviation, but the
second Gaussian's mean is .1 widths farther from the tail, and it is 5 % narrower. It is the weak priors of the decay
length and of the background that tell them apart: the marginal likelihood of the right one is e^17 times larger. No
step leads from one to the other, so that in the second pass the search begins twice: from what the first pass found,
and from an early exponential without tails. Both searches go on to their maxima, because far from it a marginal
likelihood tells nothing, and what has the larger one is kept.

Mean and width are sums of the functions of the basis. Splines have a roughness penalty whose strengths, which change
along x, data choose (`smoothing`). The fractions are exponentials of polynomials in the rank of x with weak priors,
which hold if there is nothing to determine them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pidlab.evaluate.intervals import effective_number
from pidlab.models.band.counts import Placed, binned, placed
from pidlab.models.band.curves import SPLINE_DEGREE, Array, Basis, Curves, power_basis, spline_basis
from pidlab.models.band.likelihood import Likelihood
from pidlab.models.band.shapes import BandSample, ShapeOptions
from pidlab.models.band.smoothing import averaged, update_strengths
from pidlab.models.band.start import (
    FEWEST,
    FIRST_EVENTS,
    WorkingBand,
    constant_band,
    first_band,
    rough_band,
    thinned,
)

_EARLY = 1.2  # widths: where the sides of the core begin in the second start; from 2 the other maximum may be reached
_ITERATIONS_TO_COME_NEAR = 8  # after which the window is about the band
_MOST_ITERATIONS = 25  # in which both starts reach their maxima: before that the marginal likelihood tells nothing
_STRENGTH_STEPS = 3  # of the strengths of the roughness between two of the coefficients
_GAIN, _FREEDOM = 0.02, 0.1  # of the log-likelihood and of the degrees of freedom, at which iterations end
_NEAR = 10.0  # gain of the log-likelihood in a step, from which on the strengths of the roughness move
_LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e6  # of a step, in parts of the information


def fit_curves(sample: BandSample, options: ShapeOptions) -> Curves:
    """Returns the curves of the shape of `options` that are fitted to a sample."""
    n = effective_number(sample.weight)
    distinct = n if len(sample.y) > 100 * FEWEST else len(np.unique(sample.y))  # which weights do not change
    if distinct < FEWEST or np.ptp(np.quantile(sample.y, [0.1, 0.9])) == 0:
        return constant_band(sample, n)
    basis = _basis(sample, options, n)
    band = first_band(sample, basis) if len(basis.knots) < 2 else _from_one_quantity(sample, basis, options)
    step = -(-len(sample.y) // FIRST_EVENTS)
    fewer = BandSample(
        sample.x[::step], sample.y[::step], sample.weight[::step], tuple(thinned(*each) for each in sample.others)
    )
    others = [rough_band(each) for each in sample.others]
    few, all_of_them = placed(fewer, others), placed(sample, others)
    band = _improved(few, basis, band, options, _ITERATIONS_TO_COME_NEAR)
    # the window is right now, and there are few events to count
    band = _improved(few, basis, band, options, _MOST_ITERATIONS, starts=(None, _EARLY))
    band = _improved(all_of_them, basis, band, options, _MOST_ITERATIONS, final=True)
    return band.curves(n)


def _from_one_quantity(sample: BandSample, basis: Basis, options: ShapeOptions) -> WorkingBand:
    """Returns the band in the first of two quantities, constant in the second."""
    others = tuple((x[:, :1], y, weight) for x, y, weight in sample.others)
    one = fit_curves(BandSample(sample.x[:, :1], sample.y, sample.weight, others), options)
    line = Basis(basis.low[:1], basis.high[:1], basis.knots[:1])
    t = basis.knots[0]
    places = np.array([t[i + 1 : i + SPLINE_DEGREE + 1].mean() for i in range(basis.sizes[0])])[:, None]
    fits = np.linalg.pinv(line.design(places))  # the line through the curve at each function's place
    curves = [np.repeat(fits @ one.value(name, places), basis.sizes[1]) for name in ("mean", "below", "above")]
    return WorkingBand(basis, curves[0], curves[1], curves[2], np.zeros((3, len(basis), len(basis))))


def _basis(sample: BandSample, options: ShapeOptions, n: float) -> Basis:
    if options.shape != "spline":
        return power_basis(sample.x, options.shape, options.degree)
    if sample.x.shape[1] == 1:
        return spline_basis(sample.x, [int(np.clip(n / 40, 5, 28))])
    # the first quantity, on which variables depend most, has more functions
    return spline_basis(sample.x, [int(np.clip(n / 100, 5, 14)), int(np.clip(n / 500, 4, 8))])


def _improved(
    events: Placed, basis: Basis, band: WorkingBand, options: ShapeOptions, n_iterations: int,
    starts: Sequence[float | None] = (None,), final: bool = False,
) -> WorkingBand:  # fmt: skip
    """Returns the band of largest penalised likelihood, with counts about a given band.

    Args:
        events: the sample in bins.
        basis: the functions of mean and width.
        band: about which the events are counted, and from which the search begins.
        options: of the shape.
        n_iterations: of each search, at most.
        starts: where each search begins, as in `Likelihood.start`.
        final: whether curves and errors are averaged over the strengths of the roughness.
    """
    likelihood = Likelihood(binned(events, band), band, options)
    theta, covariance = _largest(likelihood, starts, n_iterations)
    if final:
        slope, information = likelihood.derivatives(theta)
        mean, covariance = averaged(likelihood, theta, slope, likelihood.without_noise(theta, information))
        theta = mean if np.isfinite(likelihood.penalised(mean)) else theta
    covariance = covariance + covariance @ likelihood.template_noise(theta) @ covariance
    names = ("mean", "below", "above")
    found = {name: theta[rows] for name, rows in likelihood.slices.items()}
    errors = {name: covariance[likelihood.slices[name], likelihood.slices[name]] for name in names if name in found}
    strengths = {name: likelihood.parameters[name].strengths for name in errors}
    nuisances = {name: found[name] for name in found if name not in names}
    if options.core == "symmetric":
        found["above"], errors["above"] = found["below"], errors["below"]
    covariances = np.stack([errors[name] for name in names])
    return WorkingBand(basis, found["mean"], found["below"], found["above"], covariances, strengths, nuisances)


def _largest(likelihood: Likelihood, starts: Sequence[float | None], n_iterations: int) -> tuple[Array, Array]:
    """Returns what `_maximised` finds from the start that leads to the largest marginal likelihood."""
    if len(starts) == 1:
        return _maximised(likelihood, likelihood.start(starts[0]), n_iterations)
    before, found = likelihood.strengths, []
    for begins in starts:
        likelihood.strengths = before
        theta, covariance = _maximised(likelihood, likelihood.start(begins), n_iterations)
        found.append((likelihood.marginal(theta), theta, covariance, likelihood.strengths))
    _, theta, covariance, likelihood.strengths = max(found, key=lambda each: each[0])
    return theta, covariance


def _maximised(likelihood: Likelihood, theta: Array, n_iterations: int) -> tuple[Array, Array]:
    """Returns the coefficients of the largest penalised likelihood, and the inverse of the information there.

    A step that would lower the likelihood is made shorter and steeper until it raises it (D. Marquardt, J. SIAM 11
    (1963) 431). When the search has come near, the strengths of the roughness move up the marginal likelihood
    between two steps, as far as the likelihood is quadratic about the coefficients: if a step with the new
    strengths lowers it, the old ones come back.
    """
    freedom, damping, is_near = np.inf, 0.0, False
    covariance = np.empty(0)
    for _ in range(n_iterations):
        slope, information = likelihood.derivatives(theta)
        old, before = likelihood.strengths, freedom
        for _ in range(_STRENGTH_STEPS if is_near else 0):  # about the same derivatives, which are what costs time
            step, covariance, _ = likelihood.step(theta, slope, information)
            freedom = update_strengths(likelihood, theta + step, covariance)
        step, covariance, _ = likelihood.step(theta, slope, information, damping)
        gain = likelihood.penalised(theta + step) - likelihood.penalised(theta)
        damping = 0.1 * damping if damping > _LEAST_DAMPING else 0.0
        if not gain >= 0:
            likelihood.strengths = old
            best, damping = likelihood.penalised(theta), max(10 * damping, _LEAST_DAMPING)
            while damping < _MOST_DAMPING:
                step = likelihood.step(theta, slope, information, damping)[0]
                gain = likelihood.penalised(theta + step) - best
                if gain > 0:
                    break
                damping *= 10
            else:
                break
            covariance = likelihood.step(theta, slope, information)[1]
            if is_near:
                freedom = update_strengths(likelihood, theta + step, covariance)
        theta = theta + step
        if is_near and gain < _GAIN and abs(freedom - before) < _FREEDOM:
            break
        is_near = is_near or (gain < _NEAR and damping <= 1)
    return theta, covariance
