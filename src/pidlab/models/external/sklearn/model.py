"""Any estimator of scikit-learn, xgboost or lightgbm: pidlab trains it, saves it as ONNX, and scores that graph."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import has_fit_parameter

from pidlab.config.schema import SklearnModel, SklearnRegression
from pidlab.errors import ModelError
from pidlab.models.base import Classifier, Estimator, Progress, TrainingRows, ValidationSet
from pidlab.models.external.columns import ModelMismatchError
from pidlab.models.external.onnx.runtime import Runner, read_graph
from pidlab.models.external.sklearn.estimators import CLASSIFIER, REGRESSOR, EstimatorKind, build, parameter_names
from pidlab.models.external.sklearn.to_onnx import PROBABILITIES, converted, keeps_missing, refuse_unconvertible
from pidlab.models.threads import one_thread, worthwhile_threads
from pidlab.sample import FloatArray

FILE = "model.onnx"
TOLERANCE = 1e-4
"""The largest difference of a probability of the ONNX graph, which is computed in float32, from the estimator's; for a
prediction in standard deviations of the predictions."""
_N_COMPARED = 10_000
_N_WARNINGS = 3
_THREADED = ("sklearn.ensemble.RandomForest", "sklearn.ensemble.ExtraTrees", "xgboost.", "lightgbm.")


@dataclass(eq=False, repr=False)
class SklearnEstimator(Estimator):
    """What a classifier and a regressor by their import path have in common.

    After training it is converted to ONNX, and the graph is compared with the estimator on up to 10,000 training rows.
    Scores come from the graph only, so that what is evaluated is what is saved.

    Args:
        estimator: import path of a class in scikit-learn, xgboost, lightgbm or a package of `allowed`.
        parameters: the parameters of that class, by name.
        seed: its `random_state`, if it has one that `parameters` do not set.
        n_jobs: threads of ensembles; None for as many as this process may use.
        allowed: further packages that may be imported.
    """

    estimator_kind: ClassVar[EstimatorKind]
    kind = "sklearn"
    x_types = np.float32
    x_finite = False

    estimator: str
    parameters: Mapping[str, Any] | None = None
    seed: int = 0
    n_jobs: int | None = None
    allowed: Collection[str] = ()

    @property
    def takes_missing(self) -> bool:
        """Whether the estimator, and its ONNX graph alike, take NaN for missing values."""
        return keeps_missing(self.build())

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader of its numbers."""
        return getattr(self, "notes_", ())

    def build(self, n_values: int = 0) -> Any:
        """Returns the untrained estimator, with seed and threads unless its parameters set them.

        The number of threads grows with `n_values`, the number of values in the training data.

        Raises:
            ModelMismatchError: the path or a parameter is refused.
        """
        asked = dict(self.parameters or {})
        known = parameter_names(type(build(self.estimator, asked, self.allowed, self.estimator_kind)))
        settings: dict[str, Any] = {"random_state": self.seed} if "random_state" in known else {}
        if self.estimator.startswith(_THREADED):
            settings["n_jobs"] = self._n_threads(n_values)
        if self.estimator.startswith("lightgbm."):
            settings["verbosity"] = -1
        return build(self.estimator, settings | asked, self.allowed, self.estimator_kind)

    def _n_threads(self, n_values: int) -> int:
        return self.n_jobs or worthwhile_threads(n_values)

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Trains on rows that were checked, and sets `notes_` and the ONNX graph; the other arguments are not used.

        Raises:
            ModelError: the estimator refuses to train, or its ONNX graph gives other numbers.
        """
        x, y, weight = rows.whole(np.float32)
        estimator = self.build(x.size)
        refuse_unconvertible(estimator)
        weight_name = "sample_weight" if has_fit_parameter(estimator, "sample_weight") else ""
        with one_thread() if self._n_threads(x.size) == 1 else contextlib.nullcontext():
            self.notes_ = train_and_note(estimator, x, y, weight, weight_name)
        self._keep(checked_graph(estimator, x, self.estimator_kind))

    def _keep(self, content: bytes) -> None:
        self.content_, self._run = content, _runner(content)

    def save(self, directory: Path) -> None:
        """Writes the ONNX graph, and the settings as JSON; `load` does not import the package of the estimator."""
        super().save(directory)
        (directory / FILE).write_bytes(self.content_)

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        try:
            self._keep((directory / FILE).read_bytes())
        except ModelMismatchError as error:
            raise ValueError(str(error)) from error
        if self._run.graph.n_features not in (None, self.n_features_in_):
            raise ValueError(f"{FILE} takes {self._run.graph.n_features} features, not {self.n_features_in_}")
        n_columns = self._run(np.zeros((1, self.n_features_in_), np.float32)).shape[1]
        if n_columns != len(self.classes_):
            raise ValueError(f"{FILE} gives {n_columns} columns, and should give {len(self.classes_)}")


@dataclass(eq=False, repr=False)
class SklearnClassifier(SklearnEstimator, Classifier):
    """A classifier by its import path."""

    estimator_kind: ClassVar[EstimatorKind] = CLASSIFIER

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns (n, k) class probabilities from the ONNX graph."""
        return self.scores(np.asarray(X)).astype(np.float64)

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32 class probabilities of (n, d) features."""
        return np.asarray(self._run(np.asarray(X, np.float32)), np.float32)

    def _stated(self) -> dict[str, Any]:
        return {"estimator": self.estimator, "parameters": self.parameters, "seed": self.seed}

    @classmethod
    def _parameters_in(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        return {name: content[name] for name in ("estimator", "parameters", "seed")}


def _runner(content: bytes) -> Runner:
    """Runs a graph that gives probabilities, in the output of that name or else the last output of floats."""
    graph = read_graph(content)
    floats = [port.name for port in graph.outputs if port.dtype.startswith("float")]
    return Runner(graph, PROBABILITIES if PROBABILITIES in floats else floats[-1])


def checked_graph(estimator: Any, x: FloatArray, kind: EstimatorKind = CLASSIFIER) -> bytes:
    """Returns the estimator as ONNX, compared with it.

    Raises:
        ModelError: it cannot be converted, or a number differs by more than `TOLERANCE`.
    """
    name = type(estimator).__name__
    content = converted(estimator, x.shape[1])
    rows = x[np.linspace(0, len(x) - 1, min(len(x), _N_COMPARED)).astype(np.int64)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training has recorded them
        expected = np.asarray(getattr(estimator, kind.method[0])(rows), np.float64)
    unit = 1.0
    if kind is REGRESSOR:
        expected, unit = expected.reshape(-1, 1), float(expected.std()) or float(np.abs(expected).max()) or 1.0
    found = _runner(content)(rows)
    if found.shape != expected.shape:
        raise ModelError(f"{name} as ONNX gives {found.shape[1]} columns for {expected.shape[1]} numbers")
    worst = float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max()) / unit
    if worst > TOLERANCE:
        raise ModelError(
            f"{name} as ONNX differs from the estimator by up to {worst:.2g} on {len(rows):,} training rows, and "
            f"{TOLERANCE:g} is let pass: its converter is at fault, and what would be saved is not what was trained; "
            "take another estimator"
        )
    return content


def train_and_note(
    estimator: Any, x: Any, y: NDArray[Any], weight: NDArray[np.float64], weight_name: str
) -> tuple[str, ...]:
    """Trains an estimator; returns what it warned of, and whether it took weights, in sentences.

    Args:
        estimator: is trained in place.
        x: (n, d) features, or a data frame of them.
        y: (n,) what it learns.
        weight: (n,) weights.
        weight_name: the argument by which its `fit` takes weights; empty if it takes none.

    Raises:
        ModelError: the estimator refuses to train.
    """
    name = type(estimator).__name__
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            estimator.fit(x, y, **({weight_name: weight} if weight_name else {}))
    except Exception as error:  # estimators raise errors of any type
        raise ModelError(f"{name} refuses to train ({' '.join(str(error).split())[:400]})") from error
    heard = dict.fromkeys(" ".join(str(w.message).split())[:300].rstrip(".") for w in said)
    notes = [f"{name} warns: {text}." for text in list(heard)[:_N_WARNINGS]]
    if not weight_name and not (weight == weight[0]).all():
        notes.append(f"{name} takes no weights of events: all counted the same in its training.")
    return tuple(notes)


def check_sklearn(spec: SklearnModel, allowed: Collection[str]) -> None:
    """Refuses an estimator that cannot be trained or saved, before training.

    Raises:
        ModelMismatchError: the class or a parameter is refused.
        ModelError: no converter to ONNX supports the class.
    """
    refuse_unconvertible(untrained(spec, allowed))


def untrained(spec: SklearnModel, allowed: Collection[str]) -> Any:
    """Returns the untrained estimator of a section: a regressor in a regression, else a classifier.

    Raises:
        ModelMismatchError: the class or a parameter is refused.
    """
    kind = REGRESSOR if isinstance(spec, SklearnRegression) else CLASSIFIER
    return build(spec.estimator, spec.parameters, allowed, kind)
