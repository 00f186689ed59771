"""Replicas: the weights by other shapes that the fit allows, which tell the error of sums of weights.

Σ w² is the variance of a sum of weights where the shapes are known. Shapes that were fitted have errors of their own,
and these move the weights of all candidates at once (C. Langenbruch, Eur. Phys. J. C 82 (2022) 393, arXiv:1911.01303):
the variance of a sum is to first order Σ w² + d C d, with d its derivatives by the parameters of the shapes and C their
covariance. Here the shapes are drawn from C, the weights are made anew for each draw from the same candidates, and the
mean square of what that changes in a sum takes the place of d C d. What a mean, an efficiency or any other number
changes is found in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from pidlab.datadriven.massfit.fit import YIELD, Fit
from pidlab.datadriven.sweights.weights import Weights
from pidlab.errors import DataError
from pidlab.evaluate.intervals import symmetric
from pidlab.measured import Measured

SEED = 1911  # any number will do; the same fit has the same replicas
_MOST_DRAWS = 4  # for each replica; shapes for which there are no weights are drawn again


def weight_replicas(fit: Fit, make: Callable[[Fit], Weights], n: int, *, seed: int = SEED) -> list[Weights]:
    """Returns the weights for n draws of the shapes from the covariance of their fitted parameters.

    Args:
        fit: the fit of the mass.
        make: returns the weights of a fit, from the data of this one: `lambda found: sweights(found, mass)`.
        n: how many; the spread of 25 is known to 14 %.
        seed: of the draws.

    Raises:
        DataError: nearly all draws have shapes for which there are no weights.
    """
    chosen = [i for i, name in enumerate(fit.free) if not name.endswith(f".{YIELD}")]
    names = [fit.free[i] for i in chosen]
    # The root of a covariance by its eigenvalues, of which rounding may make the smallest negative.
    values, vectors = np.linalg.eigh(fit.covariance[np.ix_(chosen, chosen)])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    centre = np.array([fit.parameters[name].value for name in names])
    limits = np.array([fit.parameters[name].limits for name in names]).reshape(-1, 2).T
    rng, found, problem = np.random.default_rng(seed), list[Weights](), ""
    for _ in range(_MOST_DRAWS * n):
        if len(found) == n:
            break
        drawn = np.clip(centre + root @ rng.standard_normal(len(names)), *limits)
        try:
            found.append(make(_with_values(fit, dict(zip(names, map(float, drawn), strict=True)))))
        except DataError as error:
            problem = str(error)
    if len(found) < n:
        raise DataError(
            f"the errors of the shapes are too large for replicas of the weights ({problem}); fix parameters"
        )
    return found


def _with_values(fit: Fit, drawn: dict[str, float]) -> Fit:
    parameters = {}
    for name, parameter in fit.parameters.items():
        value = drawn.get(parameter.shared or name, parameter.value)
        parameters[name] = replace(parameter, measured=parameter.measured._replace(value=value))
    return replace(fit, parameters=parameters)


def weight_sum(weight: ArrayLike, replicas: Sequence[ArrayLike]) -> Measured:
    """Returns the sum of weights (n,) of some candidates, with an interval that holds the error of the shapes.

    Args:
        weight: (n,) the weights of these candidates.
        replicas: r times (n,), the weights of the same candidates by each replica.
    """
    own = np.asarray(weight, np.float64)
    total, squares = float(own.sum()), float((own * own).sum())
    changes = np.array([float(np.sum(each)) - total for each in replicas])
    variance = squares + (float(np.mean(changes**2)) if len(changes) else 0.0)
    return symmetric(total, float(np.sqrt(variance)), total**2 / squares if squares > 0 else 0.0)
