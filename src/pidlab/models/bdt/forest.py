"""The file of boosted trees, checked before xgboost sees it: xgboost trusts indices, and reads where they point.

A model is saved in Universal Binary JSON (https://ubjson.org, as xgboost writes it: counts in 64 bits, big-endian).
Here it is parsed without trust, no count larger than what is left of the file, and each tree is held against what the
scoring relies on: arrays of one length, children within the tree, each node below exactly one other, and no cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DEEPEST = 60  # brackets of the file
_DEEPEST_TREE = 4096  # xgboost walks some trees by recursion
_NO_PARENT = 2**31 - 1
_INTEGERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8"}
_NUMBERS = {**_INTEGERS, "d": ">f4", "D": ">f8"}
_ARRAYS = (
    "base_weights", "default_left", "left_children", "loss_changes", "parents", "right_children", "split_conditions",
    "split_indices", "split_type", "sum_hessian",
)  # fmt: skip
_OBJECTIVES = {2: "binary:logistic"}


def read_ubj(content: bytes) -> Any:
    """What a file in Universal Binary JSON holds; typed arrays as arrays of numpy.

    Raises:
        ValueError: it is damaged.
    """
    reader = _Reader(content)
    value = reader.value(reader.byte(), 0)
    if reader.place != len(content):
        raise ValueError(f"{len(content) - reader.place} bytes follow its end")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def taken(self, n: int) -> bytes:
        if not 0 <= n <= len(self.content) - self.place:
            raise ValueError(f"at byte {self.place} {n} bytes should follow, and {len(self.content) - self.place} do")
        self.place += n
        return self.content[self.place - n : self.place]

    def byte(self) -> str:
        return self.taken(1).decode("latin-1")

    def number(self, kind: str) -> int | float:
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self.taken(dtype.itemsize), dtype)[0].item()  # type: ignore[no-any-return]

    def count(self) -> int:
        kind = self.byte()
        if kind not in _INTEGERS:
            raise ValueError(f"at byte {self.place} a count should stand, not {kind!r}")
        return int(self.number(kind))

    def text(self) -> str:
        return self.taken(self.count()).decode("utf-8")

    def value(self, kind: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its brackets are nested too deep")
        if kind in _NUMBERS:
            return self.number(kind)
        if kind == "S":
            return self.text()
        if kind == "C":
            return self.byte()
        if kind in "TFZ":
            return {"T": True, "F": False, "Z": None}[kind]
        if kind == "{":
            return self._object(depth)
        if kind == "[":
            return self._array(depth)
        raise ValueError(f"at byte {self.place} stands {kind!r}, which begins no value")

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while (mark := self.byte()) != "}":
            self.place -= 1
            if mark not in _INTEGERS:
                raise ValueError(f"at byte {self.place} a key should stand")
            key = self.text()
            if key in found:
                raise ValueError(f"the key {key[:40]!r} stands twice")
            found[key] = self.value(self.byte(), depth + 1)
        return found

    def _array(self, depth: int) -> Any:
        mark = self.byte()
        if mark == "$":
            kind = self.byte()
            if kind not in _NUMBERS or self.byte() != "#":
                raise ValueError(f"at byte {self.place} an array of {kind!r} is not read")
            dtype = np.dtype(_NUMBERS[kind])
            n = self.count()
            return np.frombuffer(self.taken(n * dtype.itemsize), dtype).astype(dtype.newbyteorder("="))
        if mark == "#":
            n = self.count()
            if not 0 <= n <= len(self.content) - self.place:
                raise ValueError(f"at byte {self.place} a list of {n} values cannot follow")
            return [self.value(self.byte(), depth + 1) for _ in range(n)]
        found = []
        while mark != "]":
            found.append(self.value(mark, depth + 1))
            mark = self.byte()
        return found


def check_trees(content: bytes, n_features: int, n_classes: int) -> None:
    """Refuse a file of trees that xgboost, or the tables made of them, could not score safely.

    Raises:
        ValueError: what is wrong, and in which tree.
    """
    try:
        learner = read_ubj(content)["learner"]
        n_margins = 1 if n_classes == 2 else n_classes
        _check_learner(learner, n_features, n_classes, n_margins)
        booster = learner["gradient_booster"]
        if booster["name"] == "dart":
            weights, booster = np.asarray(booster["weight_drop"], np.float64), booster["gbtree"]
            if weights.shape != (len(booster["model"]["trees"]),) or not np.isfinite(weights).all():
                raise ValueError("the weights of its trees are damaged")
        if booster["name"] != "gbtree":
            raise ValueError(f"it holds no trees but {str(booster['name'])[:40]!r}")
        model = booster["model"]
        trees, owners = model["trees"], _integers(model["tree_info"])
        _check_counts(model, trees, owners, n_margins)
        for number, tree in enumerate(trees):
            try:
                _check_tree(tree, n_features)
            except ValueError as error:
                raise ValueError(f"tree {number}: {error}") from error
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a part of it is missing or of another kind ({type(error).__name__}: {error})") from error


def _check_learner(learner: Mapping[str, Any], n_features: int, n_classes: int, n_margins: int) -> None:
    parameters, objective = learner["learner_model_param"], learner["objective"]
    expected = {"num_feature": n_features, "num_class": 0 if n_classes == 2 else n_classes, "num_target": 1}
    for name, value in expected.items():
        if int(parameters.get(name, value)) != value:
            raise ValueError(f"{name} is {parameters[name]}, and should be {value}")
    if objective["name"] != _OBJECTIVES.get(n_classes, "multi:softprob"):
        raise ValueError(f"its objective is {str(objective['name'])[:40]!r}")
    n = int(objective.get("softmax_multiclass_param", {}).get("num_class", n_margins))
    if n not in (n_margins, 1):
        raise ValueError(f"its objective has {n} classes, and should have {n_margins}")
    base = np.array([float(part) for part in parameters["base_score"].strip("[]").split(",")])
    usable = np.isfinite(base).all() and (n_classes > 2 or ((base > 0) & (base < 1)).all())
    if len(base) not in (1, n_margins) or not usable:
        raise ValueError(f"its base score is {parameters['base_score'][:40]!r}")
    for name in ("feature_names", "feature_types"):
        if len(learner.get(name, ())) not in (0, n_features):
            raise ValueError(f"it has {len(learner[name])} {name} for {n_features} features")


def _check_counts(model: Mapping[str, Any], trees: Sequence[Any], owners: NDArray[np.int64], n_margins: int) -> None:
    if not trees or len(owners) != len(trees) or int(model["gbtree_model_param"]["num_trees"]) != len(trees):
        raise ValueError("the number of its trees is damaged")
    if owners.min() < 0 or owners.max() >= n_margins:
        raise ValueError("a tree belongs to a class that is not there")
    if any(len(each) for each in model.get("cats", {}).values()):
        raise ValueError("it has categories, which pidlab never trains on")
    ends = _integers(model.get("iteration_indptr", [0, len(trees)]))
    if len(ends) < 2 or ends[0] != 0 or ends[-1] != len(trees) or (np.diff(ends) < 0).any():
        raise ValueError("its rounds do not divide its trees")


def _integers(values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ValueError("a list of whole numbers is damaged")
    return array.astype(np.int64)


def _check_tree(tree: Mapping[str, Any], n_features: int) -> None:
    parameters = tree["tree_param"]
    n = int(parameters["num_nodes"])
    if int(parameters["num_feature"]) != n_features or int(parameters.get("size_leaf_vector", 1)) not in (0, 1):
        raise ValueError("it was grown for other features or outputs")
    if n < 1 or any(np.shape(tree[name]) != (n,) for name in _ARRAYS):
        raise ValueError(f"its arrays are not those of {n} nodes")
    if any(len(tree[name]) for name in tree if name.startswith("categories")) or np.any(tree["split_type"]):
        raise ValueError("it splits by categories, which pidlab never trains on")
    left, right, parent = (_integers(tree[name]) for name in ("left_children", "right_children", "parents"))
    for children in (left, right):
        if children.min() < -1 or children.max() >= n:
            raise ValueError("a node points to one that is not there")
    if ((left < 0) != (right < 0)).any():
        raise ValueError("a node has one child only")
    nodes = _reached(left, right)
    if parent[0] not in (-1, _NO_PARENT) or ((parent < -1) | ((parent >= n) & (parent != _NO_PARENT))).any():
        raise ValueError("a node has a parent that is not there")
    inner = nodes[left[nodes] >= 0]
    if (parent[left[inner]] != inner).any() or (parent[right[inner]] != inner).any():
        raise ValueError("a node is not the parent of its children")
    features = _integers(tree["split_indices"])[inner]
    if len(features) and (features.min() < 0 or features.max() >= n_features):
        raise ValueError(f"it asks a feature beyond the {n_features} that there are")
    conditions = np.asarray(tree["split_conditions"], np.float64)
    if np.isnan(conditions[inner]).any() or not np.isfinite(conditions[nodes[left[nodes] < 0]]).all():
        raise ValueError("a threshold or a leaf is no number")


def _reached(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nodes below the root, level by level.

    Raises:
        ValueError: one is reached twice, or the tree is too deep.
    """
    seen = np.zeros(len(left), np.bool_)
    level = np.zeros(1, np.int64)
    levels: list[NDArray[np.int64]] = []
    while len(level):
        if seen[level].any() or len(np.unique(level)) < len(level):
            raise ValueError("a node is reached by two ways, or by a cycle")
        if len(levels) > _DEEPEST_TREE:
            raise ValueError(f"it is more than {_DEEPEST_TREE} nodes deep")
        seen[level] = True
        levels.append(level)
        inner = level[left[level] >= 0]
        level = np.concatenate([left[inner], right[inner]])
    return np.concatenate(levels)
