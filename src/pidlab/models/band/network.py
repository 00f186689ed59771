"""Bands by a network: mean and width of one variable as functions of any number of quantities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pidlab.evaluate.intervals import effective_number
from pidlab.models.band.curves import Array
from pidlab.models.band.fit import fit_curves
from pidlab.models.band.shapes import BandSample, ShapeOptions
from pidlab.models.mlp.regression import GaussianRegression

_START = ShapeOptions("spline", 0, "symmetric")


@dataclass(frozen=True)
class NetworkCurves:
    """A network that gives the mean and the width; both sides have the same width, and errors are not known (NaN).

    Attributes:
        regression: the network with its scaling.
        n: the effective number of signal events that were fitted.
    """

    regression: GaussianRegression
    n: float

    def value(self, what: str, against: Array) -> Array:
        """Returns `mean`, or the width `below` or `above` it (n,), at x (n, d); NaN where x is NaN."""
        mean, width = self.regression.predict(against)
        return mean if what == "mean" else width

    def error(self, what: str, against: Array) -> Array:
        """Returns (n,) NaN: one network does not say how far another would lie."""
        return np.full(len(against), np.nan)

    def distances(self, values: Array, against: Array) -> Array:
        """Returns (value - mean) / width (n,); NaN where anything is NaN."""
        return self.regression.pulls(against, values)

    def to_json(self) -> dict[str, Any]:
        """Returns the curves in the types of JSON."""
        return {"n": self.n, "regression": self.regression.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> NetworkCurves:
        """Returns what `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: the content is damaged.
        """
        return cls(GaussianRegression.from_json(content["regression"]), float(content["n"]))


def fit_network(sample: BandSample, options: ShapeOptions) -> NetworkCurves:
    """Returns the network that is fitted to the core of a sample.

    The core is found by splines in the first quantity alone, which know what the other classes look like; the network
    then fits it by its likelihood (see `GaussianRegression`). The validation sample decides which weights are kept.
    """
    first = BandSample(
        sample.x[:, :1], sample.y, sample.weight, tuple((x[:, :1], y, weight) for x, y, weight in sample.others)
    )
    found = fit_curves(first, _START)

    def start(x: Array) -> tuple[Array, Array]:
        return found.value("mean", x[:, :1]), found.value("above", x[:, :1])

    regression = GaussianRegression(seed=options.seed, device="cpu")  # a network this small is faster there
    regression.fit(sample.x, sample.y, sample.weight, validation=sample.validation, start=start)
    return NetworkCurves(regression, effective_number(sample.weight))
