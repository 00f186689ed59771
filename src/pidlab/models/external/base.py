"""The base of classifiers that are read from a file of another tool: a run keeps the file, and says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.evaluate.ranking import auc
from pidlab.jsonfile import read_json, write_json
from pidlab.models import stored
from pidlab.models.base import Classifier
from pidlab.models.external.columns import Columns, ModelMismatchError
from pidlab.sample import FloatArray, Sample

_DESCRIPTION = "model.json"
_MOST_CLASSES = 10_000
_N_SCORED = 20_000  # training events, for the notes
UNKNOWN_TRAINING = (
    "It was trained elsewhere: on which events is not known, and where some of them are in test its numbers flatter it."
)
DAMAGED = (*stored.DAMAGED, ModelMismatchError)
"""What reading a damaged file raises."""


class ImportedClassifier(Classifier):
    """A classifier from the bytes of a file, `content`, and parameters that JSON can hold.

    Attributes:
        kind: the `type` of the configuration; `what`: what the file is, in words; `content_file`: its name in a run.
        missing: replaces NaN; None for no replacement.
    """

    kind: ClassVar[str]
    what: ClassVar[str]
    content_file: ClassVar[str]

    content: bytes
    n_classes: int
    signal: int
    missing: float | None

    def save(self, directory: Path) -> None:
        """Writes the unchanged file, and the parameters as JSON."""
        (directory / self.content_file).write_bytes(self.content)
        parameters = self.get_params(deep=False)
        del parameters["content"]
        write_json(directory / _DESCRIPTION, {"type": self.kind, **parameters})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Returns the model that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        path = directory / _DESCRIPTION
        parameters = read_json(path)
        if parameters.pop("type", None) != cls.kind:
            raise ModelError(f"{path}: does not describe a {cls.what}; make the run again")
        try:
            return cls(content=(directory / cls.content_file).read_bytes(), **parameters)
        except DAMAGED as error:
            raise ModelError(f"{directory}: holds no whole {cls.what} ({error}); make the run again") from error

    def _check_parameters(self) -> None:
        """Refuses parameters that JSON can hold but no model has, and sets what all imported models have.

        Raises:
            ValueError: a parameter has the wrong type, or the signal is none of the classes.
        """
        n_classes, signal, missing = self.n_classes, self.signal, self.missing
        if type(n_classes) is not int or type(signal) is not int or not 0 <= signal < n_classes <= _MOST_CLASSES:
            raise ValueError(f"class {signal!r} of {n_classes!r} cannot be the signal")
        if missing is not None and (isinstance(missing, bool) or not isinstance(missing, int | float)):
            raise ValueError(f"{missing!r} cannot stand for missing values")
        self.classes_, self.history_ = np.arange(n_classes), {}

    def _filled(self, x: FloatArray) -> NDArray[Any]:
        return x if self.missing is None else np.where(np.isnan(x), self.missing, x)


def notes_of(columns: Columns, model: Classifier, train: Sample) -> tuple[str, ...]:
    """Returns sentences about an imported model for the reader of its numbers; some of `train` is scored for them.

    Raises:
        ModelError: the model cannot score these events.
    """
    rows = np.linspace(0, len(train) - 1, min(len(train), _N_SCORED)).astype(np.int64)
    score = model.scores(train.x[rows][:, list(columns)])[:, train.signal]
    known = ~np.isnan(score)
    notes = [UNKNOWN_TRAINING]
    if known.any() and not known.all() and np.isnan(train.x[rows]).any():
        notes.append(
            f"It has no score for {1 - known.mean():.1%} of the training events; if it was trained with a number for "
            "missing values, say which: missing: VALUE."
        )
    area = auc(score[known], train.is_signal[rows][known], np.ones(known.sum())).value
    if area < 0.5:  # not if it is NaN for want of a class
        notes.append(
            f"It ranks the signal below the rest (AUC {area:.3f} on training events): are its columns, or its signal, "
            "of another class, or its features in another order?"
        )
    return tuple(notes)
