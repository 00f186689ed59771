"""What weights do that make samples alike: effective events, distributions and separation, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.evaluate.results.curves import Histogram
from pidlab.measured import Measured


@dataclass(frozen=True, slots=True)
class ReweightedGroup:
    """Classes that were made like the target together; everything is measured on events that trained no weight.

    Attributes:
        name: the class; empty if all that are reweighted share their weights.
        classes: its classes.
        n: the number of its events.
        effective_before, effective_after: (Σw)² / Σw² of these events.
        largest: the largest of the new weights, in units of their mean.
        no_support: the share of its events, by the sum of |w|, where the target has none: their weight is 0.
        out_of_reach: the share of the target, by the sum of |w|, beyond the range of its events in a variable.
        missing: the number of its events that lack a matched variable.
        auc_before, auc_after: those of a classifier that tells target from group by the matched variables, trained
            without and with the weights. The interval of the latter holds the statistical error of the weights too.
        variables: matched variable to the distributions "target", "before" and "after".
        weights: the distribution of the new weights, in units of their mean.
    """

    name: str
    classes: tuple[str, ...]
    n: int
    effective_before: float
    effective_after: float
    largest: float
    no_support: float
    out_of_reach: float
    missing: int
    auc_before: Measured
    auc_after: Measured
    variables: Mapping[str, Mapping[str, Histogram]]
    weights: Histogram


@dataclass(frozen=True, slots=True)
class Reweighting:
    """The weights of a run.

    Attributes:
        match: the variables that were made alike.
        target: what the groups were made like: a class, or the files.
        method: classifier or bins.
        used_for: training, evaluation or both.
        groups: those that were reweighted.
    """

    match: tuple[str, ...]
    target: str
    method: str
    used_for: str
    groups: tuple[ReweightedGroup, ...]
