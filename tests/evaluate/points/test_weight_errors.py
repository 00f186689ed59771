"""The error of weights in intervals: what an evaluation with each replica of the weights would have found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from evaluate_samples import gaussians, hand_cuts, one_feature, sample_of
from pidlab.config.schema import Evaluate, Map
from pidlab.evaluate.curves import pair_score
from pidlab.evaluate.decisions import evaluate_decisions, with_decisions
from pidlab.evaluate.intervals import widened
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.points.weight_errors import with_weight_errors
from pidlab.evaluate.results import ModelResult, Roc, WorkingPoint
from pidlab.measured import Measured
from pidlab.sample import BoolArray, FloatArray, Sample, WeightReplicas

OPTIONS = Evaluate(working_points=[0.9, 0.6], maps=[Map(x="p", bins=[0, 1, 2, 4])])
ABUNDANT = Evaluate(working_points=[0.9, 0.6], abundance={"electron": 1, "pion": 20}, maps=OPTIONS.maps)
Measure = Callable[[dict[str, Sample]], ModelResult]


def two_classes(options: Evaluate) -> tuple[Measure, Callable[[Sample], FloatArray]]:
    def measure(samples: dict[str, Sample]) -> ModelResult:
        scores = {name: one_feature(each) for name, each in samples.items()}
        return evaluate_model("m", "fisher", scores, samples, options, seed=1)

    return measure, one_feature


def three_scores(sample: Sample) -> FloatArray:
    logits = np.column_stack([sample.x[:, 0], sample.x[:, 1], np.zeros(len(sample))])
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def three_classes() -> tuple[Measure, Callable[[Sample], FloatArray]]:
    def measure(samples: dict[str, Sample]) -> ModelResult:
        scores = {name: three_scores(each) for name, each in samples.items()}
        return evaluate_model("m", "mlp", scores, samples, OPTIONS, seed=1)

    return measure, three_scores


def boxes(sample: Sample) -> FloatArray:
    passed = np.column_stack([hand_cuts(sample)[:, 0], sample.x[:, 0] > 0.9])
    return with_decisions(passed, 2, 0)


def two_decisions() -> tuple[Measure, Callable[[Sample], FloatArray]]:
    def measure(samples: dict[str, Sample]) -> ModelResult:
        scores = {name: boxes(each) for name, each in samples.items()}
        return evaluate_decisions("m", "cuts", scores, samples, OPTIONS, [("eff90", 0.9), ("eff60", 0.6)], seed=1)

    return measure, boxes


def samples_of(n_classes: int) -> dict[str, Sample]:
    rng = np.random.default_rng(4)
    made = {}
    for name in ("train", "validation", "test"):
        own = gaussians(1200, rng, weight=rng.uniform(0.5, 1.5, 1200))
        if n_classes == 3:
            y = np.arange(1200) % 3
            own = sample_of(y, x=own.x, weight=own.weight, classes=("electron", "pion", "kaon"))
        made[name] = replace(own, spectators={"p": rng.uniform(-0.2, 4, 1200)})
    return made


def numbers(result: ModelResult) -> Iterator[tuple[str, Measured]]:
    def of_point(where: str, point: WorkingPoint) -> Iterator[tuple[str, Measured]]:
        yield f"{where} efficiency", point.efficiency
        yield f"{where} purity", point.purity
        yield from ((f"{where} misid {name}", rate) for name, rate in point.misid.items())

    for point in result.working_points:
        yield from of_point(point.name, point)
    for name, points in result.class_points.items():
        for point in points:
            yield from of_point(f"{name} {point.name}", point)
    for each in result.maps:
        for b in range(len(each.value)):
            where = f"{each.working_point} {each.particle} {each.names} {b}"
            yield where, Measured(each.value[b], each.low[b], each.high[b], each.n[b])
    for against, points in result.optimal_points.items():
        for point in points:
            yield from of_point(f"{against} {point.name}", point)
    if not result.fixed_cut:
        yield "auc", result.auc
    yield "accuracy", result.samples["test"].accuracy
    yield "balanced accuracy", result.samples["test"].balanced_accuracy
    matrix = result.matrix
    assert matrix is not None
    for i, j in np.ndindex(matrix.rate.shape):
        yield f"decided {i} {j}", Measured(matrix.rate[i, j], matrix.low[i, j], matrix.high[i, j], matrix.n[i])


def curves(result: ModelResult) -> dict[str, Roc]:
    pairs = {f"{a} {b}": roc for a, of_class in result.roc_pairs.items() for b, roc in of_class.items()}
    return {**result.roc, **pairs}


@pytest.mark.parametrize(
    ("made", "n_classes", "abundance"),
    [
        (two_classes(OPTIONS), 2, None),
        (two_classes(ABUNDANT), 2, {"electron": 1.0, "pion": 20.0}),
        (three_classes(), 3, None),
        (two_decisions(), 2, None),
    ],
    ids=["two", "abundance", "three", "decisions"],
)
def test_each_interval_holds_the_spread_of_what_replicas_of_the_weights_would_give(
    made: tuple[Measure, Callable[[Sample], FloatArray]], n_classes: int, abundance: dict[str, float] | None
) -> None:
    measure, scores = made
    samples = samples_of(n_classes)
    test = samples["test"]
    rng = np.random.default_rng(5)
    # Classes but the signal have other weights in each replica, more so where x is large.
    factors = [
        np.where(test.y == test.signal, 1.0, np.exp(0.2 * rng.normal() * test.x[:, 0])).astype(np.float32)
        for _ in range(6)
    ]
    plain = dict(numbers(measure(samples)))
    fitted = replace(test, weight_replicas=WeightReplicas(np.array(factors), np.arange(len(test))))
    with_errors = with_weight_errors(measure(samples), scores(test), fitted, abundance)
    found = dict(numbers(with_errors))
    replicas = [
        dict(numbers(measure(samples | {"test": replace(test, weight=test.weight * factor)}))) for factor in factors
    ]
    assert found.keys() == plain.keys()
    n_wider = 0
    for name, (value, low, high, n) in plain.items():
        error = np.sqrt(np.mean([(each[name].value - value) ** 2 for each in replicas]))
        assert found[name].value == value
        assert found[name].n == n
        np.testing.assert_allclose(found[name].low, max(value - np.hypot(value - low, error), 0.0), rtol=1e-6)
        np.testing.assert_allclose(found[name].high, min(value + np.hypot(high - value, error), 1.0), rtol=1e-6)
        n_wider += found[name].high - found[name].low > 1.05 * (high - low)
    assert n_wider > len(plain) / 10
    for point in with_errors.working_points:
        for name, rate in point.misid.items():
            assert point.rejection[name].low == pytest.approx(1 / rate.high)


def test_without_replicas_nothing_changes() -> None:
    measure, scores = two_classes(OPTIONS)
    samples = samples_of(2)
    result = measure(samples)
    assert with_weight_errors(result, scores(samples["test"]), samples["test"], None) is result


@pytest.mark.parametrize(("made", "n_classes"), [(two_classes(OPTIONS), 2), (three_classes(), 3)], ids=["two", "three"])
def test_roc_curves_hold_the_spread_of_what_replicas_of_the_weights_would_give(
    made: tuple[Measure, Callable[[Sample], FloatArray]], n_classes: int
) -> None:
    measure, scores = made
    samples = samples_of(n_classes)
    test = samples["test"]
    rng = np.random.default_rng(6)
    factors = np.array([np.exp(0.2 * rng.normal() * test.x[:, 0] * (test.y != test.signal)) for _ in range(6)])
    fitted = replace(test, weight_replicas=WeightReplicas(factors, np.arange(len(test))))
    plain = curves(measure(samples))
    found = curves(with_weight_errors(measure(samples), scores(test), fitted, None))
    replicas = [curves(measure(samples | {"test": replace(test, weight=test.weight * f)})) for f in factors]
    assert found.keys() == plain.keys()
    for name, roc in plain.items():
        score, is_signal, held = scores_of(name, scores(test), test)
        passes = (score > roc.threshold[:, None]) & held
        for what, members in (("efficiency", is_signal), ("misid", held & ~is_signal)):
            value, low, high = (getattr(roc, f"{what}{bound}") for bound in ("", "_low", "_high"))
            weights = test.weight * factors * members
            varied = (weights @ passes.T) / weights.sum(axis=1, keepdims=True)
            error = np.sqrt(np.mean((varied - value) ** 2, axis=0))
            lower, upper = getattr(found[name], f"{what}_low"), getattr(found[name], f"{what}_high")
            np.testing.assert_allclose(
                lower, np.maximum(value - np.hypot(value - low, error), 0), rtol=1e-6, atol=1e-12
            )
            np.testing.assert_allclose(upper, np.minimum(value + np.hypot(high - value, error), 1), rtol=1e-6)
        area, own = found[name].auc, roc.auc
        error = np.sqrt(np.mean([(each[name].auc.value - own.value) ** 2 for each in replicas]))
        np.testing.assert_allclose(area.low, max(own.value - np.hypot(own.value - own.low, error), 0.0), rtol=1e-6)
    assert np.mean(found["pion"].misid_high - plain["pion"].misid_high) > 0.003


def scores_of(curve: str, scores: FloatArray, test: Sample) -> tuple[FloatArray, BoolArray, BoolArray]:
    """The score of a curve, its signal, and the candidates that it is of."""
    one, *other = curve.split()
    if not other:
        held = test.is_signal | (np.array(test.classes)[test.y] == one) | (one == "rest")
        return scores[:, test.signal], test.is_signal, held
    pair = test.classes.index(one), test.classes.index(other[0])
    return pair_score(scores, *pair), test.y == pair[0], np.isin(test.y, pair)


def test_a_rate_stays_within_0_and_1_unless_weights_of_both_signs_took_it_beyond() -> None:
    assert widened(Measured(0.9, 0.7, 0.97, 10.0), 0.5) == Measured(0.9, pytest.approx(0.3615, abs=1e-4), 1.0, 10.0)
    assert widened(Measured(1.1, 0.9, 1.2, 10.0), 0.5).high == 1.2
    assert widened(Measured(0.5, 0.4, 0.6, 10.0), 0.0) == Measured(0.5, 0.4, 0.6, 10.0)
    assert np.isnan(widened(Measured(np.nan, np.nan, np.nan, 0.0), 0.5).value)
