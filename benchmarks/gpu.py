"""The network's engine on a GPU: is it right, and how fast is it there.

    python benchmarks/gpu.py [--only NAME] [--json FILE] [--markdown FILE] [--rehearse]

Needs torch, numpy, scipy, scikit-learn, numba and safetensors, and a GPU; without installing pidlab: PYTHONPATH=src.
With xgboost, with onnx and onnxruntime-gpu, and with several GPUs what these add is measured too.
First every piece of the engine is trained on the CPU and on the GPU from the same random numbers and compared, then
rates are measured in one table. Rates are per second of the clock, once the graphs are captured. The CPU beside the GPU
trains small networks on one thread, as pidlab does, and wide ones on all. Takes about five minutes.

`--rehearse` runs the same lines in small, with the CPU in the GPU's place, to try the script where there is no GPU; the
figures then mean nothing.
"""

from __future__ import annotations

import math
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from network import CLOSE, network, standardised, tutorial
from rows import Part, Row, arguments_of, at_least, at_most, run, shown
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from pidlab.errors import PidlabError
from pidlab.models.base import ValidationSet
from pidlab.models.mlp.engine import trainer as mlp_engine
from pidlab.models.mlp.engine.batches import Batches, Member, ValidationTensors, as_table
from pidlab.models.mlp.engine.devices import spread
from pidlab.models.mlp.engine.layers import ACTIVATIONS, Architecture
from pidlab.models.mlp.engine.losses.classes import LOSSES
from pidlab.models.mlp.engine.losses.core import CORE_LOSSES
from pidlab.models.mlp.engine.optimizers import OPTIMIZERS, SCHEDULES
from pidlab.models.mlp.engine.tensors import as_layers, forward
from pidlab.models.mlp.engine.trainer import Trained, Trainer, TrainingPlan, quiet_torch, run_together
from pidlab.models.mlp.estimator import MLP

SMALL, WIDE = (3, 20, 20, 1), (20, 256, 256, 256, 1)
BATCHES = (128, 512, 4096, 65536)
MEMBERS = (1, 8, 64)
LONGEST = 330.0  # seconds of the whole script after which nothing more is compiled by torch.compile
START = time.perf_counter()


