"""The base of classifiers that are read from a file of another tool: a run keeps the file unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.jsonfile import read_json, write_json
from pidlab.models import stored
from pidlab.models.base import Classifier
from pidlab.models.external.columns import ModelMismatchError
from pidlab.sample import FloatArray

_DESCRIPTION = "model.json"
_MOST_CLASSES = 10_000
DAMAGED = (*stored.DAMAGED, ModelMismatchError)
"""What reading a damaged file raises."""


class ImportedClassifier(Classifier):
    """A classifier from the bytes of a file, `content`, and parameters that JSON can hold.

    Attributes:
        kind: the `type` of the configuration; `what`: what the file is, in words; `file`: its name in a run.
        missing: replaces NaN; None for no replacement.
    """

    kind: ClassVar[str]
    what: ClassVar[str]
    file: ClassVar[str]

    content: bytes
    n_classes: int
    signal: int
    missing: float | None

    def save(self, directory: Path) -> None:
        """Writes the unchanged file, and the parameters as JSON."""
        (directory / self.file).write_bytes(self.content)
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
            return cls(content=(directory / cls.file).read_bytes(), **parameters)
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
