"""Samples and weights with known truth, for the tests of evaluation."""

from __future__ import annotations

import dataclasses

import numpy as np

from pidlab.config.schema import Evaluate
from pidlab.evaluate.model import evaluate_model
from pidlab.sample import Sample

WEIGHTS = ("unit", "exponential", "negative", "sweights")


def sample_of(y, *, x=None, weight=None, event=None, classes=("electron", "pion"), spectators=None, signal=0) -> Sample:
    n = len(y)
    x = np.zeros((n, 1), np.float32) if x is None else np.asarray(x, np.float32)
    return Sample(
        x=x,
        y=np.asarray(y, np.int64),
        weight=np.ones(n) if weight is None else np.asarray(weight, np.float64),
        event=np.arange(n, dtype=np.uint64) if event is None else np.asarray(event, np.uint64),
        features=tuple(f"f{i}" for i in range(x.shape[1])),
        classes=classes,
        signal=signal,
        spectators=spectators or {},
        columns={},
        file=np.zeros(n, np.int32),
        row=np.arange(n),
    )


def probabilities(logit) -> np.ndarray:
    """(n, 2) from the logit of the first class."""
    p = 1 / (1 + np.exp(-np.asarray(logit, np.float64)))
    return np.stack([p, 1 - p], axis=1).astype(np.float32)


def gaussians(n, rng, *, weight=None, per_event=1, kind="unit") -> Sample:
    """Half electrons at (1.5, 0.9), half pions at 0, both with unit spread; candidates of one event vary together."""
    y, event = np.arange(n) % 2, np.arange(n) // (2 * per_event)
    x = rng.normal(size=(n, 2))
    if per_event > 1:
        x = 0.6 * x + 0.8 * rng.normal(size=(n, 2))[event]
    x += np.where(y == 0, 1.0, 0.0)[:, None] * [1.5, 0.9]
    weight = weights(kind, n, rng)[0] if weight is None else weight
    return sample_of(y, x=x, weight=weight, event=event if per_event > 1 else None)


def one_feature(sample) -> np.ndarray:
    return probabilities(sample.x[:, 0])


def both_features(sample) -> np.ndarray:
    return probabilities(1.5 * sample.x[:, 0] + 0.6 * sample.x[:, 1] - 1)


def hand_cuts(sample) -> np.ndarray:
    passes = (sample.x[:, 0] > 0.2) & (sample.x[:, 1] > -0.6)
    return np.stack([passes, ~passes], axis=1).astype(np.float32)


def weights(kind, n, rng) -> tuple[np.ndarray, np.ndarray]:
    """(n,) weights, and which candidates are the background that sWeights take off (nobody, for the other kinds)."""
    nobody = np.zeros(n, np.bool_)
    if kind == "exponential":
        return rng.exponential(size=n), nobody
    if kind == "negative":
        return np.where(rng.random(n) < 0.17, -1.0, 1.0), nobody
    if kind == "sweights":
        return _sweights(n, rng)
    return np.ones(n), nobody


def _sweights(n, rng, share=0.6):
    """Pivk and Le Diberder, NIM A 555 (2005) 356: a mass peak on a flat background, 40 % of the candidates."""

    def peak(mass):
        return np.exp(-0.5 * ((mass - 0.5) / 0.1) ** 2) / (0.1 * np.sqrt(2 * np.pi))

    background = rng.random(n) >= share
    mass = np.where(background, rng.random(n), rng.normal(0.5, 0.1, n))
    grid = peak(np.linspace(0, 1, 2001))
    density = share * grid + 1 - share
    mixed = np.mean(grid / density)
    inverse = np.linalg.inv([[np.mean(grid**2 / density), mixed], [mixed, np.mean(1 / density)]])
    return (inverse[0, 0] * peak(mass) + inverse[0, 1]) / (share * peak(mass) + 1 - share), background


def three_samples(n=2000, seed=1, **how):
    """Three samples that share no event."""
    rng = np.random.default_rng(seed)
    samples = {name: gaussians(n, rng, **how) for name in ("train", "validation", "test")}
    return {
        name: dataclasses.replace(sample, event=sample.event + np.uint64(i * n))
        for i, (name, sample) in enumerate(samples.items())
    }


def evaluated(model=both_features, samples=None, kind="mlp", options=None, **how):
    samples = samples or three_samples()
    scores = {name: model(sample) for name, sample in samples.items()}
    return evaluate_model("m", kind, scores, samples, options or Evaluate(), **how)


def fraction(passed, weight):
    return np.sum(weight[passed]) / np.sum(weight)
