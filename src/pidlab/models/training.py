"""Training: from sections of the configuration to models, each with its folds and its calibration."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from pidlab.config.load import LoadedConfig
from pidlab.config.names import KeyPath
from pidlab.config.schema import (
    Config,
    CutsModel,
    ImportedSpec,
    MlpModel,
    ModelSection,
    Predicting,
    SklearnModel,
    TrainableSpec,
)
from pidlab.config.tree_parameters import XGBOOST_NAMES
from pidlab.config.usable import place_of
from pidlab.errors import ConfigError, ModelError, UsageError
from pidlab.evaluate.results import Training
from pidlab.models.base import Progress
from pidlab.models.calibration import Calibrator, fit_calibration, fit_ranks, fit_vector
from pidlab.models.categories import Category, CategoryModel
from pidlab.models.external.base import notes_of
from pidlab.models.external.loading import open_model, takes_missing
from pidlab.models.fold import FoldModel, HasReference
from pidlab.models.inputs import TrainingInputs, TrainingTask, trainable, training_weights
from pidlab.models.matrix import LARGEST_TABLE
from pidlab.models.model import Model
from pidlab.models.registry import MODEL_TYPES, Resources, build_estimator
from pidlab.preprocess.recipe import Recipe
from pidlab.sample import Sample

_N_COMPARED = 20_000  # candidates on which the members of an ensemble are compared
_N_REFERENCE = 10_000  # rows of a class, whose median is known to half a per cent in rank


def fit_model(
    name: str,
    spec: ModelSection,
    recipe: Recipe,
    parts: Sequence[tuple[Sample, Sample]],
    resources: Resources,
    progress: Progress | None,
) -> Model:
    """Returns the model of a section, trained once for each (train, validation) pair of `parts`.

    A pair is asked for when it is trained, and is not kept. Expressions and imported models are not trained.

    Raises:
        ModelError: the model cannot be trained on these samples, or needs more memory than there is.
    """
    config = recipe.loaded.config
    if name in recipe.expression_models:
        return Model(name, spec.kind, recipe, (), None, None)
    start = time.perf_counter()
    try:
        if isinstance(spec, ImportedSpec):
            columns, estimator = open_model(name, recipe.loaded, resources.device)
            notes = notes_of(columns, estimator, parts[0][0])
            return Model(name, spec.kind, recipe, (FoldModel(columns, None, estimator),), None, None, notes=notes)
        assert isinstance(spec, TrainableSpec)
        fitted = fit_parts(name, spec, parts, recipe, resources, progress)
    except ModelError as error:
        raise ModelError(_with_place(name, str(error), recipe.loaded)) from error
    except UsageError as error:
        if isinstance(error, ConfigError):  # which names its places itself
            raise
        raise UsageError(_with_place(name, str(error), recipe.loaded)) from error
    except (MemoryError, RuntimeError) as error:  # torch raises a RuntimeError if memory runs out
        message = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and not re.search("memory|alloc", message, re.IGNORECASE):
            raise
        raise ModelError(
            f"models.{name}: training needs more memory than there is ({message[-160:] or 'out of memory'}); "
            "take a smaller model, or fewer events"
        ) from error
    histories = [model.models[0].estimator.history_ for model in fitted]
    epochs = max((len(values) for history in histories for values in history.values()), default=0)
    training = Training(time.perf_counter() - start, epochs, histories[0], _warnings(spec, fitted, config))
    fold_seed = config.split.seed if config.folds else None
    return Model(name, spec.kind, recipe, fitted, fold_seed, training, notes=_notes(spec, fitted))


def _with_place(name: str, message: str, loaded: LoadedConfig) -> str:
    """Returns what is wrong with a model, after the place in the file of the value that it is about, or of the model.

    Libraries refuse values that no check of the configuration knows. Their sentence holds the key or the value.
    """
    key: KeyPath = ("models", name)
    stated = [path for path in loaded.places if path[:2] == key and len(path) > 2 and path[2] != "type"]
    for words in (_names_of_key, _text_of_value):
        said = (p for p in stated if any(re.search(rf"(?<!\w){re.escape(w)}(?!\w)", message) for w in words(p, loaded)))
        if (about := next(said, None)) is not None:
            key = about
            break
    place = place_of(loaded.places, key)
    return f"{place}: models.{name}: {message}" if place else f"models.{name}: {message}"


def _names_of_key(path: KeyPath, loaded: LoadedConfig) -> list[str]:
    return [str(path[-1]), *XGBOOST_NAMES.get(str(path[-1]), ())]


def _text_of_value(path: KeyPath, loaded: LoadedConfig) -> list[str]:
    """Returns a text that was stated, in quotes as libraries show it; nothing of other values."""
    value: Any = loaded.content
    for part in path:
        value = value[part] if isinstance(value, Mapping) and part in value else None
    return [repr(value)] if isinstance(value, str) else []


def joined_folds(models: Sequence[Model]) -> Model:
    """Returns the models that `fit_model` trained for one pair each as the folds of one; a single one as it is."""
    first = models[0]
    if len(models) == 1:
        return first
    fitted = tuple(model.fitted[0] for model in models)
    spec, trainings = first.recipe.loaded.config.models[first.name], [m.training for m in models if m.training]
    assert isinstance(spec, TrainableSpec)
    training = replace(
        trainings[0],
        seconds=sum(t.seconds for t in trainings),
        epochs=max(t.epochs for t in trainings),
        warnings=_warnings(spec, fitted, first.recipe.loaded.config),
    )
    return replace(first, fitted=fitted, training=training, notes=_notes(spec, fitted))


def fit_parts(
    name: str,
    spec: TrainableSpec,
    parts: Sequence[tuple[Sample, Sample]],
    recipe: Recipe,
    resources: Resources,
    progress: Progress | None,
) -> tuple[FoldModel | CategoryModel, ...]:
    """Trains the model `name` on each (train, validation) pair, a model for each category if there are some.

    A pair is asked for when it is trained, and dropped afterwards. Only the networks of several pairs that are small
    enough for one table are trained together.

    Raises:
        ModelError: it cannot be trained or calibrated.
    """
    if len(parts) > 1 and not (isinstance(spec, MlpModel) and _fit_one_table(parts)):
        alone = [_of_turn(progress, turn, len(parts)) for turn in range(len(parts))]
        return tuple(
            model
            for turn, own in enumerate(alone)
            for model in fit_parts(name, spec, [parts[turn]], recipe, resources, own)
        )
    pairs, config = [_Pair(*parts[turn]) for turn in range(len(parts))], recipe.loaded.config
    section = _Section(name, spec, config, resources)
    if not spec.categories:
        return section.fit_pairs(pairs, progress)
    texts = [text for text, _ in recipe.conditions]
    columns = [len(recipe.features) + texts.index(text) for text in spec.categories.values()]
    within: list[_Pair] = []
    for pair in pairs:  # a band whose numbers of sigmas are features is one for all categories
        bands = section.bands(pair.train, pair.validation)
        for j in columns:
            train, validation = (each.take(each.x[:, j] > 0) for each in pair[:2])
            within.append(_Pair(train, validation, bands))
    for number, (train, _, _) in enumerate(within):
        if len(np.unique(train.y)) < len(train.classes):
            missing = next(c for i, c in enumerate(train.classes) if i not in train.y)
            category = list(spec.categories)[number % len(columns)]
            of_class = "" if isinstance(spec, Predicting) else f" of the class {missing!r}"
            raise ModelError(f"the category {category!r} has no training event{of_class}")
    fitted = iter(section.fit_pairs(within, progress))
    return tuple(_joined(spec, columns, fitted, *pair[:2], config) for pair in pairs)


def _joined(
    spec: TrainableSpec,
    columns: Sequence[int],
    fitted: Iterator[FoldModel],
    train: Sample,
    validation: Sample,
    config: Config,
) -> CategoryModel:
    """Returns the models of all categories, the next of `fitted`, as one.

    The scores of each are calibrated on candidates in it that the model was not trained on, with weights by which the
    classes have their abundances in all categories together; predictions of a target need no common scale.

    Raises:
        ModelError: too few candidates are left to calibrate a category.
    """
    decides = trainable(validation if len(validation) else train, config)
    weight = None if isinstance(spec, Predicting) else training_weights(decides, config, spec)
    categories = []
    for (name, column), model in zip(zip(spec.categories, columns, strict=True), fitted, strict=False):
        calibration: Calibrator | None = None
        if weight is not None:
            fit_map = fit_vector if MODEL_TYPES[spec.kind].probability and model.probability else fit_ranks
            rows = np.flatnonzero(decides.x[:, column] > 0)
            try:
                calibration = fit_map(model.scores(decides.x[rows]), decides.y[rows], weight[rows], decides.signal)
            except ModelError as error:
                raise ModelError(f"the category {name!r} {error}") from error
        categories.append(Category(name, column, model, calibration))
    return CategoryModel(tuple(categories), train.signal)


def _fit_one_table(parts: Sequence[tuple[Sample, Sample]]) -> bool:
    """Returns whether the candidates of all pairs, which are about equally many, fit into one table of a network."""
    first = sum(sample.x.nbytes for sample in parts[0])
    return len(parts) * first <= LARGEST_TABLE


def _of_turn(progress: Progress | None, turn: int, n_turns: int) -> Progress | None:
    """Returns the progress of one training of several that follow each other."""
    if progress is None:
        return None

    def report(done: int, total: int, numbers: Mapping[str, float]) -> None:
        progress(turn * total + done, n_turns * total, numbers)

    return report


class _Pair(NamedTuple):
    """What one model is trained on, and the bands whose numbers of sigmas it reads; None: `train` decides them."""

    train: Sample
    validation: Sample
    bands: Mapping[str, FoldModel] | None = None


class _Section(TrainingTask):
    """Trains the model of a section on pairs of samples."""

    __slots__ = ()

    def fit_pairs(self, pairs: Sequence[_Pair], progress: Progress | None) -> tuple[FoldModel, ...]:
        """Trains one model on each (train, validation) pair; the networks of several pairs are trained together."""
        if len(pairs) == 1 or not isinstance(self.spec, MlpModel):
            return tuple(self.fit(pair, progress) for pair in pairs)
        inputs = [self.inputs(*pair[:2], bands=pair.bands) for pair in pairs]
        if len({each.x.shape[1] for each in inputs}) > 1:  # a feature is missing in some of the pairs only
            return tuple(self.fit(pair, progress) for pair in pairs)
        tables = [(np.asarray(t.x), t.y, t.weight) for each in inputs for t in (each, each.validation) if t is not None]
        ends = np.cumsum([len(y) for _, y, _ in tables]).tolist()
        rows = iter(np.arange(first, last) for first, last in zip([0, *ends], ends, strict=False))
        folds = [(next(rows), None if each.validation is None else next(rows)) for each in inputs]
        x, y, weight = (np.concatenate(arrays) for arrays in zip(*tables, strict=True))
        signal, seed = pairs[0].train.signal, self.config.seed
        network: Any = build_estimator(self.spec, inputs[0].names, signal, seed, self.resources)
        trained = network.fit_folds(x, y, weight, folds=folds, progress=progress)
        return tuple(_fold_model(self.spec, *pair) for pair in zip(inputs, trained, strict=True))

    def fit(self, pair: _Pair, progress: Progress | None) -> FoldModel:
        """Trains one model; its validation sample, which may be empty, decides when to stop."""
        spec, resources, fills_missing = self.spec, self.resources, False
        given = resources.objects.get(self.name)
        if isinstance(spec, SklearnModel):
            fills_missing = not (given.takes_missing if given else takes_missing(spec, resources.allow_import))
        train, validation, bands = pair
        inputs = self.inputs(train, validation, bands=bands, fills_missing=fills_missing)
        targets = self.config.evaluate.working_points
        estimator: Any = build_estimator(
            spec, inputs.names, train.signal, self.config.seed, resources, targets, given, train.classes
        )
        estimator.fit(inputs.x, inputs.y, inputs.weight, validation=inputs.validation, progress=progress)
        if isinstance(spec, CutsModel) and not spec.nested:
            for target in targets:
                estimator.box(target)  # raises now, before any evaluation, if no box keeps so much of the signal
        return _fold_model(spec, inputs, estimator)


def _fold_model(spec: TrainableSpec, inputs: TrainingInputs, estimator: Any) -> FoldModel:
    scatter = 0.0
    if isinstance(spec, MlpModel) and len(estimator.networks_) > 1:
        x = inputs.x if inputs.validation is None else inputs.validation.x
        scatter = float(estimator.spread(x[:_N_COMPARED]).mean())
    reference = None
    if inputs.scaler is not None and isinstance(estimator, HasReference):
        reference = _reference(inputs, len(inputs.scaler.knots))
    return FoldModel(inputs.columns, inputs.scaler, estimator, scatter, inputs.band_columns, reference)


def _reference(inputs: TrainingInputs, n_features: int) -> tuple[float, ...]:
    """Returns the middle of the classes' medians of each scaled feature, with no value missing.

    All classes count the same, so that the log-odds there are those of a model that cannot tell: for Fisher's
    discriminant on symmetric classes they are 0. M. Sundararajan et al., ICML 2017, ask for such a baseline. Of a
    regression it is the medians of all events.
    """
    medians = []
    y = inputs.y if inputs.y.dtype.kind in "iu" else np.zeros(len(inputs.y), np.int8)
    for c in np.unique(y):
        rows = np.flatnonzero((y == c) & (inputs.weight > 0))
        rows = rows[:: max(len(rows) // _N_REFERENCE, 1)]
        if len(rows):
            medians.append(np.median(inputs.x[rows][:, :n_features], axis=0))
    reference = np.zeros(inputs.x.shape[1])
    reference[:n_features] = np.mean(medians, axis=0)
    return tuple(reference.tolist())


def _notes(spec: TrainableSpec, fitted: Sequence[FoldModel | CategoryModel]) -> tuple[str, ...]:
    """Returns what a reader of the results must know about the training, in sentences."""
    notes = list(dict.fromkeys(note for model in fitted for note in model.notes))
    single = [model for model in fitted if isinstance(model, FoldModel)]
    if isinstance(spec, CutsModel) and spec.nested and single:
        estimators: list[Any] = [model.estimator for model in single]
        notes += _nesting_note(estimators)
        if any(len(estimator.boxes_.starts) > 1 for estimator in estimators):
            notes.append(
                "The best boxes at some of these efficiencies exclude each other, so at the looser ones a candidate is "
                "accepted that lies in one box or in another: the cut string is (…) || (…)."
            )
    scatter = float(np.mean([model.members_scatter for model in single])) if single else 0.0
    if scatter:
        notes.append(f"The members' probabilities scatter by {scatter:.2g} (mean standard deviation on validation).")
    return tuple(notes)


def _warnings(spec: TrainableSpec, fitted: Sequence[FoldModel | CategoryModel], config: Config) -> tuple[str, ...]:
    """Returns what went wrong in the training of the networks, in sentences that say what to change."""
    if not isinstance(spec, MlpModel):
        return ()
    from pidlab.models.mlp.health import warnings_about

    single = [model.estimator for each in fitted for model in each.models]
    networks: list[Any] = [health for estimator in single for health in getattr(estimator, "health_", ())]
    return tuple(warnings_about(networks, scaled=config.scaling != "none"))


def _nesting_note(cuts: Sequence[Any]) -> list[str]:
    """Returns what nesting costs at each working point, averaged over the folds, as a sentence."""
    points = [{point.target: point for point in estimator.nesting_} for estimator in cuts]
    costs, alone = [], []
    for target in sorted(set.intersection(*(set(p) for p in points))):
        nested, own = (
            100 * float(np.mean([getattr(p[target], k) for p in points])) for k in ("background", "own_optimum")
        )
        costs.append(f"{100 * target:g} %: {nested:.3g} % ({own:.3g} %)")
        alone.append(f"{100 * target:g} %: {nested:.3g} %" if f"{nested:.3g}" == f"{own:.3g}" else "")
    if not costs:
        return []
    if all(alone):
        return [
            "The background that the nested boxes pass in training at each signal efficiency asked for: "
            f"{'; '.join(alone)}. Nesting costs nothing: boxes that need not be nested would pass as much."
        ]
    return [
        "The background that the nested boxes pass in training at each signal efficiency asked for, and in brackets "
        f"that of the best box which need not be nested: {'; '.join(costs)}."
    ]


def calibrated(model: Model, validation: Sample) -> Model:
    """Returns the calibrated model; unchanged if no calibration is configured, or if its scores only rank.

    The weights are those of training: never negative, by `negative_weights`, and with `balance: equal` the same sum
    for each class, unless the model states the abundances itself. With folds, each candidate is scored by a model that
    used it for validation and did not train on it, and one map is fitted for all fold models.

    Raises:
        ModelError: too few candidates are left to fit on.
    """
    config = model.recipe.loaded.config
    spec = config.models[model.name]
    method = config.evaluate.calibration
    if method == "none" or model.ranks_only:
        return model
    usable = trainable(validation, config)
    try:
        scores, weight = model.scores(usable, fold_offset=1), training_weights(usable, config, spec)
        calibration = fit_calibration(method, scores, usable.y, weight, usable.signal)
    except ModelError as error:
        raise ModelError(f"models.{model.name}: {error}") from error
    return replace(model, calibration=calibration)
