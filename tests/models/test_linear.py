"""Fisher and logistic regression: equal to closed forms and to scikit-learn, exact for the classes they are for."""

import json
import pickle
import warnings

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from pidlab.errors import ModelError
from pidlab.models.base import TrainingDataError
from pidlab.models.fisher import Fisher
from pidlab.models.link import posterior
from pidlab.models.logistic import Logistic
from pidlab.models.margins import LinearClassifier

BOTH = pytest.mark.parametrize("model", [Fisher(), Logistic(C=0.3)], ids=["fisher", "logistic"])
PENALTY = "the penalty is against weights of mean one, so that a common factor of the weights changes nothing"


def gaussians(n: int, means: list[list[float]], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n events a class around each of the means, one covariance; and that covariance."""
    rng = np.random.default_rng(seed)
    d = len(means[0])
    root = rng.normal(size=(d, d))
    covariance = root @ root.T + np.eye(d)
    x = np.concatenate([rng.multivariate_normal(mean, covariance, n) for mean in means])
    return x, np.repeat(np.arange(len(means)), n), covariance


def test_fisher_has_the_direction_of_scikit_learns_discriminant():
    x, y, _ = gaussians(500, [[0, 0, 0], [1, -0.5, 2]])
    x[:, 2] *= 1e4
    theirs = LinearDiscriminantAnalysis().fit(x, y).coef_[0]
    ours = Fisher().fit(x, y).coefficients_[0]
    np.testing.assert_allclose(ours / ours[0], theirs / theirs[0], rtol=1e-8, atol=0)


@pytest.mark.parametrize("means", [[[0, 0], [1, 2]], [[0, 0], [1, 2], [-1, 1]]], ids=["two", "three"])
def test_fisher_finds_the_posterior_of_gaussian_classes(means):
    x, y, covariance = gaussians(100_000, means)
    densities = np.column_stack([multivariate_normal(mean, covariance).pdf(x) for mean in means])
    exact = densities / densities.sum(axis=1, keepdims=True)
    # slopes carry a relative error of about 1 / sqrt(100,000) = .003 each
    np.testing.assert_allclose(Fisher().fit(x, y).predict_proba(x), exact, rtol=0, atol=0.01)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_an_integer_weight_is_the_same_as_repeated_rows_for_fisher(n_classes):
    x, y, _ = gaussians(60, [[0, 0], [1, 2], [-1, 1]][:n_classes])
    times = np.random.default_rng(1).integers(0, 4, len(y))
    weighted, repeated = Fisher().fit(x, y, times), Fisher().fit(np.repeat(x, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.coefficients_, repeated.coefficients_, rtol=1e-10, atol=0)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-10, atol=0)


def test_fisher_shares_dependent_features_and_ignores_constant_ones():
    x, y, _ = gaussians(300, [[0, 0], [1, 2]])
    plain = Fisher().fit(x, y)
    wider = np.column_stack([x, 2 * x[:, 0] - x[:, 1], np.full(len(x), 7.0)])
    model = Fisher().fit(wider, y)
    np.testing.assert_allclose(model.decision_function(wider), plain.decision_function(x), rtol=1e-7, atol=1e-9)
    assert model.coefficients_[0, 3] == 0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_is_scikit_learns_on_standardised_features(n_classes):
    x, y, _ = gaussians(300, [[0, 0], [1, 2], [-1, 1]][:n_classes])
    unit = (x - x.mean(axis=0)) / x.std(axis=0)
    theirs = LogisticRegression(C=0.3, tol=1e-10, max_iter=1000).fit(unit, y).predict_proba(unit)
    np.testing.assert_allclose(Logistic(C=0.3).fit(x, y).predict_proba(x), theirs, rtol=1e-5, atol=0)


@BOTH
def test_units_and_a_common_factor_of_the_weights_change_nothing(model):
    x, y, _ = gaussians(200, [[0, 0, 1], [1, 2, 0]])
    w = np.random.default_rng(2).exponential(size=len(y))
    one = model.fit(x, y, w).predict_proba(x)
    scale = np.array([1e-6, 1, 1e6])
    other = model.fit(x * scale + scale, y, 1e-7 * w).predict_proba(x * scale + scale)
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=0)


@BOTH
def test_saved_and_loaded_scores_are_the_same_bits(model, tmp_path):
    x, y, _ = gaussians(100, [[0, 0], [1, 2], [-1, 1]])
    names = np.array(["pion", "kaon", "proton"])[y]
    model.fit(x, names)
    model.save(tmp_path)
    again = type(model).load(tmp_path)
    assert again.get_params() == model.get_params()
    assert np.array_equal(again.scores(x), model.scores(x))
    assert np.array_equal(again.predict(x), pickle.loads(pickle.dumps(model)).predict(x))
    assert model.scores(x).dtype == np.float32


@BOTH
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c | {"type": "bdt"}, "holds a model of type 'bdt'"),
        (lambda c: c | {"coefficients": [[1.0, "x"]]}, "is not a whole"),
        (lambda c: {k: v for k, v in c.items() if k != "intercept"}, "'intercept'"),
        (lambda c: c | {"classes": [0, 1, 2]}, "3 classes do not go with 1 rows"),
    ],
    ids=["other", "numbers", "missing", "classes"],
)
def test_a_damaged_file_is_refused(model, damage, message, tmp_path):
    x, y, _ = gaussians(50, [[0, 0], [1, 2]])
    model.fit(x, y).save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=message):
        type(model).load(tmp_path)


@BOTH
def test_what_cannot_be_trained_on_is_refused(model):
    x, y, _ = gaussians(50, [[0, 0], [1, 2]])
    with pytest.raises(TrainingDataError, match=r"1 of 100 training weights are negative.*negative_weights"):
        model.fit(x, y, np.where(np.arange(100) == 3, -1, 1))
    with pytest.raises(TrainingDataError, match="1 class is left to train on"):
        model.fit(x, y, (y == 0).astype(float))


def test_the_posterior_keeps_small_probabilities_of_both_classes():
    margins = np.array([[-80.0], [-1.0], [0.0], [80.0], [-800.0]])
    p = posterior(margins)
    np.testing.assert_allclose(p[:4], softmax(np.column_stack([0 * margins[:4], margins[:4]]), axis=1), rtol=1e-12)
    assert p[4].tolist() == [1, 0]
    assert posterior(margins.astype(np.float32))[3, 0] == pytest.approx(np.exp(-80), rel=1e-5)


@pytest.mark.slow
@BOTH
def test_scikit_learns_checks(model: LinearClassifier):
    # Fisher promises equality of weights and repetition, so nothing is expected to fail there
    names = ["check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"]
    expected = dict.fromkeys(names, PENALTY) if isinstance(model, Logistic) else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        check_estimator(model, expected_failed_checks=expected, on_skip=None)
