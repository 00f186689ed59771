"""What a band does on test: the curves over the data, and the distances in widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.evaluate.results.curves import Histogram
from pidlab.evaluate.results.exploration import Plane
from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class BandCurve:
    """Mean and width of a variable of the signal at m values of the first quantity that they follow.

    With several quantities the others have the median that they have in the signal near each value. With folds it is
    the mean over the fold models.

    Attributes:
        x: (m,) rising values of the quantity.
        mean, mean_error: (m,) in the unit of the variable; errors are NaN if the shape gives none.
        below, above: (m,) the widths below and above the mean.
        below_error, above_error: (m,) their standard errors.
    """

    x: Array
    mean: Array
    mean_error: Array
    below: Array
    above: Array
    below_error: Array
    above_error: Array


@dataclass(frozen=True, slots=True)
class BandPanel:
    """One group of a band: its curve, and class to the distribution of test over the quantity and the variable.

    `group` is what the group is called, such as "sector = 3"; it is empty for a band without groups.
    """

    group: str
    curve: BandCurve
    planes: Mapping[str, Plane]


@dataclass(frozen=True, slots=True)
class PullTrend:
    """Mean and width of the core of the signal's pulls in b bins of a quantity; NaN where there are too few events.

    Attributes:
        x: the name of the quantity.
        edges: (b + 1,) edges of the bins.
        mean, mean_error, width, width_error: (b,) of a Gaussian core fitted to the pulls, with standard errors.
        n: (b,) effective number of signal candidates.
    """

    x: str
    edges: Array
    mean: Array
    mean_error: Array
    width: Array
    width_error: Array
    n: Array


@dataclass(frozen=True, slots=True)
class BandVariable:
    """One variable of a band on test.

    Attributes:
        variable: its name.
        against: the quantities that mean and width follow; the first is the x axis of the panels.
        side: which deviations count: "low", "high" or "both".
        lines: name of a working point to the number of widths within which the variable alone passes it; first those
            that the configuration states, then those chosen on validation.
        x_edges, y_edges: edges of the bins of the panels; empty without a quantity.
        panels: one a group, of the first twelve.
        n_groups: number of groups of the band, of which panels show the first.
        pulls: class to the histogram of (value - mean) / width.
        mean, width: the mean and width of the Gaussian core of the signal's pulls; 0 and 1 if the band is right.
        core_share: the share of the signal's pulls that a unit Gaussian holds with the same number within one width.
        kept: number of widths to the share of the signal whose pull is not larger, on the side that counts.
        trends: one for each quantity.
    """

    variable: str
    against: tuple[str, ...]
    side: str
    lines: Mapping[str, float]
    x_edges: Array
    y_edges: Array
    panels: tuple[BandPanel, ...]
    n_groups: int
    pulls: Mapping[str, Histogram]
    mean: Measured
    width: Measured
    core_share: float
    kept: Mapping[str, Measured]
    trends: tuple[PullTrend, ...]
