"""Calibration: a map from the scores of a model to probabilities, fitted on events that it was not trained on.

A model has one map; with folds it is applied to the scores of each fold model, before any mean over the models. It is
fitted with the weights of training, so that with `balance: equal` the probability is that for equal abundances.
`calibration.json` holds one of

    {"schema": 1, "method": "temperature", "temperature": 1.31}
    {"schema": 1, "method": "isotonic", "columns": [{"column": 0, "x": [...], "y": [...]}]}
    {"schema": 1, "method": "vector", "scale": 0.9, "offsets": [0.1, -0.1]}

Temperature divides the logarithms of the k probabilities, which are margins up to a constant: p_i^(1/T) / sum_j
p_j^(1/T). For two classes it keeps the order of candidates, and so the ROC curve, except that float32 may round several
scores to 1. For more classes it keeps the class of largest probability, and nearly the order by the signal's score.
Vector scaling multiplies them by a factor and adds an offset for each class; it serves the categories of a model.

Isotonic maps each listed column from x to y, linearly between the knots and constant beyond them. With one column
the other class of two has the complement; more classes have no score then. With all k, rows are scaled to
sum 1. The map has plateaus: candidates on one plateau share a score, so the AUC moves a little, and a threshold may
pass many candidates at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.jsonfile import read_json, write_json
from pidlab.models.link import posterior
from pidlab.sample import FloatArray, IntArray

SCHEMA = 1
FILE = "calibration.json"
Method = Literal["none", "temperature", "isotonic"]

_COLDEST, _HOTTEST = 0.05, 20.0
_RANK_SHARE = 1e-6  # of the probability: keeps blocks of the same probability in their order
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


@dataclass(frozen=True, slots=True)
class Temperature:
    """Temperature scaling (Guo et al., ICML 2017). A temperature above 1 means that the model was overconfident."""

    method: ClassVar[Method] = "temperature"
    temperature: float

    def apply(self, scores: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) calibrated probabilities of (n, k) probabilities; NaN stays NaN."""
        logarithms = _logarithms(scores)
        if logarithms.shape[1] == 2:
            logarithms = logarithms[:, 1:] - logarithms[:, :1]
        return np.asarray(posterior(logarithms / self.temperature), np.float32)

    def check(self, directory: Path, n_classes: int, signal: int) -> None:
        """Accepts any number of classes."""

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `calibration.json`."""
        return {"schema": SCHEMA, "method": self.method, "temperature": self.temperature}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Isotonic regression (Zadrozny and Elkan, KDD 2002) of one column of two, or of each of k.

    Attributes:
        columns: the columns of the scores that are mapped.
        x, y: (m,) knots of each of these columns, both rising.
    """

    method: ClassVar[Method] = "isotonic"
    columns: tuple[int, ...]
    x: tuple[NDArray[np.float64], ...]
    y: tuple[NDArray[np.float64], ...]

    def apply(self, scores: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) calibrated probabilities of (n, k) probabilities; NaN stays NaN."""
        mapped = [np.interp(scores[:, c], x, y) for c, x, y in zip(self.columns, self.x, self.y, strict=True)]
        if len(mapped) == 1 and scores.shape[1] > 2:
            result = np.full(scores.shape, np.nan, np.float32)
            result[:, self.columns[0]] = mapped[0]
            return result
        if len(mapped) == 1:
            pair = [1 - mapped[0], mapped[0]] if self.columns[0] == 1 else [mapped[0], 1 - mapped[0]]
            return np.stack(pair, axis=1).astype(np.float32)
        result = np.stack(mapped, axis=1)
        total = result.sum(axis=1, keepdims=True)
        nowhere = total == 0
        return np.asarray(np.where(nowhere, 1 / len(mapped), result / np.where(nowhere, 1, total)), np.float32)

    def check(self, directory: Path, n_classes: int, signal: int) -> None:
        """Checks that the map is for the classes of the run.

        Raises:
            ModelError: it maps the scores of other classes.
        """
        if self.columns not in ((signal,), *([tuple(range(n_classes))] if n_classes > 2 else [])):
            raise ModelError(
                f"{directory / FILE}: maps the scores of the classes {self.columns}, and the run has {n_classes} "
                f"classes with the signal {signal}; make the run again"
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `calibration.json`."""
        knots = zip(self.columns, self.x, self.y, strict=True)
        columns = [{"column": c, "x": x.tolist(), "y": y.tolist()} for c, x, y in knots]
        return {"schema": SCHEMA, "method": self.method, "columns": columns}


@dataclass(frozen=True, slots=True)
class VectorScaling:
    """A common factor on the logarithms of the probabilities and an offset for each class (Guo et al., ICML 2017).

    For two classes that is Platt's scaling of the log-odds, which keeps the order of candidates.
    """

    method: ClassVar[str] = "vector"
    scale: float
    offsets: tuple[float, ...]

    def apply(self, scores: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) calibrated probabilities of (n, k) probabilities; NaN stays NaN."""
        margins = self.scale * _logarithms(scores) + np.array(self.offsets)
        if margins.shape[1] == 2:
            margins = margins[:, 1:] - margins[:, :1]
        return np.asarray(posterior(margins), np.float32)

    def check(self, directory: Path, n_classes: int, signal: int) -> None:
        """Checks that there is an offset for each class of the run.

        Raises:
            ModelError: there are more or fewer.
        """
        if len(self.offsets) != n_classes:
            wrong = f"has offsets for {len(self.offsets)} classes, and the run has {n_classes}"
            raise ModelError(f"{directory / FILE}: {wrong}; make the run again")

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `calibration.json`."""
        return {"schema": SCHEMA, "method": self.method, "scale": self.scale, "offsets": list(self.offsets)}