@dataclass
class Machine:
    """What is measured, and how much of it."""

    device: torch.device
    rehearsal: bool

    @property
    def seconds(self) -> float:
        """For how long a rate is measured."""
        return 0.02 if self.rehearsal else 1.0

    def wait(self) -> None:
        """Let the device finish."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


MACHINE = Machine(torch.device("cuda" if torch.cuda.is_available() else "cpu"), False)

# -- is it right ------------------------------------------------------------------------------------------------------

N, D = 1500, 5
PLAN = TrainingPlan("cross_entropy", "adam", 0.9, 0.0, 0.01, "one_cycle", 64, 4, None)
NET = Architecture(D, (7, 6), 1, "tanh")


def sample(classes: int = 2, dtype: torch.dtype = torch.float64, seed: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (N,), generator=generator)
    x = torch.randn(N, D, generator=generator, dtype=dtype) + 0.7 * label[:, None]
    return x, label, 0.5 + torch.rand(N, generator=generator, dtype=torch.float64)


def targets(x: Tensor, loss: str) -> Tensor:
    """(n, 1) numbers to fit, of which every seventh is missing, or for `core` (n, 3) with the limits of a window."""
    noise = torch.randn(len(x), 1, generator=torch.Generator().manual_seed(7), dtype=x.dtype)
    y = x[:, :1].sin() + (0.5 + 0.1 * x[:, 1:2].abs()) * noise
    y[::7] = torch.nan
    return torch.cat([y, torch.full_like(y, -3.0), torch.full_like(y, 3.0)], 1) if loss == "core" else y


def train(
    device: torch.device,
    architecture: Architecture = NET,
    plan: TrainingPlan = PLAN,
    *,
    classes: int = 2,
    dtype: torch.dtype = torch.float64,
    sizes: Sequence[int | None] = (None, None),
    rates: Sequence[float | None] = (None, None),
    watch: bool = True,
    n_parts: int | None = None,
    **options: object,
) -> tuple[list[Trained], Trainer]:
    """Members of the given numbers of events (None: all) on `device`, with the random numbers that a GPU draws."""
    data, watched = sample(classes, dtype), sample(classes, dtype, seed=9)
    if plan.loss in CORE_LOSSES:
        data, watched = ((x, targets(x, plan.loss), weight) for x, _, weight in (data, watched))
    x, label, weight = (tensor.to(device) for tensor in data)
    validation = ValidationTensors(*(tensor.to(device) for tensor in watched)) if watch else None
    members = [
        Member(seed, None if size is None else torch.arange(size, device=device), validation, learning_rate=rate)
        for seed, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    ]
    with quiet_torch(0):
        trainer = Trainer(as_table(x, label, weight), members, architecture, plan, counted=True, n_parts=n_parts)
        return trainer.run(**options), trainer


def numbers(trained: Sequence[Trained]) -> np.ndarray:
    """All weights, biases and histories in one vector."""
    parts = [np.ravel(a) for t in trained for a in (*t.network.weights, *t.network.biases)]
    return np.concatenate([*parts, *(np.array(values) for t in trained for values in t.history.values())])


def deviation(found: Sequence[Trained], expected: Sequence[Trained]) -> float:
    """|found - expected| / |expected|; infinite where the trainings have different lengths."""
    a, b = numbers(found).astype(float), numbers(expected).astype(float)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b)) if len(a) == len(b) else math.inf


def compared(
    architecture: Architecture = NET, plan: TrainingPlan = PLAN, n_parts: int | None = None, **options: object
) -> float:
    """Deviation of a training on the device, with its batches cut into `n_parts`, from the same one on the CPU."""
    on_device, trainer = train(MACHINE.device, architecture, plan, n_parts=n_parts, **options)
    if MACHINE.device.type == "cuda" and not (trainer._replay.captures and trainer._replay.n_replays):
        return math.inf
    return deviation(on_device, train(torch.device("cpu"), architecture, plan, **options)[0])


def cases() -> Iterator[tuple[str, Callable[[], float]]]:
    """What is trained on both devices in double precision."""
    for name in ACTIVATIONS:
        yield f"activation {name}", lambda name=name: compared(replace(NET, activation=name))
    for name in LOSSES:
        yield f"loss {name}", lambda name=name: compared(plan=replace(PLAN, loss=name))
        three = replace(NET, n_outputs=3)
        yield f"loss {name}, 3 classes", lambda name=name, net=three: compared(net, replace(PLAN, loss=name), classes=3)
    for name in CORE_LOSSES:
        fitted = replace(NET, n_outputs=5 if name == "core" else 2)
        yield f"loss {name} of a regression", lambda name=name, net=fitted: compared(net, replace(PLAN, loss=name))
    for name in OPTIMIZERS:
        rate = 1e-3 if name in ("sgd", "rmsprop") else 1e-2
        plan = replace(PLAN, optimizer=name, weight_decay=0.01, learning_rate=rate)
        yield f"optimiser {name}, weight decay", lambda plan=plan: compared(plan=plan)
        yield f"optimiser {name}, rates of their own", lambda plan=plan: compared(plan=plan, rates=(1e-3, 2e-3))
    for name in SCHEDULES:
        yield f"schedule {name}", lambda name=name: compared(plan=replace(PLAN, schedule=name))
    noisy = replace(PLAN, swap_noise=0.2)
    both = replace(NET, dropout=0.2, batch_norm=True, activation="maxout")
    yield "no hidden layer", lambda: compared(replace(NET, hidden=()))
    yield "dropout", lambda: compared(replace(NET, dropout=0.3))
    yield "batch norm", lambda: compared(replace(NET, batch_norm=True))
    yield "swap noise", lambda: compared(plan=noisy)
    yield "maxout, dropout, batch norm, swap noise", lambda: compared(both, noisy)
    yield "folds of 1500, 1100 and 400 events", lambda: compared(sizes=(None, 1100, 400), rates=(None,) * 3)
    yield "the same with all of it", lambda: compared(both, noisy, sizes=(None, 1100, 400), rates=(None,) * 3)
    yield "batches cut into parts", lambda: compared(n_parts=4, sizes=(None, 1100))
    yield "early stopping", lambda: compared(plan=replace(PLAN, epochs=40, patience=2, learning_rate=0.05))


def equal_to_cpu() -> list[Row]:
    """Double precision, so that what is left is rounding: the worst of all cases, and each that fails."""
    found = {name: case() for name, case in cases()}
    worst = max(found, key=found.__getitem__)
    rows = [at_most(f"training as on the CPU: {name}", value, 1e-8) for name, value in found.items() if value > 1e-8]
    rows.append(at_most(f"training as on the CPU, worst of {len(found)} cases", found[worst], 1e-8, worst))
    plan = replace(PLAN, epochs=2, learning_rate=1e-3)
    single = compared(plan=plan, dtype=torch.float32)
    return [*rows, at_most("the same in single precision, 46 steps", single, 1e-5)]


def same_bits() -> list[Row]:
    """What must give the same bits on one device."""
    device, plan = MACHINE.device, replace(PLAN, epochs=8, patience=3)
    net, single = replace(NET, dropout=0.2), torch.float32
    first, trainer = train(device, net, plan, dtype=single)
    again, _ = train(device, net, plan, dtype=single)
    rows = [at_most("two trainings from one seed differ by", deviation(again, first), 0)]
    plain, _ = _without_graphs(net, plan)
    rows += [
        at_least("pieces of epochs that were replayed from a graph", trainer._replay.n_replays, 4),
        at_most("training without graphs differs by", deviation(plain, first), 0),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        try:
            train(device, net, plan, dtype=single, checkpoint=path, progress=_stop_after_3)
        except _StopError:
            resumed, _ = train(device, net, plan, dtype=single, checkpoint=path)
            rows.append(at_most("a training resumed after 3 of 8 epochs differs by", deviation(resumed, first), 0))
    alone, _ = train(device, net, plan, sizes=(None,), rates=(None,))
    beside, _ = train(device, net, plan, sizes=(None, 1100), rates=(None, None))
    return [*rows, at_most("a member beside another differs from it alone by", deviation(beside[:1], alone), 1e-8)]


class _StopError(Exception):
    pass


def _stop_after_3(done: int, total: int, told_so_far: object) -> None:
    if done == 3:
        raise _StopError


def _without_graphs(net: Architecture, plan: TrainingPlan) -> tuple[list[Trained], Trainer]:
    kept = mlp_engine.Replay._capture
    mlp_engine.Replay._capture = lambda self, bounds: None  # type: ignore[method-assign]
    try:
        return train(MACHINE.device, net, plan, dtype=torch.float32)
    finally:
        mlp_engine.Replay._capture = kept  # type: ignore[method-assign]


def randomness() -> list[Row]:
    """Orders and masks: what they must be on average, in units of their standard deviation."""
    n, units, rate = 40_000, 50, 0.3
    x = torch.randn(n, D, device=MACHINE.device)
    label, weight = torch.zeros(n, device=MACHINE.device), torch.ones(n, device=MACHINE.device)
    members = [Member(seed, None, None) for seed in range(4)]
    batches = Batches(as_table(x, label, weight), members, Architecture(D, (units,), 1, "tanh", False, rate), 500)
    batches.shuffle(0)
    batches.fill(0)
    first = batches._order.clone()
    masks = torch.stack([step[0] for step in batches.masks], 1)  # (members, steps, units, batch)
    kept = (masks > 0).double()
    deviations = (kept.mean((1, 2, 3)) - (1 - rate)) / math.sqrt(rate * (1 - rate) / kept[0].numel())
    values = masks[masks > 0].unique()
    pairs = [(kept[a] * kept[b]).mean() - (1 - rate) ** 2 for a in range(4) for b in range(a)]
    sigma = math.sqrt((1 - rate) ** 2 * (1 - (1 - rate) ** 2) / kept[0].numel())
    batches.shuffle(1)
    whole = [torch.equal(order.sort().values, torch.arange(n, device=MACHINE.device)) for order in first.long()]
    place = torch.stack([first[0].double(), first[1].double(), batches._order[0].double(), torch.arange(n).to(first)])
    correlation = torch.corrcoef(place.double()).fill_diagonal_(0).abs().max() * math.sqrt(n)
    return [
        at_least("orders of events that hold each event once", sum(whole), 4, "of 4 members"),
        at_most("correlation of two orders, in standard deviations", correlation, 4.5, "largest of 6"),
        at_most("share of units that dropout keeps, in standard deviations", deviations.abs().max(), 4.5, "of 4"),
        at_most("masks of two members agree by chance, in standard deviations", max(map(abs, pairs)) / sigma, 4.5),
        at_most("kept units are multiplied by 1 / (1 - rate), wrong by", (values * (1 - rate) - 1).abs().max(), 1e-6),
    ]


def scores_as_on_the_cpu() -> list[Row]:
    x, y, _ = standardised()
    x, y = x[:20_000], y[:20_000]
    rows = []
    for name, hidden in (("20, 20", [20, 20]), ("256, 256, 256", [256] * 3)):
        model = MLP(hidden=hidden, epochs=3, device=MACHINE.device.type).fit(x, y)
        on_device = model.predict_proba(x)
        scores = model.scores(x)
        model.set_params(device="cpu")
        expected = model.predict_proba(x)
        rows.append(at_most(f"probabilities as on the CPU, {name}", np.abs(on_device - expected).max(), 1e-12))
        rows.append(at_most(f"scores as the CPU's probabilities, {name}", np.abs(scores - expected).max(), 2e-6))
    return rows


# -- how fast is it ---------------------------------------------------------------------------------------------------


class _EnoughError(Exception):
    pass


def gaussian_classes(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    return rng.normal(0, 1, (n, d)).astype(np.float32) + 0.3 * y[:, None].astype(np.float32), y


def own_rate(device: torch.device, sizes: Sequence[int], n_members: int, batch: int, n_steps: int) -> float:
    """Member-steps a second of whole epochs of `n_steps`, the first two (which capture the graphs) left out."""
    x, y = gaussian_classes(n_steps * batch, sizes[0])
    table = as_table(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device), torch.ones(len(y), device=device))
    members = [Member(seed, None, None) for seed in range(n_members)]
    plan = TrainingPlan("cross_entropy", "adam", 0.9, 0.0, 1e-3, "constant", batch, 10_000, None)
    stamps: list[float] = []

    def report(done: int, total: int, so_far: object) -> None:
        stamps.append(time.perf_counter())
        if done >= 4 and stamps[-1] - stamps[1] > MACHINE.seconds:
            raise _EnoughError

    architecture = Architecture(sizes[0], tuple(sizes[1:-1]), 1, "tanh")
    with quiet_torch(max(architecture.hidden)):
        try:
            Trainer(table, members, architecture, plan).run(report)
        except _EnoughError:
            return n_members * n_steps / float(np.median(np.diff(stamps[1:])))
    raise AssertionError("never fast enough to reach 10,000 epochs")


def tutorial_rate(sizes: Sequence[int], batch: int) -> float:
    """Steps a second of the tutorial's loop, its model on the device."""
    x, y = gaussian_classes(max(20_000, 4 * batch), sizes[0])
    _, steps = tutorial(x, y, tuple(sizes), batch, MACHINE.device.type)
    next(steps)
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < MACHINE.seconds:
        next(steps)
        n += 1
    return n / (time.perf_counter() - start)


