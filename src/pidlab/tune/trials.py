"""Trials: a model with other parameters, trained on train, evaluated on validation, stopped early if it lags."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pidlab.config.load import LoadedConfig
from pidlab.config.schema import MlpModel, TrainableSpec
from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.ranking import Score
from pidlab.evaluate.regression.predictions import Predicted, Prediction, Targets
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import FoldModel
from pidlab.models.inputs import TrainingInputs, TrainingTask
from pidlab.models.registry import Resources, build_estimator
from pidlab.models.training import fit_parts
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Task
from pidlab.sample import Sample
from pidlab.tune.objectives import Objective, ResidualObjective
from pidlab.tune.space import Dimension, with_parameters
from pidlab.tune.study import Study

if TYPE_CHECKING:
    import optuna

_RUNGS = 20  # times that a training is compared with others
_OF_A_MEMBER = frozenset({"learning_rate", "weight_decay"})  # parameters that may differ between networks of one pass


def rung(done: int, total: int) -> int | None:
    """Returns which twentieth of the training has just ended; None in between and at the end."""
    now = done * _RUNGS // total
    return now if done < total and now > (done - 1) * _RUNGS // total else None


class Pruned(Exception):  # noqa: N818  # it ends a training early, so it is no error
    """Ends the training of a trial that lags behind the others."""


Lags = Callable[[int, int, Mapping[str, float]], bool]
"""Whether a training is to be stopped: it gets what is done, the total, and the numbers reached."""


class Outcome(NamedTuple):
    """What came of a trial: the value is None if it was stopped early or, for the `reason`, could not be trained."""

    seconds: float
    value: float | None
    reason: str


@dataclass(frozen=True)
class Bench:
    """Trains and evaluates one model with any parameters, on a training and a validation sample, without test rows."""

    loaded: LoadedConfig
    model: str
    train: Sample
    validation: Sample
    objective: Objective | ResidualObjective
    resources: Resources

    def fitted(self, parameters: Mapping[str, Any], progress: Any = None) -> FoldModel | CategoryModel:
        """Returns the model with these parameters, trained as a run trains it.

        Raises:
            ModelError: the model cannot be trained.
        """
        spec, pair = self.spec(parameters), (self.train, self.validation)
        followed = None if spec.categories else progress  # a training for each category has no common progress
        return fit_parts(self.model, spec, [pair], compile_recipe(self.loaded), self.resources, followed)[0]

    def spec(self, parameters: Mapping[str, Any]) -> TrainableSpec:
        """Returns the model's section of the configuration with these parameters."""
        found = with_parameters(self.loaded, self.model, parameters).config.models[self.model]
        assert isinstance(found, TrainableSpec)
        return found

    def scores(self, fitted: FoldModel | CategoryModel) -> Score:
        """Returns the signal's scores (n,) on validation."""
        return np.ascontiguousarray(fitted.scores(self.validation.x)[:, self.validation.signal])

    def value(self, fitted: FoldModel | CategoryModel) -> float:
        """Returns the objective on validation.

        Raises:
            ModelError: it is undefined there.
        """
        if isinstance(self.objective, ResidualObjective):
            return self.objective.value(self.predicted(fitted))
        return self.objective.value(self.scores(fitted), self.validation)

    def predicted(self, fitted: FoldModel | CategoryModel) -> Predicted:
        """Returns the predictions of a regression beside the targets, on validation."""
        prediction = Prediction(fitted.scores(self.validation.x)[:, 0])
        return Predicted.of(prediction, Targets.of(self.validation))

    @cached_property
    def prepared(self) -> TrainingInputs:
        """The input of networks, scaled once for all trials."""
        task = TrainingTask(self.model, self.spec({}), self.loaded.config, self.resources)
        return task.inputs(self.train, self.validation)

    def reached(self, done: int, total: int, numbers: Mapping[str, float]) -> tuple[int, float] | None:
        """Returns the twentieth of a training that has just ended and the value by which trials are compared there."""
        step, value = rung(done, total), self.objective.intermediate(numbers)
        return None if step is None or value is None else (step, value)

    def alone(self, parameters: Mapping[str, Any], lags: Lags) -> Outcome:
        """Returns what comes of a model with these parameters, whose training is stopped as soon as it lags."""
        start = time.perf_counter()

        def progress(done: int, total: int, numbers: Mapping[str, float]) -> None:
            if lags(done, total, numbers):
                raise Pruned

        value, reason = None, ""
        try:
            value = self.value(self.fitted(parameters, progress))
        except Pruned:
            pass
        except ModelError as error:
            reason = str(error)
        return Outcome(time.perf_counter() - start, value, reason)

    def networks(self, asked: Sequence[Mapping[str, Any]], lags: Sequence[Lags]) -> list[Outcome]:
        """Returns what comes of networks with these parameters, which are trained in one pass.

        Raises:
            UsageError: a class is missing in the validation sample.
        """
        inputs, start = self.prepared, time.perf_counter()
        if inputs.validation is None:
            raise UsageError("a class is missing in the validation sample; raise split.validation")
        signal, seed = self.train.signal, self.loaded.config.seed
        networks: list[Any] = [
            build_estimator(self.spec(parameters), inputs.names, signal, seed, self.resources) for parameters in asked
        ]
        lagging: set[int] = set()

        def pruner(done: int, total: int, areas: Mapping[int, float]) -> Collection[int]:
            late = {i for i, area in areas.items() if lags[i](done, total, {"validation_auc": area})}
            lagging.update(late)
            return late

        found = networks[0].fit_variants(
            inputs.x, inputs.y, inputs.weight,
            variants=[n.get_params() for n in networks], validation=inputs.validation, pruner=pruner,
        )  # fmt: skip
        seconds, outcomes = (time.perf_counter() - start) / len(asked), []
        for i, network in enumerate(found):
            value, reason = None, ""
            if isinstance(network, ModelError):
                reason = "" if i in lagging else str(network)
            elif i not in lagging:
                value = self.value(FoldModel(inputs.columns, inputs.scaler, network, band_columns=inputs.band_columns))
            outcomes.append(Outcome(seconds, value, reason))
        return outcomes

    def fingerprint(self, space: Mapping[str, str]) -> str:
        """Returns a hash of all that makes trials comparable: samples, training settings and search space."""
        digest = hashlib.blake2b(digest_size=8)
        for sample in (self.train, self.validation):
            for array in (sample.x, sample.y if sample.target is None else sample.target, sample.weight):
                digest.update(np.ascontiguousarray(array).tobytes())
        config = self.loaded.config
        settings = {
            "model": {k: v for k, v in self.loaded.content["models"][self.model].items() if k not in space},
            "settings": [config.scaling, config.balance, config.negative_weights, config.seed],
            "features": self.train.features,
            "classes": [self.train.classes, self.train.signal],
            "space": dict(space),
        }
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        return digest.hexdigest()