Calibrator = Temperature | Isotonic | VectorScaling


def scale_and_offsets(calibration: Temperature | VectorScaling, n_classes: int) -> tuple[float, tuple[float, ...]]:
    """Returns the factor on the logarithms of k probabilities, and what is added to each."""
    if isinstance(calibration, Temperature):
        return 1 / calibration.temperature, (0.0,) * n_classes
    return calibration.scale, calibration.offsets


def fit_calibration(
    method: Literal["temperature", "isotonic"], scores: FloatArray, y: IntArray, weight: FloatArray, signal: int
) -> Calibrator:
    """Fits a map to scores (n, k) of candidates of class y (n,) with weights (n,) that are not negative.

    Candidates without a score or a weight are left out.

    Raises:
        ModelError: fewer than two classes are left.
    """
    scores, y, weight = _usable(scores, y, weight)
    return _temperature(scores, y, weight) if method == "temperature" else _isotonic(scores, y, weight, signal)


def fit_vector(scores: FloatArray, y: IntArray, weight: FloatArray, signal: int) -> VectorScaling:
    """Fits a factor and offsets to probabilities (n, k) of candidates of class y (n,) with weights (n,).

    The weighted log loss is minimised, which is convex in the parameters. A weak Gaussian prior of the factor about 1
    and of the offsets about 0, of width 3, keeps them finite where the classes are separated completely.

    Raises:
        ModelError: fewer than two classes are left.
    """
    from scipy import optimize
    from scipy.special import logsumexp

    scores, y, weight = _usable(scores, y, weight)
    logarithms, k = _logarithms(scores), scores.shape[1]
    weight = weight * len(weight) / weight.sum()
    is_class = np.eye(k)[y]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale, offsets = parameters[0], parameters[1:]
        margins = scale * logarithms + offsets
        log_p = margins - logsumexp(margins, axis=1, keepdims=True)
        excess = weight[:, None] * (np.exp(log_p) - is_class)
        prior = np.array([scale - 1, *offsets]) / 3.0
        slopes = np.array([np.sum(excess * logarithms), *excess.sum(axis=0)]) + prior / 3.0
        return float(-np.sum(weight * log_p[np.arange(len(y)), y]) + 0.5 * np.sum(prior**2)), slopes

    start = np.array([1.0, *np.zeros(k)])
    bounds = [(1 / _HOTTEST, 1 / _COLDEST), *[(None, None)] * k]
    found = optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-13})
    return VectorScaling(float(found.x[0]), tuple((found.x[1:] - found.x[1:].mean()).tolist()))


def fit_ranks(scores: FloatArray, y: IntArray, weight: FloatArray, signal: int) -> Isotonic:
    """Fits a strictly rising map to scores (n, k) that only rank candidates of class y (n,) with weights (n,).

    Of two classes, and of more where only the signal has a score, the signal's column is mapped.

    Isotonic regression gives blocks of equal probability. The map goes through the centre of each, the weighted mean of
    its scores, and is linear in between, so that it keeps the order of all scores (Oron and Flournoy, Statistics in
    Biopharmaceutical Research 9 (2017) 258). Half an effective event of each kind is added to a block, so that a block
    of signal alone is not certain. Beyond the outermost centres the map goes on, half of the way to 0 and to 1.

    Raises:
        ModelError: fewer than two classes are left.
    """
    from scipy.optimize import isotonic_regression

    one_sided = scores.shape[1] == 2 or np.isnan(scores[:, signal - 1]).all()
    columns = (signal,) if one_sided else tuple(range(scores.shape[1]))
    scores, y, weight = _usable(scores[:, list(columns)], y, weight)
    knots_x, knots_y = [], []
    for j, column in enumerate(columns):
        values, place = np.unique(scores[:, j].astype(np.float64), return_inverse=True)
        total = np.bincount(place, weights=weight)
        share = np.bincount(place, weights=weight * (y == column)) / total
        blocks = isotonic_regression(share, weights=total).blocks
        sums, hits, centres = (np.add.reduceat(each, blocks[:-1]) for each in (total, share * total, values * total))
        event = float(np.sum(weight**2) / np.sum(weight))
        # More is added to small blocks than to large ones, so that the order of the blocks is restored afterwards.
        heights = isotonic_regression((hits + 0.5 * event) / (sums + event), weights=sums).x
        heights = (1 - _RANK_SHARE) * heights + _RANK_SHARE * np.arange(len(sums)) / max(len(sums), 2)
        margin = 0.1 * float(np.ptp(values)) or 1.0
        knots_x.append(np.array([values[0] - margin, *(centres / sums), values[-1] + margin]))
        knots_y.append(np.array([heights[0] / 2, *heights, (1 + heights[-1]) / 2]))
    return Isotonic(columns, tuple(knots_x), tuple(knots_y))