def compiled_rate(sizes: Sequence[int], batch: int) -> tuple[float, float]:
    """Steps a second of a careful loop under torch.compile, and the seconds that it took to compile.

    The data lie on the device, the model is compiled with CUDA graphs, and Adam is torch's fused one.
    """
    x, y = gaussian_classes(max(20_000, 4 * batch), sizes[0])
    device = MACHINE.device
    inputs, targets = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device, torch.float32)[:, None]
    model = network(tuple(sizes))[:-1].to(device)  # logits
    compiled = torch.compile(model, mode="reduce-overhead", dynamic=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss_function = nn.BCEWithLogitsLoss()

    def steps() -> Iterator[None]:
        while True:
            order = torch.randperm(len(inputs), device=device)
            for first in range(0, len(order) - batch + 1, batch):
                rows = order[first : first + batch]
                torch.compiler.cudagraph_mark_step_begin()
                loss = loss_function(compiled(inputs[rows]), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield

    loop, start = steps(), time.perf_counter()
    for _ in range(10):
        next(loop)
    MACHINE.wait()
    warm, n = time.perf_counter(), 0
    while time.perf_counter() - warm < MACHINE.seconds:
        for _ in range(10):
            next(loop)
        MACHINE.wait()
        n += 10
    return n / (time.perf_counter() - warm), warm - start


def ceilings() -> dict[str, float]:
    """Bytes a second of a large copy, operations a second of a large product in single precision and in TF32."""
    device, size = MACHINE.device, 512 if MACHINE.rehearsal else 8192
    a, b, c = (torch.randn(size, size, device=device) for _ in range(3))
    found = {}
    for name, precision in (("float32", "highest"), ("tf32", "high")):
        torch.set_float32_matmul_precision(precision)
        found[name] = 2 * size**3 / _seconds(lambda: torch.mm(a, b, out=c))
    torch.set_float32_matmul_precision("highest")
    long = torch.empty(1 << (20 if MACHINE.rehearsal else 29), device=device)
    other = torch.empty_like(long)
    found["copy"] = 8 * len(long) / _seconds(lambda: other.copy_(long))
    return found


def _seconds(work: Callable[[], object], repeats: int = 10) -> float:
    work()
    MACHINE.wait()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    MACHINE.wait()
    return (time.perf_counter() - start) / repeats


def operations(sizes: Sequence[int]) -> int:
    """Floating-point operations of one event's step: two for each weight in each of the three matrix products."""
    return 6 * sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


def moved(sizes: Sequence[int]) -> int:
    """Bytes of one event's step: each unit's value or gradient is written or read eleven times, each input twice."""
    return 4 * (2 * (sizes[0] + 1) + 11 * sum(sizes[1:-1]))


@dataclass(frozen=True)
class Rate:
    """Training of one network with one batch size.

    Attributes:
        sizes, members, batch: what trains.
        own: member-steps a second on the device.
        arithmetic, bandwidth: shares of a large matrix product's operations and of a large copy's bytes a second.
        cpu, tutorial, compiled: member-steps a second of the others; None where they were not measured.
        compiling: seconds that torch.compile took, or why there is no figure.
    """

    sizes: tuple[int, ...]
    members: int
    batch: int
    own: float
    arithmetic: float
    bandwidth: float
    cpu: float | None
    tutorial: float | None
    compiled: float | None
    compiling: str

    def rows(self) -> Iterator[Row]:
        name = f"{_text(self.sizes)}, {self.members} member{'s' * (self.members > 1)}, batch {self.batch}: "
        shares = f"{self.arithmetic:.1%} of arithmetic, {self.bandwidth:.1%} of bandwidth"
        yield shown(name + "member-steps/s", self.own, shares)
        others = (("the CPU", self.cpu), ("the tutorial's loop on it", self.tutorial))
        for other, rate in others:
            if rate is not None:
                yield shown(f"{name}times {other}", self.own / rate, f"{rate:,.0f} steps/s")
        if self.compiled is not None:
            detail = f"{self.compiled:,.0f} steps/s, {self.compiling}"
            yield shown(name + "times torch.compile on it", self.own / self.compiled, detail)


def _text(sizes: Sequence[int]) -> str:
    return "-".join(map(str, sizes))


RATES: list[Rate] = []


def training_rates() -> Iterator[Row]:
    top = ceilings()
    yield shown("a copy in device memory, TB/s", top["copy"] / 1e12)
    yield shown("a large matrix product, Tflop/s", top["float32"] / 1e12, f"TF32: {top['tf32'] / 1e12:.0f}")
    for sizes, members in [(SMALL, members) for members in MEMBERS] + [(WIDE, 1)]:
        for batch in BATCHES[:1] if MACHINE.rehearsal else BATCHES:
            RATES.append(_rate(sizes, members, batch, top))
            yield from RATES[-1].rows()


def _rate(sizes: tuple[int, ...], members: int, batch: int, top: dict[str, float]) -> Rate:
    n_steps = 20 if MACHINE.rehearsal else max(8, min(1600, 2**21 // (batch * max(1, members // 8))))
    own = own_rate(MACHINE.device, sizes, members, batch, n_steps)
    peak = top["tf32" if MACHINE.device.type == "cuda" and max(sizes) >= mlp_engine.WIDE else "float32"]
    few = max(2, min(n_steps, 2**21 // (batch * members)))
    affordable = batch * members < 2**20  # beyond it an epoch on one thread takes minutes
    cpu = own_rate(torch.device("cpu"), sizes, members, batch, few) if affordable else None
    loop = tutorial_rate(sizes, batch) if members == 1 else None
    compiled, compiling = _compiled(sizes, batch) if members == 1 else (None, "")
    arithmetic, bandwidth = own * batch * operations(sizes) / peak, own * batch * moved(sizes) / top["copy"]
    return Rate(sizes, members, batch, own, arithmetic, bandwidth, cpu, loop, compiled, compiling)


def _compiled(sizes: Sequence[int], batch: int) -> tuple[float | None, str]:
    if time.perf_counter() - START > LONGEST or MACHINE.rehearsal:
        return None, "no time left to compile"
    try:
        rate, seconds = compiled_rate(sizes, batch)
    except Exception as error:  # whatever a compiler says, the other rows are still wanted
        return None, f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    return rate, f"{seconds:.0f} s to compile"


def precision() -> list[Row]:
    """A wide network trained in TF32 and in single precision, from the same seeds."""
    n = 6_000 if MACHINE.rehearsal else 400_000
    x, y = gaussian_classes(n, WIDE[0])
    x[:, 1] += 0.5 * x[:, 0] ** 2 * y
    half = n // 2
    epochs = 1 if MACHINE.rehearsal else 6
    areas, seconds = [], []
    for wide in (mlp_engine.WIDE, 10**9):
        kept, mlp_engine.WIDE = mlp_engine.WIDE, wide
        model = MLP(hidden=list(WIDE[1:-1]), members=4, epochs=epochs, batch_size=1024, learning_rate=2e-3)
        start = time.perf_counter()
        model.set_params(device=MACHINE.device.type).fit(x[:half], y[:half])
        seconds.append(time.perf_counter() - start)
        mlp_engine.WIDE = kept
        device = MACHINE.device
        rows = torch.from_numpy(x[half:]).to(device)
        with torch.inference_mode():
            logits = [forward(as_layers(net, device), "silu", rows)[0].cpu().numpy() for net in model.networks_]
        areas.append([roc_auc_score(y[half:], z) for z in logits])
    difference = np.abs(np.subtract(*areas)).max()
    spread = float(np.std(areas[1], ddof=1))
    return [
        at_most(
            "AUC in TF32 less AUC in single precision, largest of 4 networks",
            difference,
            1e-4,
            f"AUC {np.mean(areas[1]):.5f}, seeds scatter by {spread:.1e}",
        ),
        shown("seconds in TF32 over seconds in single precision", seconds[0] / seconds[1], f"{seconds[0]:.2f} s"),
    ]


def scoring() -> Iterator[Row]:
    """Events a second, from an array on the host to one on the host, and on the device alone."""
    for sizes in (SMALL, WIDE):
        x, y = gaussian_classes(20_000, sizes[0])
        model = MLP(hidden=list(sizes[1:-1]), activation="tanh", epochs=1, device=MACHINE.device.type).fit(x, y)
        events = np.tile(x, (1 if MACHINE.rehearsal else 400 // (1 + 3 * (sizes is WIDE)), 1))
        layers = as_layers(model.networks_[0], MACHINE.device)
        name = f"{_text(sizes)}: "
        with torch.inference_mode():
            there = torch.from_numpy(events).to(MACHINE.device)
            on_device = len(events) / _seconds(lambda x=there, own=layers: forward(own, "tanh", x), 5)

            def host_to_host(events: np.ndarray = events, layers: object = layers) -> np.ndarray:
                return forward(layers, "tanh", torch.from_numpy(events).to(MACHINE.device)).cpu().numpy()

            both_ways = len(events) / _seconds(host_to_host, 3)
        part = events[: 400_000 if sizes is SMALL else 40_000]
        compiled = len(part) / _seconds(lambda part=part, model=model: model.scores(part), 3)
        yield shown(name + "scores on the device, million events/s", on_device / 1e6)
        yield shown(name + "scores from host to host, million events/s", both_ways / 1e6)
        yield shown(name + "`MLP.scores`, million events/s", compiled / 1e6, "one thread of the CPU, or this device")


def time_to_auc() -> Iterator[Row]:
    """Seconds of the clock to within 5e-4 of the final AUC on the toy of TMVA's figures."""
    x, y, _ = standardised()
    n = 5_000 if MACHINE.rehearsal else 216_000
    train_part, test = slice(0, n), slice(n, 2 * n if MACHINE.rehearsal else None)
    validation = ValidationSet(x[test], y[test], np.ones(len(y[test])))
    found = {}
    for name, device in (("CPU", "cpu"), ("device", MACHINE.device.type)):
        for _ in range(2):  # the first one loads libraries
            areas: list[tuple[float, float]] = []
            model = MLP(hidden=[20, 20], activation="tanh", device=device)
            start = time.perf_counter()
            model.fit(
                x[train_part],
                y[train_part],
                validation=validation,
                progress=lambda done, total, so_far, start=start, areas=areas: areas.append(
                    (time.perf_counter() - start, so_far["validation_auc"])
                ),
            )
        final = areas[-1][1]
        found[name] = next(seconds for seconds, area in areas if area >= final - CLOSE)
        detail = f"whole training {areas[-1][0]:.2f} s, AUC {final:.5f}"
        yield shown(f"time to the final AUC on the {name}, s", found[name], detail)
    yield _tutorial_to_auc(x, y, train_part, test, final - CLOSE, found["device"])


def _tutorial_to_auc(
    x: np.ndarray, y: np.ndarray, train_part: slice, test: slice, goal: float, own: float, longest: float = 25.0
) -> Row:
    model, steps = tutorial(x[train_part], y[train_part], SMALL, 128, MACHINE.device.type)
    start, area = time.perf_counter(), 0.0
    events = torch.from_numpy(x[test]).to(MACHINE.device)
    while area < goal and time.perf_counter() - start < (1 if MACHINE.rehearsal else longest):
        for _ in range(1688):
            next(steps)
        with torch.inference_mode():
            area = roc_auc_score(y[test], model(events).cpu().numpy()[:, 0])
    seconds = time.perf_counter() - start
    reached = "" if area >= goal else f", AUC {area:.5f} by then, given up"
    return shown("time of the tutorial's loop on the device over ours", seconds / own, f"{seconds:.1f} s{reached}")


# -- several GPUs, and models besides the network ----------------------------------------------------------------------


def several() -> Iterator[Row]:
    """64 members with large batches, as five folds have them, on one GPU and spread over all."""
    n = torch.cuda.device_count() if MACHINE.device.type == "cuda" else 2
    if n < 2:
        yield Row("members spread over several GPUs", None, detail="there is one here")
        return
    devices = [torch.device("cuda", i) if MACHINE.device.type == "cuda" else MACHINE.device for i in range(n)]
    n_members, batch = (4, 128) if MACHINE.rehearsal else (64, 4096)
    x, y = gaussian_classes(32 * batch, SMALL[0])
    data = (torch.from_numpy(x).double(), torch.from_numpy(y), torch.ones(len(y), dtype=torch.float64))
    plan = replace(PLAN, batch_size=batch, epochs=6, schedule="constant", learning_rate=1e-3)
    architecture = Architecture(SMALL[0], SMALL[1:-1], 1, "tanh")
    found, seconds = [], []
    for chosen in (devices[:1], devices):
        table = as_table(*(tensor.to(devices[0]) for tensor in data))
        members = [Member(seed, torch.arange(len(y) - 8 * seed, device=devices[0]), None) for seed in range(n_members)]
        stamps: list[float] = []
        with quiet_torch(0):
            trainers = [Trainer(*share, architecture, plan, counted=True) for share in spread(table, members, chosen)]
            found.append(run_together(trainers, lambda *_, stamps=stamps: stamps.append(time.perf_counter())))
        seconds.append(float(np.median(np.diff(stamps[1:]))))
    yield at_most(f"members spread over {n} devices differ from together by", deviation(*found), 1e-8)
    yield shown(f"{n_members} members, batch {batch}: times as fast on {n} devices", seconds[0] / seconds[1])


def other_models() -> Iterator[Row]:
    """BDTs and models in ONNX, trained or scored on the device, where their libraries are installed."""
    yield from _if_installed("BDT", _trees)
    yield from _if_installed("model in ONNX", _graph)


def _if_installed(what: str, measure: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    try:
        yield from measure()
    except (ImportError, PidlabError) as error:  # no library, or one that was not built for a GPU
        yield Row(f"{what} on the device", None, detail=str(error)[:110])


def _trees() -> Iterator[Row]:
    from pidlab.models.bdt.estimator import BDT

    x, y = gaussian_classes(20_000 if MACHINE.rehearsal else 1_000_000, 12)
    found = {}
    for device in ("cpu", MACHINE.device.type):
        model = BDT(n_estimators=300, max_depth=6, early_stopping_rounds=None, device=device)
        start = time.perf_counter()
        model.fit(x, y)
        found[device] = time.perf_counter() - start
    yield shown("BDT, 300 trees of depth 6: training, s", found[MACHINE.device.type], f"CPU {found['cpu']:.1f} s")
    on_device = model.scores(x)
    seconds = _seconds(lambda: model.scores(x), 2)
    model.set_params(device="cpu")
    on_cpu = model.scores(x)
    cpu = _seconds(lambda: model.scores(x), 1)
    yield at_most("BDT: scores as the CPU's of the same trees", np.abs(on_device - on_cpu).max(), 2e-6)
    rate = len(x) / seconds / 1e6
    yield shown("BDT: scores, million events/s", rate, f"CPU {len(x) / cpu / 1e6:.2f}, all threads")


def _graph() -> Iterator[Row]:
    from onnx import TensorProto, helper, numpy_helper

    from pidlab.models.external.onnx.runtime import Runner, read_graph, why_no_gpu

    if MACHINE.device.type == "cuda" and (reason := why_no_gpu()):
        raise PidlabError(reason)
    rng, nodes, weights, name = np.random.default_rng(1), [], [], "x"
    for layer, (n_in, n_out) in enumerate(pairwise(WIDE)):
        matrix = rng.normal(0, n_in**-0.5, (n_in, n_out)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [f"z{layer}"]))
        name = f"h{layer}"
        nodes.append(helper.make_node("Sigmoid" if n_out == 1 else "Tanh", [f"z{layer}"], [name]))
    ports = [helper.make_tensor_value_info(p, TensorProto.FLOAT, [None, n]) for p, n in (("x", WIDE[0]), (name, 1))]
    graph = helper.make_graph(nodes, "network", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    read = read_graph(model.SerializeToString())
    x, _ = gaussian_classes(20_000 if MACHINE.rehearsal else 1_000_000, WIDE[0])
    device, cpu = Runner(read, name, MACHINE.device.type), Runner(read, name)
    part = x[:40_000]
    yield at_most("model in ONNX: scores as the CPU's", np.abs(device(part) - cpu(part)).max(), 1e-5)
    rates = [
        len(events) / _seconds(lambda run=run, x=events: run(x), 1) / 1e6 for run, events in ((device, x), (cpu, part))
    ]
    yield shown(f"model in ONNX, {_text(WIDE)}: million events/s", rates[0], f"CPU {rates[1]:.3f}, all threads")


PARTS: dict[str, Part] = {
    "equal": equal_to_cpu,
    "bits": same_bits,
    "random": randomness,
    "scores": scores_as_on_the_cpu,
    "rates": training_rates,
    "precision": precision,
    "scoring": scoring,
    "time-to-auc": time_to_auc,
    "several": several,
    "others": other_models,
}


def machine() -> str:
    """What the figures are of."""
    name = torch.cuda.get_device_name() if MACHINE.device.type == "cuda" else "no GPU: a rehearsal on the CPU"
    return (
        f"{name}; torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} CPU threads"
    )


def markdown(rows: Sequence[Row]) -> str:
    """All figures as tables."""
    lines = ["| network | members | batch | member-steps/s | arithmetic | bandwidth | × CPU | × tutorial | × compile |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for r in RATES:
        others = (f"{r.own / rate:,.3g}" if rate else "" for rate in (r.cpu, r.tutorial, r.compiled))
        cells = (
            _text(r.sizes),
            r.members,
            r.batch,
            f"{r.own:,.4g}",
            f"{r.arithmetic:.1%}",
            f"{r.bandwidth:.1%}",
            *others,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| measured | value | allowed | |", "|---|---|---|---|"]
    in_rates = {row.name for rate in RATES for row in rate.rows()}
    for row in rows:
        if row.name not in in_rates:
            bar = "" if row.bar is None else f"{row.bar:g}"
            lines.append(f"| {row.name} | {row.value:.4g} | {bar} | {row.detail} |")
    return "\n".join([machine(), "", *lines, ""])


def main() -> None:
    parser = arguments_of(__doc__, PARTS)
    parser.add_argument("--rehearse", action="store_true", help="everything in small, on the CPU")
    parser.add_argument("--markdown", type=Path, help="write the figures there as tables")
    options = parser.parse_args()
    if options.rehearse:
        MACHINE.device, MACHINE.rehearsal = torch.device("cpu"), True
    elif MACHINE.device.type != "cuda":
        parser.error("torch finds no GPU here; --rehearse tries the script on the CPU")
    print(machine())
    rows = run({name: _timed(part) for name, part in PARTS.items()}, options)
    if options.markdown:
        options.markdown.write_text(markdown(rows), encoding="utf-8")
    print(f"{time.perf_counter() - START:.0f} s in all")


def _timed(part: Part) -> Part:
    def measured() -> Iterator[Row]:
        start = time.perf_counter()
        yield from part()
        print(f"  ({time.perf_counter() - start:.0f} s)", flush=True)

    return measured


if __name__ == "__main__":
    main()