def trains_as_network(bench: Bench, space: Mapping[str, Dimension]) -> bool:
    """Returns whether trials are networks on the same input, which can be trained in one pass."""
    spec = bench.spec({})
    return isinstance(spec, MlpModel) and not spec.categories and "features" not in space


def suggested(space: Mapping[str, Dimension], trial: optuna.Trial) -> dict[str, Any]:
    """Returns the parameters that a study suggests for a trial."""
    return {name: values.suggest(name, trial) for name, values in space.items()}


class Trials:
    """Makes trials of one study one by one, or, for networks, several in one pass.

    Args:
        bench: trains and evaluates the model.
        study: suggests the parameters and records the results.
        space: the values of each parameter.
        together: the largest number of networks that train in one pass.
    """

    def __init__(self, bench: Bench, study: Study, space: Mapping[str, Dimension], together: int) -> None:
        self._bench, self._study, self._suggest = bench, study, partial(suggested, space)
        self._is_network = trains_as_network(bench, space)
        self.together = together if self._is_network else 1

    def make(self, n: int, task: Task) -> None:
        """Makes up to `together` trials, at most n, and records their results."""
        asked = [self._study.ask(self._suggest)]
        if self._is_network:
            shape = {name: v for name, v in asked[0][0].params.items() if name not in _OF_A_MEMBER}
            asked += [self._study.ask(self._suggest, shape) for _ in range(min(n, self.together) - 1)]
        lags = [partial(self._lags, trial) for trial, _ in asked]
        if self._is_network:
            outcomes = self._bench.networks([parameters for _, parameters in asked], lags)
        else:
            outcomes = [self._bench.alone(asked[0][1], lags[0])]
        for (trial, _), outcome in zip(asked, outcomes, strict=True):
            self._study.record(trial, *outcome)
            task.advance()

    def _lags(self, trial: optuna.Trial, done: int, total: int, numbers: Mapping[str, float]) -> bool:
        if (reached := self._bench.reached(done, total, numbers)) is None:
            return False
        step, value = reached
        trial.report(value, step)
        return trial.should_prune()
