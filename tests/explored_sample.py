"""What is drawn to explore a sample and its models, made of a simulated sample."""

from __future__ import annotations

import dataclasses

import numpy as np

from evaluate_samples import sample_of
from example_results import FEATURES
from pidlab.evaluate.explaining.partial_dependence import measure_dependence
from pidlab.evaluate.histograms import correlations, histograms_by_class, robust_edges
from pidlab.evaluate.pairs import feature_pairs
from pidlab.evaluate.results import Explained, Exploration, Results, TreeNode
from pidlab.sample import Sample

TREE = (
    TreeNode(FEATURES[0], 0.79, False, 6110.0, 1, 2),
    TreeNode(FEATURES[1], 2.5, True, 43.0, 3, 4), TreeNode("", 0.0, False, -0.12),
    TreeNode("", 0.0, False, 0.0884), TreeNode(FEATURES[3], -1.25, False, 0.412),
)  # fmt: skip


def explored(results: Results, n: int = 3000, seed: int = 3) -> Results:
    """Returns the results with pairs, scaled features, and contributions, trees and partial dependence of `mlp`."""
    sample = correlated_sample(n, len(FEATURES), seed, results.classes)
    sample = dataclasses.replace(sample, features=FEATURES)
    some = sample.take(np.arange(300))
    return dataclasses.replace(
        results,
        exploration=Exploration(
            feature_pairs(sample, correlations(sample)),
            {f: histograms_by_class(x, sample, robust_edges(x)) for f, x in zip(FEATURES, sample.x.T, strict=True)},
            {"mlp": Explained(FEATURES, some.y, some.x.astype(float), np.nan_to_num(some.x) * [3.0, 1.5, 0.5, 0.1])},
            {"mlp": (("pion", TREE), ("pion", TREE[2:3]))},
            {"mlp": measure_dependence(_score, sample, range(len(FEATURES)), seed=seed)},
        ),
    )


def _score(sample: Sample) -> np.ndarray:
    """A score that rises with the first feature and falls with the second, and says less if the third is missing."""
    a, b, c = np.nan_to_num(sample.x[:, :3].astype(np.float64)).T
    signal = 1 / (1 + np.exp(-(2 * a - b * (1 + c))))
    return np.column_stack([signal, *[1 - signal] * (len(sample.classes) - 1)]).astype(np.float32)


def correlated_sample(n: int, d: int, seed: int, classes: tuple[str, ...] = ("electron", "pion")) -> Sample:
    """Returns features of which neighbours are correlated, the first two most, with a tenth of the third missing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(classes), n)
    x = rng.normal(size=(n, d))
    for j in range(1, d):
        share = 0.9 / j
        x[:, j] = share * x[:, j - 1] + np.sqrt(1 - share**2) * x[:, j]
    x += 0.5 * y[:, None]
    if d > 2:
        x[::10, 2] = np.nan
    return sample_of(y, x=x, weight=rng.uniform(0.5, 1.5, n), classes=classes)
