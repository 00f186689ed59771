"""Pipeline: one run, load → preprocess → train → evaluate, left behind whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.apply import apply, parts_of
from pidlab.config.load import LoadedConfig
from pidlab.config.names import axes_of
from pidlab.config.schema import CutsModel
from pidlab.credentials import without_secrets
from pidlab.errors import DataError
from pidlab.evaluate import (
    compare_models,
    correlations,
    evaluate_decisions,
    evaluate_model,
    input_histograms,
    measure_robustness,
)
from pidlab.evaluate.points.merit import Merit
from pidlab.evaluate.results.quality import Importance
from pidlab.evaluate.results.run import ModelResult, Results, Robustness, Scoring
from pidlab.models.explain import explained
from pidlab.models.model import Model, Scores
from pidlab.models.registry import Resources, check_models
from pidlab.models.training import calibrated, fit_model
from pidlab.plots.worker import second
from pidlab.preprocess.cautions import copies_across, equal_inputs, heavy_events, telling_features
from pidlab.preprocess.events import Events, Input, input_names, load
from pidlab.preprocess.features import expression_values_changed
from pidlab.preprocess.recipe import Recipe, compile_recipe
from pidlab.progress import Watcher
from pidlab.read.inspection import find_codes, shortest
from pidlab.runs.bundle import save_bundle
from pidlab.runs.record import manifest_of, seal, write_record
from pidlab.runs.scored_events import ScoredEvents, write_events
from pidlab.runs.whole import whole_folder
from pidlab.sample import IntArray, Sample
from pidlab.split import Part, fold_of, is_validation, split

_N_LOOKED_AT = 100_000
_N_TIMED = 50_000


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of a sample by what they are for.

    Attributes:
        part: (n,) the `Part` of each row; with folds every row is a test row.
        fold: (n,) the fold whose model must not see the row; None without folds.
        watched: (n,) true for rows that validate, in whatever is not test.
    """

    part: NDArray[np.int8]
    fold: NDArray[np.int8] | None
    watched: NDArray[np.bool_]

    def training(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Rows to train on and rows to watch, once or once a fold."""
        if self.fold is None:
            yield np.flatnonzero(self.part == Part.TRAIN), np.flatnonzero(self.part == Part.VALIDATION)
            return
        for fold in range(int(self.fold.max()) + 1):
            seen = self.fold != fold
            yield np.flatnonzero(seen & ~self.watched), np.flatnonzero(seen & self.watched)

    def quoted(self) -> dict[str, IntArray]:
        """Sample name to the rows that it is made of."""
        if self.fold is None:
            return {p.name.lower(): np.flatnonzero(self.part == p) for p in (Part.TRAIN, Part.VALIDATION, Part.TEST)}
        rows = {"train": np.flatnonzero(~self.watched), "validation": np.flatnonzero(self.watched)}
        return {**rows, "test": np.arange(len(self.part))}

    @property
    def aside(self) -> str:
        """The sample that decides thresholds: "validation", or "train" without it."""
        return "validation" if len(self.quoted()["validation"]) else "train"


def run(loaded: LoadedConfig, output: Path, resources: Resources, watcher: Watcher) -> Results:
    """Run a configuration and leave behind, at `output`, everything that DESIGN calls a run.

    Raises:
        PidlabError: whatever is wrong, in a sentence; `output` is then as it was before.
    """
    started = time.time()
    n_processes = resources.n_jobs or len(os.sched_getaffinity(0))
    with whole_folder(output, watcher.note) as folder, second(loaded.config, n_processes) as beside:
        done = analyse(loaded, resources, watcher)
        bundle = save_bundle(folder, done.recipe, done.models, done.results.models)
        write_events(folder, done.scored)
        manifest = manifest_of(loaded, done.inputs, resources, started)
        with watcher.task("figures and report", 0):
            write_record(folder, done.results, bundle, manifest, beside)
        watcher.stage("apply")
        sources = [i.source for i in done.inputs]
        sample = done.scored.sample
        n_rows = [i.n_rows for i in done.inputs]
        known = parts_of(sources, n_rows, sample.file, sample.row, done.scored.part, sample.event)
        apply(bundle, sources, folder / "friends", watcher, known)
        seal(folder, manifest)
    return done.results


@dataclass(frozen=True, slots=True)
class Analysis:
    """A run before it is written: what was read, trained and measured."""

    recipe: Recipe
    inputs: tuple[Input, ...]
    models: Mapping[str, Model]
    scored: ScoredEvents
    results: Results


def analyse(loaded: LoadedConfig, resources: Resources, watcher: Watcher) -> Analysis:
    """Load, preprocess, train and evaluate, leaving nothing behind.

    Raises:
        PidlabError: whatever is wrong, in a sentence.
    """
    notes = _Notes(watcher)
    recipe = compile_recipe(loaded)
    check_models(loaded, resources.allow_import)
    notes.stage("load")
    events = load(recipe, notes)
    recipe = events.recipe
    notes.stage("preprocess")
    events, parts = preprocess(recipe, events, notes)
    notes.stage("train")
    models = train(recipe, events.sample, parts, resources, notes)
    notes.stage("evaluate")
    scores = score(events.sample, parts, models)
    results = evaluate(recipe, events, parts, models, scores, notes)
    results = replace(results, notes=tuple(notes.sentences))
    followed = {axis for asked in recipe.loaded.config.evaluate.flat for axis in axes_of(asked)}
    kept = {name: values for name, values in events.sample.spectators.items() if name in followed}
    scored = scored_events(replace(events.sample, spectators=kept), parts, scores)
    return Analysis(recipe, events.inputs, models, scored, results)


class _Notes(Watcher):
    """Passes everything on and keeps the notes for the report."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.sentences: list[str] = []
        self.stage = watcher.stage  # type: ignore[method-assign]  # a pure pass-through
        self.task = watcher.task  # type: ignore[method-assign]  # a pure pass-through

    def note(self, sentence: str) -> None:
        sentence = without_secrets(sentence)
        self.sentences.append(sentence)
        self._watcher.note(sentence)


def preprocess(recipe: Recipe, events: Events, watcher: Watcher) -> tuple[Events, Parts]:
    """Check the features and decide what each row is for.

    Raises:
        DataError: a feature tells nothing, or a part has no events of a class.
    """
    sample, config = events.sample, recipe.loaded.config
    _check_features(sample, watcher)
    _check_events(recipe, sample)
    if not recipe.event_id:
        watcher.note("Events are identified by file and entry number, since data.event_id names no branches.")
    negative = sample.weight < 0
    if negative.any():
        share = np.abs(sample.weight[negative]).sum() / np.abs(sample.weight).sum()
        policy = f"training takes negative_weights: {config.negative_weights}, evaluation keeps the sign"
        watcher.note(
            f"{negative.mean():.1%} of the rows have negative weights ({share:.1%} of the sum of |w|); {policy}."
        )
    watched = is_validation(sample.event, config.split.validation, config.split.seed)
    if config.folds:
        fold = fold_of(sample.event, config.folds, config.split.seed)
        parts = Parts(np.full(len(sample), Part.TEST, np.int8), fold, watched)
    else:
        test = events.declared_test if events.declared_test is not None else config.split.test
        assert not isinstance(test, str)
        part = split(sample.event, test, config.split.validation, config.split.seed)
        parts = Parts(part, None, watched)
    _check_parts(sample, parts, wants_validation=config.split.validation > 0)
    for sentence in _cautions(events, parts):
        watcher.note(sentence)
    if config.split.validation == 0:
        watcher.note("There is no validation sample: thresholds come from the training sample.")
    return events, parts


def _check_features(sample: Sample, watcher: Watcher) -> None:
    for j, name in enumerate(sample.features):
        finite = sample.x[:, j][np.isfinite(sample.x[:, j])]
        if not len(finite):
            raise DataError(
                f"the feature {name!r} is missing (NaN) in all {len(sample):,} selected events; leave it out"
            )
        if finite.min() == finite.max() and len(finite) == len(sample):
            only = shortest(float(finite[0]))
            raise DataError(f"the feature {name!r} is {only} in all {len(sample):,} selected events; leave it out")
        for value, share in find_codes(finite[:_N_LOOKED_AT].astype(np.float64)):
            watcher.note(
                f"The feature {name!r} is {shortest(value)} in {share:.1%} of the events, far from all others; "
                f"if that means not measured, say `missing: [{shortest(value)}]`."
            )


def _cautions(events: Events, parts: Parts) -> Iterator[str]:
    """What makes numbers look better or surer than they are, in sentences."""
    sample, inputs = events.sample, events.inputs
    names = input_names([i.source for i in inputs])
    yield from equal_inputs(inputs, [names[i.source] for i in inputs])
    copies = copies_across(sample, parts.part if parts.fold is None else parts.fold)
    if copies is not None:
        yield copies
    yield from heavy_events(sample, parts.quoted())
    yield from telling_features(sample)


def _check_events(recipe: Recipe, sample: Sample) -> None:
    """See that `data.event_id` tells events apart.

    Raises:
        DataError: it is the same in all rows, so that all of them would fall on one side of the split.
    """
    if recipe.event_id and len(sample) > 1 and (sample.event == sample.event[0]).all():
        names = ", ".join(recipe.event_id)
        what = f"[{names}] is the same in all {len(sample):,} selected rows, which would all be of the same event"
        raise DataError(f"data.event_id: {what}; name branches that differ from event to event, or leave it out")


def _check_parts(sample: Sample, parts: Parts, wants_validation: bool) -> None:
    for train, validation in parts.training():
        needed = {"train": train, "validation": validation} if wants_validation else {"train": train}
        for name, rows in {**needed, "test": parts.quoted()["test"]}.items():
            counts = np.bincount(sample.y[rows], minlength=len(sample.classes))
            if not counts.all():
                empty = sample.classes[int(np.argmin(counts))]
                total = int((sample.y == sample.classes.index(empty)).sum())
                advice = "give more events or change split (share or seed)"
                raise DataError(f"no event of the class {empty!r} ({total:,} in all) is in the {name} sample; {advice}")


def train(recipe: Recipe, sample: Sample, parts: Parts, resources: Resources, watcher: Watcher) -> dict[str, Model]:
    """Train every model of the configuration."""
    models: dict[str, Model] = {}
    samples = [(sample.take(train), sample.take(validation)) for train, validation in parts.training()]
    for name, spec in recipe.loaded.config.models.items():
        with watcher.task(f"training {name}", 0) as task:

            def progress(done: int, total: int, numbers: Mapping[str, float], task: Any = task) -> None:
                task.reach(done, total, numbers)

            fitted = fit_model(name, spec, recipe, samples, resources, progress)
            models[name] = calibrated(fitted, sample.take(parts.quoted()["validation"]))
    return models


def score(sample: Sample, parts: Parts, models: Mapping[str, Model]) -> dict[str, dict[str, Scores]]:
    """Model, then sample name, to the (n, k) scores of its candidates."""
    samples = {name: sample.take(rows) for name, rows in parts.quoted().items()}
    return {
        name: {part: c.scores(s, fold_offset=int(part != "test")) for part, s in samples.items()}
        for name, c in models.items()
    }


def evaluate(
    recipe: Recipe,
    events: Events,
    parts: Parts,
    models: Mapping[str, Model],
    scores: Mapping[str, Mapping[str, Scores]],
    watcher: Watcher,
) -> Results:
    """Measure every model on every sample, from the scores that `score` gave."""
    config = recipe.loaded.config
    samples = {name: events.sample.take(rows) for name, rows in parts.quoted().items()}
    results: dict[str, ModelResult] = {}
    robustness: dict[str, Robustness] = {}
    importance: dict[str, Importance] = {}
    with watcher.task("evaluating", len(models) * 3 + 1) as task:
        for name, c in models.items():
            results[name] = measured(c, scores[name], samples)
            results[name] = replace(with_cut_string(results[name], c), scoring=timed(c, samples["test"]))
            task.advance()
        aside = parts.aside
        on_test, on_aside = ({n: s[part] for n, s in scores.items()} for part in ("test", aside))
        comparisons = compare_models(on_test, samples["test"], on_aside, samples[aside], results)
        task.advance()
        if config.evaluate.robustness is not None:
            spread = signal_spread(samples["train"])
            for name, c in models.items():
                robustness[name] = measure_robustness(
                    scorer(c),
                    samples["test"],
                    results[name],
                    spread,
                    config.evaluate.robustness,
                    seed=config.seed,
                )
                task.advance()
        if config.evaluate.importance:
            for name, c in models.items():
                importance[name] = explained(c, scorer(c), samples["test"], results[name], seed=config.seed)
                task.advance()
    return Results(
        signal=recipe.classes[recipe.signal],
        classes=recipe.classes,
        features=events.sample.features,
        n={part: {c: int((s.y == i).sum()) for i, c in enumerate(recipe.classes)} for part, s in samples.items()},
        cutflow=events.cutflow,
        models=results,
        comparisons=comparisons,
        robustness=robustness,
        inputs=input_histograms(samples["test"]),
        correlation=correlations(samples["test"]),
        labels=config.axis_labels,
        importance=importance,
    )


def measured(model: Model, scores: Mapping[str, Scores], samples: Mapping[str, Sample]) -> ModelResult:
    """What one model does on each sample."""
    config, c = model.recipe.loaded.config, model
    common: dict[str, Any] = {"training": c.training, "seed": config.seed}
    if c.per_point_cuts:
        return evaluate_decisions(c.name, c.kind, scores, samples, config.evaluate, c.per_point_cuts, **common)
    spec = config.models[c.name]
    merit = None
    if isinstance(spec, CutsModel) and spec.figure_of_merit is not None:
        expected = config.evaluate.expected or sums_of_weights(samples, apart=config.folds is None)
        merit = Merit(spec.figure_of_merit, expected, config.evaluate.punzi)
    common |= {"fixed_cut": c.fixed_cut, "merit": merit, "balanced": config.balance == "equal"}
    common |= {"probability": c.probability, "ranks_only": c.ranks_only, "notes": c.notes}
    common["calibration"] = c.calibration.method if c.calibration else "none"
    return evaluate_model(c.name, c.kind, scores, samples, config.evaluate, **common)


def sums_of_weights(samples: Mapping[str, Sample], *, apart: bool) -> dict[str, float]:
    """Class to the sum of weights of all events: of test, and of the other samples where they are `apart` from it."""
    parts = list(samples.values()) if apart else [samples["test"]]
    classes = samples["test"].classes
    return {c: sum(float(s.weight[s.y == i].sum()) for s in parts) for i, c in enumerate(classes)}


def scored_events(sample: Sample, parts: Parts, scores: Mapping[str, Mapping[str, Scores]]) -> ScoredEvents:
    """What the run keeps of its events."""
    return ScoredEvents(
        sample,
        parts.part,
        parts.quoted()[parts.aside],
        {name: by_part["test"] for name, by_part in scores.items()},
        {name: by_part[parts.aside] for name, by_part in scores.items()},
    )


def timed(model: Model, sample: Sample) -> Scoring:
    """How fast the model scores candidates that it has scored before: nothing is compiled or loaded in that time."""
    some = sample.take(np.arange(min(len(sample), _N_TIMED)))
    start = time.perf_counter()
    model.scores(some)
    return Scoring(len(some), time.perf_counter() - start)


def with_cut_string(result: ModelResult, model: Model) -> ModelResult:
    """The result with each working point, and the first as a whole, as a ROOT cut string, for models that are cuts."""
    points = tuple(
        p if p.flat else replace(p, cut_string=model.cut_string(p.threshold, i))
        for i, p in enumerate(result.working_points)
    )
    first = points[0].cut_string if points else model.cut_string(0.5)
    return replace(result, working_points=points, cut_string=first)


def signal_spread(sample: Sample) -> NDArray[np.float64]:
    """(d,) half the central 68.3 % range of each feature in the signal: its standard deviation without the outliers."""
    x = sample.x[sample.is_signal & (sample.weight != 0)]
    spread = np.zeros(x.shape[1])
    for j in range(x.shape[1]):
        values = x[:, j][~np.isnan(x[:, j])].astype(np.float64)
        if len(values):
            low, high = np.quantile(values, [0.1587, 0.8413])
            spread[j] = (high - low) / 2
    return spread


def scorer(model: Model) -> Any:
    """A function of a sample whose features were changed: given models see the change of plain branches."""

    def score(sample: Sample) -> Scores:
        if model.fitted:
            return model.scores(sample)
        columns = expression_values_changed(model.recipe, sample)
        return model.scores(replace(sample, columns=columns))

    return score
