"""Density ratios: the ratio of two densities as a function of some variables, from a sample of each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.measured import Array
from pidlab.models.bdt.estimator import BoosterScorer, read_booster
from pidlab.models.bdt.forest import Forest
from pidlab.models.bdt.objective import of_classes
from pidlab.models.threads import allowed_threads
from pidlab.sample import BoolArray, FloatArray, IntArray

# The booster is small and learns slowly, since the noise of the ratio is the noise of every weight. A rate of 0.1 and
# at least 100 events in a leaf left correlations of variables: in toys of 20,000 events, with a ratio that grows
# without end, the AUC was too large by .9 of its error on average, and now by .4. Depth 4 was no better, and a second
# classifier, of the weighted events, took a third of the effective ones.
_DEPTH, _RATE, _ROUNDS, _PATIENCE = 3, 0.05, 1000, 40
_LEAST_HESSIAN = 10.0  # in each leaf: at least 40 events where the densities are equal, each of which counts 1/4
_LARGEST = 1e38  # xgboost refuses infinities; the bins of its histograms need room above the largest number
_BEYOND = 3e38  # above it, and below the largest float32
_NO_PARENT = 2**31 - 1  # as xgboost writes it
_STEPS = 8  # of Newton's method, which doubles the digits at each
_WORST_CONDITION = 1e10
_LEAST_SCALE = 0.25
_THREAD_ROWS = 500_000  # rows for which a further thread gains more than its waiting costs


class Weighted(NamedTuple):
    """Rows of one sample.

    Attributes:
        z: (n, d) float64, the matched variables; NaN where one is missing.
        weight: (n,) float64 of any sign.
    """

    z: FloatArray
    weight: FloatArray

    def take(self, rows: BoolArray | IntArray) -> Weighted:
        """Returns some of the rows."""
        return Weighted(self.z[rows], self.weight[rows])


@dataclass(frozen=True, slots=True)
class Support:
    """Where a target has rows: the range of each of d variables, and whether some of its values are missing.

    Attributes:
        low, high: (d,) the smallest and largest values that are not missing.
        missing: (d,) whether there are missing values.
    """

    low: Array
    high: Array
    missing: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Weighted) -> Support:
        """Returns the support of the rows of positive weight."""
        z = rows.z[rows.weight > 0]
        absent = np.isnan(z)
        low = np.where(absent, np.inf, z).min(axis=0, initial=np.inf)
        high = np.where(absent, -np.inf, z).max(axis=0, initial=-np.inf)
        return cls(low, high, np.asarray(absent.any(axis=0)))

    def holds(self, z: FloatArray) -> BoolArray:
        """Returns whether each row (n, d) lies within, (n,)."""
        inside = (z >= self.low) & (z <= self.high)
        return np.asarray(np.where(np.isnan(z), self.missing, inside).all(axis=1))


class TreeRatio:
    """The density ratio by a classifier: s / (1 - s) for the probability s that a row belongs to the target.

    If the two samples have the same sum of weights, the best possible classifier has s = t / (t + f) for densities t of
    the target and f of the source, so s / (1 - s) is their ratio (see M. Sugiyama, T. Suzuki, T. Kanamori, Density
    Ratio Estimation in Machine Learning, Cambridge 2012, chapter 4). The classifier is boosted trees by xgboost, whose
    gradients are computed here because xgboost itself refuses negative weights. Missing values are values of their own.
    """

    def __init__(self, booster: Any, support: Support) -> None:
        self.booster, self.support = booster, support
        self._scorer = BoosterScorer(booster)

    def __call__(self, z: FloatArray) -> Array:
        """Returns the ratio (n,) of variables (n, d)."""
        ratio = np.exp(_margins(self._scorer, z))
        ratio[~self.support.holds(z)] = 0.0
        return ratio

    def forest(self) -> Forest:
        """Returns the trees as arrays, from which exports are written."""
        found = self._scorer.forest
        assert found is not None  # the booster is made here, of plain trees
        return found

    def times(self, edges: Sequence[Array], logarithms: Sequence[Array]) -> TreeRatio:
        """Returns the ratio times a factor of each variable, which is one tree more.

        Args:
            edges: of each variable its rising edges, which are float32; values beyond them are in the outermost bins.
            logarithms: of the factors, of one cell more than bins: the last is for missing values.
        """
        model = json.loads(bytes(self.booster.save_raw("json")))
        for j, (own, values) in enumerate(zip(edges, logarithms, strict=True)):
            if values.any():
                _append(model["learner"]["gradient_booster"]["model"], _steps(j, len(edges), own[1:-1], values))
        return TreeRatio(_loaded(model), self.support)

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Writes the trees as NAME.ubj, and returns the support."""
        self.booster.save_model(folder / f"{name}.ubj")
        low, high = ([_text(value) for value in bound] for bound in (self.support.low, self.support.high))
        return {"low": low, "high": high, "missing": self.support.missing.tolist()}

    @classmethod
    def load(cls, folder: Path, name: str, content: Mapping[str, Any]) -> TreeRatio:
        """Returns what `save` wrote.

        Raises:
            ModelError: the trees cannot be read.
        """
        booster = read_booster(folder / f"{name}.ubj", len(content["low"]), of_classes(2))
        low, high = (np.array([float(value) for value in content[key]]) for key in ("low", "high"))
        return cls(booster, Support(low, high, np.array(content["missing"], bool)))


