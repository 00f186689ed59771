"""Training and scoring in blocks of rows gives what one block gives, and keeps little besides the result."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from evaluate_samples import sample_of
from pidlab.config.load import check_config
from pidlab.models import matrix, missing
from pidlab.models.base import ValidationSet
from pidlab.models.bdt import BDT
from pidlab.models.cuts import Cuts
from pidlab.models.fisher import Fisher
from pidlab.models.fold import FoldModel
from pidlab.models.logistic import Logistic
from pidlab.models.matrix import LazyMatrix, column_of
from pidlab.models.mlp import MLP
from pidlab.models.mlp.engine import streamed
from pidlab.models.mlp.engine.random_numbers import MemberGenerators
from pidlab.models.mlp.engine.streamed import BlockShuffle, StreamedTable
from pidlab.models.naive_bayes import NaiveBayes
from pidlab.models.registry import Resources
from pidlab.models.training import fit_parts
from pidlab.preprocess import scaling
from pidlab.preprocess.recipe import compile_recipe
from pidlab.preprocess.scaling import fit_scaler

D = 4


@contextmanager
def blocks_of(n: int) -> Iterator[None]:
    with patch.object(matrix, "BLOCK_ROWS", n):
        yield


def data(n: int, k: int = 2, seed: int = 1) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(k, size=n)).astype(np.int8)  # as files hold them: class after class
    x = rng.normal(size=(n, D)).astype(np.float32)
    x[:, 0] += y
    x[:, 1] *= 1 + y
    return x, y, rng.random(n) + 0.5


def lazy(x: Any) -> LazyMatrix:
    return LazyMatrix(x, lambda rows: rows, x.shape[1])


def test_a_lazy_matrix_reads_as_the_array_that_it_stands_for() -> None:
    x = np.arange(60, dtype=np.float32).reshape(20, 3)
    made = LazyMatrix(x, lambda rows: rows[:, [2, 0]] * 2, 2)
    with blocks_of(7):
        expected = x[:, [2, 0]] * 2
        assert np.array_equal(np.asarray(made), expected)
        assert np.array_equal(made[3:9], expected[3:9])
        assert np.array_equal(column_of(made, 1), expected[:, 1])
        few = made.take(np.array([5, 1, 19])).take(np.array([2, 0]))
        assert few.shape == (2, 2)
        assert np.array_equal(few[np.array([1, 0])], expected[[5, 19]])


@pytest.mark.parametrize("k", [2, 3])
def test_trees_are_the_same_to_the_last_bit_whatever_the_blocks(k: int) -> None:
    x, y, weight = data(3000, k)
    x[::7, 2], x[5, 1], x[6, 1] = np.nan, np.inf, -np.inf
    weight[::11] = 0
    validation = ValidationSet(*data(500, k, seed=2))
    given = {"n_estimators": 12, "early_stopping_rounds": None, "n_jobs": 1, "device": "cpu"}
    whole = BDT(**given).fit(x, y, weight, validation=validation)
    with blocks_of(700):
        watched = ValidationSet(lazy(validation.x), validation.y, validation.weight)
        found = BDT(**given).fit(lazy(x), y, weight, validation=watched)
    assert found.booster_.save_raw("json") == whole.booster_.save_raw("json")
    assert found.history_["validation_loss"] == whole.history_["validation_loss"]
    np.testing.assert_allclose(found.history_["loss"], whole.history_["loss"], rtol=1e-6)  # of single precision


def test_training_stops_at_the_same_round_whatever_the_blocks() -> None:
    x, y, weight = data(3000)
    told: dict[str, list[Any]] = {"whole": [], "found": []}
    validation = ValidationSet(*data(500, seed=2))
    given = {"n_estimators": 300, "early_stopping_rounds": 5, "learning_rate": 0.3, "n_jobs": 1, "device": "cpu"}
    models = {}
    for name, size in (("whole", 10_000), ("found", 700)):
        with blocks_of(size):
            report = lambda done, total, numbers, name=name: told[name].append(sorted(numbers))  # noqa: E731
            models[name] = BDT(**given).fit(x, y, weight, validation=validation, progress=report)
    assert models["found"].best_iteration_ == models["whole"].best_iteration_ < 290
    assert [len(values) for values in models["found"].history_.values()] == [len(models["whole"].history_["loss"])] * 2
    assert told["found"][0] == told["whole"][0] == ["loss", "validation_loss"]


def test_cuts_are_the_same_whatever_the_blocks() -> None:
    x, y, weight = data(3000)
    x[::7, 2] = np.nan
    weight[::11] = 0
    whole = Cuts(generations=5).fit(x, y, weight)
    with blocks_of(700):
        found = Cuts(generations=5).fit(lazy(x), y, weight)
    assert found.windows_[0].to_json() == whole.windows_[0].to_json()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("kind", [Fisher, NaiveBayes, Logistic])
def test_models_that_are_sums_over_rows_differ_by_rounding_alone(kind: Any, k: int) -> None:
    x, y, weight = data(3000, k)
    whole = kind().fit(x, y, weight)
    with blocks_of(700):
        found = kind().fit(lazy(x), y, weight)
    # scikit-learn stops the logistic regression where the gradient is 1e-8; the others are closed forms.
    np.testing.assert_allclose(found.predict_proba(x), whole.predict_proba(x), rtol=1e-5 if kind is Logistic else 1e-9)


def test_an_infinite_value_is_refused_in_blocks_too() -> None:
    x, y, _ = data(3000)
    x[2900, 1] = np.inf
    for model in (Fisher(), MLP(epochs=1)):
        with blocks_of(700), pytest.raises(ValueError, match=r"infinity|too large"):
            model.fit(lazy(x), y)


def recipe_of(tmp_path: Path, spec: dict[str, Any], **further: Any) -> Any:
    content = {
        "data": {"files": "a.root"}, "classes": {"s": "y == 0", "b": "y == 1"},
        "features": [f"f{j}" for j in range(D)], "models": {"model": spec}, **further,
    }  # fmt: skip
    return compile_recipe(check_config(content, {}, tmp_path / "a.yaml"))


SPECS: list[dict[str, Any]] = [
    {"type": "bdt", "n_estimators": 5},
    {"type": "mlp", "hidden": [8], "epochs": 2, "batch_size": 64},
    {"type": "cuts", "features": ["f2", "f0"]},
    {"type": "fisher"},
    {"type": "likelihood", "detectors": {"one": ["f0"], "two": ["f1"]}},
    {"type": "sklearn", "estimator": "sklearn.linear_model.LogisticRegression"},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["type"])
def test_every_model_of_a_run_trains_and_scores_in_blocks_as_in_one(spec: dict[str, Any], tmp_path: Path) -> None:
    x, y, weight = data(2000)
    weight[::9] *= -1
    whole = sample_of(y.astype(np.int64), x=x, weight=weight)
    rows = np.random.default_rng(3).permutation(2000)
    pair = whole.take(rows[:1500]), whole.take(rows[1500:])
    recipe = recipe_of(tmp_path, spec)
    given = recipe.loaded.config.models["model"], [pair], recipe, Resources("cpu", 1), None
    (expected,) = fit_parts("model", *given)
    with blocks_of(400):
        (found,) = fit_parts("model", *given)
        np.testing.assert_allclose(found.scores(x), expected.scores(x), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", ["minmax", "standard", "robust", "quantile"])
def test_scales_of_a_large_sample_are_those_of_an_even_part_of_it(method: Any) -> None:
    x, _, weight = data(40_000)
    x[123, 1] = np.nan  # alone, and yet told by an indicator
    x[77, 3], x[78, 3] = 50, -50
    whole = fit_scaler(x, method)
    with patch.object(scaling, "_MOST_ROWS", 1 << 13), patch.object(scaling, "_BLOCK_ROWS", 1000):
        part = fit_scaler(lazy(x), method)
        again = fit_scaler(lazy(x), method)
        weighted = fit_scaler(lazy(np.concatenate([x, x + 1000])), method, np.concatenate([weight, 0 * weight]))
    assert part.to_json() == again.to_json()
    assert part.indicators == whole.indicators == weighted.indicators == (1,)
    inside = np.abs(x[:, 0]) < 2
    a, b, c = (each.transform(x)[inside] for each in (whole, part, weighted))
    # 8192 of 40,000 rows: the standard deviation of a rank is at most .5 / sqrt(8192) = .006, and 1.4 times that where
    # half of the rows have no weight. Where the density of the normal values of `quantile` is a tenth of its largest,
    # that of a value is .14.
    np.testing.assert_allclose(b[:, 0], a[:, 0], atol=0.14, rtol=0)
    np.testing.assert_allclose(c[:, 0], a[:, 0], atol=0.2, rtol=0)
    assert np.abs(b[:, 0] - a[:, 0]).mean() < 0.02
    if method == "minmax":
        assert part.knots[3].tolist() == whole.knots[3].tolist() == [-50, 50]


def test_scoring_keeps_little_besides_the_scores() -> None:
    x, y, _ = data(5000)
    model = FoldModel((0, 1, 2, 3), fit_scaler(x, "quantile"), Fisher().fit(x, y))
    many = np.tile(x, (60, 1))
    model.scores(many[:5000])
    with blocks_of(4096):
        tracemalloc.start()
        scores = model.scores(many)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < scores.nbytes + 4096 * D * 8 * 8  # eight matrices of a block in float64


def test_training_on_a_large_sample_makes_no_matrix_of_it(tmp_path: Path) -> None:
    x, y, weight = data(120_000)
    whole = sample_of(y.astype(np.int64), x=x, weight=weight)
    recipe = recipe_of(tmp_path, {"type": "fisher"}, scaling="standard")
    given = recipe.loaded.config.models["model"], [(whole, whole)], recipe, Resources("cpu", 1), None
    small = patch.multiple(scaling, _MOST_ROWS=4096, _BLOCK_ROWS=4096), patch.object(missing, "_MOST_ROWS", 4096)
    with blocks_of(4096), small[0], small[1]:
        fit_parts("model", *given)
        tracemalloc.start()
        fit_parts("model", *given)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    weights = 2 * 8 * len(x)  # of training and of validation
    assert peak < weights + 2 * 8 * len(x) + 4096 * D * 8 * 8  # and one further column of them at a time
    assert x.nbytes > 2 * 4096 * D * 8  # so that a copy of the sample would show


# Networks on more data than a table


def table_of(n: int) -> StreamedTable:
    """Features that tell the number of the event."""
    return StreamedTable(np.arange(n, dtype=np.float32)[:, None], np.zeros(n, np.int8), np.ones(n))


def epoch_of(shuffle: BlockShuffle, epoch: int, random: MemberGenerators, n_members: int, batch: int) -> Any:
    """The numbers of the events (steps, members, batch) in the order of an epoch."""
    shuffle.begin_epoch(epoch)
    found = []
    for first in range(0, shuffle.n_steps, 16):  # sixteen steps at a time, as training asks for them
        out = torch.zeros(16, n_members, batch, 4)
        shuffle.fill(out, first, random)
        found.append(out[: min(16, shuffle.n_steps - first), ..., 0])
    return torch.cat(found).numpy().astype(np.int64)


def test_an_epoch_of_blocks_has_every_event_at_most_once_and_nearly_all_of_them() -> None:
    n, batch = 50_000, 32
    with patch.object(streamed, "_BUFFER", 8192), patch.object(streamed, "_BLOCK", 64):
        shuffle = BlockShuffle(table_of(n), batch, 2)
        random = MemberGenerators([1, 2], torch.device("cpu"))
        epochs = [epoch_of(shuffle, epoch, random, 2, batch) for epoch in range(3)]
    left_out = []
    for epoch in epochs:
        for member in range(2):
            counts = np.bincount(epoch[:, member].ravel(), minlength=n)
            assert counts.max() == 1
            assert counts.sum() > 0.985 * n  # a block for each of 7 buffers, and a batch of each
            left_out.append(set(np.flatnonzero(counts == 0).tolist()))
        assert not np.array_equal(epoch[:, 0], epoch[:, 1])  # each member has an order of its own
    assert not set.intersection(*left_out[::2])
    assert not np.array_equal(epochs[0], epochs[1])


def test_each_buffer_is_an_even_sample_however_the_events_are_ordered() -> None:
    n, batch = 50_000, 32
    with patch.object(streamed, "_BUFFER", 8192), patch.object(streamed, "_BLOCK", 64):
        shuffle = BlockShuffle(table_of(n), batch, 1)
        order = epoch_of(shuffle, 0, MemberGenerators([1], torch.device("cpu")), 1, batch)[:, 0]
    late = (order > 0.7 * n).mean(axis=1)  # the share of the last class, if the input is sorted by class
    buffers = [each.mean() for each in np.array_split(late, 7)]
    assert np.ptp(buffers) < 0.02
    # Batches are as different from each other as batches of a full shuffle: binomial, of 32 events.
    assert late.std() == pytest.approx(np.sqrt(0.3 * 0.7 / batch), rel=0.1)


def test_networks_trained_on_blocks_are_as_good_as_those_of_a_full_shuffle() -> None:
    x, y, weight = data(40_000)  # sorted by class, the worst that a file can do
    test_x, test_y, test_weight = data(40_000, seed=9)
    given = {"hidden": [16], "epochs": 3, "batch_size": 64, "learning_rate": 5e-3, "members": 1}
    areas: dict[bool, list[float]] = {True: [], False: []}
    for blocks in (True, False):
        for seed in range(3):
            model = MLP(**given, seed=seed)
            small = patch.multiple(streamed, _BUFFER=4096, _BLOCK=64)
            with small, patch("pidlab.models.mlp.engine.training.LARGEST_TABLE", 1 if blocks else 1 << 40):
                model.fit(x, y, weight)
            areas[blocks].append(roc_auc_score(test_y, model.scores(test_x)[:, 1], sample_weight=test_weight))
    scatter = np.std(areas[False]) + np.std(areas[True])
    assert np.mean(areas[True]) == pytest.approx(np.mean(areas[False]), abs=5e-4 + scatter)


def test_training_on_blocks_gives_the_same_network_again_and_members_do_not_influence_each_other() -> None:
    x, y, weight = data(6000)
    given = {"hidden": [8], "epochs": 2, "batch_size": 64, "dropout": 0.1, "seed": 4}
    with patch.multiple(streamed, _BUFFER=2048, _BLOCK=32), patch("pidlab.models.mlp.engine.training.LARGEST_TABLE", 1):
        one, again, two = (MLP(**given, members=m).fit(x, y, weight) for m in (1, 1, 2))
    for a, b in zip(one.networks_[0].weights, again.networks_[0].weights, strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(one.networks_[0].weights, two.networks_[0].weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_training_on_blocks_resumes_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    x, y, weight = data(6000)
    given = {"hidden": [8], "batch_size": 64, "epochs": 4, "schedule": "constant", "seed": 4}

    class StopError(Exception):
        pass

    def stop(done: int, total: int, numbers: Any) -> None:
        if done == 2:
            raise StopError

    with patch.multiple(streamed, _BUFFER=2048, _BLOCK=32), patch("pidlab.models.mlp.engine.training.LARGEST_TABLE", 1):
        whole = MLP(**given).fit(x, y, weight)
        with pytest.raises(StopError):
            MLP(**given).fit(x, y, weight, progress=stop, checkpoint=tmp_path / "c")
        resumed = MLP(**given).fit(x, y, weight, checkpoint=tmp_path / "c")
    assert np.array_equal(resumed.networks_[0].weights[0], whole.networks_[0].weights[0])


def test_a_table_made_in_blocks_is_the_table_made_at_once() -> None:
    x, y, weight = data(3000)
    from pidlab.models.mlp.engine.batches import as_table

    expected = as_table(*(torch.from_numpy(np.array(each)) for each in (x, y, weight)))
    with blocks_of(700):
        assert torch.equal(StreamedTable(lazy(x), y, weight).whole(torch.device("cpu")), expected)


def test_pairs_are_asked_for_one_at_a_time(tmp_path: Path) -> None:
    x, y, weight = data(1200)
    whole = sample_of(y.astype(np.int64), x=x, weight=weight)
    recipe = recipe_of(tmp_path, {"type": "fisher"})
    asked: list[int] = []

    class Pairs(list[Any]):
        def __getitem__(self, turn: Any) -> Any:
            asked.append(turn)
            rows = np.arange(1200) % 3 == turn
            return whole.take(~rows), whole.take(rows)

    done: list[tuple[int, int]] = []
    spec, given = recipe.loaded.config.models["model"], (recipe, Resources("cpu", 1), None)
    found = fit_parts("model", spec, Pairs([None] * 3), *given)
    assert asked == [0, 1, 2]
    assert len(found) == 3
    mlp = recipe_of(tmp_path, {"type": "mlp", "hidden": [4], "epochs": 2})
    with patch("pidlab.models.training.LARGEST_TABLE", 1):
        fit_parts(
            "model", mlp.loaded.config.models["model"], Pairs([None] * 3), mlp, Resources("cpu", 1),
            lambda now, total, _: done.append((now, total)),
        )  # fmt: skip
    assert done == [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
