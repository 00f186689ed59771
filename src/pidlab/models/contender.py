"""Contenders: a model as it takes part in the comparison, with its scaling, its folds and its training weights."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import BdtModel, Config, CutsModel, FisherModel, LogisticModel, MlpModel, Model
from pidlab.errors import ConfigError, ModelError, UsageError
from pidlab.evaluate.results import Training
from pidlab.features import given_scores
from pidlab.models.base import Classifier, Holdout, Progress, read_json, write_json
from pidlab.models.bdt_settings import check_parameters
from pidlab.recipe import Recipe
from pidlab.sample import FloatArray, Sample
from pidlab.scaling import Scaler, fit_scaler
from pidlab.split import Keys, fold_of

Scores = NDArray[np.float32]
TrainedModel = CutsModel | FisherModel | LogisticModel | BdtModel | MlpModel


@dataclass(frozen=True, slots=True)
class Resources:
    """What training may use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    n_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained estimator and what its input goes through.

    Attributes:
        columns: the features it reads, as indices.
        scaler: None where the features go in as they are.
    """

    columns: tuple[int, ...]
    scaler: Scaler | None
    estimator: Classifier

    def scores(self, x: FloatArray) -> Scores:
        """(n, d) features to (n, k) scores."""
        if len(x) == 0:
            return np.empty((0, len(self.estimator.classes_)), np.float32)
        own = x if len(self.columns) == x.shape[1] else x[:, list(self.columns)]
        return self.estimator.scores(self.scaler.transform(own) if self.scaler else own)

    def save(self, directory: Path) -> None:
        """Write everything `load` needs into a new directory."""
        directory.mkdir(parents=True)
        scaler = self.scaler.to_json() if self.scaler else None
        write_json(directory / "input.json", {"columns": list(self.columns), "scaler": scaler})
        self.estimator.save(directory)

    @classmethod
    def load(cls, directory: Path, kind: str) -> Fitted:
        """What `save` wrote of a model of type `kind`."""
        content = read_json(directory / "input.json")
        scaler = Scaler.from_json(content["scaler"]) if content["scaler"] else None
        return cls(tuple(content["columns"]), scaler, estimator_class(kind).load(directory))


@dataclass(frozen=True, slots=True)
class Contender:
    """A model ready to score: given by the configuration, trained once, or trained once a fold.

    Attributes:
        kind: the `type` of the configuration.
        fitted: empty for `expression` and `score`; one; or one a fold, in order.
        fold_seed: decides the fold of an event; None without folds.
    """

    name: str
    kind: str
    recipe: Recipe
    fitted: tuple[Fitted, ...]
    fold_seed: int | None
    training: Training | None

    @property
    def single_point(self) -> bool:
        """True for somebody's cuts as they are."""
        return self.kind == "expression"

    def scores(self, sample: Sample, parted_from: int = 0) -> Scores:
        """(n, k) scores; with folds, each event by the model `parted_from` places after the one that must not see it.

        With 0 that is the model that never saw the event; with 1, for an event that is not of that model's test fold,
        the next one, which trained or validated on it.
        """
        if not self.fitted:
            return self._given(sample.columns, len(sample))
        if self.fold_seed is None:
            return self.fitted[0].scores(sample.x)
        folds = (fold_of(sample.event, len(self.fitted), self.fold_seed) + parted_from) % len(self.fitted)
        result = np.empty((len(sample), len(sample.classes)), np.float32)
        for i, model in enumerate(self.fitted):
            rows = np.flatnonzero(folds == i)
            result[rows] = model.scores(sample.x[rows])
        return result

    def scores_of(self, x: FloatArray, columns: Mapping[str, Any], event: Keys | None = None) -> Scores:
        """(n, k) scores of rows of any file.

        With folds, the mean over the fold models; rows whose hash is in `event` order (n,) take the model that did
        not see them.
        """
        if not self.fitted:
            return self._given(columns, len(x))
        if event is None or self.fold_seed is None:
            return np.asarray(np.mean([f.scores(x) for f in self.fitted], axis=0), np.float32)
        folds = fold_of(event, len(self.fitted), self.fold_seed)
        result = np.empty((len(x), len(self.recipe.classes)), np.float32)
        for i, model in enumerate(self.fitted):
            rows = np.flatnonzero(folds == i)
            result[rows] = model.scores(x[rows])
        return result

    def cut_string(self, threshold: float) -> str:
        """The decision `score > threshold` as a ROOT cut string; empty for a model that is no cut, or one a fold."""
        if self.single_point:
            return self.recipe.given[self.name].expression.text
        if self.kind != "cuts" or len(self.fitted) != 1:
            return ""
        used = [self.recipe.features[j] for j in self.fitted[0].columns]
        names = [_in_brackets(stated.expression.text) for _, stated in used]
        text: str = self.fitted[0].estimator.threshold_cut_string(threshold, names)
        terms = text.split(" && ")
        for (feature, _), name in zip(used, names, strict=True):
            if any(term.startswith(f"{name} ") for term in terms):
                terms += [f"{name} != {code:g}" for code in feature.missing]
        return " && ".join(terms)

    def _given(self, columns: Mapping[str, Any], n: int) -> Scores:
        """The signal's score in its column; the others hold its opposite for two classes, and nothing for more."""
        signal = given_scores(self.recipe, self.name, columns, n)
        result = np.full((n, len(self.recipe.classes)), np.nan, np.float32)
        if result.shape[1] == 2:
            result[:] = (1 - signal if self.single_point else -signal)[:, None]
        result[:, self.recipe.signal] = signal
        return result

    def save(self, directory: Path) -> None:
        """Write the fitted models, one directory a fold, into `directory`."""
        for i, fitted in enumerate(self.fitted):
            fitted.save(directory / f"fold{i}")

    @classmethod
    def load(cls, directory: Path, name: str, recipe: Recipe) -> Contender:
        """What `save` wrote."""
        config = recipe.loaded.config
        kind = config.models[name].type
        n = 0 if name in recipe.given else config.folds or 1
        fitted = tuple(Fitted.load(directory / f"fold{i}", kind) for i in range(n))
        return cls(name, kind, recipe, fitted, config.split.seed if config.folds else None, None)


