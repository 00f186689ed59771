"""Fold models: a trained estimator with the choice and the scaling of what it reads, as a run saves and loads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.jsonfile import read_json, write_json
from pidlab.models.matrix import in_blocks
from pidlab.models.registry import estimator_class
from pidlab.preprocess.scaling import Scaler
from pidlab.sample import FloatArray

if TYPE_CHECKING:  # scikit-learn, which models that are expressions do not need
    from pidlab.models.base import Estimator
    from pidlab.models.cuts.estimator import Cuts
    from pidlab.models.tree.estimator import DecisionTree

Scores = NDArray[np.float32]


def is_cuts(estimator: object) -> TypeGuard[Cuts]:
    """Returns whether an estimator's decisions are boxes."""
    return getattr(estimator, "kind", "") == "cuts"


def is_tree(estimator: object) -> TypeGuard[DecisionTree]:
    """Returns whether an estimator's decisions are the boxes of some of its leaves."""
    return getattr(estimator, "kind", "") == "tree"


class BandColumn(NamedTuple):
    """A feature that is a number of sigmas: output number `output` of a band that was fitted on the same events."""

    band: FoldModel
    output: int


def read_columns(
    x: FloatArray, columns: tuple[int, ...], band_columns: Sequence[BandColumn], scaler: Scaler | None
) -> FloatArray:
    """Returns (n, d) what a model reads of the columns (n, d + c) of a sample: some, and numbers of bands, scaled."""
    own = x if columns == tuple(range(x.shape[1])) else np.take(x, np.array(columns, np.intp), axis=1)
    if band_columns:
        outputs = {id(column.band): column.band.outputs(x) for column in band_columns}
        own = np.column_stack([own, *(outputs[id(column.band)][:, column.output] for column in band_columns)])
    return own if scaler is None else scaler.transform(own)


@runtime_checkable
class HasReference(Protocol):
    """An estimator whose contributions count from any reference: networks, which are imported when used, or linear."""

    def contributions_from(self, X: Any, reference: FloatArray | None) -> NDArray[np.float32]:
        """Returns (n, m, d + 1) what features (n, d) contribute, and last the margins of the reference (d,)."""


