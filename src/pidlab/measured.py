"""A measured number, which all results are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """A number with its 68.3 % interval and the effective number of events that it rests on."""

    value: float
    low: float
    high: float
    n: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


UNDEFINED = Measured(math.nan, math.nan, math.nan, 0.0)


def bounds(numbers: Sequence[Measured]) -> tuple[Array, Array, Array]:
    """Returns the (m,) values, lower bounds and upper bounds of m numbers."""
    table = np.array([number[:3] for number in numbers], dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