def _usable(scores: FloatArray, y: IntArray, weight: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
    """Returns the candidates with a score and a weight.

    Raises:
        ModelError: fewer than two classes are left.
    """
    usable = np.flatnonzero(~np.isnan(scores).any(axis=1) & (weight > 0))
    scores, y, weight = scores[usable], y[usable], weight[usable].astype(np.float64)
    if len(np.unique(y)) < 2:
        raise ModelError(
            f"cannot be calibrated: of {len(usable)} validation candidates with a score and a weight, "
            "not two classes are left; give split.validation more, or leave evaluate.calibration out"
        )
    return scores, y, weight


def _logarithms(scores: FloatArray) -> NDArray[np.float64]:
    """Returns (n, k) logarithms; a score that float32 rounded to zero counts as the smallest float32."""
    return np.asarray(np.log(np.maximum(scores, _SMALLEST, dtype=np.float64)))


def _temperature(scores: FloatArray, y: IntArray, weight: FloatArray) -> Temperature:
    """Returns the temperature between 0.05 and 20 that has the smallest weighted log loss.

    The loss is convex in 1/T. Its only minimum is where its slope, the mean of the expected logarithm minus that of
    the true class, is zero.
    """
    logarithms = _logarithms(scores)
    logarithms -= logarithms.max(axis=1, keepdims=True)
    true = logarithms[np.arange(len(y)), y]

    def slope(inverse: float) -> float:
        powers = np.exp(inverse * logarithms)
        expected = np.sum(powers * logarithms, axis=1) / powers.sum(axis=1)
        return float(np.sum(weight * (expected - true)) / weight.sum())

    if slope(1 / _HOTTEST) >= 0:
        return Temperature(_HOTTEST)
    if slope(1 / _COLDEST) <= 0:
        return Temperature(_COLDEST)
    from scipy import optimize

    return Temperature(1 / float(optimize.brentq(slope, 1 / _HOTTEST, 1 / _COLDEST, xtol=1e-9)))


def _isotonic(scores: FloatArray, y: IntArray, weight: FloatArray, signal: int) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    columns = (signal,) if scores.shape[1] == 2 else tuple(range(scores.shape[1]))
    knots = []
    for column in columns:
        steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        steps.fit(scores[:, column].astype(np.float64), (y == column).astype(np.float64), weight)
        knots.append((np.asarray(steps.X_thresholds_, np.float64), np.asarray(steps.y_thresholds_, np.float64)))
    return Isotonic(columns, tuple(x for x, _ in knots), tuple(y for _, y in knots))


def save_calibration(directory: Path, calibrator: Calibrator) -> None:
    """Writes `calibration.json` into the directory of a model."""
    write_json(directory / FILE, calibrator.to_json())


def load_calibration(directory: Path) -> Calibrator | None:
    """Reads what `save_calibration` wrote; returns None if the model has no calibration.

    Raises:
        ModelError: the file is damaged.
    """
    path = directory / FILE
    return _from_json(read_json(path), path) if path.is_file() else None


def _from_json(content: Mapping[str, Any], path: Path) -> Calibrator:
    try:
        if content["schema"] != SCHEMA:
            raise ModelError(f"{path}: written by another version of pidlab (schema {content['schema']})")
        if content["method"] == "temperature":
            temperature = float(content["temperature"])
            if not 0 < temperature < np.inf:
                raise ValueError(f"the temperature is {temperature}")
            return Temperature(temperature)
        if content["method"] == "vector":
            scale, offsets = float(content["scale"]), tuple(float(each) for each in content["offsets"])
            if not 0 < scale < np.inf or len(offsets) < 2 or not np.isfinite(offsets).all():
                raise ValueError("the factor and the offsets are damaged")
            return VectorScaling(scale, offsets)
        columns = content["columns"]
        knots = [tuple(np.asarray(c[axis], np.float64) for axis in ("x", "y")) for c in columns]
        if not knots or any(x.ndim != 1 or x.shape != y.shape or not len(x) for x, y in knots):
            raise ValueError("x and y should be equally long lists of numbers")
        if any(not np.isfinite([x, y]).all() or (np.diff([x, y]) < 0).any() for x, y in knots):
            raise ValueError("x and y should be finite and rise")
        if any(y[0] < 0 or y[-1] > 1 for _, y in knots):
            raise ValueError("y should lie between 0 and 1")
        places = tuple(c["column"] for c in columns)
        if content["method"] != "isotonic" or (len(places) > 1 and places != tuple(range(len(places)))):
            raise ValueError(f"{content['method']!r} of the columns {places} is unknown")
        if any(type(place) is not int or place < 0 for place in places) or len(places) == 2:
            raise ValueError(f"the columns are {places}")
        x, y = zip(*knots, strict=True)
        return Isotonic(places, x, y)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: is not a whole calibration ({error!r}); make the run again") from error
