"""The shapes of a band: one row says which function fits a shape, and which class reads what was fitted."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from pidlab.models.band.curves import Array

Side = Literal["low", "high", "both"]
Core = Literal["symmetric", "asymmetric"]


class BandCurves(Protocol):
    """The mean and the width of one variable in one group, as functions of x (n, d)."""

    n: float
    """The effective number of signal events that were fitted."""

    def value(self, what: str, against: Array) -> Array:
        """Returns `mean`, or the width `below` or `above` it (n,), in the variable's unit; NaN where x is NaN."""
        ...

    def error(self, what: str, against: Array) -> Array:
        """Returns the standard errors (n,) of `value`."""
        ...

    def distances(self, values: Array, against: Array) -> Array:
        """Returns (value - mean) / width (n,) with the width of the value's side; NaN where anything is NaN."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Returns the curves in the types of JSON."""
        ...


class BandSample(NamedTuple):
    """What one band is fitted on.

    Attributes:
        x: (n, d) the quantities that it is a function of, finite.
        y: (n,) the variable, finite.
        weight: (n,) positive.
        others: (x, y, weight) of each other class, some of which may be mislabelled as signal; it may be empty.
        validation: (x, y, weight) of the signal that is not fitted, by which a network knows when to stop.
    """

    x: Array
    y: Array
    weight: Array
    others: tuple[tuple[Array, Array, Array], ...]
    validation: tuple[Array, Array, Array] | None = None


class ShapeOptions(NamedTuple):
    """How it is fitted: the shape's name, the degree of a polynomial, and whether the two sides differ in width."""

    shape: str
    degree: int
    core: Core
    seed: int = 0


@dataclass(frozen=True, slots=True)
class BandShape:
    """Places, written as "module:name", of a function and a class.

    Attributes:
        fit: takes a `BandSample` and `ShapeOptions`, and returns `BandCurves`.
        curves: has a class method `from_json`, the inverse of `BandCurves.to_json`.
    """

    fit: str
    curves: str


_FORMULA = BandShape("pidlab.models.band.fit:fit_curves", "pidlab.models.band.curves:Curves")
_NETWORK = BandShape("pidlab.models.band.network:fit_network", "pidlab.models.band.network:NetworkCurves")
SHAPES: Mapping[str, BandShape] = {
    "spline": _FORMULA,
    "clas12": _FORMULA,
    "polynomial": _FORMULA,
    "network": _NETWORK,
}


def fit_shape(sample: BandSample, options: ShapeOptions) -> BandCurves:
    """Returns the mean and the width that the shape of `options` fits."""
    fitted: BandCurves = _imported(SHAPES[options.shape].fit)(sample, options)
    return fitted


def curves_from_json(shape: str, content: Mapping[str, Any]) -> BandCurves:
    """Returns the curves of a shape that `to_json` described.

    Raises:
        KeyError, TypeError, ValueError: the content is damaged.
    """
    curves: BandCurves = _imported(SHAPES[shape].curves).from_json(content)
    return curves


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
