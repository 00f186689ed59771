"""The random numbers of training on a GPU, which are the same on every device: orders, dropout and swap noise from
counters, and the layouts that a GPU trains with, tried on the CPU."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from pidlab.models.mlp.engine import layers as mlp_layers
from pidlab.models.mlp.engine import random_numbers
from pidlab.models.mlp.engine.batches import Member, ValidationTensors, as_table
from pidlab.models.mlp.engine.layers import Architecture, parts_of_batch
from pidlab.models.mlp.engine.random_numbers import CounterStreams
from pidlab.models.mlp.engine.trainer import Trained, Trainer, TrainingPlan, quiet_torch

CPU, N, D = torch.device("cpu"), 700, 4
PLAN = TrainingPlan("cross_entropy", "adam", 0.9, 0.01, 0.01, "one_cycle", 32, 4, None)
NETS = {
    "plain": Architecture(D, (6, 5), 1, "tanh"),
    "no hidden layer": Architecture(D, (), 1, "tanh"),
    "three classes, maxout": Architecture(D, (6, 5), 3, "maxout"),
    "dropout and batch norm": Architecture(D, (6, 5), 1, "silu", batch_norm=True, dropout=0.3),
}


def _sample(classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(8)
    label = torch.randint(classes, (N,), generator=generator)
    x = torch.randn(N, D, generator=generator, dtype=torch.float64) + 0.7 * label[:, None]
    return x, label, 0.5 + torch.rand(N, generator=generator, dtype=torch.float64)


def _train(net: Architecture, *, sizes=(None, 500, 300), plan=PLAN, by_column=False, **options) -> list[Trained]:
    x, label, weight = _sample(max(net.n_outputs, 2))
    table = as_table(x, label, weight)
    if by_column:
        table = table.T.contiguous().T
    validation = ValidationTensors(x[:90].clone(), label[:90].clone(), weight[:90].clone())
    members = [
        Member(seed, None if size is None else torch.arange(size), validation if seed % 2 else None)
        for seed, size in enumerate(sizes)
    ]
    resumed = {name: options.pop(name) for name in ("checkpoint", "progress") if name in options}
    with quiet_torch(0):
        return Trainer(table, members, net, plan, **options).run(**resumed)


def _assert_same(found: list[Trained], expected: list[Trained], rtol: float = 1e-9) -> None:
    for one, two in zip(found, expected, strict=True):
        for a, b in zip(
            one.network.weights + one.network.biases, two.network.weights + two.network.biases, strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
        for name in two.history:
            np.testing.assert_allclose(one.history[name], two.history[name], rtol=rtol)


def _streams(*seeds: int, epoch: int = 0) -> CounterStreams:
    streams = CounterStreams(seeds, CPU)
    streams.begin_epoch(epoch, 3)
    return streams


def test_counters_give_the_numbers_of_splitmix64():
    """The first numbers of the published generator started at 1234567 (Vigna's reference implementation)."""
    streams = CounterStreams([0], CPU)
    streams._keys = torch.tensor([[1234567 + 0x9E3779B97F4A7C15 - 2**64]], dtype=torch.int64)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    found = streams._hashed(streams._keys[0], 3)[0].numpy().view(np.uint64)
    assert found.tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_uniform_independent_and_a_members_own(dtype):
    out = torch.empty(3, 20_000, dtype=dtype)
    _streams(1, 2, 3).fill_uniform(out, 1, [0, 1, 2])
    assert out.min() >= 0
    assert out.max() < 1
    for row in out:
        assert kstest(row.numpy(), "uniform").pvalue > 1e-4
    neighbours = torch.stack([out[0, :-1], out[0, 1:], out[1, 1:], out[2, 1:]]).double()
    assert torch.corrcoef(neighbours).fill_diagonal_(0).abs().max() < 4.5 / 20_000**0.5
    alone = torch.empty(1, 20_000, dtype=dtype)
    _streams(2).fill_uniform(alone, 1, [0])
    assert torch.equal(alone[0], out[1])
    for other in ({"epoch": 1}, {}):
        different = torch.empty_like(alone)
        _streams(2, **other).fill_uniform(different, 1 if other else 0, [0])
        assert not torch.equal(different, alone)


def test_orders_are_permutations_of_each_members_events_and_every_order_is_as_likely():
    counts = [5, 3, 5]
    seen = np.zeros((5, 5))
    for epoch in range(2000):
        [(first, orders)] = _streams(1, 2, 3, epoch=epoch).orders(counts, torch.int32)
        assert first == 0
        assert [sorted(orders[i, :n].tolist()) for i, n in enumerate(counts)] == [list(range(n)) for n in counts]
        seen[np.arange(5), orders[0].numpy()] += 1
    assert ((seen - 400) ** 2 / 400).sum() < 45  # chi-square with 16 degrees of freedom: 1.5e-4 above 45


@pytest.mark.parametrize("net", NETS)
def test_members_do_not_know_of_each_other_with_counters(net):
    sizes = (None, 500, 300)
    plan = replace(PLAN, swap_noise=0.2, optimizer="nadam")
    together = _train(NETS[net], sizes=sizes, plan=plan, counted=True)
    for number in range(3):
        first = [None] * number + [sizes[number]]  # the seed is the member's number
        _assert_same([_train(NETS[net], sizes=first, plan=plan, counted=True)[-1]], [together[number]], rtol=1e-8)


def test_members_that_are_shuffled_one_by_one_train_with_the_same_bits(monkeypatch):
    together = _train(NETS["plain"], sizes=(None, 500, 300), counted=True)
    monkeypatch.setattr(random_numbers, "_SORTED_AT_ONCE", 1)  # where the keys of several do not fit into memory
    _assert_same(_train(NETS["plain"], sizes=(None, 500, 300), counted=True), together, rtol=0)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_padded_rows_and_tables_by_column_change_nothing(net, optimizer, monkeypatch):
    plan = replace(PLAN, optimizer=optimizer)
    expected = _train(NETS[net], plan=plan, counted=True)
    monkeypatch.setattr(mlp_layers, "_stored_columns", lambda n, device: n if n == 1 else n + -n % 4)
    _assert_same(_train(NETS[net], plan=plan, counted=True, by_column=True), expected)


@pytest.mark.parametrize("net", ["plain", "no hidden layer", "three classes, maxout"])
@pytest.mark.parametrize("n_parts", [2, 8])
def test_batches_cut_into_parts_change_nothing(net, n_parts):
    plan = replace(PLAN, swap_noise=0.2)
    expected = _train(NETS[net], plan=plan, counted=True)
    _assert_same(_train(NETS[net], plan=plan, counted=True, n_parts=n_parts), expected)


def test_resuming_with_counters_ends_with_the_same_bits(tmp_path):
    class StopError(Exception):
        pass

    def stop(done, total, told):
        if done == 2:
            raise StopError

    net = NETS["dropout and batch norm"]
    whole = _train(net, counted=True)
    with pytest.raises(StopError):
        _train(net, counted=True, progress=stop, checkpoint=tmp_path / "c")
    _assert_same(_train(net, counted=True, checkpoint=tmp_path / "c"), whole, rtol=0)


def test_batches_are_cut_into_parts_where_they_fill_a_gpu_and_nowhere_else():
    gpu, plain = torch.device("cuda"), NETS["plain"]
    assert parts_of_batch(plain, 8, 65536, gpu) == 128
    assert parts_of_batch(plain, 64, 65536, gpu) == 16
    assert parts_of_batch(plain, 8, 1000, gpu) == 1
    for net, members, device in (
        (plain, 8, CPU),
        (plain, 1, gpu),
        (replace(plain, hidden=(256,)), 8, gpu),
        (NETS["dropout and batch norm"], 8, gpu),
    ):
        assert parts_of_batch(net, members, 65536, device) == 1


@pytest.mark.slow
def test_the_gpu_benchmark_runs_where_there_is_no_gpu():
    """In small, with the CPU in the GPU's place, so that it does not rot between the machines that have one."""
    script = Path(__file__).parents[3] / "benchmarks" / "gpu.py"
    parts = [word for name in ("equal", "random") for word in ("--only", name)]
    done = subprocess.run([sys.executable, "-W", "error", script, "--rehearse", *parts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "MISSED" not in done.stdout
    assert done.stdout.count("holds") == 7
