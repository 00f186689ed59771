"""Comparisons of a sample with an expectation that allow for the sample's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def assert_share(selected: NDArray[np.bool_], expected: float) -> None:
    """Within five standard deviations of the binomial."""
    n = len(selected)
    assert abs(selected.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / n), (selected.mean(), expected, n)


def assert_mean(values: NDArray[Any], expected: float) -> None:
    """Within five standard errors."""
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(len(values)), (values.mean(), expected)
