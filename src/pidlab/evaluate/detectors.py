"""Detectors: a likelihood with all of them, with each alone and with each left out, compared on the same candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pidlab.evaluate.compare import find_differences
from pidlab.evaluate.points.working_points import choose, measure
from pidlab.evaluate.ranking import ScoredSample, auc, signal_score
from pidlab.evaluate.results import DetectorRow, DetectorTable, ModelResult
from pidlab.measured import Measured
from pidlab.sample import FloatArray, Sample

_ALL = "all"


def combinations_of(detectors: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns name to detectors of each row of the table: all, each alone, and each left out.

    Of two detectors, leaving one out is the other alone; a single one has no other row.
    """
    found = {_ALL: tuple(detectors)}
    if len(detectors) < 2:
        return found
    found |= {f"only {name}": (name,) for name in detectors}
    if len(detectors) > 2:
        found |= {f"without {name}": tuple(d for d in detectors if d != name) for name in detectors}
    return found


def compare_detectors(
    detectors: Sequence[str],
    scores: Callable[[tuple[str, ...]], tuple[FloatArray, FloatArray]],
    test: Sample,
    threshold_sample: Sample,
    target: float,
) -> DetectorTable | None:
    """Returns what each detector contributes; None if no threshold can be set.

    Args:
        detectors: their names.
        scores: from some of them to the scores (n, k) of test and (m, k) of the threshold sample.
        test: the n candidates that are measured.
        threshold_sample: the m candidates that set each row's own threshold.
        target: the signal efficiency of the working point.
    """
    measured: dict[str, tuple[FloatArray, FloatArray]] = {}
    results: dict[str, ModelResult] = {}
    rows: list[DetectorRow] = []
    for name, used in combinations_of(detectors).items():
        on_test, on_threshold = measured[name] = scores(used)
        chosen = choose(signal_score(on_threshold, threshold_sample), threshold_sample, [target], fixed_cut=False)
        if not chosen:
            if name == _ALL:
                return None
            continue
        scored = ScoredSample.of(on_test, test)
        point = measure(chosen[0], scored, None)
        results[name] = ModelResult(
            name=name,
            kind="likelihood",
            fixed_cut=False,
            samples={},
            working_points=(point,),
            response={},
            roc={},
            maps=(),
            overtraining=None,
            training=None,
        )
        area = auc(scored.score, test.is_signal, test.weight, scored.groups)
        if name == _ALL:
            delta_auc, delta_misid = _nothing(area), {c: _nothing(rate) for c, rate in point.misid.items()}
        else:
            delta_auc, delta_misid = _differences(measured, results, name, test, threshold_sample)
        rows.append(DetectorRow(name, used, area, point.efficiency, point.misid, delta_auc, delta_misid))
        if name != _ALL:
            del measured[name]
    return DetectorTable(results[_ALL].working_points[0].name, tuple(rows))


def _nothing(measured: Measured) -> Measured:
    """Returns the difference of a number to itself."""
    return Measured(0.0, 0.0, 0.0, measured.n)


def _differences(
    scores: dict[str, tuple[FloatArray, FloatArray]],
    results: dict[str, ModelResult],
    name: str,
    test: Sample,
    threshold_sample: Sample,
) -> tuple[Measured, dict[str, Measured]]:
    """Returns AUC and misidentification by class of a row minus those of all detectors."""
    pair = (_ALL, name)
    on_test, on_threshold = ({each: scores[each][i] for each in pair} for i in (0, 1))
    (found,) = find_differences(on_test, test, on_threshold, threshold_sample, {each: results[each] for each in pair})
    return found.delta_auc, {finding.particle: finding.delta_misid for finding in found.findings}
