"""Logistic regression, a linear baseline that assumes nothing about the distributions of the classes."""

from __future__ import annotations

import itertools

import numpy as np

from pidlab.models.margins import Array, Blocks, LinearClassifier, standardised

_MAX_ITERATIONS = 1000
_PRECISION = 1e-12  # share of the loss by which a last step may still lower it
_SMALLEST_STEP = 1e-6


class Logistic(LinearClassifier):
    """scikit-learn's LogisticRegression on standardised features, with coefficients given back in the features' units.

    The penalty |β|² / 2C acts on features of unit standard deviation and on weights of mean one, so that neither units
    nor a common factor of the weights change the model. An integer weight is therefore the same as repeated rows only
    up to the share of the penalty.

    Args:
        C: inverse strength of the penalty, as in scikit-learn.
    """

    kind = "logistic"

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def _fit(self, blocks: Blocks) -> None:
        unit, mean, deviation = standardised(blocks)
        first, *further = itertools.islice(unit(), 2)
        if further:
            coefficients, intercept, self.n_iter_ = _by_newton(unit, len(self.classes_), self.C)
        else:
            from sklearn.linear_model import LogisticRegression

            x, label, weight = first
            regression = LogisticRegression(C=self.C, max_iter=_MAX_ITERATIONS, tol=1e-8)
            regression.fit(x, label, sample_weight=weight)
            coefficients, intercept = regression.coef_, regression.intercept_
            self.n_iter_ = int(np.max(regression.n_iter_))
        self.coefficients_ = coefficients / deviation
        self.intercept_ = intercept - self.coefficients_ @ mean


def _by_newton(blocks: Blocks, n_classes: int, strength: float) -> tuple[Array, Array, int]:
    """Returns coefficients (m, d) and intercepts (m,) of scikit-learn's minimum, and the number of steps.

    Newton's steps, halved while the loss does not fall, need few readings of the blocks (T. Hastie, R. Tibshirani,
    J. Friedman, The Elements of Statistical Learning, 2009, section 4.4.1). m is 1 for two classes, otherwise k, whose
    intercepts have one direction that changes nothing: the pseudo-inverse leaves it at zero.
    """
    m, d = 1 if n_classes == 2 else n_classes, next(blocks())[0].shape[1]
    penalty = np.tile(np.append(np.full(d, 1 / strength), 0.0), m)
    beta, step = np.zeros(m * (d + 1)), np.zeros(m * (d + 1))
    lowest, scale = np.inf, 1.0
    n_steps = 0
    while n_steps < _MAX_ITERATIONS:
        n_steps += 1
        trial = beta + scale * step
        loss, gradient, hessian = _derivatives(blocks, trial, m)
        loss += 0.5 * float(penalty @ trial**2)
        if not loss <= lowest and scale > _SMALLEST_STEP:
            scale /= 2
            continue
        done = lowest - loss <= _PRECISION * abs(loss)
        beta, lowest, scale = trial, loss, 1.0
        if done:
            break
        step = -np.linalg.pinv(hessian + np.diag(penalty), hermitian=True) @ (gradient + penalty * beta)
    found = beta.reshape(m, d + 1)
    return found[:, :d], found[:, d], n_steps


def _derivatives(blocks: Blocks, beta: Array, m: int) -> tuple[float, Array, Array]:
    """Returns the summed log loss, its gradient (m (d + 1),) and its second derivatives."""
    loss, gradient, hessian = 0.0, np.zeros(len(beta)), np.zeros((len(beta), len(beta)))
    for features, label, weight in blocks():
        x = np.column_stack([features, np.ones(len(features))])
        margins = x @ beta.reshape(m, -1).T
        logits = np.column_stack([np.zeros(len(x)), margins]) if m == 1 else margins
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        p = np.exp(log_p)[:, -m:]
        loss -= float(weight @ log_p[np.arange(len(x)), label])
        excess = p - (label[:, None] == np.arange(log_p.shape[1] - m, log_p.shape[1]))
        gradient += ((weight[:, None] * excess).T @ x).ravel()
        for i, j in itertools.combinations_with_replacement(range(m), 2):
            curvature = weight * p[:, i] * ((i == j) - p[:, j])
            part = (x * curvature[:, None]).T @ x
            width = x.shape[1]
            hessian[i * width : (i + 1) * width, j * width : (j + 1) * width] += part
            if i != j:
                hessian[j * width : (j + 1) * width, i * width : (i + 1) * width] += part.T
    return loss, gradient, hessian
