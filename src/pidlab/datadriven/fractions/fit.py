"""Yields of classes in a binned distribution: a template fit, and the inverted matrix of decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from pidlab.evaluate.results import Yields
from pidlab.measured import UNDEFINED, Array, Measured

_SMALLEST = 1e-12  # an eigenvalue below this share of the largest means that two classes have one template


class Counts(NamedTuple):
    """Sums of weights in m bins, and sums of squared weights, (m,) each."""

    sumw: Array
    sumw2: Array

    @property
    def effective(self) -> float:
        """The effective number of events."""
        squares = float(self.sumw2.sum())
        return float(self.sumw.sum()) ** 2 / squares if squares > 0 else 0.0


class FitResult(NamedTuple):
    """The yields of a template fit, the (m,) fitted content of each class, and the goodness of fit.

    `template_error` (m,) is the error of the sum of the contents by the statistics of the templates.
    """

    yields: Yields
    fitted: dict[str, Array]
    template_error: Array
    chi2: float
    ndf: int
    p: float


def fit_templates(data: Counts, templates: Mapping[str, Counts]) -> FitResult:
    """Fits the yields of k templates to the counts of data.

    The likelihood is that of Poisson counts whose expectation has one nuisance parameter a bin for the statistics of
    all templates, as in Barlow and Beeston's method made light (R. Barlow, C. Beeston, Comput. Phys. Commun. 77 (1993)
    219; J. S. Conway, arXiv:1103.0354), in the form of H. Dembinski and A. Abdelmotteleb (Eur. Phys. J. C 82 (2022)
    1043), by iminuit. Conway's Gaussian constraint gave the sum of yields too large by up to .8 of its error in toys
    with 200 template events and 5000 of data; this one by less than .1.

    One nuisance parameter a bin treats the contents of a template as independent, although a template is normalised, so
    that its total cannot fluctuate: errors came out too large by up to a third. So the covariance is that of the
    generalised least squares with the multinomial covariance of each template, V = diag(μ) + Σ N² C, and intervals are
    those of MINOS times the ratio of this error and that with independent contents. In toys they cover .63 to .71 for
    68.3 %, and more where a yield is within its error of 0, its smallest value.
    """
    from iminuit import Minuit, cost

    names = list(templates)
    used = np.sum([each.sumw for each in templates.values()], axis=0) > 0
    problem = _problem(data, templates, used)
    if problem:
        return FitResult(_failed(names, problem), {}, np.empty(0), math.nan, 0, math.nan)
    shapes = np.array([each.sumw[used] / each.sumw.sum() for each in templates.values()]).T
    n, total = data.sumw[used], float(data.sumw[used].sum())
    scale = float(data.sumw2[used].sum()) / total  # the weight of a typical event, 1 without weights
    # Weighted counts are scaled to those of typical events (G. Bohm, G. Zech, NIM A 748 (2014) 1). The scale of a bin
    # alone fluctuates with its content, which made yields too small by 1.6 errors with one weight in ten of 50.
    counted = n if np.array_equal(data.sumw, data.sumw2) else np.stack([n, n * scale], axis=1)
    counted = np.maximum(counted, 1e-9 * total) if counted.ndim > 1 else counted  # iminuit divides by them
    held = [np.column_stack([each.sumw[used], each.sumw2[used]]) for each in templates.values()]
    edges = np.arange(len(shapes) + 1.0)
    function = cost.Template(counted, edges, held, name=names, method="da")
    minuit = Minuit(function, *np.maximum(_least_squares(shapes, n, total), 1e-3 * total))
    minuit.migrad()
    if not minuit.valid:
        minuit.simplex().migrad()
    value = np.array(minuit.values)
    if not minuit.valid:
        return FitResult(_failed(names, "the fit did not converge"), {}, np.empty(0), math.nan, 0, math.nan)
    # A yield of zero leaves bins where nothing is expected, and its error would be zero; one event is not excluded.
    at, statistics = np.maximum(value, scale), list(templates.values())
    covariance = yield_covariance(shapes, at, data.sumw2[used], statistics, used)
    deviation = np.sqrt(np.diag(covariance))
    plain = np.sqrt(np.diag(yield_covariance(shapes, at, data.sumw2[used], statistics, used, normalised=False)))
    minuit.minos()
    found: dict[str, Measured] = {}
    for i, name in enumerate(names):
        minos = minuit.merrors[name]
        below = -minos.lower * deviation[i] / plain[i] if minos.lower_valid else deviation[i]
        above = minos.upper * deviation[i] / plain[i] if minos.upper_valid else deviation[i]
        low = 0.0 if minos.at_lower_limit else max(float(value[i] - below), 0.0)
        found[name] = Measured(float(value[i]), low, float(value[i] + above), data.effective)
    fitted = {name: _spread(shapes[:, i] * value[i], used) for i, name in enumerate(names)}
    parts = zip(value, templates.values(), strict=True)
    error = np.sqrt(np.sum([(v / each.sumw.sum()) ** 2 * each.sumw2 for v, each in parts], axis=0))
    chi2, ndf = float(minuit.fval), int(len(shapes) - len(names))
    p = float(special.gammaincc(ndf / 2, chi2 / 2)) if ndf > 0 else math.nan
    yields = Yields(found, fractions_of(value, covariance, names), covariance)
    return FitResult(yields, fitted, error, chi2, ndf, p)


def _problem(data: Counts, templates: Mapping[str, Counts], used: Array) -> str:
    """Returns why the yields cannot be fitted; empty if they can."""
    for name, each in templates.items():
        if not each.sumw.sum() > 0 or (each.sumw < 0).any():
            return f"the template of {name} has no events, or negative contents"
    if not data.sumw[used].sum() > 0:
        return "there are no candidates"
    if (data.sumw[used] < 0).any():
        return "the weights of data have a negative sum in a bin of the score; take fewer bins"
    shapes = np.array([each.sumw[used] / each.sumw.sum() for each in templates.values()])
    sizes = np.linalg.eigvalsh(shapes @ shapes.T)
    if len(templates) > used.sum() or sizes[0] < _SMALLEST * sizes[-1]:
        return "the score does not tell all classes apart: their templates are not independent"
    return ""


def _least_squares(shapes: Array, n: Array, total: float) -> Array:
    """Returns the yields (k,) of least squares, weighted by the counts, as a start."""
    root = 1 / np.sqrt(np.maximum(n, 1e-3 * total / len(n)))
    return np.asarray(np.linalg.lstsq(shapes * root[:, None], n * root, rcond=None)[0], np.float64)


def _spread(values: Array, used: Array) -> Array:
    result = np.zeros(len(used))
    result[used] = values
    return result


def yield_covariance(
    shapes: Array, value: Array, variance: Array, templates: Sequence[Counts], used: Array, *, normalised: bool = True
) -> Array:
    """Returns the covariance (k, k) of fitted yields, with the multinomial statistics of the templates.

    Args:
        shapes: (m, k) the normalised templates.
        value: (k,) the yields.
        variance: (m,) sums of squared weights of data; expected counts take their place for data without weights.
        templates: the templates with their sums of squared weights.
        used: (m + unused,) the bins that `shapes` holds.
        normalised: False takes the contents of a template as independent, as the likelihood of the fit does.
    """
    expected = shapes @ value
    scale = float(variance.sum() / expected.sum())  # 1 without weights
    v = np.diag(np.maximum(expected, 1e-9 * expected.sum()) * scale)
    for j, each in enumerate(templates):
        total, squares = float(each.sumw.sum()), each.sumw2[used]
        t = shapes[:, j]
        c = np.diag(squares)
        if normalised:
            c = c - np.outer(t, squares) - np.outer(squares, t) + np.outer(t, t) * squares.sum()
        v += value[j] ** 2 * c / total**2
    return np.asarray(np.linalg.inv(shapes.T @ np.linalg.solve(v, shapes)), np.float64)


def fractions_of(value: Array, covariance: Array, names: Sequence[str]) -> dict[str, Measured]:
    """Returns the share of each yield (k,) of their sum, with the error of first order."""
    total = float(value.sum())
    if not total > 0:
        return dict.fromkeys(names, UNDEFINED)
    share = value / total
    jacobian = (np.eye(len(value)) - share[:, None]) / total
    error = np.sqrt(np.maximum(np.diag(jacobian @ covariance @ jacobian.T), 0.0))
    n = total**2 / float(covariance.sum()) if covariance.sum() > 0 else 0.0
    return {
        name: Measured(float(f), float(f - e), float(f + e), n) for name, f, e in zip(names, share, error, strict=True)
    }


def invert_matrix(data: Counts, templates: Mapping[str, Counts]) -> tuple[Yields, Array]:
    """Returns the yields N that solve D = Aᵀ N for the decisions D of data, and the matrix A.

    Args:
        data: candidates decided to be each of k classes.
        templates: class to its events decided to be each class.

    Returns:
        the yields, and A (k, k): the share of each true class (row) that is decided to be each class (column). The
        errors are those of D and, as those of multinomial shares, of A, to first order.
    """
    names = list(templates)
    k = len(names)
    totals = np.array([each.sumw.sum() for each in templates.values()])
    if any(len(each.sumw) != k for each in templates.values()):
        return _failed(names, "the model does not decide between all classes"), np.empty((0, 0))
    if not (totals > 0).all():
        return _failed(names, "a class has no template events"), np.full((k, k), np.nan)
    matrix = np.array([each.sumw / total for each, total in zip(templates.values(), totals, strict=True)])
    if not np.linalg.cond(matrix) < 1 / _SMALLEST:
        return _failed(names, "the matrix of decisions cannot be inverted"), matrix
    inverse = np.linalg.inv(matrix.T)
    value = inverse @ data.sumw
    spread = np.diag(data.sumw2).astype(np.float64)
    for i, each in enumerate(templates.values()):
        t, squares = matrix[i], each.sumw2
        c = np.diag(squares) - np.outer(t, squares) - np.outer(squares, t) + np.outer(t, t) * squares.sum()
        spread += value[i] ** 2 * c / totals[i] ** 2
    covariance = inverse @ spread @ inverse.T
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    found = {
        name: Measured(float(v), float(v - e), float(v + e), data.effective)
        for name, v, e in zip(names, value, error, strict=True)
    }
    return Yields(found, fractions_of(value, covariance, names), covariance), matrix


def _failed(names: Sequence[str], problem: str) -> Yields:
    nothing = dict.fromkeys(names, UNDEFINED)
    return Yields(nothing, nothing, np.full((len(names), len(names)), np.nan), problem)
