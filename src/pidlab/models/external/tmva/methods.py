"""TMVA's methods as functions of transformed variables (n, d) float32 to values (n,) float64.

Sources: A. Hoecker et al., TMVA Users Guide, arXiv:physics/0703039, the section named at each method; and TMVA::Reader
for what the guide leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from pidlab.compiled import compiled
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.external.tmva.file import Float32, WeightFile, child, damaged, number, numbers, whole
from pidlab.models.threads import allowed_threads

Values = NDArray[np.float64]
_CHUNK = 16_384  # events that a thread takes at a time
_FAST_TANH_SINCE = 262_657  # 4.2.1
_MOST_NEURONS = 10_000


@compiled(nogil=True, error_model="numpy")
def _add_trees(x: Any, variable: Any, cut: Any, below: Any, at_least: Any, value: Any, roots: Any, total: Any) -> None:
    """Adds to total (n,) the value of each event's leaf in every tree; a comparison with NaN is false."""
    for i in range(len(x)):
        for root in roots:
            node = root
            while variable[node] >= 0:
                node = at_least[node] if x[i, variable[node]] >= cut[node] else below[node]
            total[i] += value[node]


@dataclass(frozen=True, slots=True)
class Trees:
    """Boosted decision trees: section "Boosted Decision and Regression Trees".

    AdaBoost and bagging: the mean of the leaves' values, weighted with ln α of each tree (1 for bagging). A leaf's
    value is -1 or 1 (UseYesNoLeaf), or else its purity in [0, 1]. Gradient boosting: 2 / (1 + exp(-2 F)) - 1 of the
    sum F of the leaves' responses. An event goes to the right side of a node if the variable is at or above the cut
    (cType 1), or if it is not (cType 0); both are float32.

    Attributes:
        variable: (m,) int32, the variable that a node cuts on; -1 in a leaf.
        cut: (m,) float32.
        below, at_least: (m,) int32, the next node if the variable is below the cut (or NaN), and if it is not.
        value: (m,) float64, a leaf's value times its tree's weight.
        roots: (trees,) int32.
        norm: the sum of the trees' weights; None for gradient boosting.
    """

    variable: NDArray[np.int32]
    cut: NDArray[np.float32]
    below: NDArray[np.int32]
    at_least: NDArray[np.int32]
    value: Values
    roots: NDArray[np.int32]
    norm: float | None

    def __call__(self, x: Float32) -> Values:
        """Maps (n, d) to (n,), on as many threads as the process may use."""
        total = np.zeros(len(x))

        def add(start: int) -> None:
            rows = slice(start, start + _CHUNK)
            nodes = (self.variable, self.cut, self.below, self.at_least, self.value, self.roots)
            _add_trees(x[rows], *nodes, total[rows])

        with ThreadPoolExecutor(allowed_threads()) as threads:
            list(threads.map(add, range(0, len(x), _CHUNK)))
        if self.norm is None:
            with np.errstate(over="ignore"):
                return np.asarray(2 / (1 + np.exp(-2 * total)) - 1)
        return total / self.norm if self.norm > np.finfo(float).eps else np.zeros_like(total)


@dataclass(frozen=True, slots=True)
class TmvaNetwork:
    """The multilayer perceptron: section "The MLP neural network".

    Each neuron applies its activation to the weighted sum of its inputs; the last neuron of every layer but the output
    is 1, for the bias. The output neuron is a sigmoid for cross entropy, and linear for squared errors.

    Attributes:
        weights: for each layer but the output (neurons + 1, neurons of the next layer), the bias last.
        activation, output: the activation functions of hidden neurons and of the output.
    """

    weights: tuple[Values, ...]
    activation: Callable[[Values], Values]
    output: Callable[[Values], Values]

    def __call__(self, x: Float32) -> Values:
        """Maps (n, d) to (n,)."""
        result = np.empty(len(x))
        for start in range(0, len(x), _CHUNK):
            rows = slice(start, start + _CHUNK)
            result[rows] = self._value(x[rows].astype(np.float64))
        return result

    def _value(self, values: Values) -> Values:
        with np.errstate(over="ignore", invalid="ignore"):
            for layer, weights in enumerate(self.weights):
                sums = np.zeros((len(values), weights.shape[1]))
                for j in range(values.shape[1]):  # in TMVA's order, which does not depend on the number of events
                    sums += values[:, [j]] * weights[j]
                sums += weights[-1]
                last = layer == len(self.weights) - 1
                values = self.output(sums) if last else self.activation(sums)
        return values[:, 0]


