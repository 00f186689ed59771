"""Methods trained by TMVA: their weight files give the same values as TMVA itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import TmvaModel
from pidlab.evaluate.ranking import signal_scores
from pidlab.models.external.base import ImportedClassifier
from pidlab.models.external.columns import Columns, listed, named
from pidlab.models.external.tmva.file import read_weight_file, transformed
from pidlab.models.external.tmva.methods import read_method
from pidlab.sample import FloatArray


@dataclass(eq=False, repr=False)
class TmvaClassifier(ImportedClassifier):
    """A method of TMVA (BDT, MLP, Fisher, LD) as a classifier of k classes that scores the signal only.

    Larger values are more like the signal, and are not probabilities: they lie in [-1, 1] for a BDT and about in [0, 1]
    for an MLP, and may be any number for linear discriminants.

    Args:
        content: the bytes of the file.
        n_classes: k.
        signal: index of the signal.
        missing: replaces NaN. None: NaN remains; a tree's comparisons with it are false, other methods return NaN.
    """

    kind, what, content_file = "tmva", "method of TMVA", "model.xml"
    probability = False
    knows_signal_only = True

    content: bytes
    n_classes: int
    signal: int
    missing: float | None = None

    def __post_init__(self) -> None:
        self._check_parameters()
        file = read_weight_file(self.content)
        self._transformations, self._method = file.transformations, read_method(file)
        self.variables = file.variables
        self.n_features_in_ = len(file.variables)

    def values(self, X: FloatArray) -> NDArray[np.float64]:
        """Maps (n, d) variables in the order of the file to TMVA's own values (n,)."""
        return self._method(transformed(self._filled(X), self._transformations))

    def scores(self, X: FloatArray) -> NDArray[np.float32]:
        """Returns (n, k): TMVA's value for the signal, minus that for the other of two classes, else NaN."""
        value = self.values(X).astype(np.float32)
        return signal_scores(value, self.n_classes, self.signal, probability=False)


def open_tmva(
    spec: TmvaModel, content: bytes, features: Mapping[str, str], n_classes: int, signal: int
) -> tuple[Columns, TmvaClassifier]:
    """Returns the features that a method reads, in the order of its variables, and the method.

    Variables are found among the features by name or expression, unless `features:` lists them. `features` maps names
    to expressions.

    Raises:
        ModelMismatchError: the method does not fit the configuration, or is not among those that pidlab reads.
    """
    method = TmvaClassifier(content, n_classes, signal, spec.missing)
    if spec.features is not None:
        return listed(spec.features, len(method.variables), list(features)), method
    return named(method.variables, features), method
