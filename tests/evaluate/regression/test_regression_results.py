"""A whole regression on a toy of known mean and width: its results say what is true, and survive being written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from example_results import example
from pidlab.config.schema import Map
from pidlab.errors import DataError, UsageError
from pidlab.evaluate.regression.predictions import Predicted, Targets
from pidlab.evaluate.regression.run import regression_results
from pidlab.evaluate.regression.trends import axes, residual_trend
from pidlab.evaluate.results import RegressionResults, read_any_results, read_results, write_results
from regression_samples import FEATURES, prediction, sample_of, toy, toy_predictions, toy_results
from stored_values import same


@pytest.fixture(scope="module")
def results() -> RegressionResults:
    return toy_results()


def test_the_models_are_measured_against_the_known_truth(results: RegressionResults) -> None:
    # The residual of the exact mean has the variance 0.01 E[(1 + |x|)²] = 0.01 (2 + 2 √(2/π)) for a unit Gaussian x.
    exact = np.sqrt(0.01 * (2 + 2 * np.sqrt(2 / np.pi)))
    truth = {"mlp": np.hypot(exact, 0.02), "bdt": np.hypot(exact, 0.03), "linear": np.hypot(exact, 0.1)}
    for name, expected in truth.items():
        rms = results.models[name].rms
        assert abs(rms.value - expected) < 3 * (rms.high - rms.low) / 2
    mlp = results.models["mlp"].test
    assert mlp.pulls is not None
    assert mlp.pulls.width.value == pytest.approx(1, abs=0.05)
    assert [q.probability for q in results.models["bdt"].test.quantiles] == [0.16, 0.5, 0.84]
    for quantile in results.models["bdt"].test.quantiles:
        half = (quantile.share.high - quantile.share.low) / 2
        assert abs(quantile.share.value - quantile.probability) < 3 * half
    assert [model.name for model in results.ranked] == ["mlp", "bdt", "linear", "constant"]


def test_a_better_model_wins_and_the_sentence_says_by_how_much(results: RegressionResults) -> None:
    pair = next(c for c in results.comparisons if (c.a, c.b) == ("linear", "mlp"))
    rms = pair.quantity("rms")
    assert rms is not None
    assert rms.winner == "mlp"
    assert rms.verdict.startswith("mlp beats linear in RMS: 0.02")
    assert f"after Holm's correction for {pair.n_comparisons} comparisons" in rms.verdict
    assert rms.difference.value == pytest.approx(results.models["mlp"].rms.value - results.models["linear"].rms.value)
    # Only models that both predict a width are compared in likelihood.
    assert pair.quantity("log_likelihood") is None
    widths = next(c for c in results.comparisons if (c.a, c.b) == ("constant", "mlp"))
    likelihood = widths.quantity("log_likelihood")
    assert likelihood is not None
    assert likelihood.winner == "mlp"
    assert " higher" in likelihood.verdict


def test_a_paired_interval_is_shorter_than_that_of_two_samples(results: RegressionResults) -> None:
    pair = next(c for c in results.comparisons if (c.a, c.b) == ("bdt", "mlp"))
    rms = pair.quantity("rms")
    assert rms is not None
    unpaired = np.hypot(*((m.rms.high - m.rms.low) / 2 for m in (results.models["bdt"], results.models["mlp"])))
    assert (rms.difference.high - rms.difference.low) / 2 < 0.3 * unpaired


def test_equal_predictions_are_level() -> None:
    rng = np.random.default_rng(3)
    samples = {name: toy(rng, 500)[0] for name in ("train", "test")}
    same_values = {name: prediction(sample.x[:, 0]) for name, sample in samples.items()}
    found = regression_results(
        target="y", features=FEATURES, samples=samples, predictions={"a": same_values, "b": same_values},
        kinds={"a": "linear", "b": "linear"}, trainings={},
    )  # fmt: skip
    (pair,) = found.comparisons
    assert {q.verdict for q in pair.quantities} == {"level: a and b predict alike"}
    assert {q.winner for q in pair.quantities} == {""}


def test_a_trend_finds_the_resolution_of_each_bin() -> None:
    """The width of the residual grows with a spectator; σ68 of each bin is that of its candidates."""
    rng = np.random.default_rng(4)
    momentum = rng.uniform(1, 3, 40_000)
    residual = 0.05 * momentum - 0.1 + 0.1 * momentum * rng.normal(size=len(momentum))
    sample = sample_of(np.zeros(len(momentum)), spectators={"P": momentum})
    predicted = Predicted.of(prediction(residual), Targets.of(sample))
    _, binned = axes(sample, "y", [Map(x="P", bins=[1.0, 1.5, 2.0, 2.5, 3.0])])
    trend = residual_trend(predicted, binned, 10.0)
    centre = (trend.edges[1:] + trend.edges[:-1]) / 2
    assert np.all(np.abs(trend.bias - (0.05 * centre - 0.1)) < 4 * (trend.bias_high - trend.bias_low) / 2)
    assert trend.sigma68 == pytest.approx(0.1 * centre, rel=0.05)
    assert np.allclose(trend.n, np.histogram(momentum, trend.edges)[0])


def test_bins_without_candidates_are_undefined() -> None:
    sample = sample_of(np.zeros(50), spectators={"P": np.linspace(0, 0.9, 50)})
    predicted = Predicted.of(prediction(np.arange(50.0)), Targets.of(sample))
    _, binned = axes(sample, "y", [Map(x="P", bins=[0.0, 1.0, 2.0])])
    trend = residual_trend(predicted, binned, 10.0)
    assert np.isfinite(trend.bias[0])
    assert np.isnan(trend.bias[1])
    assert trend.n[1] == 0


def test_a_map_of_something_unknown_is_refused_with_the_nearest_name() -> None:
    sample = sample_of(np.zeros(50), spectators={"momentum": np.linspace(0, 1, 50)})
    with pytest.raises(UsageError, match=r"maps: 'momentun' is no spectator and not the target; did you mean 'mom"):
        list(axes(sample, "y", [Map(x="momentun")]))


def test_the_profile_of_the_target_follows_the_feature(results: RegressionResults) -> None:
    profile = results.profiles["x0"]
    centre = (profile.edges[1:] + profile.edges[:-1]) / 2
    filled = profile.n > 30
    assert np.corrcoef(profile.mean[filled], 1 + 0.3 * centre[filled])[0, 1] > 0.99
    assert results.correlation.shape == (4, 4)
    assert results.correlation[0, 3] == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("weights", ["unit", "signed"])
def test_results_come_back_as_they_were(tmp_path: Path, weights: str) -> None:
    results = toy_results(900, weights=weights)
    write_results(tmp_path / "results.json", results)
    assert same(read_any_results(tmp_path / "results.json"), results)


def test_classes_are_not_read_from_a_regression_nor_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, toy_results(900))
    with pytest.raises(DataError, match=r"results\.json: holds the results of a regression \(of E_true/E_reco\)"):
        read_results(path)
    write_results(path, example())
    assert same(read_any_results(path), example())


def test_an_empty_sample_is_refused() -> None:
    sample = toy(np.random.default_rng(1), 10)[0]
    with pytest.raises(DataError, match="the test sample is empty"):
        regression_results(target="y", features=(), samples={"train": sample}, predictions={}, kinds={}, trainings={})


def test_folds_pool_the_predictions_of_their_models() -> None:
    """With folds train and test hold the same events; the evaluation takes them as they are."""
    rng = np.random.default_rng(5)
    sample, mean, width = toy(rng, 1000, per_event=2)
    predictions = toy_predictions(sample, mean, width, rng)
    samples = {"train": sample, "test": sample}
    found = regression_results(
        target="y", features=FEATURES, samples=samples, kinds={"mlp": "mlp"}, trainings={"mlp": None},
        predictions={"mlp": dict.fromkeys(samples, predictions["mlp"])},
    )  # fmt: skip
    assert found.models["mlp"].samples["train"] == found.models["mlp"].samples["test"]
    assert found.n == {"train": 1000, "test": 1000}
