"""Trials: a model with other parameters, trained on train, judged on validation, given up early where it lags."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pidlab.config.load import LoadedConfig
from pidlab.config.names import point_name
from pidlab.config.schema import MlpModel, TrainableSpec
from pidlab.errors import ModelError, UsageError
from pidlab.evaluate.points.working_points import passes, threshold_at
from pidlab.evaluate.ranking import Score, auc_influence
from pidlab.models.inputs import TrainingInputs, prepare
from pidlab.models.model import FoldModel
from pidlab.models.registry import Resources, build_estimator
from pidlab.models.training import fit
from pidlab.progress import Task
from pidlab.sample import Sample
from pidlab.tune.space import Dimension, suggestion, with_parameters
from pidlab.tune.study import Study, fixed_parameters

if TYPE_CHECKING:
    import optuna

_RUNGS = 20
_OF_A_MEMBER = frozenset({"learning_rate", "weight_decay"})


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be made best on validation: the AUC, or the misidentification at a signal efficiency.

    `target` is that efficiency, None for the AUC.
    """

    target: float | None
    GRAMMAR: ClassVar[str] = "auc, or misid:eff90 (misidentification at 90 % signal efficiency; eff99_5 is 99.5 %)"

    @classmethod
    def of(cls, text: str) -> Objective:
        """`auc` or `misid:eff90`.

        Raises:
            UsageError: it is neither.
        """
        if text == "auc":
            return cls(None)
        found = re.fullmatch(r"misid:eff(\d+(?:_\d+)?)", text)
        target = float(found[1].replace("_", ".")) / 100 if found else math.nan
        if not 0 < target < 1:
            raise UsageError(f"--objective {text}: is none of {cls.GRAMMAR}")
        return cls(target)

    def __str__(self) -> str:
        return "auc" if self.target is None else f"misid:{point_name(self.target)}"

    @property
    def maximise(self) -> bool:
        """True where more is better."""
        return self.target is None

    def value(self, score: Score, sample: Sample) -> float:
        """The objective for the signal's scores (n,) of a sample, all other classes taken together.

        Raises:
            ModelError: it has no value there.
        """
        if self.target is None:
            area = auc_influence(score, sample.is_signal, sample.weight)
            found = math.nan if area is None else area.value
        else:
            signal = sample.is_signal
            threshold = threshold_at(score[signal], sample.weight[signal], self.target)
            passing = np.sum(sample.weight, where=passes(score, threshold) & ~signal)
            found = float(passing / sample.weight[~signal].sum())
        if not math.isfinite(found):
            raise ModelError("the objective has no value on the validation sample; look at its classes and weights")
        return found

    def meanwhile(self, numbers: Mapping[str, float]) -> float | None:
        """What trials are held against each other by while they train: the AUC where it is told, else the loss."""
        area, loss = numbers.get("validation_auc"), numbers.get("validation_loss")
        quality = area if area is not None else None if loss is None else -loss
        if quality is None or not math.isfinite(quality):
            return None
        return quality if self.maximise else -quality


def rung(done: int, total: int) -> int | None:
    """Which twentieth of the training has just ended; None in between, and at the end."""
    now = done * _RUNGS // total
    return now if done < total and now > (done - 1) * _RUNGS // total else None


class Pruned(Exception):  # noqa: N818  # no error: it ends a training that lags behind
    """Raised where training reports its progress."""


@dataclass(frozen=True)
class Bench:
    """Where trials are made: it holds the training and the validation sample, and nothing of the test sample."""

    loaded: LoadedConfig
    model: str
    train: Sample
    validation: Sample
    objective: Objective
    resources: Resources

    def fitted(self, parameters: Mapping[str, Any], progress: Any = None) -> FoldModel:
        """The model with these parameters, trained as a run trains it.

        Raises:
            ModelError: it cannot be trained.
        """
        spec, config = self.spec(parameters), self.loaded.config
        return fit(spec, self.train, self.validation, config, self.resources, progress)

    def spec(self, parameters: Mapping[str, Any]) -> TrainableSpec:
        """The model's section with these parameters."""
        found = with_parameters(self.loaded, self.model, parameters).config.models[self.model]
        assert isinstance(found, TrainableSpec)
        return found

    def scores(self, fitted: FoldModel) -> Score:
        """(n,) the signal's score on validation."""
        return np.ascontiguousarray(fitted.scores(self.validation.x)[:, self.validation.signal])

    def value(self, fitted: FoldModel) -> float:
        """The objective on validation."""
        return self.objective.value(self.scores(fitted), self.validation)

    @cached_property
    def prepared(self) -> TrainingInputs:
        """What the network trains on, scaled once for all trials."""
        return prepare(self.spec({}), self.train, self.validation, self.loaded.config)

    def fingerprint(self, space: Mapping[str, str]) -> str:
        """A hash of all that makes trials comparable: both samples, the configuration of training, the space."""
        digest = hashlib.blake2b(digest_size=8)
        for sample in (self.train, self.validation):
            for array in (sample.x, sample.y, sample.weight):
                digest.update(np.ascontiguousarray(array).tobytes())
        config = self.loaded.config
        told = {
            "model": {k: v for k, v in self.loaded.content["models"][self.model].items() if k not in space},
            "settings": [config.scaling, config.balance, config.negative_weights, config.seed],
            "features": self.train.features,
            "classes": [self.train.classes, self.train.signal],
            "space": dict(space),
        }
        digest.update(json.dumps(told, sort_keys=True, default=str).encode())
        return digest.hexdigest()


