"""Contenders: a model as it takes part in the comparison, with its scaling, its folds and its training weights."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pidlab.config.names import point_name
from pidlab.config.schema import Config, CutsModel, ImportedSpec, MlpModel, ModelSection, SklearnModel, TrainableSpec
from pidlab.errors import ModelError
from pidlab.evaluate.decisions import with_decisions
from pidlab.evaluate.results import Training
from pidlab.models.base import Classifier, Progress, read_json, signal_scores, write_json
from pidlab.models.calibration import Calibrator, load_calibration, save_calibration
from pidlab.models.external.loading import notes_of, open_model, takes_missing
from pidlab.models.inputs import Prepared, prepare
from pidlab.models.registry import Resources, build_estimator, estimator_class
from pidlab.preprocess.features import expression_scores, missing_values
from pidlab.preprocess.recipe import Recipe
from pidlab.preprocess.scaling import Scaler
from pidlab.sample import BoolArray, FloatArray, Sample
from pidlab.split import Keys, fold_of

Scores = NDArray[np.float32]
_N_COMPARED = 20_000  # candidates on which members are compared


class _Box(Protocol):
    def passes(self, X: FloatArray) -> BoolArray: ...

    def cut_string(self, names: Sequence[str]) -> str: ...


@runtime_checkable
class _HasBoxes(Protocol):
    """Cuts, which are imported only where they are used."""

    def box(self, efficiency: float) -> _Box: ...

    def threshold_box(self, threshold: float) -> _Box: ...


@dataclass(frozen=True, slots=True)
class FoldModel:
    """A trained estimator and what its input goes through.

    Attributes:
        columns: the features it reads, as indices.
        scaler: None where the features go in as they are.
        spread: the standard deviation of the probabilities of an ensemble's members, averaged over candidates that were
            watched in training; 0 without members, and where the model was loaded.
    """

    columns: tuple[int, ...]
    scaler: Scaler | None
    estimator: Classifier
    spread: float = 0.0

    def scores(self, x: FloatArray) -> Scores:
        """(n, d) features to (n, k) scores."""
        if len(x) == 0:
            return np.empty((0, len(self.estimator.classes_)), np.float32)
        own = x if self.columns == tuple(range(x.shape[1])) else x[:, list(self.columns)]
        return self.estimator.scores(self.scaler.transform(own) if self.scaler else own)

    def decisions(self, x: FloatArray, efficiencies: Sequence[float]) -> Scores:
        """(n, d) features to (n, p): 1 where cuts pass the box of each efficiency, else 0."""
        own = x[:, list(self.columns)]
        assert isinstance(self.estimator, _HasBoxes)
        boxes = [self.estimator.box(efficiency) for efficiency in efficiencies]
        return np.stack([box.passes(own) for box in boxes], axis=1).astype(np.float32)

    def cut_string(self, threshold: float, efficiency: float | None, names: Sequence[str]) -> str:
        """The cuts `score > threshold`, or the box of this efficiency, as a ROOT cut string; `names` of the columns."""
        assert isinstance(self.estimator, _HasBoxes)
        cuts = self.estimator
        box: _Box = cuts.threshold_box(threshold) if efficiency is None else cuts.box(efficiency)
        return box.cut_string(names)

    def save(self, directory: Path) -> None:
        """Write everything `load` needs into a new directory."""
        directory.mkdir(parents=True)
        scaler = self.scaler.to_json() if self.scaler else None
        write_json(directory / "input.json", {"columns": list(self.columns), "scaler": scaler})
        self.estimator.save(directory)

    @classmethod
    def load(cls, directory: Path, kind: str) -> FoldModel:
        """What `save` wrote of a model of type `kind`.

        Raises:
            ModelError: a file is missing, damaged, or of another model.
        """
        path = directory / "input.json"
        content = read_json(path)
        try:
            columns, scaler = tuple(content["columns"]), content["scaler"]
            if not columns or any(type(column) is not int for column in columns) or len(set(columns)) < len(columns):
                raise ValueError("the features are damaged")
            fitted_scaler = None if scaler is None else Scaler.from_json(scaler)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: does not say what the model reads ({error}); make the run again") from error
        return cls(columns, fitted_scaler, estimator_class(kind).load(directory))

    def check(self, directory: Path, n_features: int, n_classes: int, signal: int) -> None:
        """Hold the files of a model against each other, and against the configuration of the run.

        Raises:
            ModelError: they are of different models.
        """
        d, own = len(self.columns), self.estimator
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


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to score: given by the configuration, trained once, or trained once a fold.

    Attributes:
        kind: the `type` of the configuration.
        fitted: empty for `expression` and `score`; one; or one a fold, in order.
        fold_seed: decides the fold of an event; None without folds.
        calibration: what each fitted model's scores go through, before the mean over folds.
        notes: what a reader of its numbers must know of its training, in sentences.
    """

    name: str
    kind: str
    recipe: Recipe
    fitted: tuple[FoldModel, ...]
    fold_seed: int | None
    training: Training | None
    calibration: Calibrator | None = None
    notes: tuple[str, ...] = ()

    @property
    def probability(self) -> bool:
        """Whether scores lie in [0, 1] and are decided at `evaluate.threshold`; else they may take any value."""
        return self.fitted[0].estimator.probability if self.fitted else self.fixed_cut

    @property
    def one_sided(self) -> bool:
        """Whether only the signal has a score of its own."""
        return len(self.recipe.classes) == 2 or not self.fitted or self.fitted[0].estimator.one_sided

    @property
    def fixed_cut(self) -> bool:
        """True for somebody's cuts as they are."""
        return self.kind == "expression"

    @property
    def boxes(self) -> tuple[tuple[str, float], ...]:
        """Name and efficiency of the working points of cuts without a score, each with a box of its own; else empty."""
        config = self.recipe.loaded.config
        spec = config.models[self.name]
        if not isinstance(spec, CutsModel) or spec.nested:
            return ()
        return tuple((point_name(target), target) for target in config.evaluate.working_points)

    def decision_column(self, number: int) -> int:
        """The column of the scores that working point `number` decides by."""
        return len(self.recipe.classes) + number if self.boxes else self.recipe.signal

    def scores(self, sample: Sample, fold_offset: int = 0) -> Scores:
        """(n, k) scores, and for cuts without a score (n, k + p): see `evaluate.decisions`.

        With folds, each event is scored by the model `fold_offset` places after the one that must not see it. With 0
        that is the model that never saw the event; with 1, for an event that is not of that model's test fold, the
        next one, which trained or validated on it.
        """
        if not self.fitted:
            return self._given(sample.columns, len(sample))
        if self.fold_seed is None:
            return self._scores_by(self.fitted[0], sample.x)
        folds = (fold_of(sample.event, len(self.fitted), self.fold_seed) + fold_offset) % len(self.fitted)
        result = np.empty((len(sample), len(sample.classes) + len(self.boxes)), np.float32)
        for i, model in enumerate(self.fitted):
            rows = np.flatnonzero(folds == i)
            result[rows] = self._scores_by(model, sample.x[rows])
        return result

    def scores_of(
        self, x: FloatArray, columns: Mapping[str, Any], event: Keys | None = None, known: BoolArray | None = None
    ) -> Scores:
        """(n, k) or (n, k + p) scores of rows of any file.

        With folds, the mean over the fold models; rows whose hash is in `event` order (n,) take the model that did
        not see them: all rows, or those where `known` (n,) is true.
        """
        if not self.fitted:
            return self._given(columns, len(x))
        if len(self.fitted) == 1:
            return self._scores_by(self.fitted[0], x)
        if event is None or self.fold_seed is None:
            return np.asarray(np.mean([self._scores_by(f, x) for f in self.fitted], axis=0), np.float32)
        folds = fold_of(event, len(self.fitted), self.fold_seed)
        result = np.empty((len(x), len(self.recipe.classes) + len(self.boxes)), np.float32)
        if known is not None:
            folds = np.where(known, folds, -1)
            rows = np.flatnonzero(~known)
            result[rows] = np.mean([self._scores_by(f, x[rows]) for f in self.fitted], axis=0)
        for i, model in enumerate(self.fitted):
            rows = np.flatnonzero(folds == i)
            result[rows] = self._scores_by(model, x[rows])
        return result

    def _scores_by(self, fitted: FoldModel, x: FloatArray) -> Scores:
        if not self.boxes:
            return self.calibration.apply(fitted.scores(x)) if self.calibration else fitted.scores(x)
        decisions = fitted.decisions(x, [target for _, target in self.boxes])
        return np.asarray(with_decisions(decisions, len(self.recipe.classes), self.recipe.signal), np.float32)

    def cut_string(self, threshold: float, number: int = 0) -> str:
        """The decision `score > threshold` as a ROOT cut string; empty for a model that is no cut, or one a fold.

        Cuts without a score have no threshold: theirs is the box of working point `number`.
        """
        if self.fixed_cut:
            return self.recipe.expression_models[self.name].expression.text
        if self.kind != "cuts" or len(self.fitted) != 1:
            return ""
        used = [self.recipe.features[j] for j in self.fitted[0].columns]
        names = [_in_brackets(stated.expression.text) for _, stated in used]
        text = self.fitted[0].cut_string(threshold, self.boxes[number][1] if self.boxes else None, names)
        terms = text.split(" && ")
        for (feature, _), name in zip(used, names, strict=True):
            if any(term.startswith(f"{name} ") for term in terms):
                terms += [f"{name} != {_digits(code)}" for code in missing_values(feature)]
        return " && ".join(terms)

    def _given(self, columns: Mapping[str, Any], n: int) -> Scores:
        """The signal's score in its column; the others hold its opposite for two classes, and nothing for more."""
        signal = expression_scores(self.recipe, self.name, columns, n)
        return signal_scores(signal, len(self.recipe.classes), self.recipe.signal, probability=self.fixed_cut)

    def save(self, directory: Path) -> None:
        """Write the fitted models, one directory a fold, into `directory`."""
        for i, fitted in enumerate(self.fitted):
            fitted.save(directory / f"fold{i}")
        if self.calibration is not None:
            save_calibration(directory, self.calibration)

    @classmethod
    def load(cls, directory: Path, name: str, recipe: Recipe) -> Model:
        """What `save` wrote.

        Raises:
            ModelError: a file is missing, damaged, or of another run.
        """
        config = recipe.loaded.config
        kind = config.models[name].type
        brought = isinstance(config.models[name], ImportedSpec)
        n = 0 if name in recipe.expression_models else 1 if brought else config.folds or 1
        fitted = tuple(FoldModel.load(directory / f"fold{i}", kind) for i in range(n))
        for i, each in enumerate(fitted):
            each.check(directory / f"fold{i}", len(recipe.features), len(recipe.classes), recipe.signal)
        seed = config.split.seed if n > 1 else None
        calibration = load_calibration(directory)
        if calibration is not None:
            calibration.check(directory, len(recipe.classes), recipe.signal)
        return cls(name, kind, recipe, fitted, seed, None, calibration)


