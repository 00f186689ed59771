"""A single decision tree by scikit-learn: probabilities of its leaves, and their boxes as cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from pidlab.models.base import Classifier, Progress, TrainingRows, ValidationSet, choice
from pidlab.models.bdt.forest import Forest, Tree, shallow_nodes
from pidlab.sample import BoolArray, FloatArray

_CRITERIA = ("entropy", "gini")
_LARGEST = np.finfo(np.float32).max
_ADDED = 1e-4  # of the training weight, to each class in each leaf: a twentieth of the smallest leaf by default
_ARRAYS = {
    "feature": np.int32, "threshold": np.float32, "left": np.int32, "right": np.int32, "missing_left": np.bool_,
    "gain": np.float64, "share": np.float64,
}  # fmt: skip


@dataclass(eq=False, repr=False)  # scikit-learn reads the parameters from the `__init__` that this makes
class DecisionTree(Classifier):
    """One decision tree (L. Breiman et al., Classification and Regression Trees, 1984), by scikit-learn.

    The probability of a class in a leaf is (w_c + a) / (w + k a), with the training weight w_c of the class and k
    classes: without a, a pure leaf would be certain (F. Provost, P. Domingos, Machine Learning 52 (2003) 199). It is a
    ten-thousandth of all training weight, so that integer weights are the same as repeated rows. Missing values are
    NaN, and each node learns to which side they go; infinities count as the largest numbers. Only the ratios of weights
    matter.

    Args:
        criterion: what a split lowers, entropy or gini.
        max_depth: the largest number of splits on the way to a leaf; None for as many as `min_leaf` allows.
        min_leaf: the least share of the training weight in a leaf, below .5.
        seed: decides between splits that are equally good.

    Attributes:
        tree_: the nodes, as those of a boosted tree; `value` is not used.
        share_: (m, k) the probabilities of the classes in each node.
        gain_: (m,) the decrease of the criterion in a node times its training events; 0 in a leaf.
    """

    kind = "tree"
    x_types = np.float32
    tree_: Tree = field(init=False)
    share_: NDArray[np.float64] = field(init=False)
    gain_: NDArray[np.float64] = field(init=False)
    criterion: str = "entropy"
    max_depth: int | None = 5
    min_leaf: float = 0.002
    seed: int = 0

    def _check_options(self) -> None:
        choice("tree", "criterion", self.criterion, _CRITERIA)

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Grows the tree; `validation` and `progress` are not used."""
        from sklearn.tree import DecisionTreeClassifier

        x, label, weight = rows.whole(np.float32)
        found = DecisionTreeClassifier(
            criterion=self.criterion,
            max_depth=self.max_depth,
            min_weight_fraction_leaf=self.min_leaf,
            random_state=self.seed,
        ).fit(np.clip(x, -_LARGEST, _LARGEST), label, sample_weight=weight)
        nodes = found.tree_
        leaf = nodes.children_left < 0
        n = nodes.weighted_n_node_samples
        parts = nodes.value[:, 0, :] * n[:, None]
        k = len(self.classes_)
        after = np.zeros(len(n))
        for child in (nodes.children_left, nodes.children_right):
            after[~leaf] += n[child[~leaf]] * nodes.impurity[child[~leaf]]
        added = _ADDED * n[0]
        self.share_ = (parts + added) / (n + k * added)[:, None]
        self.gain_ = np.where(leaf, 0.0, n * nodes.impurity - after)
        self.tree_ = Tree(
            feature=np.where(leaf, 0, nodes.feature).astype(np.int32),
            threshold=np.where(leaf, np.float32(0), _just_above(nodes.threshold)),
            left=nodes.children_left.astype(np.int32),
            right=nodes.children_right.astype(np.int32),
            missing_left=np.asarray(nodes.missing_go_to_left, np.bool_) & ~leaf,
            value=np.zeros(len(n), np.float32),
            margin=0,
        )

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities; rows sum to 1."""
        x = self._checked(X, np.float32)  # before anything that an unfitted tree has not
        return self.share_[self._leaves(x)]

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns float32 class probabilities (n, k) of features (n, d), NaN if missing."""
        return self.node_scores[self._leaves(np.asarray(X, np.float32))]

    def _leaves(self, x: FloatArray) -> NDArray[np.int64]:
        """Returns the leaf (n,) of each event."""
        tree, node = self.tree_, np.zeros(len(x), np.int64)
        waiting = np.arange(len(x)) if tree.left[0] >= 0 else np.empty(0, np.int64)
        while len(waiting):
            at = node[waiting]
            value = x[waiting, tree.feature[at]]
            goes_left = np.where(np.isnan(value), tree.missing_left[at], value < tree.threshold[at])
            node[waiting] = np.where(goes_left, tree.left[at], tree.right[at])
            waiting = waiting[tree.left[node[waiting]] >= 0]
        return node

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Returns each feature's share, (d,), of the decrease of the criterion; zeros if there is no split."""
        check_is_fitted(self)
        total = np.bincount(self.tree_.feature, self.gain_, self.n_features_in_)
        return np.asarray(total / (total.sum() or 1))

    def forest(self) -> Forest:
        """Returns the tree as margins, from which exports are written: log-odds of the second of two classes, or k."""
        logs = np.log(self.share_)
        columns = [logs[:, 1] - logs[:, 0]] if logs.shape[1] == 2 else list(logs.T)
        trees = tuple(_with_values(self.tree_, column, j) for j, column in enumerate(columns))
        return Forest(trees, np.zeros(len(columns), np.float32), self.n_features_in_)

    def first_trees(self, n: int, depth: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """Returns the tree down to `depth` splits, to be looked at, as `BDT.first_trees` has it: for each margin."""
        return [(tree.margin, shallow_nodes(tree, list(self.gain_), depth)) for tree in self.forest().trees[:n]]

    @property
    def node_scores(self) -> NDArray[np.float32]:
        """The scores (m, k) of each node, which are those of the events in it if it is a leaf."""
        return self.share_.astype(np.float32)

    def cut_string(self, passes: BoolArray, names: Sequence[str], there: Sequence[str]) -> str:
        """Returns a decision as ROOT reads it: the boxes of all leaves that pass.

        A node both of whose sides pass is not asked. NaN is a missing value, for which comparisons are false in ROOT.

        Args:
            passes: for each node (m,) whether its events pass, which matters for leaves.
            names: the names of the d features, as operands of an expression.
            there: for each feature the condition, as one operand, that its value is no code of a missing one; empty if
                there are no codes.
        """
        passing = self._passing(passes)

        def texts(node: int) -> list[str]:
            """Returns the boxes below a node; an empty text stands for everything."""
            if (whole := passing[node]) is not None:
                return [""] if whole else []
            j, cut = int(self.tree_.feature[node]), repr(float(self.tree_.threshold[node]))
            missing_left, found = bool(self.tree_.missing_left[node]), []
            for child, below in ((int(self.tree_.left[node]), True), (int(self.tree_.right[node]), False)):
                with_missing = missing_left == below
                condition = _condition(names[j], cut, there[j], below=below, with_missing=with_missing)
                found += [f"{condition} && {text}" if text else condition for text in texts(child)]
            return found

        boxes = texts(0)
        return " || ".join(f"({box})" if len(boxes) > 1 else box for box in boxes) if boxes != [""] else "1"

    def _passing(self, passes: BoolArray) -> list[bool | None]:
        """Returns for each node whether all leaves below it pass, or none; None for some of them."""
        found: list[bool | None] = [bool(each) for each in passes]
        for node in range(len(found) - 1, -1, -1):  # children have larger numbers than their parent
            if self.tree_.left[node] >= 0:
                left, right = found[self.tree_.left[node]], found[self.tree_.right[node]]
                found[node] = left if left == right else None
        return found

    def _fitted(self) -> dict[str, Any]:
        """Returns the nodes, exact to the last bit."""
        arrays = {name: getattr(self.tree_, name) for name in _ARRAYS if name not in ("gain", "share")}
        arrays |= {"gain": self.gain_, "share": self.share_}
        return super()._fitted() | {name: values.tolist() for name, values in arrays.items()}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        arrays: dict[str, Any] = {name: np.asarray(content[name], dtype) for name, dtype in _ARRAYS.items()}
        self.share_, self.gain_ = arrays.pop("share"), arrays.pop("gain")
        self.tree_ = Tree(**arrays, value=np.zeros(len(self.gain_), np.float32), margin=0)
        self._check_nodes()

    def _check_nodes(self) -> None:
        """Raises a ValueError if the nodes are not those of one tree."""
        tree, m, k = self.tree_, len(self.gain_), len(self.classes_)
        flat = (tree.feature, tree.threshold, tree.left, tree.right, tree.missing_left, self.gain_)
        if m < 1 or any(values.shape != (m,) for values in flat) or self.share_.shape != (m, k) or k < 2:
            raise ValueError(f"{m} nodes and {k} classes do not go with its arrays")
        if not (np.isfinite(tree.threshold).all() and np.isfinite(self.gain_).all()):
            raise ValueError("a number is not finite")
        if not ((self.share_ > 0) & (self.share_ < 1)).all():
            raise ValueError("a probability is not between 0 and 1")
        inner = np.flatnonzero(tree.left >= 0)
        children = np.concatenate([tree.left[inner], tree.right[inner]])
        if (tree.left != -1)[tree.left < 0].any() or not np.array_equal(np.sort(children), np.arange(1, m)):
            raise ValueError("a node has no parent, or several")
        if (children <= np.concatenate([inner, inner])).any():
            raise ValueError("a node comes before its parent")
        if m > 1 and not ((tree.feature >= 0) & (tree.feature < self.n_features_in_)).all():
            raise ValueError("a node splits on a feature that there is not")


def _just_above(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns c (m,) float32 so that x < c for the float32 numbers x ≤ threshold, as scikit-learn decides."""
    near = np.clip(threshold, -_LARGEST, _LARGEST).astype(np.float32)
    below = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
    return np.nextafter(below, np.float32(_LARGEST))


def _with_values(tree: Tree, value: NDArray[np.float64], margin: int) -> Tree:
    """Returns the same tree with other leaves."""
    return replace(tree, value=np.where(tree.left < 0, value, 0.0).astype(np.float32), margin=margin)


def _condition(name: str, cut: str, there: str, *, below: bool, with_missing: bool) -> str:
    """Returns the condition of one side of a split."""
    if with_missing:
        condition = f"!({name} {'>=' if below else '<'} {cut})"
        return f"(!{there} || {condition})" if there else condition
    condition = f"{name} {'<' if below else '>='} {cut}"
    return f"{condition} && {there}" if there else condition