def _in_brackets(text: str) -> str:
    """An expression as one operand: a plain name as it is."""
    return text if text.replace(".", "").replace("_", "").isalnum() else f"({text})"


def estimator_class(kind: str) -> type[Classifier]:
    """The estimator of a trained model's type; its library is imported only now."""
    if kind == "cuts":
        from pidlab.models.cuts import Cuts

        return Cuts
    if kind == "fisher":
        from pidlab.models.fisher import Fisher

        return Fisher
    if kind == "logistic":
        from pidlab.models.logistic import Logistic

        return Logistic
    if kind == "bdt":
        from pidlab.models.bdt import BDT

        return BDT
    if kind == "mlp":
        from pidlab.models.mlp import MLP

        return MLP
    raise ModelError(f"the model type {kind!r} cannot be trained")


def check_models(loaded: LoadedConfig) -> None:
    """Refuse, before anything is read, what only a model's own library knows to be wrong.

    Raises:
        ConfigError: a parameter that xgboost does not have.
    """
    mistakes = []
    for name, spec in loaded.config.models.items():
        if isinstance(spec, BdtModel):
            try:
                check_parameters(spec.model_extra or {})
            except UsageError as error:
                mistakes.append(loaded.mistake(("models", name), str(error)))
    if mistakes:
        raise ConfigError(mistakes)