def _text(number: float) -> float | str:
    """Returns a number as JSON can hold it: infinities as text."""
    return float(number) if math.isfinite(number) else str(float(number))


def tree_ratio(
    source: Weighted,
    target: Weighted,
    held_source: Weighted,
    held_target: Weighted,
    *,
    seed: int,
    n_jobs: int | None = None,
) -> TreeRatio:
    """Returns the ratio of the density of `target` over that of `source`, each normalised.

    Args:
        source, target: what the trees are trained on.
        held_source, held_target: other rows, which decide how many trees there are.
        seed: the seed of xgboost.
        n_jobs: threads; None for as many as are of use.
    """
    booster = classifier(source, target, held_source, held_target, seed=seed, n_jobs=n_jobs)
    return TreeRatio(_calibrated(booster, held_source, held_target), Support.of(target))


def _calibrated(booster: Any, held_source: Weighted, held_target: Weighted) -> Any:
    """Returns the booster with its margins m as a m + b, by logistic regression on rows that it was not trained on.

    Trees that stop when held-out rows say so have learned the direction of the ratio before its size: without the
    factor a, the weights correct too little.
    """
    scorer = BoosterScorer(booster)
    both = (held_source, held_target)
    m = np.concatenate([_margins(scorer, each.z) for each in both])
    weight = np.concatenate([each.weight / each.weight.sum() for each in both])
    label = np.repeat([0.0, 1.0], [len(each.z) for each in both])
    design = np.stack([m, np.ones(len(m))], axis=1)
    found = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        s = 1 / (1 + np.exp(-(design @ found)))
        curvature = (design * (weight * s * (1 - s))[:, None]).T @ design
        if not np.linalg.cond(curvature) < _WORST_CONDITION:  # a margin that is the same everywhere, or odd weights
            return booster
        found = found - np.linalg.solve(curvature, design.T @ (weight * (s - label)))
    scale, offset = map(float, found)
    if not _LEAST_SCALE < scale < 1 / _LEAST_SCALE:  # so few or so odd rows that they do not determine it
        return booster
    model = json.loads(bytes(booster.save_raw("json")))
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        for node, left in enumerate(tree["left_children"]):
            if left < 0:
                tree["split_conditions"][node] *= scale
                tree["base_weights"][node] *= scale
    model["learner"]["learner_model_param"]["base_score"] = f"[{1 / (1 + math.exp(-offset))!r}]"
    return _loaded(model)


