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
from pidlab.evaluate.points.flat_fit import flat_points
from pidlab.evaluate.points.merit import Merit, best_point
from pidlab.evaluate.points.working_points import (
    HAND_THRESHOLD,
    check_abundance,
    choose,
    measure,
    not_set,
    signal_efficiency,
    warnings_about,
)
from pidlab.evaluate.quality import with_quality
from pidlab.evaluate.ranking import Score, event_groups, signal_score
from pidlab.evaluate.results.run import Flatness, ModelResult, Training, WorkingPoint
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
    fixed_cut: bool = False,
    training: Training | None = None,
    cut_string: str = "",
    seed: int = 1,
    merit: Merit | None = None,
    balanced: bool = True,
    calibration: str = "none",
    probability: bool = True,
    ranks_only: bool = False,
    notes: Sequence[str] = (),
) -> ModelResult:
    """Measure a model on "train", "test" and, where there is one, "validation".

    Thresholds come from validation (from train without it, and `note` says so), everything else is quoted sample by
    sample; working points, ROC curves and maps are those of test, with bounds for the fluctuation of test at the
    thresholds as they are.

    Args:
        name: the model's name.
        kind: the `type` of the configuration.
        scores: sample to (n, k) scores, larger is more like that class; NaN never passes and counts in totals.
        samples: sample to the candidates behind the scores.
        options: what is asked.
        fixed_cut: somebody's cuts: 1 or 0, without a curve, with the one working point "hand".
        training: what training took.
        cut_string: the decision as a ROOT cut string.
        seed: of permutations.
        merit: adds the working point that it is largest at.
        balanced: the scores are probabilities for equal abundances of the classes.
        calibration: what the scores went through: none, temperature or isotonic.
        probability: scores lie in [0, 1] and are decided at `threshold`; otherwise they may take any value.
        ranks_only: the scores only rank, even if they lie in [0, 1], so that there is no calibration curve.
        notes: what else a reader must know, in sentences.

    Raises:
        DataError: a sample is missing, or scores and candidates do not match, or no signal decides thresholds.
        UsageError: the abundances or maps name what is not there.
    """
    _check(name, scores, samples)
    check_abundance(options.abundance or options.expected, samples["test"].classes)
    scored = {
        s: _scored(scores[s], samples[s]) for s in ("train", "validation", "test") if s in samples and len(samples[s])
    }
    source = "validation" if "validation" in scored else "train"
    deciding, test = scored[source], scored["test"]
    chosen = choose(deciding.score, deciding.sample, options.working_points, fixed_cut=fixed_cut)
    unset = {} if fixed_cut else not_set(deciding.score, deciding.sample, options.working_points)
    asked = list(chosen)
    chosen += [best_point(deciding.score, deciding.sample, merit)] if merit is not None else []
    abundance = options.abundance or options.expected
    points = tuple(measure(p, test.score, test.sample, test.groups, abundance) for p in chosen)
    followed: tuple[list[WorkingPoint], list[Flatness]] = ([], [])
    if not fixed_cut:
        followed = flat_points(asked, (deciding.score, deciding.sample), test[1:], options)
    points += tuple(followed[0])
    named = [] if fixed_cut else points[: len(asked)]
    doubts = warnings_about(named, deciding[1:3], test.sample, source)
    threshold = HAND_THRESHOLD if fixed_cut else options.threshold
    if not probability and points:
        threshold = points[0].threshold
    edges = response_edges({s: part.score for s, part in scored.items()}, probability=probability)
    result = ModelResult(
        name=name,
        kind=kind,
        fixed_cut=fixed_cut,
        samples={
            s: sample_metrics(p.scores, p.sample, p.groups, threshold, fixed_cut=fixed_cut) for s, p in scored.items()
        },
        working_points=points,
        response={s: response(part.score, part.sample, edges) for s, part in scored.items()},
        roc={} if fixed_cut else roc_curves(test.score, test.sample, test.groups),
        maps=efficiency_maps(test.score, points, test.sample, options.maps, options.thin),
        overtraining=overtraining(scored["train"][1:], test[1:], fixed_cut=fixed_cut, seed=seed),
        training=training,
        cut_string=cut_string,
        note=" ".join(
            [*notes, *_notes(probability, source, deciding, test, points, options), *unset.values(), *doubts]
        ),
        flatness=tuple(followed[1]),
        unset=unset,
    )
    how: dict[str, Any] = {"threshold": threshold, "balanced": balanced, "calibration": calibration}
    return with_quality(result, deciding, test, options, ranks_only=ranks_only or not probability, **how)


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
    probability: bool, source: str, deciding: _Scored, test: _Scored, points: Sequence[WorkingPoint], options: Evaluate
) -> list[str]:
    """What a reader must know, in sentences."""
    notes = []
    if source == "train":
        notes.append("Thresholds come from the training sample: there is no validation sample.")
    if not probability and points:
        notes.append(
            f"Accuracy and confusion matrix are at the threshold of {points[0].name}: the score is no probability."
        )
    for point in points:
        reached = signal_efficiency(deciding.score, deciding.sample, point.threshold)
        if point.flat is None and reached < point.target * (1 - 1e-9):
            notes.append(f"{point.name} is out of reach: the loosest threshold passes {reached:.4g} of the signal.")
        rates = {"efficiency": point.efficiency, **{f"misid of {c}": m for c, m in point.misid.items()}}
        notes += [
            f"{what} at {point.name} is {rate.value:.4g}, outside [0, 1], as weights of both signs can give."
            for what, rate in rates.items()
            if rate.value < 0 or rate.value > 1
        ]
    notes += _missing_spectators(points, test)
    without = int(np.isnan(test.score).sum())
    if without:
        notes.append(
            f"{without} of {len(test.score)} test candidates have no score; they pass nothing and count in totals."
        )
    if options.abundance is None and options.expected is None:
        notes.append("Purity is for the abundances of the test sample.")
    return notes


def _missing_spectators(points: Sequence[WorkingPoint], test: _Scored) -> list[str]:
    """One sentence for each spectator that a flat point follows and candidates lack."""
    followed = dict.fromkeys(name for point in points if point.flat for name in point.flat.names)
    missing = {name: int(np.isnan(test.sample.spectators[name]).sum()) for name in followed}
    return [
        f"{n} of {len(test.score)} test candidates have no {name}; they pass no flat working point and count in totals."
        for name, n in missing.items()
        if n
    ]
