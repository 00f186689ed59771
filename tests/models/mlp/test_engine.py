"""The training loop: against autograd and torch.optim on the same batches; members and folds against separate
trainings; resuming against not stopping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from pidlab.errors import ModelError
from pidlab.models.mlp.engine import trainer as mlp_engine
from pidlab.models.mlp.engine.batches import Batches, Member, ValidationTensors, as_table
from pidlab.models.mlp.engine.cuda_graph import Replay
from pidlab.models.mlp.engine.layers import Architecture
from pidlab.models.mlp.engine.tensors import as_layers, folded_layers, forward
from pidlab.models.mlp.engine.trainer import Trainer, TrainingPlan, quiet_torch

N, D = 230, 4
PLAN = TrainingPlan("cross_entropy", "adam", 0.9, 0.0, 0.01, "one_cycle", 16, 3, None)
TANH = Architecture(D, (6, 5), 1, "tanh")
CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _sample(n=N, dtype=torch.float64, classes=2):
    generator = torch.Generator().manual_seed(8)
    label = torch.randint(classes, (n,), generator=generator)
    x = torch.randn(n, D, generator=generator, dtype=dtype) + 0.7 * label[:, None]
    return x, label, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def _table(**kwargs):
    return as_table(*_sample(**kwargs))


def _validation(dtype=torch.float64):
    x, label, weight = _sample(dtype=dtype)
    return ValidationTensors(x[:90].clone(), label[:90].clone(), weight[:90].clone())


def _train(table, members, architecture=TANH, plan=PLAN, **kwargs):
    with quiet_torch(0):
        return Trainer(table, members, architecture, plan).run(**kwargs)


def _same(one, two, rtol=0.0):
    for a, b in zip(one.network.weights + one.network.biases, two.network.weights + two.network.biases, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    assert one.history.keys() == two.history.keys()
    for name in one.history:
        np.testing.assert_allclose(one.history[name], two.history[name], rtol=rtol, atol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_training_is_that_of_autograd_and_torch_adam_on_the_same_batches(classes):
    table = _table(classes=classes)
    architecture = replace(TANH, n_outputs=1 if classes == 2 else classes)
    plan = replace(PLAN, schedule="constant", weight_decay=0.01)
    trainer = Trainer(table, [Member(3, None, None)], architecture, plan)
    with torch.no_grad():
        layers = folded_layers(trainer.network, 0)
        leaves = [(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in layers]
    optimizer = torch.optim.Adam([t for pair in leaves for t in pair], lr=0.01, weight_decay=0.01)
    generator = torch.Generator().manual_seed(3)
    mean_weight = table[:, -1].mean()
    for _ in range(plan.epochs):
        order = torch.randperm(N, generator=generator, dtype=torch.int32)[: N // 16 * 16]
        for rows in order.view(-1, 16):
            batch = table[rows]
            values = batch[:, :D].T
            for weight, bias in leaves[:-1]:
                values = torch.tanh(weight @ values + bias)
            logits = (leaves[-1][0] @ values + leaves[-1][1]).T
            label = batch[:, D + 1]
            if classes == 2:
                losses = functional.binary_cross_entropy_with_logits(logits[:, 0], label, reduction="none")
            else:
                losses = functional.cross_entropy(logits, label.long(), reduction="none")
            optimizer.zero_grad()
            (losses * batch[:, -1] / mean_weight).mean().backward()
            optimizer.step()
    with quiet_torch(0):
        network = trainer.run()[0].network
    for (weight, bias), found_weight, found_bias in zip(leaves, network.weights, network.biases, strict=True):
        np.testing.assert_allclose(found_weight, weight.detach().numpy(), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(found_bias, bias.detach().numpy()[:, 0], rtol=1e-8, atol=1e-10)


VARIANTS = {
    "plain": TANH,
    "dropout": replace(TANH, dropout=0.3),
    "batch norm": replace(TANH, batch_norm=True, activation="relu"),
    "maxout": replace(TANH, activation="maxout", dropout=0.2, batch_norm=True),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_members_do_not_know_of_each_other(variant):
    table, validation = _table(), _validation()
    plan = replace(PLAN, patience=1)
    members = [Member(seed, None, validation) for seed in (1, 2, 3)]
    together = _train(table, members, VARIANTS[variant], plan)
    for member, found in zip(members, together, strict=True):
        _same(found, _train(table, [member], VARIANTS[variant], plan)[0], rtol=1e-8)
    assert not np.allclose(together[0].network.weights[0], together[1].network.weights[0])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "nadam"])
def test_folds_of_different_size_train_as_if_alone(variant, optimizer, monkeypatch):
    """Members whose epochs end at different steps: 14, 13 and 8 of 16 events."""
    monkeypatch.setattr("pidlab.models.mlp.engine.batches._CHUNK_STEPS", 4)
    table = _table()
    sizes = (230, 220, 130)
    members = [Member(seed, torch.arange(size), None) for seed, size in enumerate(sizes)]
    plan = replace(PLAN, optimizer=optimizer, weight_decay=0.02)
    together = _train(table, members, VARIANTS[variant], plan)
    for seed, (size, found) in enumerate(zip(sizes, together, strict=True)):
        alone = _train(table[:size].clone(), [Member(seed, None, None)], VARIANTS[variant], plan)[0]
        _same(found, alone, rtol=1e-8)


def test_folds_of_different_size_do_so_in_single_precision():
    """Where one-kernel Adam would be taken, were there one rate for all."""
    table = _table(dtype=torch.float32)
    members = [Member(seed, torch.arange(size), None) for seed, size in enumerate((230, 130))]
    for seed, found in enumerate(_train(table, members)):
        alone = _train(table[: (230, 130)[seed]].clone(), [Member(seed, None, None)])[0]
        _same(found, alone, rtol=1e-4)


def test_every_epoch_has_an_order_of_its_own_and_no_event_twice():
    table = torch.arange(N, dtype=torch.float64)[:, None].expand(N, D + 3).contiguous()
    architecture = Architecture(D, (), 1, "tanh")
    batches = Batches(table, [Member(1, None, None)], architecture, 16)
    seen = []
    for epoch in range(2):
        batches.shuffle(epoch)
        batches.fill(0)
        rows = torch.cat([inputs[0, 0] for inputs in batches.inputs[: N // 16]])
        assert len(rows.unique()) == len(rows) == N // 16 * 16
        seen.append(rows)
    assert not torch.equal(*seen)


def test_swap_noise_replaces_its_share_of_the_features_by_those_of_other_events_and_nothing_else():
    n, batch = 4096, 256
    features = torch.arange(n, dtype=torch.float64)[:, None] + n * torch.arange(D)
    table = torch.cat([features, torch.ones(n, 1), torch.arange(n)[:, None] % 2, torch.arange(n)[:, None]], 1)
    batches = Batches(table, [Member(1, None, None)], Architecture(D, (), 1, "tanh"), batch, 0.2)
    batches.shuffle(0)
    batches.fill(0)
    rows = torch.stack([inputs[0].mT for inputs in batches.inputs])  # (steps, batch, D + 1)
    event = (batches.all_weights[:, 0, 0] * batch * table[:, -1].mean()).round()
    came_from = rows[..., :D] - n * torch.arange(D)
    is_own = came_from == event[..., None]
    assert (~is_own).double().mean(dim=(0, 1)).numpy() == pytest.approx(0.2, abs=0.03)  # of 4096 values of a feature
    for step in range(len(rows)):
        assert torch.isin(came_from[step], event[step]).all()
    assert (rows[..., D] == 1).all()
    assert torch.equal(batches.all_targets[:, 0, 0], event % 2)


class _StopError(Exception):
    pass


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nadam"])
def test_resumed_training_ends_with_the_same_bits(variant, optimizer, tmp_path):
    table = _table(dtype=torch.float32)
    members = [Member(seed, None, _validation(torch.float32)) for seed in (1, 2)]
    plan = replace(PLAN, epochs=6, patience=3, optimizer=optimizer)
    whole = _train(table, members, VARIANTS[variant], plan)

    def stop(done, total, numbers):
        if done == 3:
            raise _StopError

    with pytest.raises(_StopError):
        _train(table, members, VARIANTS[variant], plan, progress=stop, checkpoint=tmp_path / "c")
    epochs = []
    resumed = _train(
        table,
        members,
        VARIANTS[variant],
        plan,
        progress=lambda done, total, numbers: epochs.append(done),
        checkpoint=tmp_path / "c",
    )
    assert epochs[0] == 4
    for one, two in zip(whole, resumed, strict=True):
        _same(one, two)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    ("table", "plan", "members"),
    [
        (_table() * 2, PLAN, [Member(1, None, None)]),
        (_table(), replace(PLAN, learning_rate=0.02), [Member(1, None, None)]),
        (_table(), PLAN, [Member(2, None, None)]),
    ],
    ids=["data", "plan", "seed"],
)
def test_a_checkpoint_of_another_training_is_refused(table, plan, members, tmp_path):
    _train(_table(), [Member(1, None, None)], checkpoint=tmp_path / "c")
    with pytest.raises(ModelError, match="checkpoint of a training with other data or parameters; delete it"):
        _train(table, members, plan=plan, checkpoint=tmp_path / "c")


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "c").write_bytes(b"\x00" * 50)
    with pytest.raises(ModelError, match="c: cannot be read as a checkpoint"):
        _train(_table(), [Member(1, None, None)], checkpoint=tmp_path / "c")


def test_the_best_weights_are_kept():
    """Labels of the validation sample are turned round: its loss rises from the first epoch on."""
    validation = _validation()
    against = ValidationTensors(validation.x, 1 - validation.label, validation.weight)
    plan = replace(PLAN, epochs=20, patience=4, schedule="constant")
    found = _train(_table(), [Member(1, None, against)], plan=plan)[0]
    losses = found.history["validation_loss"]
    assert int(np.argmin(losses)) == 0
    assert len(losses) == 5
    first = _train(_table(), [Member(1, None, None)], plan=replace(plan, epochs=1))[0]
    for a, b in zip(found.network.weights, first.network.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_history_is_that_of_the_network_on_these_events():
    validation = _validation()
    found = _train(_table(), [Member(1, None, validation)])[0]
    logits = forward(as_layers(found.network, CPU), "tanh", validation.x)[0]
    losses = functional.binary_cross_entropy_with_logits(logits, validation.label.double(), reduction="none")
    expected = (losses * validation.weight).sum() / validation.weight.sum()
    assert found.history["validation_loss"][-1] == pytest.approx(expected.item(), rel=1e-10)
    assert len(found.history["loss"]) == len(found.history["validation_auc"]) == 3


def test_divergence_is_an_error_with_advice():
    table = _table(dtype=torch.float32)
    table[:, :D] *= 1e30
    plan = replace(PLAN, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(ModelError, match="diverged: the loss is not finite after epoch 1; lower learning_rate"):
        _train(table, [Member(1, None, None)], Architecture(D, (6,), 1, "relu"), plan)


def test_torch_is_left_as_it_was_found():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.manual_seed(7)
    first = _train(_table(), [Member(1, None, None)])[0]
    torch.manual_seed(8)
    before = torch.get_rng_state()
    second = _train(_table(), [Member(1, None, None)])[0]
    _same(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    torch.set_rng_state(state)


@pytest.mark.parametrize(("widest", "expected"), [(mlp_engine.WIDE - 1, 1), (mlp_engine.WIDE, 2)])
def test_only_small_networks_take_one_thread(widest, expected):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with quiet_torch(widest):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_without_cuda_a_replay_is_the_work_itself():
    calls = []
    replay = Replay(lambda first, last: calls.append((first, last)), CPU)
    replay(0, 3)
    replay(0, 3)
    assert calls == [(0, 3), (0, 3)]
    assert not replay.captures


@needs_cuda
@pytest.mark.parametrize("variant", VARIANTS)
def test_cuda_graphs_change_nothing(variant, monkeypatch):
    table = _table(n=2000).cuda()
    members = [Member(seed, torch.arange(2000 - 100 * seed).cuda(), None) for seed in (0, 1)]
    captured = _train(table, members, VARIANTS[variant])
    monkeypatch.setattr(Replay, "_capture", lambda self, bounds: None)
    for one, two in zip(captured, _train(table, members, VARIANTS[variant]), strict=True):
        _same(one, two, rtol=1e-9)


@needs_cuda
def test_cuda_graphs_are_captured():
    trainer = Trainer(_table(n=2000).cuda(), [Member(1, None, None)], TANH, PLAN)
    with quiet_torch(0):
        trainer.run()
    assert trainer._replay.captures
    assert any(graph is not None for graph in trainer._replay._graphs.values())
