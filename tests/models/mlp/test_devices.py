"""Members spread over several devices train as they do together; tried with the CPU in the place of each GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pidlab.models.base import ValidationSet
from pidlab.models.mlp.engine import devices
from pidlab.models.mlp.engine.devices import n_shares
from pidlab.models.mlp.engine.layers import Architecture
from pidlab.models.mlp.estimator import MLP

CPU = torch.device("cpu")
OPTIONS = {"hidden": [6], "activation": "tanh", "batch_size": 32, "learning_rate": 0.03, "device": "cpu"}


def _sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 0.7 * y[:, None], y  # float64: what is left is rounding


def _validation(seed: int = 2) -> ValidationSet:
    x, y = _sample(150, seed)
    return ValidationSet(x, y, np.ones(len(y)))


def _spread_over(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "devices_for", lambda *_: [CPU] * n)


def _assert_same(found: MLP, expected: MLP, rtol: float = 1e-9) -> None:
    assert len(found.networks_) == len(expected.networks_)
    for one, two in zip(found.networks_, expected.networks_, strict=True):
        for a, b in zip(one.weights + one.biases, two.weights + two.biases, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    assert found.history_.keys() == expected.history_.keys()
    for name, values in expected.history_.items():
        np.testing.assert_allclose(found.history_[name], values, rtol=rtol)


@pytest.mark.parametrize("n_devices", [2, 3])
def test_folds_and_members_on_several_devices_train_as_together(n_devices, monkeypatch):
    x, y = _sample(900, 1)
    rows = np.arange(900)
    folds = [(np.flatnonzero(rows % 4 != k), np.flatnonzero(rows % 4 == k)) for k in range(4)]
    model = MLP(**OPTIONS, members=2, epochs=12, patience=3)
    expected = model.fit_folds(x, y, folds=folds)
    lengths = [len(fold.history_["loss"]) for fold in expected]
    assert min(lengths) < max(lengths)  # one device has nothing left to do while the others go on
    _spread_over(n_devices, monkeypatch)
    told = []
    found = model.fit_folds(x, y, folds=folds, progress=lambda done, total, numbers: told.append((done, numbers)))
    for one, two in zip(found, expected, strict=True):
        _assert_same(one, two)
    assert [done for done, _ in told] == list(range(1, max(lengths) + 1))
    assert all(np.isfinite(list(numbers.values())).all() for _, numbers in told)


def test_variants_on_several_devices_are_pruned_by_their_own_numbers(monkeypatch):
    x, y = _sample(600, 1)
    variants = [{"learning_rate": rate} for rate in (0.03, 1e-6, 0.02, 1e-7, 0.01)]

    def worst(done: int, total: int, areas) -> list[int]:
        return [min(areas, key=areas.__getitem__)] if done in (2, 4) else []

    def trained() -> list[MLP]:
        model = MLP(**OPTIONS, epochs=6)
        return model.fit_variants(x, y, variants=variants, validation=_validation(), pruner=worst)

    expected = trained()
    assert sorted(len(model.history_["loss"]) for model in expected) == [2, 4, 6, 6, 6]
    _spread_over(3, monkeypatch)
    for one, two in zip(trained(), expected, strict=True):
        _assert_same(one, two)


def test_a_training_on_several_devices_resumes_with_the_same_bits(tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    def stop(done: int, total: int, numbers) -> None:
        if done == 3:
            raise StopError

    x, y = _sample(600, 1)
    model, options = MLP(**OPTIONS, members=3, epochs=6, dropout=0.2), {"validation": _validation()}
    _spread_over(2, monkeypatch)
    whole = MLP(**model.get_params()).fit(x, y, **options)
    with pytest.raises(StopError):
        model.fit(x, y, **options, progress=stop, checkpoint=tmp_path / "c")
    left = []
    resumed = model.fit(x, y, **options, progress=lambda done, *_: left.append(done), checkpoint=tmp_path / "c")
    assert left == [4, 5, 6]
    _assert_same(resumed, whole, rtol=0)


def test_members_are_spread_where_each_device_has_enough_to_do():
    small, wide = Architecture(3, (20, 20), 1, "tanh"), Architecture(20, (256, 256, 256), 1, "tanh")
    assert n_shares(4, 64, small, 512) == 1  # 1.3 million values a step: 60 us, of which 50 us are there anyway
    assert n_shares(4, 64, small, 4096) == 2
    assert n_shares(4, 64, small, 65536) == 4
    assert n_shares(4, 1, wide, 65536) == 1  # a member is not cut
    assert n_shares(4, 3, wide, 65536) == 3
