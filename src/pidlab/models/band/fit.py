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
step leads from one to the other, so that in the second pass the search begins at several places: from what the first
pass found, from an early exponential without tails, and from a Gaussian with tails. All searches go on to their
maxima, because far from it a marginal likelihood tells nothing. Nor may it where a tail begins late, as radiation makes
it: 13,600 electrons fit equally well with a tail of 6 % beside a Gaussian as with an exponential side from 1.7 widths,
whose mean is .03 widths lower. So maxima that are nearly as probable are averaged.

Mean and width are sums of the functions of the basis. Splines have a roughness penalty whose strengths, which change
along x, data choose (`smoothing`). The fractions are exponentials of polynomials in the rank of x with weak priors,
which hold if there is nothing to determine them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pidlab.evaluate.intervals import effective_number
from pidlab.models.band.counts import binned, placed
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

# Where the searches begin (see `Likelihood.start`): what was found, an early exponential without tails, and a Gaussian
# with tails that are populations of their own, as radiation makes them.
_STARTS = ((None, None), (1.2, None), (3.0, 0.05))
_SAME = 0.3  # standard errors: maxima whose curves are nearer are one
_IMPROBABLE = 7.0  # of the log of the marginal likelihood: a maximum with a thousandth of another's probability
_ITERATIONS_TO_COME_NEAR = 8  # after which the window is about the band
_MOST_ITERATIONS = 25  # in which both starts reach their maxima: before that the marginal likelihood tells nothing
_STRENGTH_STEPS = 3  # of the strengths of the roughness between two of the coefficients
_GAIN, _FREEDOM = 0.02, 0.1  # of the log-likelihood and of the degrees of freedom, at which iterations end
_NEAR = 10.0  # gain of the log-likelihood in a step, from which on the strengths of the roughness move
_LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e6  # of a step, in parts of the information
_LONGER = 4.0  # how much longer a step may be than the one before it, if it is a part of Newton's
_LEAST_LENGTH = 1e-6  # of a step, in parts of Newton's, at which a search ends


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
    likelihood = Likelihood(binned(few, band), band, options)
    band = likelihood.band(_maximised(likelihood, likelihood.start(), _ITERATIONS_TO_COME_NEAR))
    # the window is right now, and there are few events to count
    likelihood = Likelihood(binned(few, band), band, options)
    found = _maxima(likelihood, [(likelihood.start(*each), likelihood.strengths) for each in _STARTS])
    band = likelihood.band(found[0].theta)
    likelihood = Likelihood(binned(all_of_them, band), band, options)
    found = _maxima(likelihood, [(each.theta, each.strengths) for each in found])
    return _averaged_band(likelihood, found).curves(n)


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


class _Maximum(NamedTuple):
    """A maximum of the penalised likelihood.

    Attributes:
        marginal: the logarithm of its marginal likelihood, up to a constant.
        theta: the coefficients.
        strengths: of the roughness, of each parameter.
    """

    marginal: float
    theta: Array
    strengths: dict[str, Array]


def _maxima(likelihood: Likelihood, starts: Sequence[tuple[Array, dict[str, Array]]]) -> list[_Maximum]:
    """Returns the maxima that are reached from coefficients and strengths, the most probable first.

    Those whose curves are the same are one, and those that are improbable beside the first are left out.
    """
    found = []
    for start, strengths in starts:
        likelihood.strengths = strengths
        theta = _maximised(likelihood, start, _MOST_ITERATIONS)
        found.append(_Maximum(likelihood.marginal(theta), theta, likelihood.strengths))
    found.sort(key=lambda each: -each.marginal)
    likelihood.strengths = found[0].strengths
    kept = found[:1]
    for each in found[1:]:
        if each.marginal > found[0].marginal - _IMPROBABLE and all(
            likelihood.separation(each.theta, other.theta) > _SAME for other in kept
        ):
            kept.append(each)
    return kept