class Trials:
    """Makes trials of one study, alone or, for networks, several in one pass.

    Args:
        bench: where they are trained and judged.
        study: where they are asked for and told.
        space: what they may try.
        together: networks that train in one pass, at most.
    """

    def __init__(self, bench: Bench, study: Study, space: Mapping[str, Dimension], together: int) -> None:
        self._bench, self._study = bench, study
        self._suggest = suggestion(space)
        is_network = isinstance(bench.spec({}), MlpModel) and "features" not in space
        self.together = together if is_network else 1
        self._as_network = is_network
        self._shape = [name for name in space if name not in _OF_A_MEMBER]

    def make(self, n: int, task: Task) -> None:
        """Ask for up to `together` trials, at most n, train them and tell what came out."""
        if not self._as_network:
            self._alone(task)
            return
        asked = [self._study.ask(self._suggest)]
        shape = fixed_parameters(asked[0][0], self._shape)
        asked += [self._study.ask(self._suggest, shape) for _ in range(min(n, self.together) - 1)]
        self._together(asked, task)

    def _alone(self, task: Task) -> None:
        trial, parameters = self._study.ask(self._suggest)
        start = time.perf_counter()

        def progress(done: int, total: int, numbers: Mapping[str, float]) -> None:
            if self._lags(trial, done, total, numbers):
                raise Pruned

        try:
            value = self._bench.value(self._bench.fitted(parameters, progress))
        except Pruned:
            self._study.pruned(trial, time.perf_counter() - start)
        except ModelError as error:
            self._study.pruned(trial, time.perf_counter() - start, str(error))
        else:
            self._study.complete(trial, value, time.perf_counter() - start)
        task.advance()

    def _lags(self, trial: optuna.Trial, done: int, total: int, numbers: Mapping[str, float]) -> bool:
        step, value = rung(done, total), self._bench.objective.meanwhile(numbers)
        if step is None or value is None:
            return False
        trial.report(value, step)
        return trial.should_prune()

    def _together(self, asked: Sequence[tuple[optuna.Trial, dict[str, Any]]], task: Task) -> None:
        bench, given, start = self._bench, self._bench.prepared, time.perf_counter()
        if given.validation is None:
            raise UsageError("a class is missing in the validation sample; raise split.validation")
        networks = [self._network(bench.spec(parameters), given) for _, parameters in asked]
        lagging: set[int] = set()

        def pruner(done: int, total: int, areas: Mapping[int, float]) -> Collection[int]:
            late = {i for i, a in areas.items() if self._lags(asked[i][0], done, total, {"validation_auc": a})}
            lagging.update(late)
            return late

        found = networks[0].fit_variants(
            given.x, given.y, given.weight,
            variants=[n.get_params() for n in networks], validation=given.validation, pruner=pruner,
        )  # fmt: skip
        seconds = (time.perf_counter() - start) / len(asked)
        for i, ((trial, _), network) in enumerate(zip(asked, found, strict=True)):
            if i in lagging:
                self._study.pruned(trial, seconds)
            elif isinstance(network, ModelError):
                self._study.pruned(trial, seconds, str(network))
            else:
                self._study.complete(trial, bench.value(FoldModel(given.columns, given.scaler, network)), seconds)
            task.advance()

    def _network(self, spec: TrainableSpec, given: TrainingInputs) -> Any:
        bench = self._bench
        return build_estimator(spec, given.names, bench.train.signal, bench.loaded.config.seed, bench.resources)
