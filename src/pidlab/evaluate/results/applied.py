"""What models say of files without labels, beside what the test sample of the run lets expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pidlab.evaluate.results.shift import Shift
from pidlab.measured import Array, Measured


@dataclass(frozen=True, slots=True)
class Beside:
    """The distribution of one quantity in files, beside the expectation.

    Attributes:
        edges: (b + 1,) bin edges.
        counts: (b + 2,) rows of the files; under- and overflow first and last, in which rows without the value are.
        expected: class to its (b + 2,) share of the expectation, in rows.
        error: (b + 2,) standard deviation of the whole expectation by the number of test events.
    """

    edges: Array
    counts: Array
    expected: Mapping[str, Array]
    error: Array


@dataclass(frozen=True, slots=True)
class AppliedPoint:
    """A working point on files.

    Attributes:
        n: the number of selected rows that it accepts.
        share: these among all selected rows, with the interval by their number.
        expected: the share that the test sample lets expect, for its mixture of classes.
        rates: class to the share that is accepted on test.
        accepted, rejected: feature or spectator to its distribution.
    """

    name: str
    n: int
    share: Measured
    expected: Measured
    rates: Mapping[str, Measured]
    accepted: Mapping[str, Beside]
    rejected: Mapping[str, Beside]


@dataclass(frozen=True, slots=True)
class AppliedModel:
    """A model on files: the distribution of its score, None for fixed cuts, and its working points.

    `thresholds` maps the working points with one threshold to it.
    """

    name: str
    kind: str
    score: Beside | None
    thresholds: Mapping[str, float]
    points: tuple[AppliedPoint, ...]


@dataclass(frozen=True, slots=True)
class AppliedCut:
    """A step of the selection: the rows that are left, and the share of each class that was left in the run."""

    name: str
    n: int
    in_run: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Applied:
    """Files without labels beside the expectation of a run.

    Attributes:
        signal, classes: the signal and classes of the run.
        n_rows, n_selected, n_known: rows of the files, those that are selected, and those of these that are the run's.
        mixture: class to its share of the expectation.
        stated: True if the configuration states the mixture, False if it is that of the test sample.
        cutflow: the steps of the selection, all rows first.
        models: those that were applied.
        spectators: the spectators that the files have.
        labels: feature or spectator to its axis label.
        shift: how well a classifier distinguishes the files from the run; None if that could not be measured.
        notes: what a reader must be warned of, in sentences.
        remarks: how the expectation is to be read, in sentences.
    """

    signal: str
    classes: tuple[str, ...]
    n_rows: int
    n_selected: int
    n_known: int
    mixture: Mapping[str, float]
    stated: bool
    cutflow: tuple[AppliedCut, ...]
    models: tuple[AppliedModel, ...]
    spectators: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    shift: Shift | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
