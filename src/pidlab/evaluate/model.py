"""Everything measured of one model: from scores and samples to a ModelResult."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pidlab.config.schema import Evaluate
from pidlab.errors import DataError
from pidlab.evaluate.calibration import calibration_curve
from pidlab.evaluate.curves import pair_curves, response_edges, roc_curves
from pidlab.evaluate.histograms import histograms_by_class
from pidlab.evaluate.maps import efficiency_maps
from pidlab.evaluate.metrics import decide, decision_matrix, sample_metrics
from pidlab.evaluate.overtraining import overtraining
from pidlab.evaluate.points.attained import with_reasons
from pidlab.evaluate.points.flat_fit import flat_points
from pidlab.evaluate.points.merit import Merit, best_point, merit_scan
from pidlab.evaluate.points.optimal import named, optimal_points
from pidlab.evaluate.points.working_points import (
    HAND_THRESHOLD,
    at_threshold,
    check_abundance,
    choose,
    class_points,
    measure,
    not_set,
    signal_efficiency,
    unset_sentences,
    warnings_about,
)
from pidlab.evaluate.ranking import ScoredSample
from pidlab.evaluate.results import Flatness, ModelResult, Training, WorkingPoint
from pidlab.sample import FloatArray, Sample


def evaluate_model(
    name: str,
    kind: str,
    scores: Mapping[str, FloatArray],
    samples: Mapping[str, Sample],
    options: Evaluate,
    *,
    fixed_cut: bool = False,
    training: Training | None = None,
    cut_string: str = "",
    seed: int = 1,
    merit: Merit | None = None,
    fixed_points: Sequence[tuple[str, float]] = (),
    balanced: bool = True,
    abundances: Mapping[str, float] | None = None,
    calibration: str = "none",
    probability: bool = True,
    ranks_only: bool = False,
    notes: Sequence[str] = (),
) -> ModelResult:
    """Measures a model on "train", "test" and, if there is one, "validation".

    Thresholds are set on validation, or on train if there is no validation sample, which `note` then says. Working
    points, ROC curves and maps are measured on test, with bounds that cover the fluctuation of test at these
    thresholds; metrics and responses are given for each sample.

    Args:
        name: the model's name.
        kind: the `type` of the configuration.
        scores: sample to (n, k) scores; larger is more like that class. NaN never passes and counts in totals.
        samples: sample to its candidates.
        options: the section `evaluate` of the configuration.
        fixed_cut: the scores are the decisions 1 and 0 of a fixed cut, which has no curve and one point, "hand".
        training: duration and history of the training.
        cut_string: the decision as a ROOT cut string.
        seed: seed of permutations.
        merit: adds the working point at which this figure of merit is largest.
        fixed_points: adds working points of these names at these thresholds.
        balanced: the scores are probabilities for equal abundances of the classes.
        abundances: class to its abundance, in any unit, if the scores are probabilities for these.
        calibration: the method by which the scores were calibrated: none, temperature or isotonic.
        probability: scores lie in [0, 1] and are decided at `threshold`; otherwise they may take any value.
        ranks_only: the scores only rank, even if they lie in [0, 1], so that there is no calibration curve.
        notes: further notes for the reader, in sentences.

    Raises:
        DataError: A sample is missing, scores and candidates do not match, or there is no signal to set thresholds.
        UsageError: The abundances or maps name a class or spectator that does not exist.
    """
    _check(name, scores, samples)
    abundance = options.abundance or options.expected
    check_abundance(abundance, samples["test"].classes)
    scored = {
        s: ScoredSample.of(scores[s], samples[s])
        for s in ("train", "validation", "test")
        if s in samples and len(samples[s])
    }
    source = "validation" if "validation" in scored else "train"
    threshold_sample, test = scored[source], scored["test"]
    chosen = choose(threshold_sample.score, threshold_sample.sample, options.working_points, fixed_cut=fixed_cut)
    best = [] if merit is None else [best_point(threshold_sample.score, threshold_sample.sample, merit)]
    stated = [at_threshold(name, threshold, threshold_sample) for name, threshold in fixed_points]
    curves = {} if fixed_cut else roc_curves(test)
    optimal = optimal_points(threshold_sample, test, list(curves), abundance)
    points = tuple(
        measure(p, test, abundance) for p in [*chosen, *best, *named(optimal, options.optimal_points), *stated]
    )
    unset: dict[str, str] = {}
    warnings: list[str] = []
    flatness: list[Flatness] = []
    if not fixed_cut:
        unset = not_set(threshold_sample.score, threshold_sample.sample, options.working_points)
        warnings = warnings_about(points[: len(chosen)], threshold_sample, test.sample, source)
        followed, flatness = flat_points(chosen, threshold_sample, test, options)
        points = with_reasons((*points, *followed), threshold_sample, test.sample, source)
    threshold = HAND_THRESHOLD if fixed_cut else options.threshold
    if not probability and points:
        threshold = points[0].threshold
    edges = response_edges({s: part.score for s, part in scored.items()}, probability=probability)
    notes = [
        *notes,
        *_notes(probability, source, threshold_sample, test, points, options),
        *unset_sentences(unset),
        *warnings,
    ]
    decided = decide(scores["test"], test, threshold)
    result = ModelResult(
        name=name,
        kind=kind,
        fixed_cut=fixed_cut,
        samples={s: sample_metrics(scores[s], p, threshold, fixed_cut=fixed_cut) for s, p in scored.items()},
        working_points=points,
        response={s: histograms_by_class(part.score, part.sample, edges) for s, part in scored.items()},
        roc=curves,
        maps=efficiency_maps(test.score, points, test.sample, options.maps, options.thin),
        overtraining=overtraining(scored["train"], test, fixed_cut=fixed_cut, seed=seed),
        training=training,
        cut_string=cut_string,
        note=" ".join(notes),
        flatness=tuple(flatness),
        unset=unset,
        optimal_points=optimal,
        matrix=decision_matrix(decided, test.sample.weight, test.groups),
    )
    if fixed_cut:
        return result
    curve = None
    if probability and not ranks_only:
        curve = calibration_curve(test, balanced=balanced, method=calibration, abundances=abundances)
    return replace(
        result,
        calibration=curve,
        scan=merit_scan(threshold_sample, test, options),
        roc_pairs=pair_curves(scores["test"], test),
        class_points=class_points(
            (scores[source], threshold_sample.sample), (scores["test"], test), options.working_points, abundance
        ),
    )


def _check(name: str, scores: Mapping[str, FloatArray], samples: Mapping[str, Sample]) -> None:
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
    probability: bool,
    source: str,
    threshold_sample: ScoredSample,
    test: ScoredSample,
    points: Sequence[WorkingPoint],
    options: Evaluate,
) -> list[str]:
    """Returns what a reader has to know of the numbers, in sentences."""
    notes = []
    if source == "train":
        notes.append("Thresholds come from the training sample: there is no validation sample.")
    if not probability and points:
        notes.append(
            f"Accuracy and confusion matrix are at the threshold of {points[0].name}: the score is no probability."
        )
    for point in points:
        reached = signal_efficiency(threshold_sample.score, threshold_sample.sample, point.threshold)
        if point.flat is None and reached < point.target * (1 - 1e-9):
            notes.append(
                f"{point.name} is out of reach: the loosest threshold passes {100 * reached:.4g} % of the signal."
            )
        rates = {"efficiency": point.efficiency, **{f"misid of {c}": m for c, m in point.misid.items()}}
        notes += [
            f"{what} at {point.name} is {100 * rate.value:.4g} %, outside [0, 100], as weights of both signs can give."
            for what, rate in rates.items()
            if rate.value < 0 or rate.value > 1
        ]
    without = {
        name: int(np.isnan(test.sample.spectators[name]).sum())
        for name in dict.fromkeys(name for point in points if point.flat for name in point.flat.names)
    }
    notes += [
        f"{n} of {len(test.score)} test candidates have no {name}; they pass no flat working point and count in totals."
        for name, n in without.items()
        if n
    ]
    n_without = int(np.isnan(test.score).sum())
    if n_without:
        notes.append(
            f"{n_without} of {len(test.score)} test candidates have no score; they pass nothing and count in totals."
        )
    if options.abundance is None and options.expected is None:
        notes.append("Purity is for the abundances of the test sample.")
    return notes
