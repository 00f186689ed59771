"""One tuning: events in, trials made, the best parameters measured and written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.atomic import replacing
from pidlab.config.edit import edited, flow
from pidlab.config.load import LoadedConfig, load_config, yaml_value
from pidlab.config.names import KeyPath
from pidlab.config.schema import ClassTable, CutsModel, Evaluate, TrainableSpec
from pidlab.errors import ConfigError, DataError, ModelError, OutputError, PidlabError, UsageError, nearest
from pidlab.evaluate import compare_models, evaluate_model
from pidlab.evaluate.ranking import signal_scores
from pidlab.evaluate.results import ModelResult, Tried, Tuning
from pidlab.measured import UNDEFINED, Measured
from pidlab.models.model import FoldModel
from pidlab.models.registry import Resources
from pidlab.pipeline import preprocess
from pidlab.plots.tuning import write_tuning
from pidlab.preprocess.events import load
from pidlab.preprocess.recipe import compile_recipe, without_models
from pidlab.progress import Watcher
from pidlab.read import absolute
from pidlab.sample import Sample
from pidlab.tune.space import described, search_space
from pidlab.tune.study import PRUNERS, Study, open_database
from pidlab.tune.trials import Bench, Objective, Trials

_FIRST_LINE = "# Written by pidlab tune"
_REFUSED_AT_ONCE = 8
_BEFORE, _AFTER = "before", "after"


class TuningStopped(PidlabError):  # noqa: N818  # no error: somebody wanted it
    """Somebody stopped the tuning; what was tried is kept."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """What is to be tuned, and how.

    Attributes:
        config: the file of the configuration.
        model: its name there.
        n_trials: to be made now, besides those that are there.
        objective: auc or misid:eff90 and the like.
        search: KEY=SPEC each, besides what is searched by default.
        storage: a file or the address of a database; None for STEM.tune.db beside the output.
        output: the configuration to write; None for STEM.tuned.yaml beside the configuration.
        together: networks that train in one pass.
        pruner: median, halving or none.
    """

    config: Path
    model: str
    n_trials: int = 50
    objective: str = "auc"
    search: tuple[str, ...] = ()
    storage: str | None = None
    output: Path | None = None
    together: int = 4
    pruner: str = "median"

    @property
    def target(self) -> Path:
        """The configuration to write."""
        return self.output or self.config.with_name(f"{self.config.stem}.tuned.yaml")

    @property
    def database(self) -> str:
        """Where the trials are kept."""
        return self.storage or str(self.target.with_name(f"{self.config.stem}.tune.db"))

    @property
    def command(self) -> str:
        """The command line that goes on with it."""
        words = ["pidlab", "tune", str(self.config), "--model", self.model, "--objective", self.objective]
        words += [word for each in self.search for word in ("--search", each)]
        words += ["--storage", self.storage] if self.storage else []
        words += ["-o", str(self.output)] if self.output else []
        return shlex.join(words)


def tune(order: TuningRequest, resources: Resources, watcher: Watcher) -> Tuning:
    """Make the trials, write the configuration with the best parameters and its figures, and measure the gain.

    Training and validation rows are all that is looked at: nothing here holds a test row. With folds they are those of
    the first fold's model, which leave that fold out.

    Raises:
        UsageError, ConfigError: the order or the configuration is wrong.
        DataError, ModelError: the events cannot be used, or no trial could be trained.
        OutputError: a file cannot be written, or would replace one that is somebody's own.
        TuningStopped: by Ctrl-C; the trials made so far are kept.
    """
    objective = Objective.of(order.objective)
    loaded = load_config(order.config)
    _check(order, loaded)
    space = search_space(loaded, order.model, order.search, resources.allow_import)
    database = open_database(order.database)
    watcher.stage("load")
    bench = Bench(loaded, order.model, *_samples(loaded, watcher), objective, resources)
    watcher.stage("tune")
    name = f"{order.model} {objective} {bench.fingerprint(described(space))}"
    seed = loaded.config.seed
    study = Study(database, name, maximise=objective.maximise, seed=seed, pruner=order.pruner)
    _greet(study, watcher)
    trials = Trials(bench, study, space, order.together)
    try:
        with study.beating(), watcher.task(f"tuning {order.model}", order.n_trials, "trials") as task:
            _make(trials, study, order.n_trials, task)
    except KeyboardInterrupt:
        study.give_up()
        made = sum(t.state in ("complete", "pruned") for t in study.trials())
        what = f"stopped; {made} trials are kept in {order.database}"
        raise TuningStopped(f"{what}. Go on with\n    {order.command}") from None
    except BaseException:
        study.give_up()
        raise
    watcher.stage("evaluate")
    found = _measured(bench, study, order)
    _write(order, loaded, found)
    write_tuning(found, order.target.parent, order.config.stem)
    return found


def _check(order: TuningRequest, loaded: LoadedConfig) -> None:
    models = loaded.config.models
    if order.model not in models:
        raise UsageError(f"--model {order.model}: {order.config} has no such model; {nearest(order.model, models)}")
    spec = models[order.model]
    if not isinstance(spec, TrainableSpec):
        raise UsageError(
            f"--model {order.model}: a model of type {spec.type!r} is not trained; there is nothing to tune"
        )
    if isinstance(spec, CutsModel) and not spec.nested:
        raise UsageError(f"--model {order.model}: cuts with nested: false have no score to tune by; say nested: true")
    if loaded.config.split.validation == 0:
        raise UsageError("tuning needs a validation sample: give split.validation a share, such as 0.15")
    if order.pruner not in PRUNERS:
        raise UsageError(f"--pruner {order.pruner}: {nearest(order.pruner, PRUNERS)}")
    target = order.target
    if target.resolve() == order.config.resolve():
        raise OutputError(f"{target}: is the configuration itself; choose another output with -o")
    if target.exists() and not target.read_text(encoding="utf-8", errors="replace").startswith(_FIRST_LINE):
        raise OutputError(f"{target}: is there already and was not written by tune; choose another output with -o")


def _samples(loaded: LoadedConfig, watcher: Watcher) -> tuple[Sample, Sample]:
    """What trains and what judges; test rows are dropped here."""
    recipe = without_models(compile_recipe(loaded), ())
    events = load(recipe, watcher)
    recipe = events.recipe
    watcher.stage("preprocess")
    events, parts = preprocess(recipe, events, watcher)
    rows, watched = next(iter(parts.training()))
    if loaded.config.folds:
        watcher.note(
            "With folds the trials train and validate as the first fold's model does, without that fold's events; the "
            "others, which a run quotes too, had a say in the parameters."
        )
    return events.sample.take(rows), events.sample.take(watched)


def _greet(study: Study, watcher: Watcher) -> None:
    study.free_stale()
    trials = study.trials()
    if trials:
        running = sum(t.state == "running" for t in trials)
        others = f", {running} of which other processes are running" if running else ""
        watcher.note(f"The study goes on: {len(trials)} trials are there{others}.")
    elif study.n_others:
        watcher.note(f"A new study: the database holds {study.n_others} made with other events, settings or searches.")


def _make(trials: Trials, study: Study, n: int, task: Any) -> None:
    left = n
    while left > 0:
        now = min(left, trials.together)
        trials.make(now, task)
        left -= now
        study.free_stale()
        done = study.trials()
        if len(done) >= _REFUSED_AT_ONCE and all(t.state == "refused" for t in done):
            raise ModelError(f"no trial could be trained; the last one: {done[-1].reason}")


def _measured(bench: Bench, study: Study, order: TuningRequest) -> Tuning:
    trials = study.trials()
    loaded, objective = bench.loaded, bench.objective
    empty = Tuning(
        order.model, loaded.config.models[order.model].type, str(objective), objective.maximise, trials,
        study.importance(), {}, UNDEFINED, UNDEFINED, UNDEFINED,
    )  # fmt: skip
    if not empty.ranked:
        raise ModelError(f"no trial came to its end; {_excuse(trials)}")
    best = empty.ranked[0]
    after = bench.fitted(best.parameters)
    try:
        before: FoldModel | None = bench.fitted({})
    except ModelError:
        before = None
    numbers = _paired(bench, before, after)
    return replace(empty, parameters=best.parameters, before=numbers[0], after=numbers[1], gain=numbers[2])


def _excuse(trials: Sequence[Tried]) -> str:
    reasons = [t.reason for t in trials if t.reason]
    return f"the last one: {reasons[-1]}" if reasons else "go on with more --trials"


def _paired(bench: Bench, before: FoldModel | None, after: FoldModel) -> tuple[Measured, Measured, Measured]:
    """The objective before and after on validation, and the difference on the same events, with 68.3 % intervals.

    Thresholds are of the validation sample too: its signal moves them, its other events fluctuate above them.
    """
    sample, target = _signal_or_not(bench.validation), bench.objective.target
    options = Evaluate(working_points=[] if target is None else [target], robustness=None)
    fitted = {_AFTER: after} | ({} if before is None else {_BEFORE: before})
    scores = {
        name: signal_scores(bench.scores(each), 2, sample.signal, probability=True) for name, each in fitted.items()
    }
    samples = {"train": sample, "test": sample}
    results = {
        name: evaluate_model(name, "trial", {"train": s, "test": s}, samples, options) for name, s in scores.items()
    }
    if target is not None and (reason := next((r for m in results.values() for r in m.unset.values()), "")):
        raise DataError(f"the gain cannot be measured: {reason}")
    told = {name: _told(result, target) for name, result in results.items()}
    if before is None:
        return UNDEFINED, told[_AFTER], UNDEFINED
    ordered = {name: scores[name] for name in (_BEFORE, _AFTER)}
    (pair,) = compare_models(ordered, sample, ordered, sample, results)
    if target is None:
        return told[_BEFORE], told[_AFTER], pair.delta_auc
    return told[_BEFORE], told[_AFTER], pair.working_points[0].delta_misid


def _signal_or_not(sample: Sample) -> Sample:
    """The sample with all other classes as one."""
    classes = ("rest", sample.classes[sample.signal])
    return replace(sample, y=sample.is_signal.astype(np.int64), classes=classes, signal=1, spectators={})


def _told(result: ModelResult, target: float | None) -> Measured:
    return result.samples["test"].auc if target is None else result.working_points[0].misid["rest"]


def _write(order: TuningRequest, loaded: LoadedConfig, found: Tuning) -> None:
    """The configuration with the best parameters, checked by loading it.

    Raises:
        OutputError: it cannot be written, or does not say what it should.
    """
    values: dict[KeyPath, Any] = {("models", found.model, *_key(name)): v for name, v in found.parameters.items()}
    target = order.target
    if target.resolve().parent != loaded.folder:
        values |= _absolute_paths(loaded)
    try:
        text = edited(order.config.read_text(encoding="utf-8"), values)
        text = f"{_FIRST_LINE}: {_summary(found)}\n{text}"
        _check_text(text, values)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
        load_config(target)
    except (UsageError, ConfigError) as error:
        said = ", ".join(f"{name}: {flow(value)}" for name, value in found.parameters.items())
        raise OutputError(f"{target}: cannot be written ({error}); the best parameters are {said}") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def _key(name: str) -> KeyPath:
    outer, dot, inner = name.partition(".")
    return (outer, inner) if dot else (outer,)


def _check_text(text: str, values: dict[KeyPath, Any]) -> None:
    content = yaml_value(text)
    for path, value in values.items():
        found = content
        for part in path:
            found = found[part]
        if found != value:
            raise UsageError(f"{path[-1]} would become {found!r} and not {value!r}")


def _absolute_paths(loaded: LoadedConfig) -> dict[KeyPath, Any]:
    """The files of a configuration that moves to another folder."""
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
    n = len(found.ranked)
    return (
        f"{found.model}, the best by {found.objective} on validation of {n} trials.\n"
        f"# It was {found.before} and is {found.after} there.\n"
        "# The best of many flatters itself: quote what `pidlab run` finds on test."
    )
