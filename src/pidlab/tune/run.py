"""Runs one tuning: reads events, makes trials, measures the best parameters and writes them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.atomic import refuse_foreign, write_text
from pidlab.config.edit import edited, flow
from pidlab.config.load import LoadedConfig, load_config, yaml_value
from pidlab.config.names import KeyPath
from pidlab.config.patterns import with_branches
from pidlab.config.schema import ClassTable, CutsModel, Evaluate, RegressionConfig, TrainableSpec
from pidlab.errors import ConfigError, DataError, ModelError, OutputError, PidlabError, UsageError, nearest
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.ranking import signal_scores
from pidlab.evaluate.regression.compare import STATISTICS, compare_predictions
from pidlab.evaluate.results import Tuning
from pidlab.measured import UNDEFINED, Measured
from pidlab.models.categories import CategoryModel
from pidlab.models.fold import FoldModel
from pidlab.models.registry import Resources
from pidlab.pipeline import preprocess
from pidlab.pipeline.prepare import cluster_of
from pidlab.plots.tuning import write_tuning
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe, without_models
from pidlab.progress import Task, Watcher
from pidlab.read import absolute
from pidlab.sample import Sample
from pidlab.tune.distributed import DistributedTrials
from pidlab.tune.objectives import Objective, ResidualObjective
from pidlab.tune.space import described, search_space
from pidlab.tune.study import PRUNERS, Study, open_database
from pidlab.tune.trials import Bench, Trials

_FIRST_LINE = "# Written by pidlab tune"
_REFUSED_AT_ONCE = 8


class TuningStopped(PidlabError):  # noqa: N818  # the user asked for it, so it is no error
    """The user stopped the tuning; the trials that were made are kept."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """Which model to tune, and how.

    Attributes:
        config: the configuration file.
        model: the name of the model in it.
        n_trials: number of trials to make, in addition to those in the database.
        objective: auc, or misid:eff90 and the like; of a regression rms, mae or sigma68; empty for auc or rms.
        search: a KEY=SPEC for each parameter to search in addition to the defaults of the model's type.
        storage: a file or the address of a database; None for STEM.tune.db in the folder of the output.
        output: the configuration to write; None for STEM.tuned.yaml in the folder of the configuration.
        together: number of networks that train in one pass.
        pruner: median, halving or none.
        figures: whether the history of the trials and the importance of the parameters are drawn.
    """

    config: Path
    model: str
    n_trials: int = 50
    objective: str = ""
    search: tuple[str, ...] = ()
    storage: str | None = None
    output: Path | None = None
    together: int = 4
    pruner: str = "median"
    figures: bool = True

    @property
    def target(self) -> Path:
        """The configuration to write."""
        return self.output or self.config.with_name(f"{self.config.stem}.tuned.yaml")

    @property
    def database(self) -> str:
        """The file or address of the database that keeps the trials."""
        return self.storage or str(self.target.with_name(f"{self.config.stem}.tune.db"))

    @property
    def command(self) -> str:
        """The command line that continues the tuning."""
        words = ["pidlab", "tune", str(self.config), "--model", self.model]
        words += ["--objective", self.objective] if self.objective else []
        words += [word for each in self.search for word in ("--search", each)]
        words += ["--storage", self.storage] if self.storage else []
        words += ["-o", str(self.output)] if self.output else []
        return shlex.join(words)


def tune(request: TuningRequest, resources: Resources, watcher: Watcher) -> Tuning:
    """Makes the trials, measures the gain, and writes the configuration with the best parameters, and the figures.

    Only training and validation rows are used; with folds they are those of the first fold's model.

    Raises:
        UsageError, ConfigError: the request or the configuration is wrong.
        DataError, ModelError: the events cannot be used, or no trial could be trained.
        OutputError: a file cannot be written, or would replace a file that tune did not write.
        TuningStopped: the user pressed Ctrl-C; the trials made so far are kept.
    """
    loaded = load_config(request.config)
    of_target = isinstance(loaded.config, RegressionConfig)
    objective = (ResidualObjective if of_target else Objective).of(request.objective or ("rms" if of_target else "auc"))
    loaded = with_branches(loaded, watcher.remark)
    _check(request, loaded)
    with cluster_of(resources) as cluster:
        space = search_space(loaded, request.model, request.search, resources.allow_import)
        database = open_database(request.database)
        watcher.stage("load")
        bench = Bench(loaded, request.model, *_samples(loaded, watcher), objective, resources)
        watcher.stage("tune")
        name = f"{request.model} {objective} {bench.fingerprint(described(space))}"
        seed = loaded.config.seed
        study = Study(database, name, maximise=objective.maximise, seed=seed, pruner=request.pruner)
        _note_earlier_trials(study, watcher)
        trials = (
            Trials(bench, study, space, request.together)
            if cluster is None
            else DistributedTrials(bench, study, space, cluster)
        )
        try:
            with study.heartbeat(), watcher.task(f"tuning {request.model}", request.n_trials, "trials") as task:
                _make(trials, study, request.n_trials, task)
        except KeyboardInterrupt:
            made = sum(t.state in ("complete", "pruned") for t in study.trials())
            stopped = f"stopped; {made} trials are kept in {request.database}"
            raise TuningStopped(f"{stopped}. Go on with\n    {request.command}") from None
        finally:
            study.give_up()
        watcher.stage("evaluate")
        found = _measured(bench, study, request)
        _write(request, loaded, found)
        if request.figures:
            write_tuning(found, request.target.parent, request.config.stem)
        return found


def _check(request: TuningRequest, loaded: LoadedConfig) -> None:
    """Checks that the model can be tuned and the output may be written.

    Raises:
        UsageError: the model cannot be tuned, or an option is unknown.
        OutputError: the output exists and was not written by tune.
    """
    models = loaded.config.models
    if request.model not in models:
        raise UsageError(
            f"--model {request.model}: {request.config} has no such model; {nearest(request.model, models)}"
        )
    spec = models[request.model]
    if not isinstance(spec, TrainableSpec):
        raise UsageError(
            f"--model {request.model}: a model of type {spec.type!r} is not trained; there is nothing to tune"
        )
    if isinstance(spec, CutsModel) and not spec.nested:
        raise UsageError(f"--model {request.model}: cuts with nested: false have no score to tune by; say nested: true")
    if loaded.config.split.validation == 0:
        raise UsageError("tuning needs a validation sample: give split.validation a share, such as 0.15")
    if request.pruner not in PRUNERS:
        raise UsageError(f"--pruner {request.pruner}: {nearest(request.pruner, PRUNERS)}")
    target = request.target
    if target.resolve() == request.config.resolve():
        raise OutputError(f"{target}: is the configuration itself; choose another output with -o")
    refuse_foreign(target, _is_tuned, "tune", "choose another output with -o")


def _is_tuned(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_FIRST_LINE)) == _FIRST_LINE.encode()


def _samples(loaded: LoadedConfig, watcher: Watcher) -> tuple[Sample, Sample]:
    """Returns the training and the validation sample; test rows are dropped here."""
    recipe = without_models(compile_recipe(loaded), ())
    events = load(recipe, watcher)
    recipe = events.recipe
    watcher.stage("preprocess")
    events, parts = preprocess(recipe, events, watcher)
    rows, validation = next(iter(parts.training()))
    if loaded.config.folds:
        watcher.note(
            "With folds the trials use the training and validation events of the first fold's model. The events of the "
            "other folds, for which a run also quotes results, had a part in choosing the parameters."
        )
    sample = events.sample
    if loaded.config.reweight is not None:
        from pidlab.datadriven.reweighting.step import training_weighted

        sample = training_weighted(recipe, sample, parts, watcher)
    return sample.take(rows), sample.take(validation)


def _note_earlier_trials(study: Study, watcher: Watcher) -> None:
    study.free_stale()
    trials = study.trials()
    if trials:
        running = sum(t.state == "running" for t in trials)
        others = f", {running} of which other processes are running" if running else ""
        watcher.remark(f"The study goes on: {len(trials)} trials are there{others}.")
    elif study.n_others:
        watcher.remark(
            f"A new study: the database holds {study.n_others} made with other events, settings or searches."
        )


def _make(trials: Trials | DistributedTrials, study: Study, n: int, task: Task) -> None:
    """Makes n trials.

    Raises:
        ModelError: none of the first trials could be trained.
    """
    for start in range(0, n, trials.together):
        trials.make(min(n - start, trials.together), task)
        study.free_stale()
        done = study.trials()
        if len(done) >= _REFUSED_AT_ONCE and all(t.state == "refused" for t in done):
            raise ModelError(f"no trial could be trained; the last one: {done[-1].reason}")


def _measured(bench: Bench, study: Study, request: TuningRequest) -> Tuning:
    """Returns the study with the objective of the configuration's and of the best parameters.

    Raises:
        ModelError: no trial is complete.
    """
    trials = study.trials()
    loaded, objective = bench.loaded, bench.objective
    empty = Tuning(
        request.model, loaded.config.models[request.model].kind, str(objective), objective.maximise, trials,
        study.importance(), {}, UNDEFINED, UNDEFINED, UNDEFINED,
    )  # fmt: skip
    if not empty.ranked:
        reasons = [t.reason for t in trials if t.reason]
        advice = f"the last one: {reasons[-1]}" if reasons else "go on with more --trials"
        raise ModelError(f"no trial came to its end; {advice}")
    best = empty.ranked[0]
    fitted = {"after": bench.fitted(best.parameters)}
    with suppress(ModelError):
        fitted = {"before": bench.fitted({})} | fitted
    measured, gain = (_paired if isinstance(objective, Objective) else _paired_residuals)(bench, fitted)
    before = measured.get("before", UNDEFINED)
    return replace(empty, parameters=best.parameters, before=before, after=measured["after"], gain=gain)


def _paired(bench: Bench, fitted: Mapping[str, FoldModel | CategoryModel]) -> tuple[Mapping[str, Measured], Measured]:
    """Returns the objective on validation of the models before (if it can be trained) and after, and the difference.

    The difference is paired, and the intervals are those of 68.3 %.

    The thresholds are those of the validation sample, so the intervals hold their fluctuation as well.
    """
    assert isinstance(bench.objective, Objective)
    sample, target = _signal_or_not(bench.validation), bench.objective.target
    options = Evaluate(working_points=[] if target is None else [target], robustness=None)
    scores = {
        name: signal_scores(bench.scores(each), 2, sample.signal, probability=True) for name, each in fitted.items()
    }
    samples = {"train": sample, "test": sample}
    results = {
        name: evaluate_model(name, "trial", {"train": s, "test": s}, samples, options) for name, s in scores.items()
    }
    if target is not None and (reason := next((r for m in results.values() for r in m.unset.values()), "")):
        raise DataError(f"the gain cannot be measured: {reason}")
    measured = {
        name: r.samples["test"].auc if target is None else r.working_points[0].misid["rest"]
        for name, r in results.items()
    }
    if len(fitted) == 1:
        return measured, UNDEFINED
    (pair,) = compare_models(scores, sample, scores, sample, results)
    return measured, pair.delta_auc if target is None else pair.working_points[0].delta_misid


def _paired_residuals(
    bench: Bench, fitted: Mapping[str, FoldModel | CategoryModel]
) -> tuple[Mapping[str, Measured], Measured]:
    """Returns the same as `_paired` of a regression."""
    predicted, name = {each: bench.predicted(model) for each, model in fitted.items()}, str(bench.objective)
    measured = {each: STATISTICS[name](found).measured(found.weights) for each, found in predicted.items()}
    if len(fitted) == 1:
        return measured, UNDEFINED
    (pair,) = compare_predictions(predicted)
    quantity = pair.quantity(name)
    assert quantity is not None
    return measured, quantity.difference


def _signal_or_not(sample: Sample) -> Sample:
    """Returns the sample with all classes but the signal as one."""
    classes = ("rest", sample.classes[sample.signal])
    return replace(sample, y=sample.is_signal.astype(np.int64), classes=classes, signal=1, spectators={})


def _write(request: TuningRequest, loaded: LoadedConfig, found: Tuning) -> None:
    """Writes the configuration with the best parameters, and checks it by loading it.

    Raises:
        OutputError: the configuration cannot be written, or edited in its own layout.
    """
    section = ("models", found.model)
    values: dict[KeyPath, Any] = {(*section, *name.split(".", 1)): v for name, v in found.parameters.items()}
    target = request.target
    if target.resolve().parent != loaded.folder:
        values |= _absolute_paths(loaded)
    try:
        text = edited(request.config.read_text(encoding="utf-8"), values)
        text = f"{_FIRST_LINE}: {_summary(found)}\n{text}"
        content = yaml_value(text)
        for path, value in values.items():
            if (written := reduce(getitem, path, content)) != value:
                raise UsageError(f"{path[-1]} would become {written!r} and not {value!r}")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
        load_config(target)
    except (UsageError, ConfigError) as error:
        best = ", ".join(f"{name}: {flow(value)}" for name, value in found.parameters.items())
        raise OutputError(f"{target}: cannot be written ({error}); the best parameters are {best}") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def _absolute_paths(loaded: LoadedConfig) -> dict[KeyPath, Any]:
    """Returns the absolute paths that a configuration needs in another folder."""
    config = loaded.config
    paths: dict[KeyPath, Any] = {("data", "files"): config.data.files, ("data", "friends"): config.data.friends or None}
    paths |= {("classes", n, "files"): c.files for n, c in config.classes.items() if isinstance(c, ClassTable)}
    paths |= {("models", n, "file"): getattr(m, "file", None) for n, m in config.models.items()}
    return {
        key: absolute(f, loaded.folder) if isinstance(f, str) else [absolute(each, loaded.folder) for each in f]
        for key, f in paths.items()
        if f is not None
    }


def _summary(found: Tuning) -> str:
    """Returns the comment at the top of the configuration."""
    n = len(found.ranked)
    return (
        f"{found.model}, the best by {found.objective} on validation of {n} trials.\n"
        f"# It was {found.before} and is {found.after} there.\n"
        "# The best of many flatters itself: quote what `pidlab run` finds on test."
    )
