"""What a result is completed with: calibration, figures of merit, and the answers for several classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Evaluate
from pidlab.evaluate.calibration import calibration_curve
from pidlab.evaluate.classes import class_points, decision_matrix, pair_curves
from pidlab.evaluate.metrics import decide
from pidlab.evaluate.points.scan import merit_scan
from pidlab.evaluate.ranking import Score
from pidlab.evaluate.results.run import ModelResult
from pidlab.sample import IntArray, Sample

Scored = tuple[NDArray[np.floating[Any]], Score, Sample, IntArray | None]
"""Scores (n, k), the signal's score (n,), the candidates, and the events of those that share them."""


def with_quality(
    result: ModelResult,
    deciding: Scored,
    test: Scored,
    options: Evaluate,
    *,
    threshold: float,
    balanced: bool,
    calibration: str,
    ranks_only: bool = False,
) -> ModelResult:
    """`result` with what the signal's probability is worth, figures of merit, pairs, class points and the matrix.

    Thresholds come from `deciding`; `threshold` is where the matrix is taken, `balanced` and `calibration` are as in
    `results_quality.Calibration`; if `ranks_only`, the scores are no
    probabilities and there is no calibration curve.
    """
    scores, score, sample, groups = test
    result = replace(result, matrix=decision_matrix(decide(scores, sample, threshold), sample.weight, groups))
    if result.fixed_cut:
        return result
    curve = None
    if not ranks_only:
        curve = calibration_curve(score, sample, groups, balanced=balanced, method=calibration)
    abundance = options.abundance or options.expected
    return replace(
        result,
        calibration=curve,
        scan=merit_scan(deciding[1:], test[1:], options),
        roc_pairs=pair_curves(scores, sample, groups),
        class_points=class_points(
            (deciding[0], deciding[2]), (scores, sample, groups), options.working_points, abundance
        ),
    )