def _digits(code: float) -> str:
    """Six digits where they are enough, else all."""
    return f"{code:g}" if float(f"{code:g}") == code else repr(code)


def _in_brackets(text: str) -> str:
    """An expression as one operand: a plain name as it is."""
    return text if text.replace(".", "").replace("_", "").isalnum() else f"({text})"


def fit(
    spec: TrainableSpec,
    train: Sample,
    validation: Sample,
    config: Config,
    resources: Resources,
    progress: Progress | None,
) -> FoldModel:
    """Train one model on `train`; it may watch `validation`, which may be empty."""
    fills = isinstance(spec, SklearnModel) and not takes_missing(spec, resources.allow_import)
    given = prepare(spec, train, validation, config, fills_missing=fills)
    targets = config.evaluate.working_points
    estimator = build_estimator(spec, given.names, train.signal, config.seed, resources, targets)
    estimator.fit(given.x, given.y, given.weight, validation=given.holdout, progress=progress)
    if isinstance(spec, CutsModel) and not spec.nested:
        assert isinstance(estimator, _HasBoxes)
        for target in targets:
            estimator.box(target)  # says at once that none keeps so much
    return FoldModel(given.columns, given.scaler, estimator, members_spread(spec, estimator, given))


def fit_parts(
    spec: TrainableSpec,
    parts: Iterable[tuple[Sample, Sample]],
    config: Config,
    resources: Resources,
    progress: Progress | None,
) -> tuple[FoldModel, ...]:
    """Train one model on each (train, validation) pair; the networks of several train together."""
    pairs = list(parts)
    if len(pairs) == 1 or not isinstance(spec, MlpModel):
        return tuple(fit(spec, train, validation, config, resources, progress) for train, validation in pairs)
    given = [prepare(spec, train, validation, config) for train, validation in pairs]
    pieces = [(piece.x, piece.y, piece.weight) for g in given for piece in (g, g.holdout) if piece is not None]
    ends = np.cumsum([len(y) for _, y, _ in pieces]).tolist()
    rows = iter(np.arange(first, last) for first, last in zip([0, *ends], ends, strict=False))
    folds = [(next(rows), None if g.holdout is None else next(rows)) for g in given]
    x, y, weight = (np.concatenate([piece[i] for piece in pieces]) for i in range(3))
    network: Any = build_estimator(spec, given[0].names, pairs[0][0].signal, config.seed, resources)
    trained = network.fit_folds(x, y, weight, folds=folds, progress=progress)
    return tuple(
        FoldModel(g.columns, g.scaler, model, members_spread(spec, model, g))
        for g, model in zip(given, trained, strict=True)
    )


