"""The network against the loop of PyTorch's tutorial, scikit-learn and TMVA's figures, on the CPU; `gpu.py` has a GPU.

    python benchmarks/network.py [--only NAME] [--json FILE]

Rates on the CPU are per CPU second of one thread, so that a busy machine changes them little, and
are measured in turns. TMVA's figures were recorded on another machine. Training is carried over by the tutorial's loop,
which did 784 steps of 128 events a second there; scoring by xgboost's `predict_proba` of 850 trees of depth 3, which
did 127,000 events a second there on one thread.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from rows import Part, Row, at_least, at_most, measure
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy import toy

from pidlab.models.base import ValidationSet
from pidlab.models.mlp.estimator import MLP

BATCH = 128
N_TRAIN = 216_000
TMVA_TRAINING = 144_000 / 2.2  # events a second, MLP 20-20 by BP
TMVA_READER = 212_000  # events a second
XGBOOST_THERE = 127_000  # events a second of `predict_proba` on the machine that TMVA ran on
TUTORIAL_THERE = 784 * BATCH  # events a second on the machine that TMVA ran on
ROUNDS = 3
CLOSE = 5e-4


def standardised() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The toy with features of mean 0 and deviation 1."""
    x, y, log_ratio = toy()
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y, log_ratio


def network(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


def tutorial(
    x: np.ndarray, y: np.ndarray, sizes: tuple[int, ...], batch: int, device: str = "cpu"
) -> tuple[nn.Module, Iterator[int]]:
    """The model, and the loop as tutorials write it: each `next` is one step and gives the epoch's number."""
    model = network(sizes).to(device)
    loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y).float()[:, None]), batch, shuffle=True)
    loss_function = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def steps() -> Iterator[int]:
        epoch = 0
        while True:
            running = 0.0
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss = loss_function(model(inputs.to(device)), labels.to(device))
                loss.backward()
                optimizer.step()
                running += loss.item()
                yield epoch
            epoch += 1

    return model, steps()


def tutorial_rate(x: np.ndarray, y: np.ndarray) -> float:
    """Steps a CPU second of the tutorial's loop."""
    _, steps = tutorial(x, y, (3, 20, 20, 1), BATCH)
    for _ in range(20):
        next(steps)
    n_steps, start = 1000, time.process_time()
    for _ in range(n_steps):
        next(steps)
    return n_steps / (time.process_time() - start)


