"""Methods trained by TMVA: its weight files are scored beside the other models, with TMVA's own values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import TmvaModel
from pidlab.errors import ModelError
from pidlab.models.base import Classifier, read_json, write_json
from pidlab.models.external_columns import Columns, MisfitError, listed, named
from pidlab.models.external_tmva_file import read_weight_file, transformed
from pidlab.models.external_tmva_methods import read_method
from pidlab.sample import FloatArray

FILE, _DESCRIPTION = "model.xml", "model.json"


class TmvaClassifier(Classifier):
    """A method of TMVA (BDT, MLP, Fisher, LD) as a classifier of k classes, of which it knows the signal.

    Its value is larger for what is more like the signal, and is no probability: [-1, 1] for a BDT, about [0, 1] for
    an MLP, any number for linear discriminants.

    Args:
        content: the bytes of the file.
        n_classes: k.
        signal: the signal's index.
        missing: replaces NaN; None lets NaN in, where every comparison of a tree is false, and all else gives NaN.
    """

    def __init__(self, content: bytes, n_classes: int, signal: int, missing: float | None = None) -> None:
        self.content = content
        self.n_classes = n_classes
        self.signal = signal
        self.missing = missing
        self.classes_ = np.arange(n_classes)
        self.history_: dict[str, list[float]] = {}
        file = read_weight_file(content)
        self._transformations, self._method = file.transformations, read_method(file)
        self.variables = file.variables
        self.n_features_in_ = len(file.variables)

    @property
    def probability(self) -> bool:
        """False."""
        return False

    @property
    def one_sided(self) -> bool:
        """Whether, of more than two classes, only the signal has a score."""
        return self.n_classes > 2

    def values(self, X: FloatArray) -> NDArray[np.float64]:
        """(n, d) variables in the order of the file to (n,), TMVA's own value."""
        x = X if self.missing is None else np.where(np.isnan(X), self.missing, X)
        return self._method(transformed(x, self._transformations))

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """(n, k): TMVA's value for the signal; the other one of two classes has its opposite, others NaN."""
        value = self.values(X).astype(np.float32)
        result = np.full((len(value), self.n_classes), np.nan, np.float32)
        if self.n_classes == 2:
            result[:] = -value[:, None]
        result[:, self.signal] = value
        return result

    def save(self, directory: Path) -> None:
        """Write the file as it was given, and how it is read as JSON."""
        (directory / FILE).write_bytes(self.content)
        content: dict[str, Any] = {"type": "tmva", **self.get_params(deep=False)}
        del content["content"]
        write_json(directory / _DESCRIPTION, content)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The model that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        path = directory / _DESCRIPTION
        content = read_json(path)
        if content.pop("type", None) != "tmva":
            raise ModelError(f"{path}: does not describe a method of TMVA; make the run again")
        try:
            return cls(content=(directory / FILE).read_bytes(), **content)
        except (OSError, TypeError, MisfitError) as error:
            raise ModelError(f"{directory}: holds no whole method of TMVA ({error}); make the run again") from error


def open_tmva(
    spec: TmvaModel, content: bytes, features: Mapping[str, str], n_classes: int, signal: int
) -> tuple[Columns, TmvaClassifier]:
    """The features that a method reads, in the order of its variables, and the method.

    Variables are found among the features by name or expression, unless `features:` lists them. `features` is name to
    expression.

    Raises:
        MisfitError: it does not go with the configuration, or is no method that is read.
    """
    method = TmvaClassifier(content, n_classes, signal, spec.missing)
    if spec.features is not None:
        return listed(spec.features, len(method.variables), list(features)), method
    return named(method.variables, features), method
