"""Everything measured of one model: from scores and samples to a ModelResult."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Evaluate
from pidlab.errors import DataError
from pidlab.evaluate.curves import response, response_edges, roc_curves
from pidlab.evaluate.maps import efficiency_maps
from pidlab.evaluate.metrics import sample_metrics
from pidlab.evaluate.overtraining import overtraining
from pidlab.evaluate.ranking import Score, event_groups, signal_score
from pidlab.evaluate.results import ModelResult, Training, WorkingPoint
from pidlab.evaluate.working_points import HAND_THRESHOLD, check_abundance, choose, measure, signal_efficiency
from pidlab.sample import IntArray, Sample

Scores = NDArray[np.floating[Any]]


class _Scored(NamedTuple):
    """A sample with its scores (n, k), the signal's score (n,), and the events of its candidates."""

    scores: Scores
    score: Score
    sample: Sample
    groups: IntArray | None


def evaluate_model(
    name: str,
    kind: str,
    scores: Mapping[str, Scores],
    samples: Mapping[str, Sample],
    options: Evaluate,
    *,
    single_point: bool = False,
    training: Training | None = None,
    cut_string: str = "",
    seed: int = 1,
) -> ModelResult:
    """Measure a model on "train", "test" and, where there is one, "validation".

    Thresholds come from validation (from train without it, and `note` says so), everything else is quoted sample by
    sample; working points, ROC curves and maps are those of test, with bounds for the fluctuation of test at the
    thresholds as they are.

    Args:
        name: the model's name.
        kind: the `type` of the configuration; a "score" may take any real value, all others give probabilities.
        scores: sample to (n, k) scores, larger is more like that class; NaN never passes and counts in totals.
        samples: sample to the candidates behind the scores.
        options: what is asked.
        single_point: somebody's cuts: 1 or 0, without a curve, with the one working point "hand".
        training: what training took.
        cut_string: the decision as a ROOT cut string.
        seed: of permutations.

    Raises:
        DataError: a sample is missing, or scores and candidates do not match, or no signal decides thresholds.
        UsageError: the abundances or maps name what is not there.
    """
    _check(name, scores, samples)
    check_abundance(options.abundance, samples["test"].classes)
    scored = {
        s: _scored(scores[s], samples[s]) for s in ("train", "validation", "test") if s in samples and len(samples[s])
    }
    source = "validation" if "validation" in scored else "train"
    deciding, test = scored[source], scored["test"]
    chosen = choose(deciding.score, deciding.sample, options.working_points, single_point=single_point)
    points = tuple(measure(p, test.score, test.sample, test.groups, options.abundance) for p in chosen)
    threshold = HAND_THRESHOLD if single_point else options.threshold
    if kind == "score" and points:
        threshold = points[0].threshold
    edges = response_edges({s: part.score for s, part in scored.items()}, probability=kind != "score")
    return ModelResult(
        name=name,
        kind=kind,
        single_point=single_point,
        samples={
            s: sample_metrics(p.scores, p.sample, p.groups, threshold, single_point=single_point)
            for s, p in scored.items()
        },
        working_points=points,
        response={s: response(part.score, part.sample, edges) for s, part in scored.items()},
        roc={} if single_point else roc_curves(test.score, test.sample, test.groups),
        maps=efficiency_maps(test.score, points, test.sample, options.maps),
        overtraining=overtraining(scored["train"][1:], test[1:], single_point=single_point, seed=seed),
        training=training,
        cut_string=cut_string,
        note=" ".join(_notes(kind, source, deciding, test, points, options)),
    )


def _scored(scores: Scores, sample: Sample) -> _Scored:
    return _Scored(scores, signal_score(scores, sample), sample, event_groups(sample))


def _check(name: str, scores: Mapping[str, Scores], samples: Mapping[str, Sample]) -> None:
    for sample in ("train", "test"):
        if sample not in samples or not len(samples[sample]):
            raise DataError(
                f"{name} cannot be evaluated: the {sample} sample is empty; look at the cut flow and at `split`"
            )
    for sample, candidates in samples.items():
        expected = (len(candidates), len(candidates.classes))
        if len(candidates) and (sample not in scores or scores[sample].shape != expected):
            found = scores[sample].shape if sample in scores else "none"
            raise DataError(f"{name}: the scores of the {sample} sample should have shape {expected}, found {found}")


def _notes(
    kind: str, source: str, deciding: _Scored, test: _Scored, points: Sequence[WorkingPoint], options: Evaluate
) -> list[str]:
    """What a reader must know, in sentences."""
    notes = []
    if source == "train":
        notes.append("Thresholds come from the training sample: there is no validation sample.")
    if kind == "score" and points:
        notes.append(
            f"Accuracy and confusion matrix are at the threshold of {points[0].name}: the score is no probability."
        )
    for point in points:
        reached = signal_efficiency(deciding.score, deciding.sample, point.threshold)
        if reached < point.target * (1 - 1e-9):
            notes.append(f"{point.name} is out of reach: the loosest threshold passes {reached:.4g} of the signal.")
        rates = {"efficiency": point.efficiency, **{f"misid of {c}": m for c, m in point.misid.items()}}
        notes += [
            f"{what} at {point.name} is {rate.value:.4g}, outside [0, 1], as weights of both signs can give."
            for what, rate in rates.items()
            if rate.value < 0 or rate.value > 1
        ]
    without = int(np.isnan(test.score).sum())
    if without:
        notes.append(
            f"{without} of {len(test.score)} test candidates have no score; they pass nothing and count in totals."
        )
    if options.abundance is None:
        notes.append("Purity is for the abundances of the test sample.")
    return notes
