"""What each detector of a likelihood contributes to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pidlab.measured import Measured


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """A likelihood from some of its detectors, on test.

    Attributes:
        name: all, only NAME or without NAME.
        used: the detectors that count.
        auc: the AUC of the signal against all other classes.
        efficiency: the signal's at the working point, whose threshold is this row's own.
        misid: class to its misidentification at the working point.
        delta_auc: the AUC minus that of all detectors, on the same candidates.
        delta_misid: class to its misidentification minus that with all detectors, both at exactly the efficiency that
            the working point asks for.
    """

    name: str
    used: tuple[str, ...]
    auc: Measured
    efficiency: Measured
    misid: Mapping[str, Measured]
    delta_auc: Measured
    delta_misid: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class DetectorTable:
    """All detectors together, each alone, and each left out.

    Attributes:
        working_point: the point of efficiency and misidentification.
        rows: the rows, that of all detectors first.
    """

    working_point: str
    rows: tuple[DetectorRow, ...]
