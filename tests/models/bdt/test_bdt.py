"""BDT: close to the likelihood ratio, early stopping, constraints, missing values, and what it refuses."""

import json
import os
import warnings

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

from pidlab.errors import ModelError, UsageError
from pidlab.models.base import TrainingDataError, ValidationSet
from pidlab.models.bdt.estimator import BDT
from pidlab.models.bdt.settings import check_parameters, cuda_present


def two_gaussians(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n events of two classes in three features; features, labels, exact log-likelihood ratio."""
    rng = np.random.default_rng(seed)
    signal = multivariate_normal([1, 0.8, -0.5], [[1, 0.5, 0], [0.5, 1, 0.3], [0, 0.3, 0.7]])
    background = multivariate_normal([0, 0, 0], [[1, -0.3, 0.2], [-0.3, 1, 0], [0.2, 0, 1]])
    y = rng.integers(0, 2, n)
    x = np.where(y[:, None] == 1, signal.rvs(n, random_state=rng), background.rvs(n, random_state=rng))
    return x.astype(np.float32), y, signal.logpdf(x) - background.logpdf(x)


def validation_set(n: int = 1000, seed: int = 9) -> ValidationSet:
    x, y, _ = two_gaussians(n, seed)
    return ValidationSet(x, y, np.ones(n))


@pytest.fixture(scope="module")
def stopped() -> BDT:
    """A model that validation stopped."""
    x, y, _ = two_gaussians(1500)
    return BDT(n_estimators=300, learning_rate=0.3, early_stopping_rounds=7, n_jobs=1).fit(
        x, y, validation=validation_set()
    )


@pytest.mark.slow
def test_reaches_the_likelihood_ratio():
    x, y, _ = two_gaussians(60_000, seed=1)
    test, truth, ratio = two_gaussians(60_000, seed=2)
    model = BDT(n_jobs=1).fit(x, y, validation=validation_set(15_000))
    assert roc_auc_score(truth, model.scores(test)[:, 1]) > roc_auc_score(truth, ratio) - 0.002


def test_early_stopping_keeps_the_best_round(stopped):
    losses = stopped.history_["validation_loss"]
    held = validation_set()
    assert stopped.best_iteration_ == int(np.argmin(losses))
    assert len(losses) == len(stopped.history_["loss"]) == stopped.best_iteration_ + 1 + 7
    assert stopped.booster_.num_boosted_rounds() == stopped.best_iteration_ + 1
    assert log_loss(held.y, stopped.predict_proba(held.x)) == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"validation": validation_set()}], ids=["no validation", "no patience"])
def test_all_rounds_are_trained_where_nothing_stops_them(options):
    x, y, _ = two_gaussians(500)
    model = BDT(n_estimators=40, learning_rate=0.5, early_stopping_rounds=None, n_jobs=1).fit(x, y, **options)
    assert model.booster_.num_boosted_rounds() == 40
    assert len(model.history_["loss"]) == 40
    assert ("validation_loss" in model.history_) == bool(options)


def test_a_metric_asked_for_is_recorded_and_decides_the_stopping():
    x, y, _ = two_gaussians(1000)
    model = BDT(n_estimators=60, parameters={"eval_metric": "auc"}, n_jobs=1).fit(x, y, validation=validation_set())
    areas = model.history_["validation_auc"]
    assert model.best_iteration_ == int(np.argmax(areas))
    assert roc_auc_score(validation_set().y, model.scores(validation_set().x)[:, 1]) == pytest.approx(
        max(areas), rel=1e-5
    )


def test_progress_tells_every_quantity_and_ends_at_the_last_round():
    x, y, _ = two_gaussians(500)
    seen = []
    model = BDT(n_estimators=50, early_stopping_rounds=None, n_jobs=1)
    model.fit(x, y, validation=validation_set(), progress=lambda *report: seen.append(report))
    rounds = [done for done, _, _ in seen]
    assert rounds == sorted(set(rounds))
    assert seen[-1][:2] == (50, 50)
    assert seen[-1][2] == {name: values[-1] for name, values in model.history_.items()}


def test_nothing_is_printed_or_warned(capfd):
    x, y, _ = two_gaussians(500)
    BDT(n_estimators=3).fit(x, y, validation=validation_set()).predict_proba(x)
    assert capfd.readouterr() == ("", "")


def test_only_ratios_of_weights_matter_and_weight_zero_is_absence():
    x, y, _ = two_gaussians(1000)
    w = np.random.default_rng(3).exponential(size=1000) * (np.arange(1000) % 3 > 0)
    one = BDT(n_estimators=20, n_jobs=1).fit(x, y, w).scores(x)
    assert np.array_equal(BDT(n_estimators=20, n_jobs=1).fit(x, y, w * 2.0**-30).scores(x), one)
    assert np.array_equal(BDT(n_estimators=20, n_jobs=1).fit(x[w > 0], y[w > 0], w[w > 0]).scores(x), one)


def test_without_regularisation_an_integer_weight_is_the_same_as_repeated_rows():
    x, y, _ = two_gaussians(400)
    x = np.round(4 * x) / 4  # few values, so that both find the same bins; and no sampling, which sees rows
    times = np.random.default_rng(4).integers(1, 4, len(y))
    free = BDT(n_estimators=10, max_depth=2, subsample=1, parameters={"lambda": 0, "min_child_weight": 0}, n_jobs=1)
    weighted = free.fit(x, y, times).scores(x)
    repeated = free.fit(np.repeat(x, times, axis=0), np.repeat(y, times)).scores(x)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4, atol=0)


def test_that_a_value_is_missing_is_learned():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 4000)
    x = rng.normal(size=(4000, 2)).astype(np.float32)
    x[rng.random(4000) < np.where(y == 1, 0.6, 0.1), 1] = np.nan
    best = 0.5 + 0.5 * (0.6 - 0.1)  # of a decision on missing alone: (1 + efficiency - misid) / 2
    assert roc_auc_score(y, BDT(n_estimators=20, n_jobs=1).fit(x, y).scores(x)[:, 1]) > best - 0.02


def test_infinities_and_numbers_beyond_float32_are_the_largest_numbers():
    x, y, _ = two_gaussians(1000)
    wide = x.astype(np.float64)
    wide[y == 1, 0] = np.inf
    wide[:5, 1] = -np.inf
    wide[5:9, 1] = 1e300
    model = BDT(n_estimators=5, n_jobs=1).fit(wide, y)
    assert (
        model.predict(wide) == y
    ).mean() > 0.99  # xgboost's quantile bins keep a few of the rest beside the infinite
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(model.scores(wide.astype(np.float32)), model.predict_proba(wide), rtol=1e-6, atol=0)


@pytest.mark.parametrize("constraint", [{"p": 1}, {1: 1}, [0, 1, 0]], ids=["name", "index", "list"])
def test_monotone_constraints_hold(constraint):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2000, 3)).astype(np.float32)
    y = (rng.random(2000) < 1 / (1 + np.exp(-x[:, 1] - np.sin(4 * x[:, 1])))).astype(int)  # falls in places
    line = np.zeros((200, 3), np.float32)
    line[:, 1] = np.linspace(-3, 3, 200)

    def steps(parameters):
        names = ["E", "p", "t"]
        model = BDT(n_estimators=50, learning_rate=0.2, parameters=parameters, feature_names=names, n_jobs=1).fit(x, y)
        return np.diff(model.decision_function(line))

    assert steps({"monotone_constraints": constraint}).min() >= 0
    assert steps(None).min() < -0.1


def test_interaction_constraints_by_name_keep_features_apart():
    x, y, _ = two_gaussians(2000)
    groups = {"interaction_constraints": [["a"], ["b"], ["c"]]}
    model = BDT(n_estimators=20, parameters=groups, feature_names=["a", "b", "c"], n_jobs=1).fit(x, y)
    assert all(len(np.unique(tree.feature[tree.left >= 0])) <= 1 for tree in model.forest().trees)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_child_wieght": 5}, "no parameter 'min_child_wieght': did you mean 'min_child_weight'"),
        ({"max_dept": 3}, "did you mean 'max_depth'"),
        ({"eta": 0.1}, "'eta' is said by the BDT's own 'learning_rate'"),
        ({"objective": "rank:pairwise"}, "follows from the classes"),
        ({"rate_drop": 0.1}, "only with booster: dart"),
        ({"booster": "gblinear"}, "makes no trees"),
        ({"monotone_constraints": {"pp": 1}}, "the feature 'pp', which is not one: did you mean 'p'"),
        ({"monotone_constraints": [1, 0]}, "not one number for each of 3 features"),
        ({"monotone_constraints": [1, 0, 2]}, "other values than -1, 0 and 1"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(parameters, message):
    x, y, _ = two_gaussians(100)
    with pytest.raises(UsageError, match=message):
        BDT(parameters=parameters, feature_names=["E", "p", "t"]).fit(x, y)


def test_parameters_that_can_be_are_let_through():
    check_parameters({"booster": "dart", "rate_drop": 0.1, "lambda": 2, "min_child_weight": 3, "tree_method": "hist"})


def test_a_value_that_xgboost_refuses_is_told_in_its_words_without_its_stack():
    x, y, _ = two_gaussians(100)
    with pytest.raises(ModelError, match=r"xgboost refuses to train: value 7 for Parameter subsample") as refused:
        BDT(subsample=7, n_jobs=1).fit(x, y)
    assert "[bt]" not in str(refused.value)


@pytest.mark.parametrize(
    "further", [{"tree_method": "exact"}, {"tree_method": "approx"}, {"booster": "dart", "rate_drop": 0.3}]
)
def test_other_ways_to_grow_trees_work(further, tmp_path):
    x, y, _ = two_gaussians(1000)
    model = BDT(n_estimators=30, colsample_bynode=1, parameters=further, n_jobs=1).fit(
        x, y, validation=validation_set()
    )
    held = validation_set()
    losses = model.history_["validation_loss"]
    assert log_loss(held.y, model.predict_proba(held.x)) == pytest.approx(losses[model.best_iteration_], rel=1e-4)
    model.save(tmp_path)
    assert np.array_equal(BDT.load(tmp_path).scores(x), model.scores(x))


def test_weighted_trees_cannot_be_written_out():
    x, y, _ = two_gaussians(200)
    model = BDT(n_estimators=3, parameters={"booster": "dart"}, n_jobs=1).fit(x, y)
    with pytest.raises(ModelError, match="only plain trees"):
        model.forest()


@pytest.mark.parametrize("n_features", [2, 12], ids=["tables", "xgboost"])
def test_saved_and_loaded_scores_are_the_same_bits(n_features, tmp_path):
    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, 2000)
    x = (rng.normal(size=(2000, n_features)) + y[:, None]).astype(np.float32)
    names = np.array(["pion", "kaon", "proton"])
    model = BDT(n_estimators=30, max_depth=6, parameters={"monotone_constraints": [0] * n_features}, n_jobs=1)
    model.fit(x, names[y]).save(tmp_path)
    again = BDT.load(tmp_path)
    assert again.get_params() == model.get_params()
    assert np.array_equal(again.scores(x), model.scores(x))
    assert np.array_equal(again.contributions(x[:9]), model.contributions(x[:9]))
    assert again.history_ == model.history_
    assert set(again.predict(x)) == set(names)
    assert again.scores(x[:0]).shape == (0, 3)


@pytest.mark.parametrize("damage", ["other", "cut", "rubbish", "absent", "features"])
def test_a_damaged_directory_is_refused(damage, stopped, tmp_path):
    stopped.save(tmp_path)
    trees, rest = tmp_path / "model.ubj", tmp_path / "model.json"
    if damage == "other":
        rest.write_text('{"type": "fisher"}')
    elif damage == "cut":
        trees.write_bytes(trees.read_bytes()[:2000])
    elif damage == "rubbish":
        trees.write_bytes(b"no model")
    elif damage == "absent":
        trees.unlink()
    else:
        rest.write_text(json.dumps(json.loads(rest.read_text()) | {"n_features": 4}))
    with pytest.raises(ModelError, match=r"model\.(ubj|json): (holds|is|has)"):
        BDT.load(tmp_path)


def test_contributions_add_up_to_the_margins_and_importance_to_one(stopped):
    x, _, _ = two_gaussians(300, seed=8)
    parts = stopped.contributions(x)
    assert parts.shape == (300, 1, 4)
    np.testing.assert_allclose(parts.sum(axis=2)[:, 0], stopped.decision_function(x), rtol=0, atol=1e-4)
    assert stopped.feature_importances_.sum() == pytest.approx(1)


def test_a_feature_that_says_nothing_has_no_importance():
    x, y, _ = two_gaussians(500)
    model = BDT(n_estimators=10, n_jobs=1).fit(np.column_stack([x, np.ones(500)]), y)
    assert model.feature_importances_[3] == 0
    assert (model.feature_importances_[:3] > 0).all()


@pytest.mark.slow
def test_threads_are_told_to_xgboost_each_time():
    # left to itself it takes what torch.set_num_threads has set for the process
    x, y, _ = two_gaussians(300)
    model = BDT(n_estimators=2, n_jobs=3, max_depth=7).fit(x, y)
    model.booster_.set_param({"nthread": 1})
    model.contributions(x)
    assert json.loads(model.booster_.save_config())["learner"]["generic_param"]["nthread"] == "3"


def test_without_a_device_cuda_is_refused_and_auto_is_the_cpu():
    if cuda_present():
        pytest.skip("there is a CUDA device here")
    x, y, _ = two_gaussians(100)
    with pytest.raises(ModelError, match="xgboost finds no CUDA device here; say auto or cpu"):
        BDT(device="cuda").fit(x, y)
    assert BDT(n_estimators=2, device="auto").fit(x, y).booster_.num_boosted_rounds() == 2


def test_cuda_trains_a_model_as_good_as_the_cpus():
    if not cuda_present():
        pytest.skip("there is no CUDA device here")
    x, y, _ = two_gaussians(20_000)
    areas = [
        roc_auc_score(y, BDT(n_estimators=50, device=device).fit(x, y).scores(x)[:, 1]) for device in ("cpu", "cuda")
    ]
    assert areas[0] == pytest.approx(areas[1], abs=0.002)


def test_a_model_of_a_gpu_machine_scores_here(tmp_path):
    x, y, _ = two_gaussians(2000)
    model = BDT(n_estimators=40, device="cpu", n_jobs=1).fit(x, y)
    expected = model.scores(x)
    model.set_params(device="cuda").save(tmp_path)  # as a run with --device cuda leaves it
    found = BDT.load(tmp_path).scores(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if cuda_present() else 0)
    assert np.array_equal(BDT.load(tmp_path).scores(x[:100]), found[:100])
    assert BDT.load(tmp_path).scores(x[:0]).shape == (0, 2)


def test_what_cannot_be_trained_on_or_scored_is_refused():
    x, y, _ = two_gaussians(100)
    with pytest.raises(UsageError, match="none of auto, cpu, cuda"):
        BDT(device="gpu").fit(x, y)
    with pytest.raises(TrainingDataError, match="the validation sample has the class"):
        BDT().fit(x, y, validation=ValidationSet(x, y + 1, np.ones(100)))
    with pytest.raises(TrainingDataError, match="validation sample has negative weights"):
        BDT().fit(x, y, validation=ValidationSet(x, y, -np.ones(100)))
    with pytest.raises(ModelError, match="trained on 3 features; 2 were given"):
        BDT(n_estimators=1).fit(x, y).scores(x[:, :2])


@pytest.mark.slow
def test_scikit_learns_checks():
    regularised = "min_child_weight and lambda are compared with weights of mean one (see the docstring)"
    expected = {"check_sample_weight_equivalence_on_dense_data": regularised}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Warning, module="sklearn")
        check_estimator(BDT(n_estimators=10, n_jobs=1), expected_failed_checks=expected, on_skip=None)


def test_by_default_no_more_threads_are_taken_than_the_process_may_use():
    assert BDT()._n_threads() == len(os.sched_getaffinity(0))
