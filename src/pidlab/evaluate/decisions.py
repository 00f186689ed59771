"""Models without a score: one decision for each working point, each of which is measured like a fixed cut.

Their scores are (n, k + p): the first k columns are the scores of a model of k classes that makes the first decision,
and the other p columns hold the decisions, 1 or 0, of all p working points. So code that needs one decision only reads
the first k columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pidlab.config.names import HAND
from pidlab.config.schema import Evaluate
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.points.attained import misses_target
from pidlab.evaluate.ranking import signal_scores
from pidlab.evaluate.results import ModelResult, Training
from pidlab.sample import FloatArray, Sample

_OWN_BOX = "the box was chosen on the training sample, of whose signal it keeps {:.1f} %, and not on validation"


def with_decisions(decisions: FloatArray, n_classes: int, signal: int) -> FloatArray:
    """Returns scores (n, k + p) from the decisions (n, p), 1 or 0, of p working points."""
    first = signal_scores(decisions[:, 0], n_classes, signal, probability=True)
    return np.concatenate([first, decisions.astype(np.float32)], axis=1)


def evaluate_decisions(
    name: str,
    kind: str,
    scores: Mapping[str, FloatArray],
    samples: Mapping[str, Sample],
    options: Evaluate,
    points: Sequence[tuple[str, float]],
    *,
    training: Training | None = None,
    seed: int = 1,
) -> ModelResult:
    """Measures each of the working points (name, target) of scores (n, k + p), and merges the results into one.

    There is no curve and no AUC. Accuracy, confusion matrix, response and overtraining are those of the first point.

    Raises:
        DataError, UsageError: As `evaluate_model`.
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
    named = [replace(r.working_points[0], name=p, target=t) for r, (p, t) in zip(alone, points, strict=True)]
    return replace(
        alone[0],
        working_points=tuple(
            replace(p, reason=_OWN_BOX.format(100 * p.target)) if misses_target(p) else p for p in named
        ),
        maps=tuple(replace(m, working_point=p) for r, (p, _) in zip(alone, points, strict=True) for m in r.maps),
        note=f"{note} {alone[0].note}".strip(),
    )


def _column(scores: FloatArray, number: int, sample: Sample) -> FloatArray:
    """Returns the scores (n, k) of the decision at a working point, from scores (n, k + p)."""
    k = len(sample.classes)
    return signal_scores(scores[:, k + number], k, sample.signal, probability=True)


def one_by_one(
    result: ModelResult, test: FloatArray, threshold_sample: FloatArray | None, sample: Sample
) -> Iterator[tuple[ModelResult, FloatArray, FloatArray | None]]:
    """Yields the model with the signal's scores on both samples, or one model for each decision if it has no score.

    The scores are columns of those of the model, (n, k) or (n, k + p) on test and (m, k) or (m, k + p) on the other
    sample.
    """
    k = len(sample.classes)
    has_score = test.shape[1] <= k
    for i, point in enumerate([None] if has_score else result.working_points):
        column = sample.signal if point is None else k + i
        own = None if threshold_sample is None else threshold_sample[:, column]
        yield result if point is None else replace(result, working_points=(point,)), test[:, column], own


def pair_name(a: ModelResult, b: ModelResult) -> str:
    """Returns the name of the comparison of a fixed cut, a, with b: that of a named working point, or "hand"."""
    names = [m.working_points[0].name for m in (a, b) if m.fixed_cut]
    return next((name for name in names if name != HAND), HAND)
