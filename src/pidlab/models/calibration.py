"""Calibration: a map from the scores of a model to probabilities, fitted on events that it was not trained on.

A model has one map; with folds it is applied to the scores of each fold model, before any mean over the models. It is
fitted with the weights of training, so that with `balance: equal` the probability is that for equal abundances.
`calibration.json` holds either

    {"schema": 1, "method": "temperature", "temperature": 1.31}
    {"schema": 1, "method": "isotonic", "columns": [{"column": 0, "x": [...], "y": [...]}]}

Temperature divides the logarithms of the k probabilities, which are margins up to a constant: p_i^(1/T) / sum_j
p_j^(1/T). For two classes it keeps the order of candidates, and so the ROC curve, except that float32 may round several
scores to 1. For more classes it keeps the class of largest probability, and nearly the order by the signal's score.

Isotonic maps each listed column from x to y, linearly between the knots and constant beyond them. With one column the
other class has the complement; with all k, rows are scaled to sum 1. The map has plateaus: candidates on one plateau
share a score, so the AUC moves a little, and a threshold may pass many candidates at once.
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
        expected = (signal,) if n_classes == 2 else tuple(range(n_classes))
        if self.columns != expected:
            raise ModelError(
                f"{directory / FILE}: maps the scores of the classes {self.columns}, and the run has {n_classes} "
                f"classes with the signal {signal}; make the run again"
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `calibration.json`."""
        knots = zip(self.columns, self.x, self.y, strict=True)
        columns = [{"column": c, "x": x.tolist(), "y": y.tolist()} for c, x, y in knots]
        return {"schema": SCHEMA, "method": self.method, "columns": columns}


Calibrator = Temperature | Isotonic


def fit_calibration(
    method: Literal["temperature", "isotonic"], scores: FloatArray, y: IntArray, weight: FloatArray, signal: int
) -> Calibrator:
    """Fits a map to scores (n, k) of candidates of class y (n,) with weights (n,) that are not negative.

    Candidates without a score or a weight are left out.

    Raises:
        ModelError: fewer than two classes are left.
    """
    usable = np.flatnonzero(~np.isnan(scores).any(axis=1) & (weight > 0))
    scores, y, weight = scores[usable], y[usable], weight[usable]
    if len(np.unique(y)) < 2:
        raise ModelError(
            f"cannot be calibrated: of {len(usable)} validation candidates with a score and a weight, "
            "not two classes are left; give split.validation more, or leave evaluate.calibration out"
        )
    return _temperature(scores, y, weight) if method == "temperature" else _isotonic(scores, y, weight, signal)


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
        columns = content["columns"]
        knots = [tuple(np.asarray(c[axis], np.float64) for axis in ("x", "y")) for c in columns]
        if not knots or any(x.ndim != 1 or x.shape != y.shape or not len(x) for x, y in knots):
            raise ValueError("x and y should be equally long lists of numbers")
        if any(not np.isfinite([x, y]).all() or (np.diff([x, y]) < 0).any() for x, y in knots):
            raise ValueError("x and y should be finite and rise")
        if any(y[0] < 0 or y[-1] > 1 for _, y in knots):
            raise ValueError("y should lie between 0 and 1")
        places = tuple(c["column"] for c in columns)
        if content["method"] != "isotonic" or places not in ((0,), (1,), tuple(range(len(places)))):
            raise ValueError(f"{content['method']!r} of the columns {places} is unknown")
        if any(type(place) is not int for place in places) or len(places) == 2:
            raise ValueError(f"the columns are {places}")
        x, y = zip(*knots, strict=True)
        return Isotonic(places, x, y)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: is not a whole calibration ({error!r}); make the run again") from error
