"""Species fractions: the yield of each class in data, by a fit of scores and by the inverted decision matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class Yields:
    """The yields of the classes by one method.

    Attributes:
        yields: class to the number of candidates, or the sum of their weights.
        fractions: class to its share of the sum of all yields.
        covariance: (k, k) of the yields; NaN if the method failed.
        problem: why there are no numbers; empty if there are.
    """

    yields: Mapping[str, Measured]
    fractions: Mapping[str, Measured]
    covariance: Array
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FractionsBin:
    """The candidates of one bin of a spectator, by one model.

    Attributes:
        low, high: the range of the spectator, from `low` to before `high`; infinite if there are no bins.
        n: the number of candidates in data.
        fit: the yields by a fit of the binned scores.
        inverted: the yields by the inverted matrix of decisions.
        matrix: (k, k) the share of each true class (row) that is decided to be each class (column), from the templates;
            empty if the model decides no class.
        names: of the groups of score bins, in order; for each its number of bins.
        observed: (m,) the sum of weights of data in each score bin.
        observed_error: (m,) its error.
        fitted: class to the (m,) content by the fit; empty if it failed.
        template_error: (m,) the error of their sum by the statistics of the templates; empty if the fit failed.
        templates: class to the effective number of events of its template.
        chi2: the χ² of the fit, which is that of a likelihood ratio and holds the uncertainty of the templates.
        ndf: its degrees of freedom.
        p: the p-value of `chi2`.
    """

    low: float
    high: float
    n: int
    fit: Yields
    inverted: Yields
    matrix: Array
    names: Mapping[str, int]
    observed: Array
    observed_error: Array
    fitted: Mapping[str, Array]
    template_error: Array
    templates: Mapping[str, float]
    chi2: float
    ndf: int
    p: float


@dataclass(frozen=True, slots=True)
class ModelFractions:
    """The fractions by one model, in each bin."""

    model: str
    bins: tuple[FractionsBin, ...]


@dataclass(frozen=True, slots=True)
class Fractions:
    """Species fractions in data.

    Attributes:
        classes: their names.
        variable: the spectator whose bins they are measured in; empty if there is one bin of all.
        models: by each model.
        notes: what a reader must know, in sentences.
    """

    classes: tuple[str, ...]
    variable: str
    models: tuple[ModelFractions, ...]
    notes: tuple[str, ...]
