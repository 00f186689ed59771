"""The metrics of residuals are those of numpy, scipy and scikit-learn, and do not depend on how events are written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from pidlab.errors import DataError
from pidlab.evaluate.regression.compare import compare_predictions, overtrainings, train_against_test
from pidlab.evaluate.regression.metrics import residual_metrics
from pidlab.evaluate.regression.order import Ordered
from pidlab.evaluate.regression.predictions import Predicted, Targets
from pidlab.evaluate.results.regression import ResidualMetrics
from regression_samples import prediction, sample_of, toy, toy_predictions

_SINGLE = 1e-6  # residuals and pulls are kept in single precision


def _measure(target, value, sigma=None, quantiles=None, *, weight=None, event=None) -> ResidualMetrics:
    targets = Targets.of(sample_of(target, weight=weight, event=event))
    return residual_metrics(Predicted.of(prediction(value, sigma, quantiles), targets))


def test_the_metrics_are_those_of_scikit_learn_and_scipy() -> None:
    rng = np.random.default_rng(1)
    target, weight = rng.normal(2, 1, 5000), rng.exponential(size=5000)
    value, sigma = (target + 0.3 * rng.normal(size=5000)).astype(np.float32), rng.uniform(0.2, 0.4, 5000)
    found = _measure(target, value, sigma, {0.2: value - 0.25}, weight=weight)
    keywords = {"y_true": target, "y_pred": value, "sample_weight": weight}
    assert found.mse.value == pytest.approx(sklearn_metrics.mean_squared_error(**keywords), rel=_SINGLE)
    assert found.rms.value == pytest.approx(sklearn_metrics.root_mean_squared_error(**keywords), rel=_SINGLE)
    assert found.mae.value == pytest.approx(sklearn_metrics.mean_absolute_error(**keywords), rel=_SINGLE)
    assert found.r2.value == pytest.approx(sklearn_metrics.r2_score(**keywords), rel=_SINGLE)
    assert found.bias.value == pytest.approx(np.average(value - target, weights=weight), rel=1e-5)
    assert found.pulls is not None
    pull = (value - target) / sigma
    centre = np.average(pull, weights=weight)
    assert found.pulls.chi2.value == pytest.approx(np.average(pull**2, weights=weight), rel=_SINGLE)
    assert found.pulls.mean.value == pytest.approx(centre, rel=1e-5)
    width = np.sqrt(np.average((pull - centre) ** 2, weights=weight))
    assert found.pulls.width.value == pytest.approx(width, rel=_SINGLE)
    density = np.average(stats.norm.logpdf(target, value, sigma), weights=weight)
    assert found.pulls.log_likelihood.value == pytest.approx(density, rel=_SINGLE)
    assert found.pulls.within_two.value == pytest.approx(np.average(np.abs(pull) <= 2, weights=weight), rel=1e-9)
    (quantile,) = found.quantiles
    assert quantile.share.value == pytest.approx(np.average(target <= value - 0.25, weights=weight), rel=1e-9)
    assert found.bias.n == pytest.approx(weight.sum() ** 2 / np.sum(weight**2), rel=1e-9)


def test_the_interval_of_the_bias_is_the_standard_error_of_the_mean() -> None:
    residual = np.random.default_rng(2).normal(size=4000)
    found = _measure(np.zeros(4000), residual).bias
    student = stats.t(3999).ppf(stats.norm.cdf(1))
    assert found.high - found.value == pytest.approx(student * stats.sem(residual), rel=1e-5)


def test_the_interval_of_the_median_of_a_gaussian_is_the_textbook_one() -> None:
    residual = np.random.default_rng(3).normal(size=200_000)
    found = _measure(np.zeros(len(residual)), residual).median
    expected = np.sqrt(np.pi / 2 / len(residual))
    # The density at the median is estimated to some per cent.
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.05)


@given(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=60, unique=True), st.floats(0.02, 0.98))
def test_quantiles_without_weights_are_those_of_numpy(values: list[float], p: float) -> None:
    x = np.asarray(values, np.float32)
    ordered = Ordered.of(x, np.ones(len(x)), float(len(x)))
    assert float(ordered.quantile(p)) == pytest.approx(
        np.quantile(x.astype(float), p, method="hazen"), rel=1e-6, abs=1e-9
    )


def test_the_smallest_interval_is_the_smallest_of_all() -> None:
    x = np.sort(np.random.default_rng(4).exponential(size=300)).astype(np.float32)
    ordered = Ordered.of(x, np.ones(300), 300.0)
    low, high = ordered.smallest
    held = stats.norm.cdf(1) - stats.norm.cdf(-1)
    place = (np.arange(300) + 0.5) / 300
    lengths = [np.interp(place[i] + held, place, x) - x[i] for i in range(300) if place[i] + held <= place[-1]]
    assert high - low == pytest.approx(min(lengths), rel=1e-6)
    assert low < 0.05  # of an exponential it begins at 0, where the density is largest
    assert high - low < 2 * float(ordered.sigma68.value)


def test_a_whole_weight_is_as_many_candidates_of_one_event() -> None:
    rng = np.random.default_rng(5)
    residual, weight = rng.normal(size=800), rng.integers(1, 4, 800)
    rows = np.repeat(np.arange(800), weight)
    once = _measure(np.zeros(800), residual, np.ones(800), weight=weight)
    often = _measure(np.zeros(len(rows)), residual[rows], np.ones(len(rows)), event=rows)
    assert once.pulls is not None
    assert often.pulls is not None
    for name in ("bias", "rms", "mse", "mae"):
        one, other = getattr(once, name), getattr(often, name)
        assert one.value == pytest.approx(other.value, rel=1e-9)
        # Student's factor counts effective candidates, of which the repeated ones are more.
        assert one.high - one.low == pytest.approx(other.high - other.low, rel=5e-3)
    assert once.sigma68.value == pytest.approx(often.sigma68.value, rel=5e-3)
    assert once.pulls.within_one.value == pytest.approx(often.pulls.within_one.value, rel=1e-9)


def test_candidates_that_a_negative_weight_cancels_do_not_count() -> None:
    """Each intruder is there twice, with weights 1 and -1: means are exactly, order statistics nearly, as without."""
    rng = np.random.default_rng(6)
    residual, intruders = rng.normal(size=3000), rng.normal(3, 1, 500)
    together = np.concatenate([residual, intruders, intruders])
    weight = np.concatenate([np.ones(3500), -np.ones(500)])
    found, alone = _measure(np.zeros(4000), together, weight=weight), _measure(np.zeros(3000), residual)
    for name in ("bias", "rms", "mse", "mae"):
        assert getattr(found, name).value == pytest.approx(getattr(alone, name).value, rel=1e-5)
    for name in ("median", "sigma68", "effective"):
        one, other = getattr(found, name), getattr(alone, name)
        assert one.value == pytest.approx(other.value, abs=(other.high - other.low) / 10)
        assert one.high - one.low > other.high - other.low


def test_a_candidate_without_a_prediction_or_weight_counts_in_no_number() -> None:
    rng = np.random.default_rng(7)
    residual, sigma = rng.normal(size=1000), np.ones(1000)
    residual[[3, 5]], sigma[7] = np.nan, np.nan
    weight = np.ones(1000)
    weight[11] = 0.0
    keep = ~np.isin(np.arange(1000), [3, 5, 7, 11])
    found = _measure(np.zeros(1000), residual, sigma, weight=weight)
    alone = _measure(np.zeros(keep.sum()), residual[keep], sigma[keep], event=np.flatnonzero(keep))
    assert found.missing == 3
    assert found.n == 997
    for name in ("bias", "median", "rms", "sigma68", "effective", "r2"):
        assert np.allclose(getattr(found, name), getattr(alone, name), rtol=1e-9, equal_nan=True)
    assert found.pulls is not None
    assert alone.pulls is not None
    assert np.allclose(found.pulls.log_likelihood, alone.pulls.log_likelihood, rtol=1e-9)


@pytest.mark.parametrize("weight", [[1.0, -1.0, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0]], ids=["cancelling", "none"])
def test_without_a_positive_sum_of_weights_nothing_is_defined(weight: list[float]) -> None:
    found = _measure(np.zeros(4), np.arange(4.0), weight=weight)
    assert np.isnan(found.rms.value)
    assert np.isnan(found.sigma68.value)


def test_one_event_shows_no_deviation() -> None:
    found = _measure([0.0, 0.0], [1.0, 2.0], event=[4, 4])
    assert found.bias.value == pytest.approx(1.5)
    assert np.isinf(found.bias.high)
    assert np.isinf(found.rms.high)
    assert np.isnan(found.effective.value)  # no interval between two candidates holds 68.3 %


def test_predictions_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"should have the shape \(3,\), found \(2,\)"):
        _measure(np.zeros(3), np.zeros(2))


def test_a_model_that_knows_its_training_sample_is_said_to() -> None:
    rng = np.random.default_rng(8)
    samples = [toy(rng, 4000)[0] for _ in range(2)]
    targets = [Targets.of(sample) for sample in samples]
    noise = rng.normal(size=(2, 4000))

    def said(on_train: float) -> str:
        values = [t.target + size * n for t, n, size in zip(targets, noise, (on_train, 0.2), strict=True)]
        one, other = (Predicted.of(prediction(v), t) for v, t in zip(values, targets, strict=True))
        found = train_against_test(one, other, (samples[0], samples[1]))
        assert found is not None
        return overtrainings({"bdt": found})["bdt"].sentence

    assert said(0.1).startswith("bdt knows its training sample: the RMS on train is 49 % smaller")
    assert said(0.2).startswith("bdt shows no overtraining")


def test_with_folds_the_difference_of_train_and_test_is_paired_by_event() -> None:
    rng = np.random.default_rng(9)
    sample, mean, width = toy(rng, 3000)
    mlp = toy_predictions(sample, mean, width, rng)["mlp"]
    predicted = Predicted.of(mlp, Targets.of(sample))
    found = train_against_test(predicted, predicted, (sample, sample))
    assert found is not None
    said = overtrainings({"mlp": found})["mlp"]
    assert said.delta_rms.high == said.delta_rms.low == 0
    assert "same residuals" in said.sentence


def test_one_event_shows_no_difference_of_models_nor_of_samples() -> None:
    samples = [sample_of([0.0, 0.0], event=[i, i]) for i in (4, 5)]
    targets = [Targets.of(sample) for sample in samples]
    models = {name: Predicted.of(prediction([0.1, size]), targets[1]) for name, size in (("a", 0.2), ("b", 0.9))}
    (pair,) = compare_predictions(models)
    rms = pair.quantity("rms")
    assert rms is not None
    assert rms.winner == ""
    assert np.isinf(rms.difference.high)
    found = train_against_test(Predicted.of(prediction([0.1, 0.2]), targets[0]), models["b"], (samples[0], samples[1]))
    assert found is not None
    assert overtrainings({"b": found})["b"].sentence.startswith("b shows no overtraining")