def members_spread(spec: TrainableSpec, estimator: Any, given: Prepared) -> float:
    """How far the members of a network ensemble are from each other: see `FoldModel.spread`."""
    if not isinstance(spec, MlpModel) or len(estimator.networks_) == 1:
        return 0.0
    watched = given.x if given.holdout is None else given.holdout.x
    return float(estimator.spread(watched[:_N_COMPARED]).mean())


def fit_model(
    name: str,
    spec: ModelSection,
    recipe: Recipe,
    parts: Iterable[tuple[Sample, Sample]],
    resources: Resources,
    progress: Progress | None,
) -> Model:
    """Train a model on each (train, validation) pair of `parts`: one, or one a fold."""
    config = recipe.loaded.config
    fold_seed = config.split.seed if config.folds else None
    if name in recipe.expression_models:
        return Model(name, spec.type, recipe, (), None, None)
    start = time.perf_counter()
    try:
        if isinstance(spec, ImportedSpec):
            columns, estimator = open_model(name, recipe.loaded)
            notes = notes_of(columns, estimator, next(iter(parts))[0])
            return Model(name, spec.type, recipe, (FoldModel(columns, None, estimator),), None, None, notes=notes)
        assert isinstance(spec, TrainableSpec)
        fitted = fit_parts(spec, parts, config, resources, progress)
    except ModelError as error:
        raise ModelError(f"models.{name}: {error}") from error
    except (MemoryError, RuntimeError) as error:  # torch raises the latter
        told = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and not re.search("memory|alloc", told, re.IGNORECASE):
            raise
        raise ModelError(
            f"models.{name}: training needs more memory than there is ({told[-160:] or 'out of memory'}); "
            "take a smaller model, or fewer events"
        ) from error
    histories = [f.estimator.history_ for f in fitted]
    epochs = max((len(v) for h in histories for v in h.values()), default=0)
    training = Training(time.perf_counter() - start, epochs, histories[0])
    notes = tuple(dict.fromkeys(note for f in fitted for note in f.estimator.notes))
    if isinstance(spec, CutsModel) and spec.nested:
        notes += _nesting_note([f.estimator for f in fitted])
    if any(f.spread for f in fitted):
        scatter = float(np.mean([f.spread for f in fitted]))
        notes += (f"The members' probabilities scatter by {scatter:.2g} (mean standard deviation on validation).",)
    return Model(name, spec.type, recipe, fitted, fold_seed, training, notes=notes)


def _nesting_note(cuts: Sequence[Any]) -> tuple[str, ...]:
    """What nesting costs at each working point, as a sentence: the mean over the models of the folds."""
    points = [{point.target: point for point in estimator.nesting_} for estimator in cuts]
    targets = sorted(set.intersection(*(set(p) for p in points)))
    if not targets:
        return ()
    costs = []
    for target in targets:
        nested, own = (
            100 * float(np.mean([getattr(p[target], k) for p in points])) for k in ("background", "own_optimum")
        )
        costs.append(f"{100 * target:g} %: {nested:.3g} % ({own:.3g} %)")
    told = "; ".join(costs)
    return (
        "The background that the nested boxes pass in training at each signal efficiency asked for, and in brackets "
        f"that of the best box which need not be nested: {told}.",
    )
