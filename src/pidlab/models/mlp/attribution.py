"""Integrated gradients: what each input of a network adds to its answer between a reference and an event.

The answer is the log-odds of a class, or the prediction of a regression.

M. Sundararajan, A. Taly, Q. Yan, ICML 2017 (arXiv:1703.01365): an input adds the integral of the gradient along the
straight line from the reference x' to the event x, times the distance (x − x') in that input. The sum over the inputs
is F(x) − F(x') ("completeness"), which is how the number of points is chosen: a piece of a line on which the sum is
wrong is halved until it is right. Batch norm is folded into the matrices, so a network is a chain of linear layers and
activations, and its gradient is that of the training without dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from pidlab.measured import Array
from pidlab.models.missing import MissingValues
from pidlab.models.mlp.activations import FUNCTIONS
from pidlab.models.mlp.network import DenseNetwork, stacked, threads_for
from pidlab.sample import FloatArray

COMPLETENESS = 5e-4
"""The largest difference between the sum of an event's contributions and its log-odds less those of the reference; of a
prediction in scaled units."""

Answer = Callable[[Array, int], tuple[Array, Array]]
"""From what m members give, (m, k, n), and a column to a number of each event (n,) and its slope in all that they give:
`log_odds` of a class, or `mean_output` or `ordered_output` of a regression."""

_N_POINTS = 8
_PIECES = 4  # of a line to begin with: 32 points; the authors found 20 to 300 enough
_HALVINGS = 40  # after which a piece has no length in double precision; kinks of ReLU take up to about 15
_EVENTS = 1024  # that are worked on together
_ROWS = 1 << 12  # points that go through the network together, so that the values of all layers stay in the cache


class Attribution(NamedTuple):
    """Contributions of d inputs to the log-odds of a class, or to a prediction.

    Attributes:
        parts: (n, d) contributions, which sum with the reference to those of the events within `COMPLETENESS`.
        reference: the log-odds, or the prediction, of the reference.
    """

    parts: Array
    reference: float


def integrated_gradients(
    networks: Sequence[DenseNetwork], x: Array, reference: Array, answer: Answer, column: int
) -> Attribution:
    """Returns what each input contributes to the answer of some networks.

    Args:
        networks: the members of an ensemble, of one architecture.
        x: (n, d) inputs, finite.
        reference: (d,) the event at which all lines begin.
        answer: what the networks are asked.
        column: the class or the output that is asked for; 0 if there is one.
    """
    path = _Path(networks, lambda outputs: answer(outputs, column))
    parts = np.zeros(x.shape)
    with threads_for(networks):
        start = float(path.at(reference[None])[0][0])
        for first in range(0, len(x), _EVENTS):
            rows = slice(first, first + _EVENTS)
            parts[rows] = _along_lines(path, x[rows], reference)
    return Attribution(parts, start)


def feature_contributions(
    networks: Sequence[DenseNetwork],
    x: Array,
    missing: MissingValues | None,
    reference: FloatArray | None,
    answer: Answer,
    column: int,
) -> Array:
    """Returns (n, d + 1) what each feature contributes, with what its absence does, and last what the reference gives.

    Args:
        networks, answer, column: as of `integrated_gradients`.
        x: (n, d + m) features without missing values, and the columns that tell what is missing.
        missing: replaced the missing values; None in models of older versions.
        reference: (d,) the event from which they count, with no value missing; None: the median of each feature.
    """
    indicators = () if missing is None else missing.indicators
    d, start = x.shape[1] - len(indicators), np.zeros(x.shape[1])
    if reference is not None:
        start[:d] = reference
    elif missing is not None:
        start[:d] = missing.fill
    parts, base = integrated_gradients(networks, x, start, answer, column)
    for i, feature in enumerate(indicators):
        parts[:, feature] += parts[:, d + i]
    return np.column_stack([parts[:, :d], np.full(len(x), base)])


def _along_lines(path: _Path, x: Array, reference: Array) -> Array:
    """Returns (n, d) the integrals along the lines to x (n, d), halving pieces until each line is complete."""
    n, delta = len(x), x - reference
    event = np.repeat(np.arange(n), _PIECES)
    start, width = np.tile(np.arange(_PIECES) / _PIECES, n), np.full(n * _PIECES, 1 / _PIECES)
    parts, error = path.pieces(reference, delta[event], start, width)
    for _ in range(_HALVINGS):
        by_event = np.bincount(event, weights=error, minlength=n)
        n_pieces = np.bincount(event, minlength=n)
        # Errors of different pieces have different signs: they sum like a random walk.
        share = COMPLETENESS / (2 * np.sqrt(np.maximum(n_pieces, 1)))
        is_wrong = (np.abs(by_event) > COMPLETENESS / 2)[event] & (np.abs(error) > share[event])
        if not is_wrong.any():
            break
        kept, halved = ~is_wrong, np.repeat(event[is_wrong], 2)
        half = np.repeat(width[is_wrong] / 2, 2)
        begins = np.repeat(start[is_wrong], 2)
        begins[1::2] += half[1::2]
        new_parts, new_error = path.pieces(reference, delta[halved], begins, half)
        event, start = np.concatenate([event[kept], halved]), np.concatenate([start[kept], begins])
        width = np.concatenate([width[kept], half])
        parts, error = np.concatenate([parts[kept], new_parts]), np.concatenate([error[kept], new_error])
    total = np.zeros(x.shape)
    np.add.at(total, event, parts)
    return total


class _Path:
    """The answer of some networks, and its gradient, at any points."""

    def __init__(self, networks: Sequence[DenseNetwork], answer: Callable[[Array], tuple[Array, Array]]) -> None:
        self._answer, self._function = answer, FUNCTIONS[networks[0].activation]
        self._layers = stacked(networks, np.float64)
        self._nodes, self._node_weights = _lobatto(_N_POINTS)

    def pieces(self, reference: Array, delta: Array, start: Array, width: Array) -> tuple[Array, Array]:
        """Returns the integrals over some pieces of lines, and how much their sums differ from what was gained.

        Args:
            reference: (d,) where all lines begin.
            delta: (p, d) from there to the end of the line of each piece.
            start, width: (p,) where each piece begins and how long it is, as shares of its line.
        """
        parts, error = np.empty(delta.shape), np.empty(len(delta))
        step = max(1, _ROWS // _N_POINTS)
        for first in range(0, len(delta), step):
            rows = slice(first, first + step)
            at = start[rows, None] + width[rows, None] * self._nodes
            points = reference + at[:, :, None] * delta[rows, None, :]
            value, gradient = self.at(points.reshape(-1, delta.shape[1]))
            value = value.reshape(at.shape)
            mean = np.einsum("q,pqd->pd", self._node_weights, gradient.reshape(points.shape))
            parts[rows] = mean * delta[rows] * width[rows, None]
            error[rows] = parts[rows].sum(axis=1) - (value[:, -1] - value[:, 0])  # the nodes hold both ends
        return parts, error

    def at(self, x: Array) -> tuple[Array, Array]:
        """Returns the answer (n,) at points (n, d), and its gradient (n, d)."""
        values, kept = np.ascontiguousarray(x.T), []
        for weight, bias in self._layers[:-1]:
            linear = weight @ values + bias
            values = self._function.value(linear)
            kept.append((linear, values))
        weight, bias = self._layers[-1]
        value, slope = self._answer(weight @ values + bias)
        for (linear, values), (above, _) in zip(reversed(kept), reversed(self._layers[1:]), strict=True):
            slope = self._function.backward(above.mT @ slope, linear, values)
        gradient = (self._layers[0][0].mT @ slope).sum(axis=0)
        return value, gradient.T


def ordered_output(outputs: Array, column: int) -> tuple[Array, Array]:
    """Returns the same as `mean_output` of outputs in rising order, as predicted quantiles are put where they cross."""
    mean = outputs.mean(axis=0)
    place = np.argsort(mean, axis=0, kind="stable")[None, column]
    slope = np.zeros_like(outputs)
    np.put_along_axis(slope, place[None], 1 / len(outputs), axis=1)
    return np.take_along_axis(mean, place, axis=0)[0], slope


def mean_output(outputs: Array, column: int) -> tuple[Array, Array]:
    """Returns output number `column` of the mean of what the members of a regression give, and its slope."""
    slope = np.zeros_like(outputs)
    slope[:, column] = 1 / len(outputs)
    return outputs.mean(axis=0)[column], slope


def log_odds(logits: Array, column: int) -> tuple[Array, Array]:
    """Returns the log-odds (n,) of a class against all others by the mean probability of m members, and their slope.

    Args:
        logits: (m, 1, n), those of the second of two classes, or (m, k, n).
        column: the class; 0 if there is one logit.

    Returns:
        the log-odds, and (m, 1, n) or (m, k, n) derivatives. Everything is computed from logarithms, so that
        probabilities near 0 and 1 lose nothing.
    """
    if logits.shape[1] == 1:
        own, other = -np.logaddexp(0, -logits[:, 0]), -np.logaddexp(0, logits[:, 0])
        slope = _softmax(own, 0) * np.exp(other) + _softmax(other, 0) * np.exp(own)
        return _log_sum(own, 0) - _log_sum(other, 0), slope[:, None]
    by_class = logits - _log_sum(logits, 1)[:, None]
    without = by_class.copy()
    without[:, column] = -np.inf
    own, other = by_class[:, column], _log_sum(without, 1)
    p = np.exp(by_class)
    to_own, to_other = -p, _softmax(without, 1) - p  # d log p / dz of the class, and of all others together
    to_own[:, column] += 1
    slope = _softmax(own, 0)[:, None] * to_own - _softmax(other, 0)[:, None] * to_other
    return _log_sum(own, 0) - _log_sum(other, 0), slope


def _log_sum(values: Array, axis: int) -> Array:
    """Returns the logarithm of the sum of exponentials along an axis."""
    most = values.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(values - most).sum(axis=axis)) + most.squeeze(axis))


def _softmax(values: Array, axis: int) -> Array:
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _lobatto(n: int) -> tuple[Array, Array]:
    """Returns n points in [0, 1], both ends among them, and weights that integrate polynomials up to degree 2n - 3.

    Gauss-Lobatto: M. Abramowitz, I. Stegun, Handbook of Mathematical Functions (1964), 25.4.32.
    """
    polynomial = legendre.Legendre.basis(n - 1)
    nodes = np.concatenate([[-1.0], np.sort(polynomial.deriv().roots().real), [1.0]])
    weights = 2 / (n * (n - 1) * polynomial(nodes) ** 2)
    return (nodes + 1) / 2, weights / 2
