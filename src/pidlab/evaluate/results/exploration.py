"""What is drawn to explore a sample and its models: pairs of features, contributions, trees, partial dependence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.results.curves import Histogram
from pidlab.expressions import Polygon
from pidlab.measured import Array


@dataclass(frozen=True, slots=True)
class Plane:
    """The distribution of one class over two features, and the mean of the second in bins of the first.

    Sums are rounded to four digits, which a picture does not show and which keeps files small.

    Attributes:
        sumw, sumw2: (bx, by) sums of w and of w² inside both ranges.
        entries: number of candidates inside both ranges.
        mean, error: (bx,) weighted mean of y inside its range with its standard error; NaN for an empty bin.
    """

    sumw: Array
    sumw2: Array
    entries: int
    mean: Array
    error: Array


@dataclass(frozen=True, slots=True)
class FeaturePair:
    """Two features of the test sample, with their (bx + 1,) and (by + 1,) bin edges and a `Plane` for each class."""

    x: str
    y: str
    x_edges: Array
    y_edges: Array
    planes: Mapping[str, Plane]


@dataclass(frozen=True, slots=True)
class PolygonResult:
    """A polygon of the configuration, and the test sample on its axes.

    Attributes:
        name: by which expressions ask it.
        points: (n, 2) its corners.
        x, y: the expressions of its axes without aliases; empty if it has none.
        pair: the distribution of each class over its axes as they are stated; None if no expression asks the polygon
            of every candidate.
        inside, outside: class to the number of candidates; those without a value on an axis are outside.
    """

    name: str
    points: Array
    x: str
    y: str
    pair: FeaturePair | None = None
    inside: Mapping[str, int] = field(default_factory=dict)
    outside: Mapping[str, int] = field(default_factory=dict)

    @property
    def short_name(self) -> str:
        """The name without the file and the folders in it that it may begin with."""
        return Polygon(self.name, "", "", ()).short_name


@dataclass(frozen=True, slots=True)
class Explained:
    """What each feature contributes to the signal's margin, for n candidates of the test sample.

    Numbers are rounded to four digits.

    Attributes:
        features: d names.
        particle: (n,) index of the true class.
        value: (n, d) values of the features; NaN where they are missing.
        contribution: (n, d) contributions.
    """

    features: tuple[str, ...]
    particle: NDArray[np.int64]
    value: Array
    contribution: Array


@dataclass(frozen=True, slots=True)
class PartialDependence:
    """The score of the signal against the value of one feature, which all candidates of the test sample are given.

    Attributes:
        feature: its name.
        value: (g,) rising values of the feature; NaN, the last, stands for a missing value.
        mean, low, high: (g,) weighted mean score with its 68.3 % interval, by the fluctuation of events.
        n: effective number of candidates.
        n_candidates: their number.
        curves: (m, g) the scores of some single candidates, rounded to four digits.
        particle: (m,) index of the true class of each.
    """

    feature: str
    value: Array
    mean: Array
    low: Array
    high: Array
    n: float
    n_candidates: int
    curves: Array
    particle: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of a tree, which is a tuple of nodes with the root first.

    Attributes:
        feature: the feature on which it splits; empty for a leaf.
        cut: a candidate goes to `below` if its value is smaller, else to `above`.
        missing_below: whether a candidate without a value goes to `below`.
        value: the gain of a split, or what a leaf adds to the margin.
        below, above: indices of the next nodes; -1 for a leaf, and where nodes below were left out.
    """

    feature: str
    cut: float
    missing_below: bool
    value: float
    below: int = -1
    above: int = -1


@dataclass(frozen=True, slots=True)
class Exploration:
    """What is drawn besides the measurements.

    Attributes:
        pairs: pairs of features: all of up to four features, else the six of largest |correlation| in any class.
        scaled: feature to class to its histogram in the test sample, as networks and linear models see it.
        explained: model to the contributions of its features.
        trees: model to its first trees, by what they add to: the margin of a class, or of the signal.
        dependence: model to the dependence of its score on its most important features; empty in results of older
            versions.
    """

    pairs: tuple[FeaturePair, ...] = ()
    scaled: Mapping[str, Mapping[str, Histogram]] = field(default_factory=dict)
    explained: Mapping[str, Explained] = field(default_factory=dict)
    trees: Mapping[str, tuple[tuple[str, tuple[TreeNode, ...]], ...]] = field(default_factory=dict)
    dependence: Mapping[str, tuple[PartialDependence, ...]] = field(default_factory=dict)
