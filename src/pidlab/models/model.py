"""Models: what a run compares, each with its scaling, its folds and its calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import point_name
from pidlab.config.schema import CutsModel, ImportedSpec
from pidlab.evaluate.decisions import with_decisions
from pidlab.evaluate.ranking import signal_scores
from pidlab.evaluate.results import Training
from pidlab.expressions.aliases import with_aliases
from pidlab.models.calibration import Calibrator, load_calibration, save_calibration
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import FoldModel, Scores, is_cuts, is_tree
from pidlab.models.matrix import in_blocks
from pidlab.models.registry import MODEL_TYPES
from pidlab.preprocess.features import expression_scores, missing_values
from pidlab.preprocess.recipe import Recipe
from pidlab.sample import BoolArray, FloatArray, Sample
from pidlab.split import Keys, fold_of


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can score: an expression, a model trained once, or one trained for each fold.

    Attributes:
        kind: the name of its type in the registry.
        fitted: one model, or one a fold in the order of the folds; empty for `expression` and `score`.
        fold_seed: decides the fold of an event; None without folds.
        training: what the training took; None if the model was not trained here.
        calibration: applied to the scores of each fold model, before any mean over folds.
        notes: what a reader of its results must know about its training, in sentences.
    """

    name: str
    kind: str
    recipe: Recipe
    fitted: tuple[FoldModel | CategoryModel, ...]
    fold_seed: int | None
    training: Training | None
    calibration: Calibrator | None = None
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> FoldModel:
        """The model of the first fold, and in it of the first category."""
        return self.fitted[0].models[0]

    @property
    def type(self) -> str:
        """The key `type` of its section."""
        return MODEL_TYPES[self.kind].type

    @property
    def probability(self) -> bool:
        """Whether scores lie in [0, 1] and are decided at `evaluate.threshold`; otherwise they may take any value."""
        return self.fitted[0].probability if self.fitted else self.fixed_cut

    @property
    def ranks_only(self) -> bool:
        """Whether the scores only rank candidates: they are no probabilities, even if they lie in [0, 1]."""
        return not (self.probability and MODEL_TYPES[self.kind].probability)

    @property
    def one_sided(self) -> bool:
        """Whether only the signal has a score of its own."""
        return len(self.recipe.classes) == 2 or not self.fitted or self.first.estimator.one_sided

    @property
    def fixed_cut(self) -> bool:
        """Whether the model is a cut that the configuration gives as an expression."""
        return self.kind == "expression"

    @property
    def per_point_cuts(self) -> tuple[tuple[str, float], ...]:
        """Name and efficiency of each working point of cuts that are not nested and have no score; otherwise empty."""
        config = self.recipe.loaded.config
        spec = config.models[self.name]
        if not isinstance(spec, CutsModel) or spec.nested:
            return ()
        return tuple((point_name(target), target) for target in config.evaluate.working_points)

    def decision_column(self, number: int) -> int:
        """Returns the column of the scores by which working point `number` decides."""
        return len(self.recipe.classes) + number if self.per_point_cuts else self.recipe.signal

    def scores(self, sample: Sample, fold_offset: int = 0) -> Scores:
        """Returns the scores of a sample of the run, as `scores_of` does.

        With folds, each event is scored by the model `fold_offset` places after the one that must not see it. With 0
        that is the model that never saw the event; with 1, for an event that is not of that model's test fold, the
        next one, which trained or validated on it.
        """
        return sample.map(lambda own: self.scores_of(own.x, own.columns, own.event, fold_offset=fold_offset))

    def outputs(self, sample: Sample, fold_offset: int = 0) -> NDArray[np.float32]:
        """Returns (n, m) float32, the numbers of `output_names` for a sample of the run, as `scores` does."""
        return sample.map(lambda own: self.outputs_of(own.x, own.event, fold_offset=fold_offset))

    def scores_of(
        self,
        x: FloatArray,
        columns: Mapping[str, Any],
        event: Keys | None = None,
        known: BoolArray | None = None,
        fold_offset: int = 0,
    ) -> Scores:
        """Returns (n, k) scores of rows of any file; for cuts without a score (n, k + p), see `evaluate.decisions`.

        Args:
            x: (n, d) features.
            columns: the branches that expressions read, by name.
            event: (n,) hashes of the events, by which a row takes the fold model that did not see it; None if no row
                is of the run.
            known: (n,) whether a row is of the run; None if all are. With folds, other rows take the mean over the
                fold models.
            fold_offset: see `scores`.
        """
        if not self.fitted:

            def numbers(rows: slice) -> Scores:
                own = columns if rows == slice(0, len(x)) else {name: each[rows] for name, each in columns.items()}
                score = expression_scores(self.recipe, self.name, own, rows.stop - rows.start)
                k, signal = len(self.recipe.classes), self.recipe.signal
                return signal_scores(score, k, signal, probability=self.fixed_cut)

            return in_blocks(numbers, len(x))
        return self.by_fold(self._scores_by, x, event, known, fold_offset)

    @property
    def detector_names(self) -> tuple[str, ...]:
        """The names of the detectors of a likelihood; empty for other models."""
        return self.first.estimator.detector_names if self.fitted else ()

    def detector_scores(self, sample: Sample, detectors: Sequence[str], fold_offset: int = 0) -> Scores:
        """Returns the scores of a likelihood from some of its detectors, as `scores` gives those from all."""
        numbers = partial(self._scores_by, detectors=detectors)
        return sample.map(lambda own: self.by_fold(numbers, own.x, own.event, None, fold_offset))

    @property
    def fixed_points(self) -> tuple[tuple[str, float], ...]:
        """Name and threshold of each working point that the model itself defines."""
        return self.fitted[0].fixed_points if self.fitted else ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the m further numbers that the model gives of each candidate."""
        return self.first.estimator.output_names if self.fitted else ()

    def outputs_of(
        self, x: FloatArray, event: Keys | None = None, known: BoolArray | None = None, fold_offset: int = 0
    ) -> NDArray[np.float32]:
        """Returns (n, m) float32, the numbers of `output_names` for rows of any file; arguments as in `scores_of`."""
        if not self.output_names:
            return np.empty((len(x), 0), np.float32)
        return self.by_fold(lambda model, rows: model.outputs(rows), x, event, known, fold_offset)

    def by_fold(
        self,
        numbers: Callable[[FoldModel | CategoryModel, FloatArray], NDArray[np.float32]],
        x: FloatArray,
        event: Keys | None,
        known: BoolArray | None = None,
        fold_offset: int = 0,
    ) -> NDArray[np.float32]:
        """Returns (n, m) `numbers` of the rows, each by the fold model that may score it, or as the mean over all.

        They are computed in blocks of rows, so that little besides the result is kept. Other arguments are as in
        `scores_of`.
        """

        def of_block(rows: slice) -> NDArray[np.float32]:
            own = x[rows]
            if len(self.fitted) == 1:
                return numbers(self.fitted[0], own)
            folds = np.full(len(own), -1, np.int8)
            if event is not None and self.fold_seed is not None:
                folds = (fold_of(event[rows], len(self.fitted), self.fold_seed) + fold_offset) % len(self.fitted)
                folds = folds if known is None else np.where(known[rows], folds, -1)
            parts = {}
            for fold in np.unique(folds) if len(own) else [0]:
                chosen = np.flatnonzero(folds == fold)
                models = self.fitted if fold < 0 else (self.fitted[fold],)
                parts[fold] = chosen, np.mean([numbers(model, own[chosen]) for model in models], axis=0)
            width = next(iter(parts.values()))[1].shape[1]
            result = np.empty((len(own), width), np.float32)
            for chosen, found in parts.values():
                result[chosen] = found
            return result

        return in_blocks(of_block, len(x))

    def _scores_by(
        self, model: FoldModel | CategoryModel, x: FloatArray, detectors: Sequence[str] | None = None
    ) -> Scores:
        if not self.per_point_cuts:
            found = model.scores(x, detectors)
            return self.calibration.apply(found) if self.calibration else found
        assert isinstance(model, FoldModel)
        decisions = model.decisions(x, [efficiency for _, efficiency in self.per_point_cuts])
        return np.asarray(with_decisions(decisions, len(self.recipe.classes), self.recipe.signal), np.float32)

    def cut_string(self, threshold: float, number: int = 0) -> str:
        """Returns the decision `score > threshold` as a ROOT cut string; empty if the model is no single cut.

        Aliases are written out, since ROOT does not know them.

        Cuts without a score have no threshold; their decision is that of working point `number`.
        """
        if self.fixed_cut:
            return self._without_aliases(self.recipe.expression_models[self.name].expression.text)
        if len(self.fitted) != 1:
            return ""
        fitted = self.fitted[0]
        if not isinstance(fitted, FoldModel) or fitted.band_columns:
            return ""
        used = [self.recipe.features[j] for j in fitted.columns]
        texts = [self._without_aliases(located.expression.text) for _, located in used]
        names = [_as_operand(text) for text in texts]
        # of each feature the conditions that its value is no code of a missing one
        there = [
            [f"{name} != {_digits(code)}" for code in missing_values(feature)]
            for name, (feature, _) in zip(names, used, strict=True)
        ]
        if is_tree(fitted.estimator):
            operands = [f"({' && '.join(own)})" if own else "" for own in there]
            return fitted.estimator.cut_string(self.passing_nodes(threshold), names, operands)
        if not is_cuts(fitted.estimator):
            return ""
        cuts = fitted.estimator
        box = cuts.box(self.per_point_cuts[number][1]) if self.per_point_cuts else cuts.threshold_box(threshold)
        return box.cut_string(texts, there)

    def _without_aliases(self, text: str) -> str:
        return with_aliases(text, self.recipe.loaded.config.data.aliases)

    def passing_nodes(self, threshold: float) -> BoolArray:
        """Returns (m,) which nodes of a decision tree hold events that pass `score > threshold`."""
        tree = self.fitted[0].estimator if isinstance(self.fitted[0], FoldModel) else None
        assert is_tree(tree)
        scores = self.calibration.apply(tree.node_scores) if self.calibration else tree.node_scores
        return np.asarray(scores[:, self.recipe.signal] > np.float32(threshold))

    def save(self, directory: Path) -> None:
        """Writes the fitted models, one directory a fold, and the calibration into `directory`."""
        for i, model in enumerate(self.fitted):
            model.save(directory / f"fold{i}")
        if self.calibration is not None:
            save_calibration(directory, self.calibration)

    @classmethod
    def load(cls, directory: Path, name: str, recipe: Recipe) -> Model:
        """Reads a model that `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another run.
        """
        config = recipe.loaded.config
        spec = config.models[name]
        n = 0 if name in recipe.expression_models else 1 if isinstance(spec, ImportedSpec) else config.folds or 1
        kind = CategoryModel if spec.categories else FoldModel
        fitted = tuple(kind.load(directory / f"fold{i}", spec.kind) for i in range(n))
        for i, model in enumerate(fitted):
            model.check(directory / f"fold{i}", recipe.n_columns, len(recipe.classes), recipe.signal)
        fold_seed = config.split.seed if n > 1 else None
        calibration = load_calibration(directory)
        if calibration is not None:
            calibration.check(directory, len(recipe.classes), recipe.signal)
        return cls(name, spec.kind, recipe, fitted, fold_seed, None, calibration)


def _as_operand(text: str) -> str:
    """Returns an expression in brackets, unless it is a single name."""
    return text if text.replace(".", "").replace("_", "").isalnum() else f"({text})"


def _digits(code: float) -> str:
    """Returns a number with six digits if they are exact, and with all digits otherwise."""
    return f"{code:g}" if float(f"{code:g}") == code else repr(code)
