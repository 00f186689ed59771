"""What models without labels share: how typical an event is of those that were trained on, as a score of the signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.evaluate.ranking import signal_scores
from pidlab.models.base import (
    Classifier,
    Progress,
    TrainingDataError,
    TrainingRows,
    ValidationSet,
    choice,
    signal_index,
)
from pidlab.models.margins import FilledEstimator
from pidlab.models.missing import MissingValues
from pidlab.sample import FloatArray

Doubles = NDArray[np.float64]


class TypicalityClassifier(FilledEstimator, Classifier):
    """A model that knows what the events of its training look like, and nothing of the classes.

    It is trained on the events of the class `train_on`, or on all events without their labels. The score of the signal
    is how typical an event is (larger: more so) if the signal is what was trained on, and otherwise how untypical. The
    score ranks events; it is no probability. `predict_proba` gives the logistic function of the score's distance from
    its median in training, in its median absolute deviations, which serves scikit-learn's interface and no more.

    Attributes:
        centre_, spread_: median and median absolute deviation of the signal's score in training.
    """

    x_finite = "allow-nan"
    probability = False
    knows_signal_only = True
    train_on: Any
    signal: Any
    class_names: Sequence[str] | None
    centre_: float
    spread_: float

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # a class of one's own need not be what is typical
        return tags

    def _learn(self, x: Doubles, weight: Doubles, validation: tuple[Doubles, Doubles] | None, progress: Any) -> None:
        """Learns what events x (n, d) of weights (n,) look like; `validation` are x and weights of others."""
        raise NotImplementedError

    def typicality(self, x: Doubles) -> Doubles:
        """Returns (n,) how typical events (n, d) are of those in training: the larger, the more so."""
        raise NotImplementedError

    def train(self, rows: TrainingRows, validation: ValidationSet | None, progress: Progress | None) -> None:
        """Learns from rows that were checked; of their labels only the class `train_on` is used."""
        x, label, weight = rows.whole(np.float64)
        self.missing_ = MissingValues.of(x)
        chosen = self._trained_class()
        used = np.ones(len(x), bool) if chosen is None else label == chosen
        if used.sum() < 2:
            what = "event" if chosen is None else f"event of the class {self._name(chosen)}"
            raise TrainingDataError(f"one {what} is left to train on; two or more are needed")
        filled = self._filled(x)
        watched = None
        if validation is not None:
            classes = np.searchsorted(self.classes_, validation.y)
            own = np.ones(len(classes), bool) if chosen is None else classes == chosen
            if own.any():
                watched = self._filled(np.asarray(validation.x, np.float64)[own]), np.asarray(validation.weight)[own]
        self._learn(filled[used], weight[used], watched, progress)
        score = self._signal_score(filled)
        self.centre_ = float(np.median(score))
        self.spread_ = float(np.median(np.abs(score - self.centre_))) or 1.0

    def _name(self, index: int) -> str:
        return repr(self.class_names[index] if self.class_names is not None else self.classes_[index].item())

    def _trained_class(self) -> int | None:
        """Returns the index of the class `train_on`; None for all events.

        Raises:
            ModelError: there is no such class.
        """
        if self.train_on is None:
            return None
        if self.class_names is not None and isinstance(self.train_on, str):
            return list(self.class_names).index(choice(self.kind, "train_on", self.train_on, self.class_names))
        return signal_index(self.kind, self.train_on, self.classes_)

    def _signal_score(self, x: Doubles) -> Doubles:
        """Returns (n,) the signal's score of filled events."""
        is_signal = self._trained_class() == signal_index(self.kind, self.signal, self.classes_)
        found = self.typicality(x)
        return found if is_signal else -found

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k) float32: the signal's score, of the other one of two classes minus that, else NaN."""
        score = self._signal_score(self._filled(X)).astype(np.float32)
        index = signal_index(self.kind, self.signal, self.classes_)
        return signal_scores(score, len(self.classes_), index, probability=False)

    def predict_proba(self, X: Any) -> Doubles:
        """Returns (n, k), see above; rows sum to 1, and classes that are not the signal share the rest."""
        z = np.clip((self._signal_score(self._filled(self._checked(X))) - self.centre_) / self.spread_, -50, 50)
        p, k = 1 / (1 + np.exp(-z)), len(self.classes_)
        result = np.repeat((1 - p)[:, None] / (k - 1), k, axis=1)
        result[:, signal_index(self.kind, self.signal, self.classes_)] = p
        return result

    def _fitted(self) -> dict[str, Any]:
        content = super()._fitted() | {"centre": self.centre_, "spread": self.spread_}
        if self.missing_ is not None:
            content["missing"] = self.missing_.to_json()
        return content | {"history": self.history_}

    def _restore(self, content: Mapping[str, Any], directory: Path) -> None:
        super()._restore(content, directory)
        if self.classes_.ndim != 1 or len(self.classes_) < 2:
            raise ValueError("its classes are damaged")
        self.centre_, self.spread_ = float(content["centre"]), float(content["spread"])
        n_columns = self.n_features_in_ + len(content.get("missing", {}).get("indicators", ()))
        self.missing_ = MissingValues.from_json(content.get("missing"), n_columns)
        self._trained_class()