@dataclass(frozen=True, slots=True)
class Linear:
    """Fisher's discriminant F0 + Σ F x (section "Fisher discriminants") and LD ("Linear discriminant analysis")."""

    offset: float
    coefficients: Values

    def __call__(self, x: Float32) -> Values:
        """Maps (n, d) to (n,)."""
        total = np.full(len(x), self.offset)
        for j, coefficient in enumerate(self.coefficients):
            total += coefficient * x[:, j].astype(np.float64)
        return total


Method = Trees | TmvaNetwork | Linear


def read_method(file: WeightFile) -> Method:
    """Returns the method of a weight file.

    Raises:
        ModelMismatchError: the method is not among those that pidlab reads, or the file is damaged.
    """
    readers: dict[str, Callable[[WeightFile], Method]] = {
        "BDT": _read_trees,
        "MLP": _read_network,
        "Fisher": _read_linear,
        "LD": _read_linear,
    }
    if file.method not in readers:
        raise ModelMismatchError(f"holds TMVA's method {file.method!r}; {', '.join(readers)} are read")
    return readers[file.method](file)


def _read_trees(file: WeightFile) -> Trees:
    boost = file.options.get("BoostType", "AdaBoost")
    if boost not in ("AdaBoost", "Bagging", "Grad"):
        raise ModelMismatchError(f"is boosted by {boost!r}; AdaBoost, Bagging and Grad are read")
    if file.is_on("DoPreselection"):
        raise ModelMismatchError("was trained with DoPreselection, whose cuts are not read; train it without")
    elements = file.weights.findall("BinaryTree")
    if not elements or len(elements) != whole(file.weights, "NTrees"):
        raise damaged(f"{len(elements)} trees of {file.weights.get('NTrees')} are there")
    leaf = "res" if boost == "Grad" else "nType" if file.is_on("UseYesNoLeaf", default=True) else "purity"
    weighted = boost != "Grad" and file.is_on("UseWeightedTrees", default=True)
    weights = [float(np.float32(number(e, "boostWeight"))) if weighted else 1.0 for e in elements]
    rows: list[list[float]] = []  # variable, cut, the next nodes below and not below it, value: of all trees' nodes
    roots = []
    for element, weight in zip(elements, weights, strict=True):
        roots.append(len(rows))
        _add_nodes(rows, child(element, "Node"), weight, len(file.variables), leaf)
    variable, cut, below, at_least, value = np.ascontiguousarray(np.array(rows, np.float64).T)
    with np.errstate(over="ignore"):
        cut = cut.astype(np.float32)
    variable, below, at_least = (column.astype(np.int32) for column in (variable, below, at_least))
    norm = None if boost == "Grad" else sum(weights)
    return Trees(variable, cut, below, at_least, value, np.array(roots, np.int32), norm)


def _add_nodes(rows: list[list[float]], root: Element, weight: float, n_variables: int, leaf: str) -> None:
    """Adds the nodes of a tree to a table of nodes; `leaf` is the attribute with a leaf's value."""
    waiting: list[tuple[Element, int, int]] = [(root, -1, 0)]  # with the row and the column for the node's index
    while waiting:
        element, parent, side = waiting.pop()
        own = len(rows)
        if parent >= 0:
            rows[parent][side] = own
        if whole(element, "NCoef") if "NCoef" in element.attrib else 0:
            raise ModelMismatchError("has nodes that cut on a Fisher discriminant (UseFisherCuts), which are not read")
        if whole(element, "nType") != 0:
            rows.append([-1, 0.0, -1, -1, weight * _leaf_value(element, leaf)])
            continue
        variable = whole(element, "IVar")
        sides = {e.get("pos"): e for e in element.iterfind("Node")}
        if not 0 <= variable < n_variables or sides.keys() != {"l", "r"}:
            raise damaged(f"a node of a tree asks variable {variable} and has sides {sorted(map(str, sides))}")
        rows.append([variable, number(element, "Cut"), -1, -1, 0.0])
        right = 3 if whole(element, "cType") else 2
        waiting += [(sides["r"], own, right), (sides["l"], own, 5 - right)]


