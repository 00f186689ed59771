"""How smooth a band is: the strengths of the roughness by the marginal likelihood, and what they may be.

The strengths maximise the marginal likelihood (S. Wood, M. Fasiolo, Biometrics 73 (2017) 1071). The errors are those of
the Bayesian posterior (D. Nychka, JASA 83 (1988) 1134), which contain the bias of a smooth curve on average over x;
they are averaged over the posterior of the strengths of all parts of x.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from pidlab.models.band.curves import Array, Roughness
from pidlab.models.band.likelihood import Likelihood

# standard deviation of the logarithm of the ratio of the strengths of neighbouring regions, a priori: that of an energy
# loss, whose bends fall as a power of the momentum, is 3 to 4 from one fifth of the range to the next
_ALIKE = 4.0
_POINTS = 128  # at which the posterior of the strengths is taken: of up to 6 strengths, some 40 of them count
_DEGREES, _WIDER = 5.0, 1.2  # of Student's distribution, and how much wider than the posterior at its maximum it is
_STEPS, _SETTLED = 30, 0.05  # of the search for the most probable strengths, and the step at which it ends
_LEAST_PRECISION = 0.05  # of a logarithm, where nothing tells a strength: a standard deviation of two powers of ten


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

    With the best strengths alone errors are too small, above all where a curve is compatible with a straight line, and
    at its ends, where little tells how much it bends.
    """
    step, covariance, _ = likelihood.step(theta, slope, information)
    mean, total = theta + step, covariance.copy()
    for name in ("mean", "below", "above"):
        parameter = likelihood.parameters.get(name)
        if parameter is None or parameter.roughness is None:
            continue
        rows = likelihood.slices[name]
        best, of_best = (theta + step)[rows], covariance[rows, rows]
        precision = np.linalg.inv(of_best)
        known = precision - parameter.roughness.penalty(parameter.strengths)
        curve = SmoothCurve(parameter.roughness, known, precision @ best)
        try:
            found, of_found = curve.averaged(parameter.strengths, _straight(likelihood, name))
        except np.linalg.LinAlgError:  # so few events that a curve which may bend more is not determined
            continue
        # what follows for the other coefficients, which the strengths concern through this curve alone
        follows = np.linalg.solve(of_best, covariance[rows]).T
        mean = mean + follows @ (found - best)
        total += follows @ (of_found - of_best) @ follows.T
    return mean, total


class SmoothCurve(NamedTuple):
    """What a quadratic likelihood, with all else integrated out, says of one curve before its roughness is considered.

    The density of its coefficients c (m,) is exp(-c · known c / 2 + pull · c).
    """

    roughness: Roughness
    known: Array
    pull: Array

    def posterior(self, logarithms: Array) -> tuple[Array, Array, float]:
        """Returns mean (m,) and covariance (m, m) with these strengths (parts,), and the logarithm of the evidence.

        Raises:
            LinAlgError: the coefficients are not determined with these strengths.
        """
        strengths = np.exp(logarithms)
        total = self.known + self.roughness.penalty(strengths)
        unit = np.sqrt(np.abs(np.diag(total)))
        factor = cho_factor(total / np.outer(unit, unit) + 1e-12 * np.eye(len(unit)))
        covariance = cho_solve(factor, np.eye(len(unit))) / np.outer(unit, unit)
        mean = covariance @ self.pull
        evidence = 0.5 * self.roughness.log_determinant(strengths) + 0.5 * float(self.pull @ mean)
        return mean, covariance, evidence - float(np.log(np.diag(factor[0]) * unit).sum())

    def averaged(self, strengths: Array, straight: float) -> tuple[Array, Array]:
        """Returns mean and covariance of the coefficients, averaged over the posterior of the strengths.

        Their prior is that of `update_strengths`, and uniform in the standard deviation of the roughness of all parts
        together (A. Gelman, Bayesian Analysis 1 (2006) 515). The posterior is integrated by importance sampling from
        Student's distribution about its maximum (J. Geweke, Econometrica 57 (1989) 1317), at the points of a Sobol
        sequence.
        """
        place, precision = self._most_probable(np.log(strengths), np.log(straight))
        values, vectors = np.linalg.eigh(precision)
        points = _student_points(len(place))
        at = place + (points * (_WIDER / np.sqrt(values))) @ vectors.T
        means, covariances, logarithms = [], [], []
        for each, proposed in zip(at, _log_student(points), strict=True):
            inside = np.minimum(each, np.log(straight))
            mean, covariance, evidence = self.posterior(inside)
            means.append(mean)
            covariances.append(covariance)
            logarithms.append(evidence + self._log_prior(each) - proposed)
        weight = np.exp(np.array(logarithms) - max(logarithms))
        weight /= weight.sum()
        mean = weight @ np.array(means)
        away = np.array(means) - mean
        return mean, np.einsum("t,tij->ij", weight, np.array(covariances)) + (away * weight[:, None]).T @ away

    def _log_prior(self, logarithms: Array) -> float:
        differences = self.roughness.links @ logarithms
        return -0.5 * float(differences @ differences) / _ALIKE**2 - 0.5 * float(logarithms.mean())

    def _most_probable(self, logarithms: Array, most: float) -> tuple[Array, Array]:
        """Returns the most probable logarithms of the strengths (parts,), and about their precision."""
        alike = self.roughness.links.T @ self.roughness.links / _ALIKE**2
        precision = alike
        for _ in range(_STEPS):
            mean, covariance, _ = self.posterior(logarithms)
            strengths = np.exp(logarithms)
            free = self.roughness.prior_traces(strengths) - self.roughness.traces(strengths, covariance)
            rough = self.roughness.parts(strengths, mean)
            slope = 0.5 * (free - rough) - alike @ logarithms - 0.5 / len(logarithms)
            precision = np.diag(0.5 * np.maximum(free, rough)) + alike + _LEAST_PRECISION * np.eye(len(logarithms))
            move = np.clip(np.linalg.solve(precision, slope), -3.0, 3.0)
            logarithms = np.minimum(logarithms + move, most)
            if np.abs(move).max() < _SETTLED:
                break
        return logarithms, precision


@lru_cache
def _student_points(d: int) -> Array:
    """Returns points (_POINTS, d) that are distributed as Student's t in d dimensions."""
    from scipy.special import chdtri, ndtri
    from scipy.stats import qmc

    u = qmc.Sobol(d + 1, scramble=True, rng=1).random(_POINTS)
    chi_squared = chdtri(_DEGREES, u[:, 0])
    return np.asarray(ndtri(u[:, 1:]) * np.sqrt(_DEGREES / chi_squared)[:, None])


def _log_student(points: Array) -> Array:
    """Returns the logarithm of the density (n,) of `_student_points`, up to a constant."""
    return np.asarray(-0.5 * (_DEGREES + points.shape[1]) * np.log1p((points**2).sum(axis=1) / _DEGREES))
