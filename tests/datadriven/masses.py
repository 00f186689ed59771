"""Masses of known composition: a normal peak over an exponential background, with a control variable."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.datadriven.massfit import Component

Array = NDArray[np.float64]
LOW, HIGH = 5.1, 5.5
MEAN, SIGMA, SLOPE = 5.28, 0.02, -3.0
COMPONENTS = {"signal": Component("gauss"), "background": Component("exponential")}


class Toy(NamedTuple):
    """Masses (n,), a control variable (n,) and true for candidates of the signal (n,)."""

    mass: Array
    control: Array
    is_signal: NDArray[np.bool_]


def toy(n_signal: int, n_background: int, seed: int, *, in_background: float = 0.0, in_signal: float = 0.0) -> Toy:
    """Returns candidates in a random order; both numbers are expected ones, which are drawn from Poisson's law.

    The control variable is normal around 1 in the signal and exponential in the background, plus a slope times the
    mass, in widths of the peak, where that is asked for.
    """
    rng = np.random.default_rng(seed)
    n_s, n_b = rng.poisson(n_signal), rng.poisson(n_background)
    peak = rng.normal(MEAN, SIGMA, n_s)
    # The inverse of the cumulative distribution of an exponential that ends at the end of the range.
    end = np.expm1(SLOPE * (HIGH - LOW))
    rest = LOW + np.log1p(rng.random(n_b) * end) / SLOPE
    mass = np.concatenate([peak, rest])
    control = np.concatenate([rng.normal(1.0, 0.5, n_s), rng.exponential(1.0, n_b)])
    is_signal = np.arange(n_s + n_b) < n_s
    control += np.where(is_signal, in_signal, in_background) * (mass - MEAN) / SIGMA
    order = rng.permutation(len(mass))
    return Toy(mass[order], control[order], is_signal[order])
