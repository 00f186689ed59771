"""Models without a score: a decision at each working point, each measured as somebody's cuts are.

Their scores are (n, k + p): p columns of 1 and 0, one a working point, behind k that repeat the first of them as a
model of k classes would have it. So whatever looks at one decision only need not know of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import HAND
from pidlab.config.schema import Evaluate
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.ranking import signal_scores
from pidlab.evaluate.results.run import EfficiencyMap, ModelResult, Training, WorkingPoint
from pidlab.sample import Sample

Scores = NDArray[np.floating[Any]]


def with_decisions(decisions: Scores, n_classes: int, signal: int) -> Scores:
    """(n, k + p) scores from the decisions (n, p), 1 or 0, of p working points."""
    first = signal_scores(decisions[:, 0], n_classes, signal, probability=True)
    return np.concatenate([first, decisions.astype(np.float32)], axis=1)


def evaluate_decisions(
    name: str,
    kind: str,
    scores: Mapping[str, Scores],
    samples: Mapping[str, Sample],
    options: Evaluate,
    points: Sequence[tuple[str, float]],
    *,
    training: Training | None = None,
    seed: int = 1,
) -> ModelResult:
    """Measure each of the working points (name, target) of (n, k + p) scores, and put the results together.

    There is no curve and no AUC; accuracy, confusion matrix, response and overtraining are those of the first point.

    Raises:
        DataError, UsageError: as `evaluate_model` does.
    """
    alone = [
        evaluate_model(
            name,
            kind,
            {part: _column(values, i, samples[part]) for part, values in scores.items()},
            samples,
            options,
            fixed_cut=True,
            training=training,
            seed=seed,
        )
        for i in range(len(points))
    ]
    note = (
        f"Each working point has a box of its own, which kept that share of the training signal; accuracy, confusion "
        f"matrix and the comparison with train are at {points[0][0]}."
    )
    return replace(
        alone[0],
        working_points=tuple(_named(r.working_points[0], *p) for r, p in zip(alone, points, strict=True)),
        maps=tuple(_of_point(m, p) for r, (p, _) in zip(alone, points, strict=True) for m in r.maps),
        note=f"{note} {alone[0].note}".strip(),
    )


def _column(scores: Scores, number: int, sample: Sample) -> Scores:
    k = len(sample.classes)
    return signal_scores(scores[:, k + number], k, sample.signal, probability=True)


def _named(point: WorkingPoint, name: str, target: float) -> WorkingPoint:
    return replace(point, name=name, target=target)


def _of_point(found: EfficiencyMap, point: str) -> EfficiencyMap:
    return replace(found, working_point=point)


def one_by_one(
    result: ModelResult, test: Scores, deciding: Scores | None, sample: Sample
) -> Iterator[tuple[ModelResult, Scores, Scores | None]]:
    """The model with its scores as it is, or, for one without a score, a single point for each of its decisions."""
    if test.shape[1] <= len(sample.classes):
        yield result, test, deciding
        return
    for i, point in enumerate(result.working_points):
        own = None if deciding is None else _column(deciding, i, sample)
        yield replace(result, working_points=(point,)), _column(test, i, sample), own


def pair_name(a: ModelResult, b: ModelResult) -> str:
    """What the comparison of somebody's cuts, a, with b is called: the working point, where one of them has a name."""
    names = [m.working_points[0].name for m in (a, b) if m.fixed_cut]
    return next((name for name in names if name != HAND), HAND)
