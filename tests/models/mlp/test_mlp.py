"""The network as an estimator."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

from pidlab.config.schema import MlpModel
from pidlab.errors import ModelError
from pidlab.models.base import ValidationSet
from pidlab.models.mlp.engine.setup import setup_for
from pidlab.models.mlp.estimator import MLP
from pidlab.models.mlp.presets import PRESETS

QUICK = {"hidden": [8], "epochs": 4, "batch_size": 64}


def _blobs(n=600, classes=2, d=3, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(0, 1, (n, d)) + 1.5 * np.eye(d)[y % d]
    return x.astype(dtype), y


def _holdout(seed=9, **kwargs):
    x, y = _blobs(seed=seed, **kwargs)
    return ValidationSet(x, y, np.ones(len(y)))


@pytest.mark.slow
def test_is_an_estimator_of_scikit_learn():
    check_estimator(MLP(epochs=20), on_skip=None)  # of 200 that the preset takes for so few events


def test_parameters_are_those_of_the_configuration_in_order():
    of_the_model = {"type", "by"}  # categories are several estimators
    fields = {name: field.default for name, field in MlpModel.model_fields.items() if name not in of_the_model}
    assert MLP().get_params() == {**fields, "seed": 0, "device": "auto"}


def test_presets_are_what_their_names_promise():
    workshop = setup_for(MLP(preset="workshop").get_params(), 216_000, 3, 2).plan
    assert PRESETS["workshop"].hidden == (20, 20)
    assert PRESETS["workshop"].activation == "tanh"
    assert (workshop.batch_size, workshop.epochs, workshop.learning_rate) == (128, 50, 1e-4)
    assert (workshop.schedule, workshop.patience) == ("constant", None)
    assert PRESETS["default"].hidden == (64, 64)
    default = setup_for(MLP().get_params(), 216_000, 3, 2).plan
    assert (default.batch_size, default.epochs, default.schedule) == (512, 10, "one_cycle")


@pytest.mark.parametrize(
    ("n", "batch", "epochs"), [(50, 50, 200), (1000, 64, 200), (9000, 256, 200), (99_000, 512, 50)]
)
def test_small_samples_get_small_batches_and_enough_steps(n, batch, epochs):
    plan = setup_for(MLP().get_params(), n, 3, 2).plan
    assert (plan.batch_size, plan.epochs) == (batch, epochs)


@pytest.mark.parametrize(
    ("n", "d", "dropout", "rate", "members"), [(12_700, 28, 0.2, 5e-3, 4), (216_000, 3, 0.0, 1e-2, 1)]
)
def test_samples_small_for_their_features_are_regularised(n, d, dropout, rate, members):
    def setup(**parameters):
        return setup_for(MLP(**parameters).get_params(), n, d, 2)

    assert setup().n_members == members
    assert setup(preset="workshop").n_members == 1
    assert setup(members=2).n_members == 2
    assert setup().architecture.dropout == dropout
    assert setup().plan.learning_rate == rate
    assert setup(preset="workshop").architecture.dropout == 0
    assert setup(dropout=0.0).architecture.dropout == 0


def test_with_swap_noise_a_small_sample_gets_more_and_narrower_networks_and_more_epochs():
    usual, (n, d) = MLP().get_params(), (12_700, 28)
    without, noisy = setup_for(usual, n, d, 2), setup_for(usual, n, d, 2, 0.1)
    assert (noisy.architecture.hidden, noisy.architecture.dropout, noisy.n_members) == ((32, 32), 0.1, 8)
    assert noisy.plan.epochs == 2 * without.plan.epochs
    chosen = setup_for(MLP(hidden=[5], dropout=0.0, members=2, epochs=3).get_params(), n, d, 2, 0.1)
    assert (chosen.architecture.hidden, chosen.architecture.dropout, chosen.n_members) == ((5,), 0, 2)
    assert chosen.plan.epochs == 3
    assert setup_for(usual, 216_000, 3, 2, 0.1).architecture == setup_for(usual, 216_000, 3, 2).architecture


def test_what_the_user_says_goes_before_the_preset():
    said = MLP(learning_rate=0.5, epochs=3, batch_size=10, schedule="cosine", patience=2)
    plan = setup_for(said.get_params(), 1000, 3, 2).plan
    assert (plan.learning_rate, plan.epochs, plan.batch_size) == (0.5, 3, 10)
    assert (plan.schedule, plan.patience) == ("cosine", 2)


def weak_features(rng, n):
    """Thirty features, of which four tell the classes apart a little, each by itself."""
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 30))
    x[:, :4] *= 1 + 0.4 * y[:, None]
    x[:, :4] += 0.2 * y[:, None]
    return x, y


def sharp_features(rng, n):
    """Two features that tell the classes apart only together, and sharply."""
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 2))
    x[:, 1] = x[:, 0] + (y - 0.5) + rng.normal(scale=0.2, size=n)
    return x, y


@pytest.fixture
def few_epochs(monkeypatch):
    """The presets train with a fifth of the epochs that they take for small samples, or two fifths with swap noise."""
    monkeypatch.setattr("pidlab.models.mlp.presets._EPOCHS", (40,))


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "chosen"), [(weak_features, 0.15), (sharp_features, 0.0)])
def test_a_small_sample_trains_with_swap_noise_where_its_validation_sample_wants_it(draw, chosen, few_epochs, tmp_path):
    rng = np.random.default_rng(4)
    x, y = draw(rng, 1200)
    holdout = ValidationSet(*draw(rng, 1000), np.ones(1000))
    model = MLP(members=2).fit(x, y, validation=holdout)
    assert model.swap_noise_ == chosen
    model.save(tmp_path)
    assert MLP.load(tmp_path).swap_noise_ == chosen
    same = MLP(members=2, swap_noise=chosen).fit(x, y, validation=holdout)
    assert np.array_equal(model.predict_proba(x), same.predict_proba(x))
    other = MLP(members=2, swap_noise=0.15 - chosen).fit(x, y, validation=holdout)
    test_x, test_y = draw(rng, 20_000)
    losses = [log_loss(test_y, m.predict_proba(test_x)) for m in (model, other)]
    assert losses[0] < losses[1]


def test_nothing_is_tried_where_the_answer_is_known(few_epochs, monkeypatch):
    monkeypatch.setattr("pidlab.models.mlp.engine.setup.Trainer", None)
    x, y = weak_features(np.random.default_rng(5), 1200)
    holdout = ValidationSet(x[:100], y[:100], np.ones(100))
    assert MLP(members=1).fit(x, y).swap_noise_ == 0  # nothing to judge by
    for known, noise in (({"epochs": 2}, 0), ({"epochs": 2, "swap_noise": 0.3}, 0.3), ({"preset": "workshop"}, 0)):
        assert MLP(members=1, **known).fit(x, y, validation=holdout).swap_noise_ == noise
    for few, many in ((x[:900], y[:900]), (x[:, :1], y)):
        beside = ValidationSet(holdout.x[:, : few.shape[1]], holdout.y, holdout.weight)
        assert MLP(members=1).fit(few, many, validation=beside).swap_noise_ == 0


@pytest.mark.slow
def test_folds_choose_their_swap_noise_each_for_itself(few_epochs):
    rng = np.random.default_rng(6)
    (x, y), (sharp, _) = weak_features(rng, 3600), sharp_features(rng, 1800)
    x[1800:] = rng.normal(size=(1800, 30))
    x[1800:, :2] = sharp
    folds = [(np.arange(1200), np.arange(1200, 1800)), (np.arange(1800, 3000), np.arange(3000, 3600))]
    assert [model.swap_noise_ for model in MLP(members=1).fit_folds(x, y, folds=folds)] == [0.15, 0.0]


@pytest.fixture(scope="module")
def correlated():
    """Two Gaussian classes whose likelihood ratio is a quadratic form: x, y, and the exact log-ratio."""
    rng = np.random.default_rng(2)
    covariances = np.array([[1, 0.6], [0.6, 1]]), np.array([[1, -0.5], [-0.5, 1]])
    means = np.array([0.6, 0.2]), np.zeros(2)
    y = (np.arange(24_000) % 2).astype(np.int64)
    x = np.where(
        y[:, None] == 1,
        rng.multivariate_normal(means[0], covariances[0], len(y)),
        rng.multivariate_normal(means[1], covariances[1], len(y)),
    )
    ratio = multivariate_normal(means[0], covariances[0]).logpdf(x) - multivariate_normal(
        means[1], covariances[1]
    ).logpdf(x)
    return x.astype(np.float32), y, ratio


def test_default_preset_reaches_the_exact_likelihood_ratio(correlated):
    x, y, ratio = correlated
    train, test = slice(0, 12_000), slice(12_000, None)
    model = MLP(hidden=[20, 20]).fit(x[train], y[train])
    p = model.scores(x[test])[:, 1]
    bound = roc_auc_score(y[test], ratio[test])
    assert roc_auc_score(y[test], p) > bound - 0.002
    # It is a probability too: cross-entropy within .005 of the best.
    best = np.logaddexp(0, np.where(y[test] == 1, -ratio[test], ratio[test])).mean()
    found = -np.log(np.where(y[test] == 1, p, 1 - p)).mean()
    assert found < best + 0.005


@pytest.mark.parametrize("loss", ["cross_entropy", "squared", "absolute", "focal"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "nadam"])
def test_every_loss_and_optimiser_learns(loss, optimizer):
    x, y = _blobs(2000)
    model = MLP(
        hidden=[16], epochs=15, loss=loss, optimizer=optimizer, learning_rate=0.3 if optimizer == "sgd" else 0.01
    )
    model.fit(x[:1000], y[:1000])
    # Two unit Gaussians 1.5 √2 apart: the best possible AUC is Φ(1.5) = .933.
    assert roc_auc_score(y[1000:], model.scores(x[1000:])[:, 1]) > norm.cdf(1.5) - 0.03


def test_three_classes_sum_to_one_and_are_found():
    x, y = _blobs(3000, classes=3)
    names = np.array(["pion", "electron", "kaon"])[y]
    model = MLP(hidden=[16], epochs=20).fit(x, names)
    assert model.classes_.tolist() == ["electron", "kaon", "pion"]
    scores = model.scores(x)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    assert (model.predict(x) == names).mean() > 0.7
    np.testing.assert_allclose(scores, model.predict_proba(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "silu", "maxout", "gelu"])
@pytest.mark.parametrize("members", [1, 3])
def test_fast_scores_are_the_probabilities(activation, members):
    x, y = _blobs()
    model = MLP(activation=activation, members=members, batch_norm=True, **QUICK).fit(x, y)
    scores = model.scores(x)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, model.predict_proba(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_missing_values_score_as_missing(activation):
    x, y = _blobs()
    model = MLP(activation=activation, **QUICK).fit(x, y)
    x[5, 0] = np.nan
    scores = model.scores(x)
    assert np.isnan(scores[5]).all()
    assert np.isfinite(np.delete(scores, 5, axis=0)).all()


def test_weights_shift_the_balance():
    """With signal weighted by r, the odds are r times larger everywhere."""
    x, y = np.zeros((4000, 1), np.float32), np.arange(4000) % 2
    weight = np.where(y == 1, 3.0, 1.0)
    model = MLP(hidden=[], epochs=60, learning_rate=0.05).fit(x, y, weight)
    np.testing.assert_allclose(model.predict_proba(x[:1]), [[0.25, 0.75]], atol=0.01)


def test_scaling_all_weights_changes_nothing():
    x, y = _blobs(dtype=np.float64)
    weight = np.random.default_rng(1).random(len(y))
    one = MLP(**QUICK).fit(x, y, weight).predict_proba(x)
    np.testing.assert_allclose(MLP(**QUICK).fit(x, y, 1000 * weight).predict_proba(x), one, rtol=1e-8)


def test_same_seed_same_bits_other_seed_other_network():
    x, y = _blobs()
    model = MLP(dropout=0.2, **QUICK)
    one, two = clone(model).fit(x, y).scores(x), clone(model).fit(x, y).scores(x)
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, clone(model).set_params(seed=1).fit(x, y).scores(x))


def test_ensemble_is_the_mean_of_its_members_and_its_spread_theirs():
    x, y = _blobs()
    model = MLP(members=4, **QUICK).fit(x, y)
    assert len({network.weights[0].tobytes() for network in model.networks_}) == 4
    first = MLP(**QUICK).fit(x, y)
    np.testing.assert_allclose(model.networks_[0].weights[0], first.networks_[0].weights[0], rtol=1e-4, atol=1e-5)
    each = []
    for network in model.networks_:
        first.networks_ = (network,)
        each.append(first.predict_proba(x))
    np.testing.assert_allclose(model.predict_proba(x), np.mean(each, axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.spread(x), np.std(each, axis=0), rtol=1e-9)
    assert (first.spread(x) == 0).all()


@pytest.mark.parametrize("members", [1, 2])
def test_folds_are_what_separate_fits_give(members):
    x, y = _blobs(dtype=np.float64)
    weight = np.random.default_rng(3).random(len(y))
    fold = np.random.default_rng(4).integers(0, 3, len(y))
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    model = MLP(dropout=0.1, members=members, patience=2, **QUICK)
    together = model.fit_folds(x, y, weight, folds=folds)
    assert len({len(rows) for rows, _ in folds}) > 1
    for (rows, held_out), found in zip(folds, together, strict=True):
        validation = ValidationSet(x[held_out], y[held_out], weight[held_out])
        alone = clone(model).fit(x[rows], y[rows], weight[rows], validation=validation)
        np.testing.assert_allclose(found.predict_proba(x), alone.predict_proba(x), rtol=1e-6)
        for name, values in alone.history_.items():
            np.testing.assert_allclose(found.history_[name], values, rtol=1e-6)
    assert not hasattr(model, "classes_")


def test_folds_too_small_for_one_batch_size_train_too():
    x, y = _blobs(40, dtype=np.float64)
    folds = [(np.arange(0, 20), None), (np.arange(10, 40), None)]
    for (rows, _), found in zip(folds, MLP(**QUICK).fit_folds(x, y, folds=folds), strict=True):
        alone = MLP(**QUICK).fit(x[rows], y[rows])
        np.testing.assert_allclose(found.predict_proba(x), alone.predict_proba(x), rtol=1e-6)


def test_a_fold_without_a_class_is_refused():
    x, y = _blobs(40)
    with pytest.raises(ModelError, match="fold 2: a class has no training events; use fewer folds"):
        MLP(**QUICK).fit_folds(x, y, folds=[(np.arange(40), None), (np.flatnonzero(y == 1), None)])


def test_history_and_progress_tell_every_epoch():
    x, y = _blobs()
    told = []
    model = MLP(**QUICK)
    model.fit(x, y, validation=_holdout(), progress=lambda done, total, numbers: told.append((done, total, numbers)))
    assert [(done, total) for done, total, _ in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    losses = {"loss", "validation_loss", "validation_auc"}
    norms = {f"{what}_norm_{layer}" for what in ("weight", "gradient") for layer in ("1", "output")}
    assert set(model.history_) == losses | norms | {"learning_rate"}
    assert {len(values) for values in model.history_.values()} == {4}
    for name in losses:
        assert model.history_[name] == pytest.approx([numbers[name] for _, _, numbers in told])
    assert set(MLP(**QUICK).fit(x, y).history_) == {"loss", "learning_rate"} | norms


def test_validation_auc_is_scikit_learns():
    x, y = _blobs()
    validation = _holdout()._replace(weight=np.random.default_rng(0).random(600))
    model = MLP(hidden=[8], epochs=1).fit(x, y, validation=validation)
    expected = roc_auc_score(validation.y, model.predict_proba(validation.x)[:, 1], sample_weight=validation.weight)
    assert model.history_["validation_auc"] == [pytest.approx(expected, abs=1e-6)]


def test_early_stopping_comes_with_the_default_preset_only():
    x, y = _blobs(200)
    turned = _holdout()._replace(y=1 - _holdout().y)
    assert len(MLP(hidden=[8], epochs=60).fit(x, y, validation=turned).history_["loss"]) < 60
    assert len(MLP(preset="workshop", epochs=60).fit(x, y, validation=turned).history_["loss"]) == 60


def test_fit_resumes_from_its_checkpoint(tmp_path):
    x, y = _blobs()

    def stop(done, total, numbers):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MLP(**QUICK).fit(x, y, progress=stop, checkpoint=tmp_path / "c")
    resumed = MLP(**QUICK).fit(x, y, checkpoint=tmp_path / "c")
    whole = MLP(**QUICK).fit(x, y)
    for a, b in zip(resumed.networks_[0].weights, whole.networks_[0].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.history_ == whole.history_


@pytest.mark.parametrize("names", [[0, 1], ["pion", "electron"], [False, True]])
def test_saved_model_comes_back(names, tmp_path):
    x, y = _blobs()
    model = MLP(members=2, activation="maxout", **QUICK).fit(x, np.array(names)[y], validation=None)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlp.json", "mlp.safetensors"]
    loaded = MLP.load(tmp_path)
    assert loaded.get_params() == model.get_params()
    assert loaded.history_ == model.history_
    assert loaded.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(loaded.classes_, model.classes_)
    np.testing.assert_array_equal(loaded.scores(x), model.scores(x))
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def _edit(directory, **changes):
    content = json.loads((directory / "mlp.json").read_text())
    (directory / "mlp.json").write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "a model of format 'other', not"),
        ({"classes": [0, 1, 2]}, "are of two models"),
        ({"parameters": {"hiden": [3]}}, "is not a whole mlp model"),
        ({"activation": "nothing"}, "is not a whole mlp model"),
        ({"history": 3}, "is not a whole mlp model"),
        ({"classes_dtype": "no type"}, "is not a whole mlp model"),
    ],
)
def test_damaged_models_are_refused(changes, message, tmp_path):
    MLP(**QUICK).fit(*_blobs()).save(tmp_path)
    _edit(tmp_path, **changes)
    with pytest.raises(ModelError, match=message):
        MLP.load(tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "tanhh"}, r"activation 'tanhh' is not known; did you mean 'tanh'\?"),
        ({"preset": None}, "preset None is not known; known: default, workshop"),
        ({"hidden": [3, 0]}, r"hidden must be a list of whole numbers above 0. Got \[3, 0\]"),
        ({"hidden": 20}, "hidden must be a list"),
        ({"dropout": 1.0}, "dropout must be a number from 0 up to, not including, 1. Got 1.0"),
        ({"swap_noise": -0.1}, "swap_noise must be a number from 0 up to, not including, 1. Got -0.1"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0"),
        ({"epochs": 2.5}, "epochs must be a whole number above 0"),
        ({"members": 0}, "members must be a whole number above 0"),
        ({"weight_decay": -1}, "weight_decay must be"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"device": "tpu"}, "device 'tpu' is not known"),
    ],
)
def test_parameters_that_make_no_sense_are_named(parameters, message):
    with pytest.raises(ModelError, match=message):
        MLP(**parameters).fit(*_blobs())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused():
    with pytest.raises(ModelError, match="torch finds no GPU"):
        MLP(device="cuda", **QUICK).fit(*_blobs())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("hidden", [[6], [300]], ids=["compiled code", "torch"])
def test_a_network_of_a_gpu_machine_scores_here(hidden, tmp_path):
    x, y = _blobs()
    model = MLP(**{**QUICK, "hidden": hidden, "device": "cpu"}).fit(x, y)
    expected = model.scores(x), model.predict_proba(x)
    model.set_params(device="cuda").save(tmp_path)  # as a run with --device cuda leaves it
    again = MLP.load(tmp_path)
    np.testing.assert_array_equal(again.scores(x), expected[0])
    np.testing.assert_array_equal(again.predict_proba(x), expected[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((600, 2), np.float32)}, r"has shapes x \(600, 2\)"),
        ({"y": np.full(600, 7)}, "has a class that is missing in the training sample"),
        ({"x": np.full((600, 3), np.inf)}, "infinite values"),
        ({"weight": np.zeros(600)}, "its weights do not sum to more than 0"),
    ],
)
def test_validation_samples_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        MLP(**QUICK).fit(*_blobs(), validation=_holdout()._replace(**change))


def test_data_that_cannot_be_trained_on_are_refused():
    x, y = _blobs()
    far = x.copy()
    far[3, 1] = np.inf
    with pytest.raises(ValueError, match="contains infinity"):
        MLP(**QUICK).fit(far, y)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        MLP(**QUICK).fit(x, y, np.where(y == 0, -1.0, 1.0))
    half = np.arange(len(y)) < 300
    with pytest.raises(ModelError, match="training weights do not sum to more than 0"):
        MLP(**QUICK).fit_folds(x, y, half * 1.0, folds=[(np.flatnonzero(~half), None)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_learns_as_well_as_the_cpu(correlated):
    x, y, ratio = correlated
    model = MLP(hidden=[20, 20], device="cuda", members=2).fit(x[:12_000], y[:12_000])
    found = roc_auc_score(y[12_000:], model.scores(x[12_000:])[:, 1])
    assert found > roc_auc_score(y[12_000:], ratio[12_000:]) - 0.002
