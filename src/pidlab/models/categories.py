"""Categories: a fold model for each category of candidates, whose scores become one by calibration on validation.

In each category the score is mapped to the probability of the class, for the abundances that the classes have with the
weights of training in all categories together. So equal scores mean equal odds of signal against background in every
category. By the lemma of Neyman and Pearson that order of the candidates has the best joint ROC curve that the models
of the categories allow: a common threshold cuts where the slope of each category's own curve is the same.

Predictions of a target mean the same in every category, so that those of a regression are taken unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pidlab.config.schema import Predicting
from pidlab.errors import ModelError
from pidlab.evaluate.ranking import signal_scores
from pidlab.jsonfile import read_json, write_json
from pidlab.models.calibration import Calibrator, load_calibration, save_calibration
from pidlab.models.fold import FoldModel, Scores, is_cuts
from pidlab.models.registry import MODEL_TYPES
from pidlab.sample import FloatArray, IntArray

_FILE = "categories.json"


class Category(NamedTuple):
    """A category: the column that is 1 where its condition holds, its model, and the map of its scores.

    The map is None for a regression, whose predictions need none.
    """

    name: str
    column: int
    model: FoldModel
    calibration: Calibrator | None

    def mapped(self, scores: Scores) -> Scores:
        """Returns scores (n, k) of its model as those of all categories."""
        return scores if self.calibration is None else self.calibration.apply(scores)


@dataclass(frozen=True, slots=True)
class CategoryModel:
    """The fold models of all categories as one, which is scored, saved and loaded like a fold model.

    A candidate in no category has no score (NaN), and passes no working point. If several conditions hold, the first
    category counts.

    Attributes:
        categories: in the order of the configuration.
        signal: the index of the signal among the k classes.
    """

    categories: tuple[Category, ...]
    signal: int

    @property
    def probability(self) -> bool:
        """Whether the scores are probabilities, because they are calibrated; the predictions of a target are not."""
        return self.categories[0].calibration is not None

    @property
    def fixed_points(self) -> tuple[tuple[str, float], ...]:
        """None: the thresholds of the models' own working points are not those of the calibrated score."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about the training, in sentences."""
        return tuple(f"{c.name}: {note}" for c in self.categories for note in c.model.notes)

    @property
    def models(self) -> tuple[FoldModel, ...]:
        """The models of the categories, in their order."""
        return tuple(category.model for category in self.categories)

    def parts(self, x: FloatArray) -> Iterator[tuple[IntArray, Category]]:
        """Yields the rows of the columns (n, d + c) of a sample in each category; the first of several counts."""
        free = np.ones(len(x), np.bool_)
        for category in self.categories:
            rows = np.flatnonzero(free & (x[:, category.column] > 0))
            free[rows] = False
            if len(rows):
                yield rows, category

    def scores(self, x: FloatArray, detectors: Sequence[str] | None = None) -> Scores:
        """Returns the (n, k) calibrated scores of the columns (n, d + c) of a sample, as `FoldModel.scores` does."""
        result = np.full((len(x), len(self.models[0].estimator.classes_)), np.nan, np.float32)
        for rows, category in self.parts(x):
            result[rows] = category.mapped(category.model.scores(x[rows], detectors))
        return result

    def outputs(self, x: FloatArray) -> NDArray[np.float32]:
        """Returns (n, m) float32, the further numbers of the model for the columns (n, d + c) of a sample."""
        result = np.full((len(x), len(self.models[0].estimator.output_names)), np.nan, np.float32)
        for rows, category in self.parts(x):
            result[rows] = category.model.outputs(x[rows])
        return result

    def boxes(self, threshold: float) -> list[tuple[Category, Any]] | None:
        """Returns each category with the box of `score > threshold`; None if the models are no cuts on two classes."""
        estimators = [model.estimator for model in self.models]
        if len(estimators[0].classes_) != 2 or not all(map(is_cuts, estimators)):
            return None
        found = []
        for category in self.categories:
            cuts: Any = category.model.estimator
            levels = signal_scores(cuts.boxes_.level_score.astype(np.float32), 2, self.signal, probability=True)
            passing = category.mapped(levels)[:, self.signal] > np.float32(threshold)
            first = int(np.argmax(passing)) if passing.any() else len(passing)
            found.append((category, cuts.boxes_.box(first - 1)))
        return found

    def save(self, directory: Path) -> None:
        """Writes everything that `load` needs into a new directory."""
        directory.mkdir(parents=True)
        listed = [{"name": c.name, "column": c.column} for c in self.categories]
        write_json(directory / _FILE, {"schema": 1, "signal": self.signal, "categories": listed})
        for category in self.categories:
            category.model.save(directory / f"category_{category.name}")
            if category.calibration is not None:
                save_calibration(directory / f"category_{category.name}", category.calibration)

    @classmethod
    def load(cls, directory: Path, kind: str) -> CategoryModel:
        """Reads the models of type `kind` that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        path = directory / _FILE
        content = read_json(path)
        try:
            signal = int(content["signal"])
            listed = [(str(each["name"]), int(each["column"])) for each in content["categories"]]
            if content["schema"] != 1 or not listed or any(not name.isidentifier() for name, _ in listed):
                raise ValueError("the categories are damaged")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: does not say what the categories are ({error}); make the run again") from error
        categories = []
        for name, column in listed:
            own = directory / f"category_{name}"
            calibration = load_calibration(own)
            if calibration is None and not issubclass(MODEL_TYPES[kind].section, Predicting):
                raise ModelError(f"{own}: has no calibration; make the run again")
            categories.append(Category(name, column, FoldModel.load(own, kind), calibration))
        return cls(tuple(categories), signal)

    def check(self, directory: Path, n_columns: int, n_classes: int, signal: int) -> None:
        """Checks that the files of the categories agree with each other and with the configuration of the run.

        Raises:
            ModelError: they are of different models.
        """
        if self.signal != signal or not all(0 <= c.column < n_columns for c in self.categories):
            raise ModelError(f"{directory}: the categories are not those of the run; make the run again")
        for category in self.categories:
            own = directory / f"category_{category.name}"
            category.model.check(own, n_columns, n_classes, signal)
            if category.calibration is not None:
                category.calibration.check(own, n_classes, signal)
