"""Files without labels beside the expectation: the test sample's distributions, as many as there are rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.intervals import efficiency, mixture
from pidlab.evaluate.results import (
    AppliedCut,
    AppliedModel,
    AppliedPoint,
    Beside,
    BinSums,
    Identified,
    ModelResult,
    Results,
    WorkingPoint,
)
from pidlab.measured import UNDEFINED, Array, Measured

Counts = NDArray[np.int64]


class CountedModel(NamedTuple):
    """What was counted of one model in files.

    Attributes:
        score: (b + 2,) rows by score; None for a model without a distribution of scores.
        n: working point to the number of accepted rows.
        accepted: variable to (p, b + 2) accepted rows by working point and bin.
    """

    score: Counts | None
    n: Mapping[str, int]
    accepted: Mapping[str, Counts]


class Expectation:
    """The test sample of a run, its classes mixed in some ratio, scaled to the number of selected rows of files.

    Args:
        results: the results of the run, with `identified`.
        n_selected: rows.
        abundance: class to its abundance in any unit; None for the mixture of the test sample.
    """

    def __init__(self, results: Results, n_selected: int, abundance: Mapping[str, float] | None) -> None:
        assert results.identified is not None
        self._results, self._found = results, results.identified
        sums = self._weights(self._found)
        wanted = sums if abundance is None else np.array([abundance[c] for c in self._found.classes])
        total = wanted.sum()
        shares = wanted / total if total > 0 else np.zeros(len(wanted))
        self.mixture = {c: float(share) for c, share in zip(self._found.classes, shares, strict=True)}
        self._factors = np.divide(n_selected * shares, sums, out=np.zeros(len(sums)), where=sums > 0)

    @staticmethod
    def _weights(found: Identified) -> Array:
        """Returns the sum of weights (k,) of each class on test, which is that of any variable with its flows."""
        some = next(iter(found.total.values()))
        return np.asarray(some.sumw.sum(axis=1))

    def beside(self, counts: Counts, edges: Array, sums: BinSums) -> Beside:
        """Returns counts (b + 2,) beside the expectation of the sums (k, b + 2) of test events."""
        expected = self._factors[:, None] * sums.sumw
        squares = np.maximum(sums.sumw2, 0.0)  # a difference of equal sums is rounded to less than nothing at times
        error = np.sqrt((self._factors[:, None] ** 2 * squares).sum(axis=0))
        return Beside(edges, counts.astype(np.float64), dict(zip(self._found.classes, expected, strict=True)), error)

    def model(self, name: str, counted: CountedModel, total: Mapping[str, Counts], n_selected: int) -> AppliedModel:
        """Returns a model on files; `total` holds the counts (b + 2,) of all selected rows by variable."""
        result = self._results.models[name]
        points = result.points
        accepted = self._found.accepted.get(name, {})
        return AppliedModel(
            name=name,
            kind=result.kind,
            score=self._score(result, counted.score),
            thresholds={p.name: p.threshold for p in result.working_points if p.flat is None},
            points=tuple(
                AppliedPoint(
                    name=point,
                    n=n,
                    share=efficiency(n, n_selected, n, n_selected).measured(),
                    expected=self._rate(points[point]),
                    rates=rates_of(points[point], self._results.signal),
                    accepted={
                        v: self.beside(c[i], self._found.edges[v], accepted[point].sums[v])
                        for v, c in counted.accepted.items()
                    },
                    rejected={
                        v: self.beside(
                            total[v] - c[i], self._found.edges[v], self._found.total[v] - accepted[point].sums[v]
                        )
                        for v, c in counted.accepted.items()
                    },
                )
                for i, (point, n) in enumerate(counted.n.items())
            ),
        )

    def _score(self, result: ModelResult, counts: Counts | None) -> Beside | None:
        by_class = result.response.get("test", {})
        if counts is None or not by_class:
            return None
        histograms = [by_class[c] for c in self._found.classes]
        sums = BinSums(np.array([h.sumw for h in histograms]), np.array([h.sumw2 for h in histograms]))
        return self.beside(counts, histograms[0].edges, sums)

    def _rate(self, point: WorkingPoint) -> Measured:
        """Returns the share that a point accepts of the mixture, with the interval of the rates on test."""
        rates = rates_of(point, self._results.signal)
        if any(np.isnan(rates[c].value) for c, share in self.mixture.items() if share):
            return UNDEFINED
        return mixture([(share, rates[c]) for c, share in self.mixture.items() if share])


def rates_of(point: WorkingPoint, signal: str) -> dict[str, Measured]:
    """Returns the share of each class that a working point accepts on test, the signal first."""
    return {signal: point.efficiency, **point.misid}


def cut_flow(names: Sequence[str], counts: Counts, results: Results) -> tuple[AppliedCut, ...]:
    """Returns the steps of the selection (all rows first) in files, with what the run had left of each class."""
    steps = {step.name: step.weighted for step in results.cutflow}
    first = results.cutflow[0].weighted if results.cutflow else {}
    return tuple(
        AppliedCut(
            name,
            int(n),
            {c: steps[name][c] / first[c] for c in results.classes if name in steps and first.get(c, 0.0) > 0},
        )
        for name, n in zip(("all", *names), counts, strict=True)
    )
