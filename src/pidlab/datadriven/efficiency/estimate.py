"""Estimate: the efficiency of a decision in one bin, by whatever method, and the histograms that it is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pidlab.evaluate.results import json_value
from pidlab.measured import UNDEFINED, Array, Measured


@dataclass(frozen=True, slots=True)
class Histograms:
    """The masses of the passing and of the failing probes of a bin.

    Attributes:
        edges: (m + 1,) of the mass.
        passing, failing: (m,) sums of weights.
        passing2, failing2: (m,) sums of squared weights.
    """

    edges: Array
    passing: Array
    failing: Array
    passing2: Array
    failing2: Array

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self.passing.sum() + self.failing.sum())

    @property
    def scale(self) -> float:
        """The weight of a typical probe, Σw² / Σw: 1 without weights."""
        return float(self.passing2.sum() + self.failing2.sum()) / self.total if self.total > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Shapes:
    """The names of the shapes of a fit, and whether passing and failing probes share their parameters."""

    signal: str
    background: str
    share_signal: bool = True
    share_background: bool = False

    def __str__(self) -> str:
        return f"{self.signal} on {self.background}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected probes in the bins of the mass (m,) each: all, and those of background."""

    total: Array
    background: Array


@dataclass(frozen=True, slots=True)
class Estimate:
    """The efficiency in a bin, measured in one way.

    Attributes:
        name: says which way, such as `crystal_ball on exponential`.
        failure: why it failed, as a clause; empty if it did not.
        efficiency: NaN, or without an interval, if it failed.
        unconstrained: the efficiency that the same method gives if it may be below 0 or above 1, which has no bias at
            the ends and is the one to average; NaN if it is not known.
        n_signal: the number of signal probes.
        n_background: the number of passing and of failing background probes.
        parameters: of the shapes, with their standard deviations.
        chi_square, n_dof, p_value: goodness of fit; NaN and 0 if nothing was fitted.
        passing, failing: the expected probes, from which the fit is drawn; they are not saved.
    """

    name: str
    failure: str
    efficiency: Measured
    n_signal: Measured = UNDEFINED
    n_background: tuple[Measured, Measured] = (UNDEFINED, UNDEFINED)
    parameters: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    chi_square: float = math.nan
    n_dof: int = 0
    p_value: float = math.nan
    passing: Expectation | None = field(default=None, repr=False)
    failing: Expectation | None = field(default=None, repr=False)
    unconstrained: float = math.nan

    @property
    def usable(self) -> bool:
        """Whether there is an efficiency with an interval."""
        return not self.failure and math.isfinite(self.efficiency.low) and math.isfinite(self.efficiency.high)

    def as_json(self) -> dict[str, Any]:
        """Returns the estimate in JSON's types, null where there is no number."""
        drawn = ("passing", "failing")
        content = {f.name: json_value(getattr(self, f.name)) for f in fields(self) if f.name not in drawn}
        return content | {"n_background": dict(zip(drawn, content["n_background"], strict=True))}


def failed(name: str, why: str) -> Estimate:
    """Returns an estimate that failed."""
    return Estimate(name, why, UNDEFINED)


def number(value: float | None) -> float:
    """Returns a number of JSON, which has null for NaN."""
    return math.nan if value is None else float(value)


def measured_from(content: Mapping[str, float | None]) -> Measured:
    """Returns the measured number that `json_value` encoded."""
    return Measured(*(number(content[name]) for name in Measured._fields))


def estimate_from(content: Mapping[str, Any]) -> Estimate:
    """Returns the estimate that `as_json` wrote."""
    background = content["n_background"]
    return Estimate(
        name=str(content["name"]),
        failure=str(content["failure"]),
        efficiency=measured_from(content["efficiency"]),
        n_signal=measured_from(content["n_signal"]),
        n_background=(measured_from(background["passing"]), measured_from(background["failing"])),
        parameters={str(name): (number(v), number(e)) for name, (v, e) in content["parameters"].items()},
        chi_square=number(content["chi_square"]),
        n_dof=int(content["n_dof"]),
        p_value=number(content["p_value"]),
        unconstrained=number(content.get("unconstrained")),  # files of older versions do not have it
    )
