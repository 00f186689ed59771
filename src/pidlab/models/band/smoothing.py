"""How smooth a band is: the strengths of the roughness by the marginal likelihood, and what they may be.

The strengths maximise the marginal likelihood (S. Wood, M. Fasiolo, Biometrics 73 (2017) 1071). The errors are those of
the Bayesian posterior (D. Nychka, JASA 83 (1988) 1134), which contain the bias of a smooth curve on average over x;
they are averaged over the strengths.
"""

from __future__ import annotations

import numpy as np

from pidlab.models.band.curves import Array
from pidlab.models.band.likelihood import Likelihood

_ALIKE = 2.0  # standard deviation of the logarithm of the ratio of the strengths of neighbouring regions, a priori
_FACTORS = 10.0 ** np.arange(-5, 2.1, 0.5)  # of the strengths, over which errors are averaged


def update_strengths(likelihood: Likelihood, theta: Array, covariance: Array) -> float:
    """Moves the strengths of the roughness one step up the marginal likelihood; returns the degrees of freedom."""
    freedom = 0.0
    for name in ("mean", "below", "above"):
        parameter = likelihood.parameters.get(name)
        if parameter is None or parameter.roughness is None:
            continue
        rows = likelihood.slices[name]
        roughness, strengths = parameter.roughness, parameter.strengths
        taken = roughness.traces(strengths, covariance[rows, rows])
        freedom += (rows.stop - rows.start) - float(taken.sum())
        free = np.maximum(roughness.prior_traces(strengths) - taken, 1e-9)
        rough = np.maximum(roughness.parts(strengths, theta[rows]), 1e-9)
        # without a prior each strength is multiplied by free / rough (Wood and Fasiolo)
        ratio = np.log(free / rough)
        curvature = np.where(np.abs(ratio) > 1e-6, (free - rough) / np.where(ratio == 0, 1.0, ratio), free)
        alike = roughness.links.T @ roughness.links / _ALIKE**2
        logarithm = np.log(strengths)
        slope = 0.5 * (free - rough) - alike @ logarithm
        move = np.linalg.solve(np.diag(0.5 * curvature) + alike, slope)
        most = np.log(_straight(likelihood, name))
        parameter.strengths = np.exp(np.minimum(logarithm + np.clip(move, -3.0, 3.0), most))
    return freedom


def _straight(likelihood: Likelihood, name: str) -> float:
    """Returns a strength with which a curve is straight."""
    design = likelihood.parameters[name].design
    return 1e4 * float(likelihood.data.counts.sum() * np.mean(design**2))


def averaged(likelihood: Likelihood, theta: Array, slope: Array, information: Array) -> tuple[Array, Array]:
    """Returns the coefficients and their covariance, averaged over what the strengths of the roughness may be.

    All strengths of one curve are multiplied by a factor, whose probability is the marginal likelihood times a
    prior that is uniform in the standard deviation of the roughness (A. Gelman, Bayesian Analysis 1 (2006) 515).
    With the best strength alone errors are too small, above all where a curve is compatible with a straight line.
    """
    step, covariance, _ = likelihood.step(theta, slope, information)
    if likelihood.penalised(theta + step) < likelihood.penalised(theta):
        # the likelihood is not quadratic as far as that: the coefficients are the maximum, where the gradient is 0
        slope, step = likelihood.pull(theta), np.zeros(len(theta))
    mean, total = theta + step, covariance.copy()
    for name in ("mean", "below", "above"):
        parameter = likelihood.parameters.get(name)
        if parameter is None or parameter.roughness is None:
            continue
        best = parameter.strengths
        logarithms, steps, covariances = [], [], []
        for factor in _FACTORS:
            parameter.strengths = best * factor
            one, of_one, evidence = likelihood.step(theta, slope, information)
            # the determinant of the prior goes as the factor to the power of its rank
            logarithms.append(evidence + 0.5 * (parameter.roughness.rank - 1) * np.log(factor))
            steps.append(one)
            covariances.append(of_one)
        parameter.strengths = best
        weight = np.exp(np.array(logarithms) - max(logarithms))
        weight /= weight.sum()
        away = np.array(steps) - step
        shift = weight @ away
        mean = mean + shift
        total += np.einsum("t,tij->ij", weight, np.array(covariances)) - covariance
        total += (away * weight[:, None]).T @ away - np.outer(shift, shift)
    return mean, total