@dataclass(frozen=True, slots=True)
class FoldModel:
    """A trained estimator together with the choice and the scaling of its features.

    Attributes:
        columns: indices of the columns of a sample that it reads.
        scaler: scales the features and fills missing values; None if the features are used in their own units.
        members_scatter: standard deviation of the probabilities of an ensemble's members, averaged over validation
            candidates; 0 without members, and 0 for a model that was loaded from a run.
        band_columns: what it reads after `columns`: numbers of sigmas from bands.
        reference: the scaled inputs from which contributions count: the middle of the classes' medians in training.
            None for models that need none, and in runs of older versions.
    """

    columns: tuple[int, ...]
    scaler: Scaler | None
    estimator: Estimator
    members_scatter: float = 0.0
    band_columns: tuple[BandColumn, ...] = ()
    reference: tuple[float, ...] | None = None

    @property
    def probability(self) -> bool:
        """Whether scores lie in [0, 1]."""
        return self.estimator.probability

    @property
    def models(self) -> tuple[FoldModel, ...]:
        """The model itself, as the one of all categories."""
        return (self,)

    @property
    def fixed_points(self) -> tuple[tuple[str, float], ...]:
        """Name and threshold of the working points that the model itself defines."""
        return self.estimator.fixed_points

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about the training, in sentences."""
        return self.estimator.notes

    def inputs(self, x: FloatArray) -> FloatArray:
        """Returns what the estimator reads of the columns (n, d + c) of a sample, not yet scaled."""
        return read_columns(x, self.columns, self.band_columns, None)

    def scores(self, x: FloatArray, detectors: Sequence[str] | None = None) -> Scores:
        """Returns the (n, k) scores of the columns (n, d + c) of a sample; of a likelihood from these `detectors`."""
        if len(x) == 0:
            return np.empty((0, len(self.estimator.classes_)), np.float32)
        own = self.estimator
        numbers = own.scores if detectors is None else partial(own.scores_of, detectors=detectors)
        return in_blocks(lambda rows: numbers(self._scaled(x[rows])), len(x))

    def _scaled(self, x: FloatArray) -> FloatArray:
        """Returns what the estimator reads of the columns (n, d + c) of a sample."""
        return read_columns(x, self.columns, self.band_columns, self.scaler)

    def outputs(self, x: FloatArray) -> NDArray[np.float32]:
        """Returns (n, m) float32, the further numbers of the model for the columns (n, d + c) of a sample."""
        names = self.estimator.output_names
        if len(x) == 0 or not names:
            return np.empty((len(x), len(names)), np.float32)
        return in_blocks(lambda rows: self.estimator.outputs(self._scaled(x[rows])), len(x))

    def decisions(self, x: FloatArray, efficiencies: Sequence[float]) -> Scores:
        """Returns (n, p) decisions on (n, d) features: 1 if the cuts at an efficiency are passed, else 0."""
        own = x[:, list(self.columns)]
        assert is_cuts(self.estimator)
        boxes = [self.estimator.box(efficiency) for efficiency in efficiencies]
        return np.stack([box.passes(own) for box in boxes], axis=1).astype(np.float32)

    def save(self, directory: Path) -> None:
        """Writes everything that `load` needs into a new directory."""
        directory.mkdir(parents=True)
        content: dict[str, Any] = {
            "columns": list(self.columns),
            "scaler": self.scaler.to_json() if self.scaler else None,
        }
        bands = list({id(column.band): column.band for column in self.band_columns}.values())
        if bands:
            content["bands"] = [[bands.index(column.band), column.output] for column in self.band_columns]
        if self.reference is not None:
            content["reference"] = list(self.reference)
        write_json(directory / "input.json", content)
        self.estimator.save(directory)
        for i, band in enumerate(bands):
            band.save(directory / f"band{i}")

    @classmethod
    def load(cls, directory: Path, kind: str) -> FoldModel:
        """Reads a model of type `kind` that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        path = directory / "input.json"
        content = read_json(path)
        try:
            columns, scaler = tuple(content["columns"]), content["scaler"]
            places = [(int(band), int(output)) for band, output in content.get("bands", [])]
            repeated = len(set(columns)) < len(columns) and kind != "band"  # which may follow one of its own variables
            if repeated or any(type(column) is not int for column in columns):
                raise ValueError("the features are damaged")
            if not columns and not places:
                raise ValueError("it names no feature")
            fitted_scaler = None if scaler is None else Scaler.from_json(scaler)
            reference = None if "reference" not in content else tuple(map(float, content["reference"]))
            if reference is not None and fitted_scaler is None:
                raise ValueError("a reference belongs to scaled features")
            n_scaled = 0 if fitted_scaler is None else len(fitted_scaler.knots) + len(fitted_scaler.indicators)
            if reference is not None and len(reference) != n_scaled:
                raise ValueError(f"the reference has {len(reference)} numbers, and the model reads {n_scaled}")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: does not say what the model reads ({error}); make the run again") from error
        bands = {i: cls.load(directory / f"band{i}", "band") for i in sorted({i for i, _ in places})}
        band_columns = tuple(BandColumn(bands[i], output) for i, output in places)
        estimator = estimator_class(kind).load(directory)
        return cls(columns, fitted_scaler, estimator, band_columns=band_columns, reference=reference)

    def check(self, directory: Path, n_features: int, n_classes: int, signal: int) -> None:
        """Checks that the files of a model agree with each other and with the configuration of the run.

        Raises:
            ModelError: they are of different models.
        """
        for column in self.band_columns:
            column.band.check(directory, n_features, n_classes, signal)
        d, own = len(self.columns) + len(self.band_columns), self.estimator
        n = d if self.scaler is None else d + len(self.scaler.indicators)
        takes = getattr(own, "n_features_in_", n)
        if not all(0 <= column < n_features for column in self.columns):
            wrong = f"reads the features {self.columns}, and the run has {n_features}"
        elif self.scaler is not None and len(self.scaler.knots) != d:
            wrong = f"scales {len(self.scaler.knots)} features, and reads {d}"
        elif takes != n:
            wrong = f"takes {takes} columns, and {n} are given to it"
        elif list(own.classes_) != list(range(n_classes)):
            wrong = f"knows the classes {list(own.classes_)[:20]}, and the run has {n_classes}"
        elif getattr(own, "signal", signal) != signal:
            wrong = f"takes class {own.signal} for the signal, and the run class {signal}"
        else:
            return
        raise ModelError(f"{directory}: the model {wrong}; its files are not of one run: make the run again")