def _leaf_value(element: Element, leaf: str) -> float:
    if leaf == "purity" and "purity" not in element.attrib:
        signal, background = number(element, "nS"), number(element, "nB")
        return float(np.float32(signal / (signal + background))) if signal + background else 0.5
    return float(np.float32(number(element, leaf)))


def _read_network(file: WeightFile) -> TmvaNetwork:
    if (how := file.options.get("NeuronInputType", "sum")) != "sum":
        raise ModelMismatchError(f"has neurons whose input is {how!r}; sum is read")
    estimator = file.options.get("EstimatorType", "MSE")
    if estimator not in ("MSE", "CE"):
        raise ModelMismatchError(f"has the estimator {estimator!r}; MSE and CE are read")
    kind = file.options.get("NeuronType", "sigmoid")
    activations: dict[str, Callable[[Values], Values]] = {
        "sigmoid": _sigmoid,
        "tanh": np.tanh,
        "linear": _same,
        "radial": lambda x: np.asarray(np.exp(-x * x / 2)),
        "ReLU": lambda x: np.where(x > 0, x, 0.0),
    }
    if kind not in activations:
        raise ModelMismatchError(f"has neurons of type {kind!r}; {', '.join(activations)} are read")
    if kind == "tanh" and file.version >= _FAST_TANH_SINCE:
        activations["tanh"] = _fast_tanh
    layout = file.weights if file.weights.find("Layout") is None else child(file.weights, "Layout")
    layers = sorted(layout.iterfind("Layer"), key=lambda e: whole(e, "Index"))
    sizes = [whole(layer, "NNeurons") for layer in layers]
    inner = [len(file.variables) + 1, *sizes[1:-1], 1]
    if (
        len(sizes) != whole(layout, "NLayers")
        or len(sizes) < 2
        or sizes != inner
        or not 0 < max(sizes) <= _MOST_NEURONS
    ):
        raise damaged(f"layers of {sizes} neurons do not go with {len(file.variables)} variables")
    weights = tuple(
        _synapses(layer, size, following - (i < len(sizes) - 2))
        for i, (layer, size, following) in enumerate(zip(layers, sizes, sizes[1:], strict=False))
    )
    return TmvaNetwork(weights, activations[kind], _sigmoid if estimator == "CE" else _same)


def _synapses(layer: Element, n_neurons: int, n_following: int) -> Values:
    """Weights (neurons, neurons of the next layer without its bias), rounded to float32 as TMVA::Reader does."""
    neurons = layer.findall("Neuron")
    if len(neurons) != n_neurons or any(whole(e, "NSynapses") != n_following for e in neurons):
        raise damaged(f"a layer of {n_neurons} neurons leads to {n_following}, which do not match")
    return np.array([numbers(e, n_following) for e in neurons], np.float32).astype(np.float64)


def _read_linear(file: WeightFile) -> Linear:
    index = "Index" if file.method == "Fisher" else "IndexCoeff"
    found = sorted(file.weights.iterfind("Coefficient"), key=lambda e: whole(e, index))
    if [whole(e, index) for e in found] != list(range(len(file.variables) + 1)):
        raise damaged(f"{len(found)} coefficients for {len(file.variables)} variables")
    values = np.array([number(e, "Value") for e in found])
    return Linear(float(values[0]), values[1:])


def _same(x: Values) -> Values:
    return x


def _sigmoid(x: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-x)))


def _fast_tanh(x: Values) -> Values:
    """TMVA's tanh since 4.2.1: a continued fraction in float32, within 1e-4 of tanh, and ±1 beyond ±4.97."""
    square = (x * x).astype(np.float32)
    c = [np.float32(v) for v in (135135, 17325, 378, 62370, 3150, 28)]
    above = (x * (c[0] + square * (c[1] + square * (c[2] + square)))).astype(np.float32)
    under = c[0] + square * (c[3] + square * (c[4] + square * c[5]))
    return np.where(x > 4.97, 1.0, np.where(x < -4.97, -1.0, (above / under).astype(np.float64)))