def _averaged_band(likelihood: Likelihood, maxima: Sequence[_Maximum]) -> WorkingBand:
    """Returns the band that is averaged over the strengths of the roughness and over the maxima.

    Each maximum has the probability of its marginal likelihood (J. Hoeting et al., Statist. Sci. 14 (1999) 382). The
    covariance contains how far apart they are.
    """
    means, covariances = [], []
    for each in maxima:
        likelihood.strengths, theta = each.strengths, each.theta
        slope, information = likelihood.derivatives(theta)
        mean, covariance = averaged(likelihood, theta, slope, likelihood.without_noise(theta, information))
        mean = mean if np.isfinite(likelihood.penalised(mean)) else theta
        means.append(mean)
        covariances.append(covariance + covariance @ likelihood.template_noise(mean) @ covariance)
    weight = np.exp(np.array([each.marginal for each in maxima]) - maxima[0].marginal)
    weight /= weight.sum()
    theta = weight @ np.array(means)
    away = np.array(means) - theta
    covariance = np.einsum("t,tij->ij", weight, np.array(covariances)) + (away * weight[:, None]).T @ away
    likelihood.strengths = maxima[0].strengths
    return likelihood.band(theta, covariance)


def _maximised(likelihood: Likelihood, theta: Array, n_iterations: int) -> Array:
    """Returns the coefficients of the largest penalised likelihood.

    A step that would lower the likelihood is changed until it raises it. When the search has come near, the strengths
    of the roughness move up the marginal likelihood between two steps, as far as the likelihood is quadratic about
    the coefficients: if a step with the new strengths lowers it, the old ones come back.
    """
    freedom, damping, length, is_near = np.inf, 0.0, 1.0, False
    for _ in range(n_iterations):
        slope, information = likelihood.derivatives(theta)
        old, before = likelihood.strengths, freedom
        for _ in range(_STRENGTH_STEPS if is_near else 0):  # about the same derivatives, which are what costs time
            freedom = _moved(likelihood, theta, slope, information, length)
        length = min(1.0, _LONGER * length)
        step = length * likelihood.step(theta, slope, information, damping)[0]
        gain = likelihood.penalised(theta + step) - likelihood.penalised(theta)
        damping = 0.1 * damping if damping > _LEAST_DAMPING else 0.0
        if not gain >= 0:
            likelihood.strengths = old
            if is_near:
                step, gain, length = _shortened(likelihood, theta, slope, information, length)
            else:
                step, gain, damping = _damped(likelihood, theta, slope, information, damping)
            if not gain > 0:
                break
            if is_near:
                freedom = _moved(likelihood, theta, slope, information, length)
        theta = theta + step
        if is_near and gain < _GAIN and abs(freedom - before) < _FREEDOM:
            break
        if not is_near and gain < _NEAR and damping <= 1:
            is_near, damping = True, 0.0
    return theta


def _damped(
    likelihood: Likelihood, theta: Array, slope: Array, information: Array, damping: float
) -> tuple[Array, float, float]:
    """Returns a step that raises the likelihood, its gain, which is not positive if there is none, and its damping.

    It is shorter and steeper than Newton's (D. Marquardt, J. SIAM 11 (1963) 431), as is right far from the maximum.
    """
    best, gain, step = likelihood.penalised(theta), 0.0, np.zeros(len(theta))
    damping = max(10 * damping, _LEAST_DAMPING)
    while damping < _MOST_DAMPING:
        step = likelihood.step(theta, slope, information, damping)[0]
        gain = likelihood.penalised(theta + step) - best
        if gain > 0:
            break
        damping *= 10
    return step, gain, damping


def _shortened(
    likelihood: Likelihood, theta: Array, slope: Array, information: Array, length: float
) -> tuple[Array, float, float]:
    """Returns a part of Newton's step that raises the likelihood, its gain, and which part; all 0 if there is none.

    The part is where a parabola has its maximum that has the slope of the likelihood along the step, and the gain of
    the last trial. So the length is right where the likelihood bends much more along the step than the expected
    information says, as where a tail can hardly be told from a side of the core, and other directions do not suffer.
    """
    step = likelihood.step(theta, slope, information)[0]
    best, along = likelihood.penalised(theta), float(step @ (slope - likelihood.pull(theta)))
    while length > _LEAST_LENGTH:
        gain = likelihood.penalised(theta + length * step) - best
        if gain > 0:
            return length * step, gain, length
        bend = along * length - gain
        length *= float(np.clip(0.5 * along * length / bend, 0.1, 0.5)) if 0 < bend < np.inf else 0.1
    return np.zeros(len(theta)), 0.0, 0.0


def _moved(likelihood: Likelihood, theta: Array, slope: Array, information: Array, length: float) -> float:
    """Moves the strengths of the roughness as they should be after a step; returns the degrees of freedom.

    Only a part of the step, its `length`, is as far as the likelihood is quadratic.
    """
    step, covariance, _ = likelihood.step(theta, slope, information)
    return update_strengths(likelihood, theta + length * step, covariance)
