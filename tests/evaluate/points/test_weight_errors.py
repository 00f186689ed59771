"""The error of weights in intervals: what an evaluation with each replica of the weights would have found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from evaluate_samples import gaussians, hand_cuts, one_feature, sample_of
from pidlab.config.schema import Evaluate, Map
from pidlab.evaluate import evaluate_decisions, evaluate_model
from pidlab.evaluate.decisions import with_decisions
from pidlab.evaluate.points.weight_errors import widened, with_weight_errors
from pidlab.evaluate.results import ModelResult, WorkingPoint
from pidlab.measured import Measured
from pidlab.sample import FloatArray, Sample

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
    if not result.fixed_cut:
        yield "auc", result.auc


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
    with_errors = with_weight_errors(measure(samples), scores(test), test, factors, abundance)
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
    assert with_weight_errors(result, scores(samples["test"]), samples["test"], [], None) is result


def test_a_rate_stays_within_0_and_1_unless_weights_of_both_signs_took_it_beyond() -> None:
    assert widened(Measured(0.9, 0.7, 0.97, 10.0), 0.5) == Measured(0.9, pytest.approx(0.3615, abs=1e-4), 1.0, 10.0)
    assert widened(Measured(1.1, 0.9, 1.2, 10.0), 0.5).high == 1.2
    assert widened(Measured(0.5, 0.4, 0.6, 10.0), 0.0) == Measured(0.5, 0.4, 0.6, 10.0)
    assert np.isnan(widened(Measured(np.nan, np.nan, np.nan, 0.0), 0.5).value)