def build_estimator(
    spec: TrainedModel, features: Sequence[str], signal: int, seed: int, resources: Resources
) -> Classifier:
    """The untrained estimator that a section of the configuration describes."""
    options = spec.model_dump(exclude={"type", "features"})
    if isinstance(spec, CutsModel):
        options |= {"feature_names": list(features), "signal": signal, "seed": seed}
    elif isinstance(spec, BdtModel):
        extra = dict(spec.model_extra or {})
        options = {name: value for name, value in options.items() if name not in extra}
        options |= {
            "parameters": extra or None,
            "feature_names": list(features),
            "seed": seed,
            "device": resources.device,
            "n_jobs": resources.n_jobs,
        }
    elif isinstance(spec, MlpModel):
        options |= {"seed": seed, "device": resources.device}
    return estimator_class(spec.type)(**options)


def training_weights(sample: Sample, config: Config) -> NDArray[np.float64]:
    """(n,) weights for training: never negative, by `negative_weights`; with `balance: equal` each class sums to n / k.

    Without balance they are scaled to a mean of one.
    """
    weight = np.abs(sample.weight) if config.negative_weights == "abs" else np.clip(sample.weight, 0, None)
    if config.balance == "equal":
        sums = np.bincount(sample.y, weights=weight, minlength=len(sample.classes))
        if not (sums > 0).all():
            empty = sample.classes[int(np.argmin(sums))]
            raise ModelError(f"the class {empty!r} has no positive weight to train on; check data.weight")
        return np.asarray(weight * (len(weight) / len(sums) / sums)[sample.y])
    return np.asarray(weight * (len(weight) / weight.sum()))


def trainable(sample: Sample, config: Config) -> Sample:
    """The rows that training may use: all, or without the negative weights where they are to be dropped."""
    return sample.take(sample.weight >= 0) if config.negative_weights == "drop" else sample


def fit(
    spec: TrainedModel,
    train: Sample,
    validation: Sample,
    config: Config,
    resources: Resources,
    progress: Progress | None,
) -> Fitted:
    """Train one model on `train`; it may watch `validation`, which may be empty."""
    train, validation = trainable(train, config), trainable(validation, config)
    columns = _columns_of(spec, train.features)
    x, x_validation = train.x[:, list(columns)], validation.x[:, list(columns)]
    scaler = None
    if isinstance(spec, MlpModel | FisherModel | LogisticModel):
        scaler = fit_scaler(x, config.scaling)
        x, x_validation = scaler.transform(x), scaler.transform(x_validation)
    holdout = None
    if len(np.unique(validation.y)) == len(train.classes):
        holdout = Holdout(x_validation, validation.y, training_weights(validation, config))
    names = [train.features[j] for j in columns]
    estimator = build_estimator(spec, names, train.signal, config.seed, resources)
    estimator.fit(x, train.y, training_weights(train, config), validation=holdout, progress=progress)
    return Fitted(columns, scaler, estimator)


def _columns_of(spec: TrainedModel, features: Sequence[str]) -> tuple[int, ...]:
    chosen = getattr(spec, "features", None)
    return tuple(features.index(name) for name in chosen) if chosen else tuple(range(len(features)))


def fit_contender(
    name: str,
    spec: Model,
    recipe: Recipe,
    parts: Iterable[tuple[Sample, Sample]],
    resources: Resources,
    progress: Progress | None,
) -> Contender:
    """Train a model on each (train, validation) pair of `parts`: one, or one a fold."""
    config = recipe.loaded.config
    fold_seed = config.split.seed if config.folds else None
    if name in recipe.given:
        return Contender(name, spec.type, recipe, (), None, None)
    assert isinstance(spec, TrainedModel)
    start = time.perf_counter()
    try:
        fitted = tuple(fit(spec, train, validation, config, resources, progress) for train, validation in parts)
    except ModelError as error:
        raise ModelError(f"models.{name}: {error}") from error
    histories = [f.estimator.history_ for f in fitted]
    epochs = max((len(v) for h in histories for v in h.values()), default=0)
    return Contender(
        name, spec.type, recipe, fitted, fold_seed, Training(time.perf_counter() - start, epochs, histories[0])
    )
