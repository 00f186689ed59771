"""Fitted weights have an error of their own: replicas of them tell it to comparisons and to a regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluate_samples import both_features, gaussians, one_feature
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.points.working_points import choose
from pidlab.evaluate.ranking import auc_influence
from pidlab.evaluate.regression.compare import compare_predictions, train_against_test
from pidlab.evaluate.regression.metrics import residual_metrics
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.evaluate.regression.statistics import student_quantile
from pidlab.evaluate.results import Comparison, ModelResult, WorkingPoint
from pidlab.measured import UNDEFINED, Measured
from pidlab.sample import Sample, WeightReplicas, concatenate

Float = NDArray[np.float64]
N_REPLICAS = 12
TARGETS = (0.8, 0.9)


def fitted(sample: Sample, seed: int, size: float, *, signal: bool = False) -> Sample:
    """The sample with replicas whose weights go with its second feature: of pions, and the other way of the signal."""
    moved = size * np.random.default_rng(seed).normal(size=(N_REPLICAS, 1)) * sample.x[:, 1]
    factors = np.exp(np.where(sample.is_signal, -moved if signal else 0.0, moved))
    return replace(sample, weight_replicas=WeightReplicas(factors, np.arange(len(sample))))


def by_replicas(sample: Sample) -> list[Sample]:
    """The sample with the weights of each of its replicas, as if they were known."""
    assert sample.weight_replicas is not None
    return [replace(sample, weight=sample.weight * f, weight_replicas=None) for f in sample.weight_replicas]


def compared(test: Sample, validation: Sample) -> Comparison:
    models = {"a": one_feature, "b": both_features}
    on_test, on_validation = ({n: model(s) for n, model in models.items()} for s in (test, validation))
    results = {}
    for name, scores in on_validation.items():
        chosen = choose(np.ascontiguousarray(scores[:, 0]), validation, list(TARGETS), fixed_cut=False)
        points = tuple(WorkingPoint(*point, UNDEFINED, {}, {}, UNDEFINED) for point in chosen)
        results[name] = ModelResult(name, "any", False, {}, points, {}, {}, (), None, None)
    (found,) = compare_models(on_test, test, on_validation, validation, results)
    return found


def half(measured: Measured) -> float:
    return (measured.high - measured.low) / 2


@pytest.mark.parametrize("signal", [False, True], ids=["others", "signal_too"])
def test_a_comparison_holds_what_replicas_of_the_weights_would_have_said(*, signal: bool) -> None:
    """Thresholds and both misidentifications by each replica: the rest of the difference is what both models share."""
    rng = np.random.default_rng(1)
    test, validation = (fitted(gaussians(20_000, rng), 3, 0.1, signal=signal) for _ in range(2))
    known = compared(*(replace(s, weight_replicas=None) for s in (test, validation)))
    found = compared(test, validation)
    varied = [compared(*both) for both in zip(by_replicas(test), by_replicas(validation), strict=True)]
    numbers = [("auc", known.delta_auc, found.delta_auc, [each.delta_auc.value for each in varied])]
    for i, point in enumerate(known.working_points):
        own = [each.working_points[i].delta_misid.value for each in varied]
        numbers.append((point.name, point.delta_misid, found.working_points[i].delta_misid, own))
    for name, plain, whole, own in numbers:
        error = np.sqrt(np.mean((np.array(own) - plain.value) ** 2))
        assert whole.value == plain.value, name
        assert error > 0.5 * half(plain), name  # else the test would show nothing
        # To first order, with a slope of the ROC curve that is known to some per cent.
        assert half(whole) == pytest.approx(np.hypot(half(plain), error), rel=0.12), name


def test_what_replicas_change_in_both_models_alike_is_no_difference() -> None:
    rng = np.random.default_rng(2)
    test, validation = (fitted(gaussians(3000, rng), 3, 0.3) for _ in range(2))
    same = {n: one_feature(test) for n in "ab"}, {n: one_feature(validation) for n in "ab"}
    (chosen,) = choose(np.ascontiguousarray(same[1]["a"][:, 0]), validation, [0.9], fixed_cut=False)
    point = WorkingPoint(*chosen, UNDEFINED, {}, {}, UNDEFINED)
    results = {n: ModelResult(n, "any", False, {}, (point,), {}, {}, (), None, None) for n in "ab"}
    (found,) = compare_models(same[0], test, same[1], validation, results)
    assert found.delta_auc == Measured(0.0, 0.0, 0.0, found.delta_auc.n)
    assert half(found.working_points[0].delta_misid) == 0.0


def test_influences_tell_what_replicas_change_in_the_auc() -> None:
    sample = fitted(gaussians(20_000, np.random.default_rng(4)), 5, 0.1)
    assert sample.weight_replicas is not None
    score = np.ascontiguousarray(one_feature(sample)[:, 0])
    areas = [auc_influence(score, s.is_signal, s.weight) for s in (sample, *by_replicas(sample))]
    values = [area.value for area in areas if area is not None]
    assert areas[0] is not None
    changes = sample.weight_replicas.changes(areas[0].parts)
    np.testing.assert_allclose(changes, np.array(values[1:]) - values[0], rtol=0.2, atol=2e-4)


def test_samples_of_the_same_fits_keep_their_replicas_when_they_are_joined() -> None:
    sample = fitted(gaussians(300, np.random.default_rng(6)), 5, 0.1)
    assert sample.weight_replicas is not None
    turned = replace(
        sample.weight_replicas, directions=np.ones((1, 300), np.float32), steps=np.full((N_REPLICAS, 1), 0.5)
    )
    sample = replace(sample, weight_replicas=turned)
    joined = concatenate([sample.take(slice(0, 100)), sample.take(np.arange(100, 300))]).weight_replicas
    assert joined is not None
    np.testing.assert_array_equal(list(joined), list(turned))
    np.testing.assert_array_equal(next(iter(turned)), 1.5 * turned.factors[0])
    other = fitted(gaussians(300, np.random.default_rng(6)), 7, 0.1)
    assert concatenate([sample, other]).weight_replicas is None


def predicted(sample: Sample, shift: float) -> Predicted:
    value = (sample.x[:, 0] + shift * sample.x[:, 1]).astype(np.float32)
    sigma = np.full(len(sample), 1.1, np.float32)
    return Predicted.of(Prediction(value, sigma, {0.6: value - np.float32(0.2)}), Targets.of(sample))


def regression_sample(n: int, seed: int, size: float) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) * [1.0, 0.8]
    x[:, 0] *= np.exp(0.3 * x[:, 1])
    own = replace(gaussians(n, rng), x=x.astype(np.float32), y=np.zeros(n, np.int64), classes=("",))
    return fitted(replace(own, target=np.zeros(n)), seed + 1, size, signal=True)


def test_every_number_of_a_regression_holds_what_replicas_of_the_weights_would_have_said() -> None:
    sample = regression_sample(20_000, 8, 0.05)

    def numbers(own: Sample) -> dict[str, Measured]:
        found = residual_metrics(predicted(own, 0.4))
        pulls = found.pulls
        assert pulls is not None
        names = ("bias", "median", "rms", "sigma68", "mse", "mae", "r2")
        of_pulls = ("chi2", "mean", "width", "sigma68", "log_likelihood", "within_one", "within_two")
        return (
            {name: getattr(found, name) for name in names if name != "r2"}
            | {f"pulls {name}": getattr(pulls, name) for name in of_pulls}
            | {"quantile": found.quantiles[0].share, "effective": found.effective}
        )

    whole, plain = numbers(sample), numbers(replace(sample, weight_replicas=None))
    varied = [numbers(own) for own in by_replicas(sample)]
    n_wider = 0
    for name, known in plain.items():
        error = np.sqrt(np.mean([(each[name].value - known.value) ** 2 for each in varied]))
        if name not in ("within_one", "within_two", "quantile"):
            error *= student_quantile(N_REPLICAS)
        assert whole[name].value == known.value, name
        # The shortest interval and quantiles jump from event to event, which influences do not.
        assert half(whole[name]) == pytest.approx(np.hypot(half(known), error), rel=0.25), name
        n_wider += half(whole[name]) > 1.2 * half(known)
    assert n_wider > 8


def test_models_of_a_regression_are_told_apart_by_less_where_weights_were_fitted() -> None:
    sample = regression_sample(5000, 9, 0.3)
    known = replace(sample, weight_replicas=None)
    (whole,), (plain,) = (
        compare_predictions({"a": predicted(s, 0.4), "b": predicted(s, -0.4)}) for s in (sample, known)
    )
    varied = [compare_predictions({"a": predicted(s, 0.4), "b": predicted(s, -0.4)})[0] for s in by_replicas(sample)]
    for i, (one, other) in enumerate(zip(whole.quantities, plain.quantities, strict=True)):
        own = np.array([each.quantities[i].difference.value for each in varied]) - other.difference.value
        error = student_quantile(N_REPLICAS) * np.sqrt(np.mean(own**2))
        assert half(one.difference) == pytest.approx(np.hypot(half(other.difference), error), rel=0.3), one.name
        assert one.p > other.p, one.name


def test_train_and_test_share_the_error_of_the_weights() -> None:
    both = [regression_sample(4000, 10, 0.2) for _ in range(2)]
    apart = [replace(s, event=s.event + np.uint64(10**6) * np.uint64(i)) for i, s in enumerate(both)]
    known = [replace(s, weight_replicas=None) for s in apart]
    found, plain = (
        train_against_test(*(predicted(s, 0.4) for s in samples), (samples[0], samples[1]))
        for samples in (apart, known)
    )
    assert found is not None
    assert plain is not None
    assert found.deviation == pytest.approx(plain.deviation, rel=1e-9)  # both samples are the same
    assert found.p == pytest.approx(plain.p, nan_ok=True)
