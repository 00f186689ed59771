"""Methods trained by TMVA: its weight files are scored beside the other models, with TMVA's own values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import TmvaModel
from pidlab.evaluate.ranking import signal_scores
from pidlab.models.external.base import BroughtClassifier
from pidlab.models.external.columns import Columns, listed, named
from pidlab.models.external.tmva.file import read_weight_file, transformed
from pidlab.models.external.tmva.methods import read_method
from pidlab.sample import FloatArray


class TmvaClassifier(BroughtClassifier):
    """A method of TMVA (BDT, MLP, Fisher, LD) as a classifier of k classes, of which it knows the signal.

    Its value is larger for what is more like the signal, and is no probability: [-1, 1] for a BDT, about [0, 1] for
    an MLP, any number for linear discriminants.

    Args:
        content: the bytes of the file.
        n_classes: k.
        signal: the signal's index.
        missing: replaces NaN; None lets NaN in, where every comparison of a tree is false, and all else gives NaN.
    """

    kind, what, file = "tmva", "method of TMVA", "model.xml"

    def __init__(self, content: bytes, n_classes: int, signal: int, missing: float | None = None) -> None:
        self.check_parameters(n_classes, signal, missing)
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
        return self._method(transformed(self._filled(X), self._transformations))

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """(n, k): TMVA's value for the signal; the other one of two classes has its opposite, others NaN."""
        value = self.values(X).astype(np.float32)
        return signal_scores(value, self.n_classes, self.signal, probability=False)


def open_tmva(
    spec: TmvaModel, content: bytes, features: Mapping[str, str], n_classes: int, signal: int
) -> tuple[Columns, TmvaClassifier]:
    """The features that a method reads, in the order of its variables, and the method.

    Variables are found among the features by name or expression, unless `features:` lists them. `features` is name to
    expression.

    Raises:
        ModelMismatchError: it does not go with the configuration, or is no method that is read.
    """
    method = TmvaClassifier(content, n_classes, signal, spec.missing)
    if spec.features is not None:
        return listed(spec.features, len(method.variables), list(features)), method
    return named(method.variables, features), method
