"""A measured number with its interval, of which all results consist."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """A number with its 68.3 % interval and the effective number of events that it was measured with."""

    value: float
    low: float
    high: float
    n: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


UNDEFINED = Measured(math.nan, math.nan, math.nan, 0.0)