def _loaded(model: Mapping[str, Any]) -> Any:
    """Returns the booster of xgboost's JSON."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(model).encode()))
    return booster


def _append(model: dict[str, Any], tree: dict[str, Any]) -> None:
    """Appends a tree to xgboost's JSON of a model, as a round of its own."""
    tree["id"] = len(model["trees"])
    model["trees"].append(tree)
    model["tree_info"].append(0)
    model["iteration_indptr"].append(len(model["trees"]))
    model["gbtree_model_param"]["num_trees"] = str(len(model["trees"]))


def _steps(variable: int, n_variables: int, inner: Array, values: Array) -> dict[str, Any]:
    """Returns xgboost's JSON of a tree that is a function of one variable by steps.

    Args:
        variable: its place.
        n_variables: how many there are.
        inner: (b - 1,) the edges between its bins.
        values: (b + 1,) of the bins, and of a missing value.
    """
    nodes: list[tuple[int, int, int, float]] = [(-1, -1, 0, 0.0)]  # left, right and parent, and threshold or value

    def node(first: int, last: int, above: int) -> int:
        """Appends the nodes of the bins from `first` to before `last`, and returns the place of their root."""
        place, middle = len(nodes), (first + last) // 2
        nodes.append((-1, -1, above, float(values[first])))
        if last - first > 1:
            children = node(first, middle, place), node(middle, last, place)
            nodes[place] = (*children, above, float(inner[middle - 1]))
        return place

    # The root sends missing values to the right, and all others to the left: they are smaller than its threshold.
    nodes[0] = (node(0, len(values) - 1, 0), len(nodes), _NO_PARENT, _BEYOND)
    nodes.append((-1, -1, 0, float(values[-1])))
    left, right, parent, condition = ([each[i] for each in nodes] for i in range(4))
    n = len(nodes)
    zeros = [0] * n
    return {
        "left_children": left,
        "right_children": right,
        "parents": parent,
        "split_conditions": condition,
        "split_indices": [variable if child >= 0 else 0 for child in left],
        "default_left": zeros,
        "split_type": zeros,
        "base_weights": [value if child < 0 else 0.0 for child, value in zip(left, condition, strict=True)],
        "loss_changes": [0.0] * n,
        "sum_hessian": [0.0] * n,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(n_variables),
            "num_nodes": str(n),
            "size_leaf_vector": "1",
        },
    }