def own_rate(x: np.ndarray, y: np.ndarray, members: int, epochs: int) -> float:
    """Member-steps a CPU second of a whole `fit`, everything counted."""
    model = MLP(preset="workshop", members=members, epochs=epochs, device="cpu")
    start = time.process_time()
    model.fit(x, y)
    return members * epochs * (len(y) // BATCH) / (time.process_time() - start)


def scikit_learn_rate(x: np.ndarray, y: np.ndarray) -> float:
    model = MLPClassifier((20, 20), activation="tanh", batch_size=BATCH, learning_rate_init=1e-4, max_iter=1)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    return math.ceil(len(y) / BATCH) / (time.process_time() - start)


def training() -> list[Row]:
    x, y, _ = standardised()
    x, y = x[:N_TRAIN], y[:N_TRAIN]
    own_rate(x[:5000], y[:5000], 1, 1)
    rates = np.array(
        [
            (
                tutorial_rate(x, y),
                scikit_learn_rate(x, y),
                own_rate(x, y, 1, 5),
                own_rate(x, y, 8, 2),
            )
            for _ in range(ROUNDS)
        ]
    )
    reference, scikit, one, eight = np.median(rates, axis=0)
    against = np.median(rates[:, 2:] / rates[:, :1], axis=0)
    tmva = against[0] * TUTORIAL_THERE / TMVA_TRAINING
    steps = f"{one:,.0f} steps/s against {reference:,.0f}"
    return [
        at_least("network: training against the tutorial's loop", against[0], 12, steps),
        at_least(
            "network: training against scikit-learn",
            np.median(rates[:, 2] / rates[:, 1]),
            3.5,
            f"{scikit:,.0f} steps/s",
        ),
        at_least("network: training against TMVA's BP", tmva, 15, "carried over by the tutorial's loop"),
        at_least("network: eight members against the tutorial's loop", against[1], 20, f"{eight:,.0f} member-steps/s"),
    ]


def time_to_auc() -> list[Row]:
    """CPU seconds until the AUC on the test sample is within 5e-4 of what the default preset ends with."""
    x, y, _ = standardised()
    train, test = slice(0, N_TRAIN), slice(N_TRAIN, None)
    areas: list[tuple[float, float]] = []
    validation = ValidationSet(x[test], y[test], np.ones(len(y[test])))
    model = MLP(hidden=[20, 20], activation="tanh", device="cpu")
    start = time.process_time()
    model.fit(
        x[train],
        y[train],
        validation=validation,
        progress=lambda done, total, told: areas.append((time.process_time() - start, told["validation_auc"])),
    )
    final = roc_auc_score(y[test], model.scores(x[test])[:, 1])
    own = next(seconds for seconds, area in areas if area >= final - CLOSE)
    seconds, epochs, reached = _tutorial_until(x, y, train, test, final - CLOSE)
    detail = f"{own:.2f} s against {seconds:.0f} s, {epochs} epochs" + ("" if reached else " (not reached yet)")
    return [at_least("network: time to the final AUC against the tutorial's loop", seconds / own, 100, detail)]


def _tutorial_until(
    x: np.ndarray, y: np.ndarray, train: slice, test: slice, area: float, most: int = 60
) -> tuple[float, int, bool]:
    """CPU seconds and epochs that the tutorial's loop trains until it has `area`; evaluation is not counted."""
    model, steps = tutorial(x[train], y[train], (3, 20, 20, 1), BATCH)
    per_epoch, seconds = math.ceil(len(y[train]) / BATCH), 0.0
    for epoch in range(1, most + 1):
        start = time.process_time()
        for _ in range(per_epoch):
            next(steps)
        seconds += time.process_time() - start
        with torch.inference_mode():
            score = model(torch.from_numpy(x[test])).numpy()[:, 0]
        if roc_auc_score(y[test], score) >= area:
            return seconds, epoch, True
    return seconds, most, False


def likelihood() -> list[Row]:
    """Half of the toy to train (a tenth of it to watch), half to test, as TMVA had it."""
    x, y, log_ratio = standardised()
    half, watch = len(y) // 2, len(y) // 20
    validation = ValidationSet(x[:watch], y[:watch], np.ones(watch))
    model = MLP(device="cpu").fit(x[watch:half], y[watch:half], validation=validation)
    best = roc_auc_score(y[half:], log_ratio[half:])
    missing = best - roc_auc_score(y[half:], model.scores(x[half:])[:, 1])
    return [at_most("network, TMVA toy: AUC short of the exact likelihood ratio", missing, CLOSE, f"of {best:.4f}")]


def scoring() -> list[Row]:
    """Events a second of the network against TMVA's Reader, carried over by xgboost: medians, measured in turns."""
    x, y, _ = standardised()
    model = MLP(preset="workshop", epochs=2, device="cpu").fit(x[:20_000], y[:20_000])
    from xgboost import XGBClassifier  # only here: gpu.py imports this module where there is no xgboost

    trees = XGBClassifier(n_estimators=850, max_depth=3, learning_rate=0.1, n_jobs=1).fit(x[:144_000], y[:144_000])
    events = np.tile(x, (8, 1))

    def rate(score: Callable[[np.ndarray], object], scored: np.ndarray) -> float:
        start = time.process_time()
        score(scored)
        return len(scored) / (time.process_time() - start)

    model.scores(events[:1000])
    rates = [(rate(model.scores, events), rate(trees.predict_proba, x[:144_000])) for _ in range(2 * ROUNDS)]
    own, xgboost = np.median(rates, axis=0)
    reader = TMVA_READER * xgboost / XGBOOST_THERE
    detail = f"{own / 1e6:.1f} M events/s; the Reader carried over by xgboost ({xgboost / 1e3:.0f} k events/s)"
    return [at_least("network: scoring against TMVA's Reader", own / reader, 50, detail)]


def _on_one_thread(part: Part) -> Part:
    def measured() -> Iterator[Row]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield from part()
        torch.set_num_threads(threads)

    return measured


PARTS: dict[str, Part] = {
    "network-training": _on_one_thread(training),
    "network-time-to-auc": _on_one_thread(time_to_auc),
    "network-likelihood": _on_one_thread(likelihood),
    "network-scoring": _on_one_thread(scoring),
}


if __name__ == "__main__":
    measure(__doc__, PARTS)
