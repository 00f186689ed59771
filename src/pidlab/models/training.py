"""Training: from sections of the configuration to models, each with its folds and its calibration."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pidlab.config.schema import Config, CutsModel, ImportedSpec, MlpModel, ModelSection, SklearnModel, TrainableSpec
from pidlab.errors import ModelError
from pidlab.evaluate.results.run import Training
from pidlab.models.base import Progress
from pidlab.models.calibration import fit_calibration
from pidlab.models.external.loading import notes_of, open_model, takes_missing
from pidlab.models.inputs import Prepared, prepare, trainable, training_weights
from pidlab.models.model import FoldModel, Model
from pidlab.models.registry import Resources, build_estimator
from pidlab.preprocess.recipe import Recipe
from pidlab.sample import Sample

_N_COMPARED = 20_000  # candidates on which members are compared


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
    estimator: Any = build_estimator(spec, given.names, train.signal, config.seed, resources, targets)
    estimator.fit(given.x, given.y, given.weight, validation=given.holdout, progress=progress)
    if isinstance(spec, CutsModel) and not spec.nested:
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


def calibrated(contender: Model, validation: Sample) -> Model:
    """The model with its calibration; as it is where none is asked for, or where its scores only rank.

    The weights are those of training: never negative, by `negative_weights`, and each class the same with `balance:
    equal`. With folds, each candidate's score is that of a model that watched it without training on it, and the one
    map is for all of them.

    Raises:
        ModelError: too little is left to fit on.
    """
    config = contender.recipe.loaded.config
    method = config.evaluate.calibration
    if method == "none" or contender.ranks_only:
        return contender
    usable = trainable(validation, config)
    try:
        scores, weight = contender.scores(usable, fold_offset=1), training_weights(usable, config)
        found = fit_calibration(method, scores, usable.y, weight, usable.signal)
    except ModelError as error:
        raise ModelError(f"models.{contender.name}: {error}") from error
    return replace(contender, calibration=found)