def classifier(
    source: Weighted, target: Weighted, held_source: Weighted, held_target: Weighted, *, seed: int, n_jobs: int | None
) -> Any:
    """Returns an xgboost booster whose margin is the logarithm of the density ratio; arguments as in `tree_ratio`."""
    import xgboost

    n_threads = n_jobs or 1 + (len(source.z) + len(target.z)) // _THREAD_ROWS
    train, weight, label = _matrix(source, target, None, n_threads)
    held, held_weight, held_label = _matrix(held_source, held_target, train, n_threads)

    def gradients(margin: Array, _: Any) -> tuple[Array, Array]:
        s = 1 / (1 + np.exp(-margin))
        return weight * (s - label), weight * s * (1 - s)

    def loss(margin: Array, matrix: Any) -> tuple[str, float]:
        w, y = (held_weight, held_label) if matrix is held else (weight, label)
        return "loss", float(np.mean(w * (np.logaddexp(0, margin) - y * margin)))

    settings = {
        "max_depth": _DEPTH,
        "learning_rate": _RATE,
        "min_child_weight": _LEAST_HESSIAN,
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "seed": seed,
        "nthread": n_threads,
        "verbosity": 0,
        "disable_default_eval_metric": True,
    }
    booster = xgboost.train(
        settings,
        train,
        _ROUNDS,
        obj=gradients,
        custom_metric=loss,
        evals=[(held, "held")],
        callbacks=[xgboost.callback.EarlyStopping(rounds=_PATIENCE, data_name="held", metric_name="loss")],
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def _matrix(source: Weighted, target: Weighted, reference: Any, n_threads: int) -> tuple[Any, Array, Array]:
    """Returns the rows as xgboost needs them, their weights, of which either sample has half, and labels (n,)."""
    import xgboost

    n = len(source.z) + len(target.z)
    sums = [float(each.weight.sum()) for each in (source, target)]
    factors = [n / 2 / total if total > 0 else 1.0 for total in sums]
    parts = [each.weight * factor for each, factor in zip((source, target), factors, strict=True)]
    label = np.repeat([0.0, 1.0], [len(source.z), len(target.z)])
    x = bounded(np.concatenate([source.z, target.z]))
    return xgboost.QuantileDMatrix(x, label, ref=reference, nthread=n_threads), np.concatenate(parts), label


def bounded(z: FloatArray) -> NDArray[np.float32]:
    """Returns variables as the trees read them: float32, infinities as the largest numbers."""
    return np.clip(z, -_LARGEST, _LARGEST).astype(np.float32)


def margins(booster: Any, z: FloatArray) -> Array:
    """Returns the margin (n,) of each row (n, d), float64."""
    return _margins(BoosterScorer(booster), z)


def _margins(scorer: BoosterScorer, z: FloatArray) -> Array:
    return scorer.margins(bounded(z), allowed_threads())[:, 0].astype(np.float64)


@dataclass(frozen=True, slots=True)
class BinRatio:
    """The density ratio in bins of the variables: the target's share of a bin over the source's.

    Values beyond the edges count to the outermost bins, and missing values are a bin of their own, the last one.

    Attributes:
        edges: for each variable its rising edges; a bin holds its lower edge and not its upper one.
        values: the ratio, with one axis for each variable, of as many cells as there are bins and one more.
    """

    edges: tuple[Array, ...]
    values: Array

    def __call__(self, z: FloatArray) -> Array:
        """Returns the ratio (n,) of variables (n, d)."""
        return np.asarray(self.values[cells(self.edges, z)])

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Returns the values in JSON's types; the edges are the same for all ratios of a run, and are saved once."""
        return {"values": self.values.tolist()}


Ratio = TreeRatio | BinRatio
"""A fitted ratio of two densities, target over source, which is 0 where the target has no support."""


def cells(edges: Sequence[Array], z: FloatArray) -> tuple[IntArray, ...]:
    """Returns the cell of each row (n, d) along each axis, (n,) each."""
    found = []
    for j, own in enumerate(edges):
        n_bins = len(own) - 1
        place = np.clip(np.searchsorted(own, z[:, j], side="right") - 1, 0, n_bins - 1)
        found.append(np.where(np.isnan(z[:, j]), n_bins, place))
    return tuple(found)


def bin_ratio(source: Weighted, target: Weighted, edges: Sequence[Array]) -> BinRatio:
    """Returns the ratio in bins; 0 where the target's sum of weights is not positive, 1 where the source's is not."""
    shape = tuple(len(own) for own in edges)  # one cell more than bins, for missing values
    sums = []
    for each in (source, target):
        flat = np.ravel_multi_index(cells(edges, each.z), shape)
        total = float(each.weight.sum())
        sums.append(np.bincount(flat, each.weight, math.prod(shape)) / (total if total > 0 else 1.0))
    of_source, of_target = sums
    known = of_source > 0
    ratio = np.divide(np.maximum(of_target, 0.0), of_source, out=np.ones(len(of_source)), where=known)
    return BinRatio(tuple(edges), ratio.reshape(shape))


def equal_populations(values: FloatArray, n: int) -> Array:
    """Returns the edges of at most n bins that hold equally many of the values (m,) that are finite."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return np.array([0.0, 1.0])
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, n + 1), method="inverted_cdf"))
    return edges if len(edges) > 1 else np.array([edges[0] - 0.5, edges[0] + 0.5])
