"""Analysis: load → preprocess → train → evaluate in memory, of which nothing is written."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pidlab.config.load import LoadedConfig
from pidlab.config.names import axes_of
from pidlab.config.polygons import polygons_of
from pidlab.config.schema import CutsModel, Robustness
from pidlab.evaluate.compare import compare_models
from pidlab.evaluate.decisions import evaluate_decisions, one_by_one
from pidlab.evaluate.detectors import compare_detectors
from pidlab.evaluate.histograms import correlations, input_histograms
from pidlab.evaluate.importance import measure_importance
from pidlab.evaluate.model import evaluate_model
from pidlab.evaluate.pairs import feature_pairs
from pidlab.evaluate.points.identified import identified
from pidlab.evaluate.points.merit import Merit
from pidlab.evaluate.polygons import polygon_results
from pidlab.evaluate.results import (
    AnyResults,
    DetectorTable,
    Exploration,
    Importance,
    ModelResult,
    Results,
    RobustnessResult,
    Scoring,
    WorkingPoint,
)
from pidlab.evaluate.robustness import measure_robustness, reduced
from pidlab.expressions import Polygon
from pidlab.models.base import Progress
from pidlab.models.explain import N_EXPLAINED, Explanation, explained, first_trees, scaled_inputs, scorer
from pidlab.models.fold import Scores
from pidlab.models.inputs import abundances_of
from pidlab.models.matrix import LARGEST_TABLE
from pidlab.models.mlp.process import NetworkProcess, network_process, networks_here, while_waiting
from pidlab.models.model import Model
from pidlab.models.registry import MODEL_TYPES, Resources
from pidlab.models.threads import free_cores
from pidlab.models.training import calibrated, fit_model
from pidlab.pipeline.bands import with_bands
from pidlab.pipeline.prepare import Prepared, cluster_of, prepare
from pidlab.preprocess.events import Events, Input
from pidlab.preprocess.recipe import Recipe
from pidlab.progress import Watcher
from pidlab.runs.scored_events import ScoredEvents
from pidlab.sample import Sample
from pidlab.split import Parts

if TYPE_CHECKING:  # which only a run that reweights, or one on a cluster, needs
    from pidlab.apply.cluster import Cluster
    from pidlab.datadriven.reweighting.step import Reweighted

_BETWEEN_REPORTS = 0.1  # seconds
_FLOAT32 = 4  # bytes
_N_TIMED = 50_000  # candidates, which take a model some hundredths of a second


@dataclass(frozen=True, slots=True)
class Analysis:
    """A run before it is written: what was read, trained and measured.

    Attributes:
        recipe: with features that float32 cannot tell apart as differences.
        scored: the n candidates without their features, which take most of the memory.
        scores: model to the (n, k) scores of all candidates; with folds by the model that did not see them.
        outputs: model to the (n, m) further numbers of all candidates, in the same way; m may be 0.
        inputs: those that hold the candidates.
        read: everything that was read; besides `inputs` the files to which classes were made alike.
        reweighted: the weights that make classes alike; None without.
    """

    recipe: Recipe
    inputs: tuple[Input, ...]
    models: Mapping[str, Model]
    scored: ScoredEvents
    scores: Mapping[str, Scores]
    outputs: Mapping[str, NDArray[np.float32]]
    results: AnyResults
    read: tuple[Input, ...]
    reweighted: Reweighted | None


def analyse(loaded: LoadedConfig, resources: Resources, watcher: Watcher) -> Analysis:
    """Loads, preprocesses, trains and evaluates, and writes nothing.

    Raises:
        PidlabError: the run cannot be made.
    """
    with cluster_of(resources) as cluster:
        return analysed(prepare(loaded, resources, watcher, cluster=cluster), resources)


def analysed(prepared: Prepared, resources: Resources) -> Analysis:
    """Trains and evaluates the models on events that were prepared.

    Raises:
        PidlabError: a model cannot be trained or evaluated.
    """
    recipe, events, parts, notes = prepared.recipe, prepared.events, prepared.parts, prepared.notes
    notes.stage("train")
    if prepared.cluster is not None:
        from pidlab.pipeline.distributed.training import train as train_on

        models = train_on(recipe, events.sample, parts, resources, notes, prepared.cluster)
    else:
        models = train(recipe, prepared.training, parts, resources, notes, events.store.release)
    return evaluated(prepared, models)


def evaluated(prepared: Prepared, models: Mapping[str, Model]) -> Analysis:
    """Scores the events that were prepared with trained models, and measures the models.

    Raises:
        PidlabError: a model cannot be evaluated.
    """
    recipe, events, parts, notes = prepared.recipe, prepared.events, prepared.parts, prepared.notes
    notes.stage("evaluate")
    scores = score(events.sample, parts, models)
    events.store.release()  # the features, of which the evaluation reads a few columns at a time
    made = prepared.reweighted
    reweighting = made.result if made is not None else None
    if recipe.target is None:
        found = evaluate(recipe, events, parts, models, scores, notes, prepared.cluster)
        if made is not None:
            found = replace(found, models=_with_weight_errors(found.models, prepared, scores))
        results: AnyResults = replace(found, notes=tuple(notes.sentences), reweighting=reweighting)
    else:
        from pidlab.pipeline.regression import evaluate_regression

        with notes.task("evaluating", 0):
            test = events.sample.take(parts.quoted()["test"])
            scorings = {name: timed(model, test) for name, model in models.items()}
            predicted = evaluate_regression(recipe, events, parts, models, scores, scorings)
        results = replace(predicted, notes=tuple(notes.sentences), reweighting=reweighting)
    outputs = {name: model.outputs(events.sample) for name, model in models.items()}
    widths = {} if recipe.target is None else widths_on_test(models, outputs, parts)
    scored = scored_events(recipe, events.sample, parts, scores, widths)
    return Analysis(
        recipe,
        events.inputs,
        models,
        scored,
        scores_of_all(scores, parts),
        outputs,
        results,
        read=prepared.inputs,
        reweighted=made,
    )


def _with_weight_errors(
    models: Mapping[str, ModelResult], prepared: Prepared, scores: Mapping[str, Mapping[str, Scores]]
) -> dict[str, ModelResult]:
    """Returns what was measured, with the statistical error of the weights that evaluation used in its intervals."""
    from pidlab.evaluate.points.weight_errors import with_weight_errors

    options, rows = prepared.recipe.loaded.config.evaluate, prepared.parts.quoted()["test"]
    test, abundance = prepared.events.sample.take(rows), options.abundance or options.expected
    return {name: with_weight_errors(model, scores[name]["test"], test, abundance) for name, model in models.items()}


class TrainingSamples(Sequence[tuple[Sample, Sample]]):
    """The training and the validation sample, one pair or one pair a fold; each pair is made when it is asked for.

    Without folds these are views. With folds they are copies, of which only those in use take memory.
    """

    def __init__(self, sample: Sample, parts: Parts) -> None:
        self._sample, self._rows = sample, list(parts.training())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        train, validation = self._rows[index]
        return self._sample.take(train), self._sample.take(validation)


def train(
    recipe: Recipe,
    sample: Sample,
    parts: Parts,
    resources: Resources,
    watcher: Watcher,
    release: Callable[[], None] = lambda: None,
) -> dict[str, Model]:
    """Trains every model of the configuration, once or once a fold, and calibrates it.

    If a process for networks was started, networks train there at the same time as the others train here, unless the
    sample is so large that memory is what counts. `release` is called after each model.
    """
    specs, validation = recipe.loaded.config.models, sample.take(parts.quoted()["validation"])
    if math.prod(sample.x.shape) * _FLOAT32 > LARGEST_TABLE:
        networks_here()
    samples, networks = TrainingSamples(sample, parts), network_process()

    def trained(name: str, progress: Progress) -> Model:
        return calibrated(fit_model(name, specs[name], recipe, samples, resources, progress), validation)

    models: dict[str, Model] = {}
    begun: dict[str, _Begun] = {}
    with ThreadPoolExecutor(len(specs)) as pool:
        try:
            for name, spec in specs.items():
                if networks is not None and MODEL_TYPES[spec.kind].apart:
                    begun[name] = _Begun(pool, partial(trained, name), networks)
            for name in specs:
                with watcher.task(f"training {name}", 0) as task:
                    models[name] = begun[name].result(task.reach) if name in begun else trained(name, task.reach)
                release()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            if networks is not None:
                networks.stop()  # for which the threads wait
            raise
    networks_here()  # what is left to do needs the memory of the other process more
    return models


class _Begun:
    """The training of a network by another process: a thread prepares it, waits for the process, and ends it.

    The thread computes only while the one that made it waits: until the process is asked, and again when the result is
    wanted. Two threads that train would share the number of threads of BLAS, which decides the last bits of products.
    """

    def __init__(self, pool: ThreadPoolExecutor, work: Callable[[Progress], Model], process: NetworkProcess) -> None:
        self._process, self._told = process, list[tuple[int, int, Mapping[str, float]]]()
        self._is_asked, self._is_wanted = threading.Event(), threading.Event()
        self._future = pool.submit(self._do, work)
        self._future.add_done_callback(lambda _: self._is_asked.set())
        self._is_asked.wait()

    def _do(self, work: Callable[[Progress], Model]) -> Model:
        with while_waiting(self._waiting):
            return work(lambda done, total, numbers: self._told.append((done, total, numbers)))

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._is_asked.set()
        try:
            yield
        finally:
            while not (self._is_wanted.wait(_BETWEEN_REPORTS) or self._process.stopped):
                pass

    def result(self, progress: Progress) -> Model:
        """Returns the model when it is trained, and passes on what was and is told until then."""
        self._is_wanted.set()
        n, is_done = 0, False
        while not is_done:
            is_done = bool(wait([self._future], _BETWEEN_REPORTS).done)
            for state in self._told[n:]:
                progress(*state)
                n += 1
        return self._future.result()


def score(sample: Sample, parts: Parts, models: Mapping[str, Model]) -> dict[str, dict[str, Scores]]:
    """Returns, by model and then by sample, the (n, k) scores of its candidates.

    With folds, a candidate has scores by the model that did not see it in "test", and by one that saw it elsewhere.
    """
    result: dict[str, dict[str, Scores]] = {}
    for name, model in models.items():
        if parts.fold is None:
            scores = model.scores(sample)
            result[name] = {part: scores[rows] for part, rows in parts.quoted().items()}  # views
        else:
            seen = model.scores(sample, fold_offset=1)
            result[name] = {part: seen[rows] for part, rows in parts.quoted().items() if part != "test"}
            result[name]["test"] = model.scores(sample)
    return result


def scores_of_all(scores: Mapping[str, Mapping[str, Scores]], parts: Parts) -> dict[str, Scores]:
    """Returns the (n, k) scores of all n candidates by model, from those that `score` gave of each sample."""
    if parts.fold is not None:
        return {name: by_part["test"] for name, by_part in scores.items()}
    return {name: _whole([by_part[part] for part in parts.quoted()]) for name, by_part in scores.items()}


def _whole(parts: Sequence[Scores]) -> Scores:
    """Returns the array of which the parts are views, one after another; a copy if they are not."""
    whole = parts[0].base
    n = sum(map(len, parts))
    if whole is not None and whole.shape == (n, *parts[0].shape[1:]) and all(part.base is whole for part in parts):
        return whole
    return np.concatenate(parts)


def evaluate(
    recipe: Recipe,
    events: Events,
    parts: Parts,
    models: Mapping[str, Model],
    scores: Mapping[str, Mapping[str, Scores]],
    watcher: Watcher,
    cluster: Cluster | None = None,
) -> Results:
    """Measures every model on every sample, from the scores that `score` gave.

    Robustness and importance are measured on the workers of a `cluster`, if one is given.
    """
    config = recipe.loaded.config
    samples = {name: events.sample.take(rows) for name, rows in parts.quoted().items()}
    # Of the drawn events of a first look the sums of weights would be too small: the cut flow has those of all.
    in_all = sums_of_weights(samples, overlapping=config.folds is not None)
    expected = config.evaluate.expected or (in_all if config.events is None else events.cutflow[-1].weighted)
    results: dict[str, ModelResult] = {}
    robustness: dict[str, RobustnessResult] = {}
    explanations: dict[str, Explanation[Importance]] = {}
    with watcher.task("evaluating", len(models) * 3 + 1) as task:
        with ThreadPoolExecutor(free_cores()) as pool:  # numpy lets other threads work while it sorts and sums
            answers = [pool.submit(measured, model, scores[name], samples, expected) for name, model in models.items()]
            for (name, model), answer in zip(models.items(), answers, strict=True):
                results[name] = with_bands(with_cut_strings(answer.result(), model), model, samples["test"])
                task.advance()
        for name, model in models.items():  # when no other thread takes a core
            results[name] = replace(results[name], scoring=timed(model, samples["test"]))
        decides = parts.threshold_sample
        on_test, on_decides = ({name: each[part] for name, each in scores.items()} for part in ("test", decides))
        comparisons = compare_models(on_test, samples["test"], on_decides, samples[decides], results)
        task.advance()
        detectors = {name: detector_table(models[name], samples, decides) for name in models}
        some = reduced(samples["test"], config.seed).here()
        if config.evaluate.robustness is not None:
            widths, changes = signal_widths(samples["train"]), config.evaluate.robustness
            events.store.release()
            asked = [(model, results[name], some, widths, changes, config.seed) for name, model in models.items()]
            for name, answer in zip(models, each_answer(_robustness, asked, cluster), strict=True):
                robustness[name] = answer
                task.advance()
        if config.evaluate.importance:
            few = reduced(samples["test"], config.seed, N_EXPLAINED).here()
            asked_too = [(model, results[name], some, few, config.seed) for name, model in models.items()]
            for name, explanation in zip(models, each_answer(_explained, asked_too, cluster), strict=True):
                explanations[name] = explanation
                task.advance()
    events.store.release()  # each of the next three reads all features of the test sample
    correlation = correlations(samples["test"])
    trees = {name: first_trees(model) for name, model in models.items()}
    exploration = Exploration(
        pairs=feature_pairs(samples["test"], correlation),
        scaled=scaled_inputs(models.values(), samples["test"]),
        explained={n: each.contributions for n, each in explanations.items() if each.contributions is not None},
        trees={name: found for name, found in trees.items() if found},
        dependence={name: each.dependence for name, each in explanations.items()},
    )
    events.store.release()
    inputs = input_histograms(samples["test"])
    together = identified(samples["test"], decided(results, on_test, samples["test"]), inputs)
    events.store.release()
    return Results(
        signal=recipe.classes[recipe.signal],
        classes=recipe.classes,
        features=events.sample.features,
        n={part: {c: int((s.y == i).sum()) for i, c in enumerate(recipe.classes)} for part, s in samples.items()},
        cutflow=events.cutflow,
        models=results,
        comparisons=comparisons,
        robustness=robustness,
        inputs=inputs,
        correlation=correlation,
        exploration=exploration,
        labels=config.axis_labels,
        reference=config.style.reference or "",
        importance={name: each.importance for name, each in explanations.items()},
        polygons=polygon_results(samples["test"], _polygons(recipe), dict(config.data.aliases)),
        detectors={name: table for name, table in detectors.items() if table is not None},
        identified=together,
    )


def decided(
    results: Mapping[str, ModelResult], scores: Mapping[str, Scores], sample: Sample
) -> dict[str, list[tuple[WorkingPoint, Scores]]]:
    """Returns by model its working points, each with the score (n,) that it decides, from the scores of a sample."""
    return {
        name: [
            (point, column)
            for model, column, _ in one_by_one(result, scores[name], None, sample)
            for point in model.working_points
        ]
        for name, result in results.items()
    }


def each_answer(work: Callable[..., Any], asked: Iterable[Sequence[Any]], cluster: Cluster | None) -> Iterator[Any]:
    """Yields what `work` says of each of some arguments, in their order: here, or of all at once on workers."""
    if cluster is None:
        yield from (work(*arguments) for arguments in asked)
        return
    futures = [cluster.submit(work, *arguments) for arguments in asked]
    for future in futures:
        yield from cluster.results([future])


def _robustness(
    model: Model, result: ModelResult, sample: Sample, widths: NDArray[np.float64], changes: Robustness, seed: int
) -> RobustnessResult:
    return measure_robustness(scorer(model), sample, result, widths, changes, seed=seed)


def _explained(model: Model, result: ModelResult, sample: Sample, few: Sample, seed: int) -> Explanation[Importance]:
    return explained(model, sample, partial(measure_importance, result=result), seed=seed, few=few)


def _polygons(recipe: Recipe) -> list[Polygon]:
    """Returns the polygons that expressions ask, on the axes on which they are asked, and the others of `polygons`."""
    asked = [each.polygon for each in recipe.polygons]
    names = {polygon.name for polygon in asked}
    return asked + [p for name, p in polygons_of(recipe.loaded.config).items() if name not in names]


def measured(
    model: Model, scores: Mapping[str, Scores], samples: Mapping[str, Sample], expected: Mapping[str, float]
) -> ModelResult:
    """Measures one model on each sample; `expected` are the candidates of each class, for figures of merit."""
    config = model.recipe.loaded.config
    about: dict[str, Any] = {"training": model.training, "seed": config.seed}
    if model.per_point_cuts:
        return evaluate_decisions(
            model.name, model.kind, scores, samples, config.evaluate, model.per_point_cuts, **about
        )
    spec = config.models[model.name]
    merit = None
    if isinstance(spec, CutsModel) and spec.figure_of_merit is not None:
        merit = Merit(spec.figure_of_merit, expected, config.evaluate.punzi)
    abundances = abundances_of(spec, config)
    about |= {"fixed_cut": model.fixed_cut, "merit": merit, "balanced": abundances == "equal"}
    about["abundances"] = None if isinstance(abundances, str) else abundances
    about |= {"probability": model.probability, "ranks_only": model.ranks_only, "notes": model.notes}
    about["fixed_points"] = model.fixed_points
    about["calibration"] = model.calibration.method if model.calibration else "none"
    return evaluate_model(model.name, model.kind, scores, samples, config.evaluate, **about)


def detector_table(model: Model, samples: Mapping[str, Sample], decides: str) -> DetectorTable | None:
    """Returns what each detector of a likelihood contributes; None for other models, and with a single detector.

    Thresholds are set on the sample `decides`, and a candidate is scored as `score` does it.
    """
    names, targets = model.detector_names, model.recipe.loaded.config.evaluate.working_points
    if len(names) < 2 or not targets:
        return None

    def scores(used: tuple[str, ...]) -> tuple[Scores, Scores]:
        return model.detector_scores(samples["test"], used), model.detector_scores(samples[decides], used, 1)

    return compare_detectors(names, scores, samples["test"], samples[decides], targets[0])


def sums_of_weights(samples: Mapping[str, Sample], *, overlapping: bool) -> dict[str, float]:
    """Class to the sum of weights of all events; if the samples are `overlapping`, "test" holds all of them."""
    all_events = [samples["test"]] if overlapping else list(samples.values())
    classes = samples["test"].classes
    return {c: sum(float(s.weight[s.y == i].sum()) for s in all_events) for i, c in enumerate(classes)}


def widths_on_test(
    models: Mapping[str, Model], outputs: Mapping[str, NDArray[np.float32]], parts: Parts
) -> dict[str, NDArray[np.float32]]:
    """Returns the widths (n_test,) that models of a regression predict, from their outputs for all candidates."""
    from pidlab.pipeline.regression import SIGMA

    test = parts.quoted()["test"]
    columns = {name: model.output_names.index(SIGMA) for name, model in models.items() if SIGMA in model.output_names}
    return {name: outputs[name][test, column] for name, column in columns.items()}


def scored_events(
    recipe: Recipe,
    sample: Sample,
    parts: Parts,
    scores: Mapping[str, Mapping[str, Scores]],
    widths: Mapping[str, NDArray[np.float32]],
) -> ScoredEvents:
    """Returns the candidates as a run keeps them: without features, with the spectators of flat points and weights."""
    config = recipe.loaded.config
    followed = {axis for asked in config.evaluate.flat for axis in axes_of(asked)}
    followed |= set(config.reweight.match if config.reweight is not None else ())
    decides = parts.quoted()[parts.threshold_sample]
    kept = replace(
        sample,
        x=np.empty((len(sample), 0), np.float32),
        features=(),
        columns={},
        axes={},
        spectators={name: sample.spectators[name] for name in sample.spectators if name in followed},
    )
    return ScoredEvents(
        kept,
        parts.part,
        np.arange(decides.start, decides.stop),
        {name: by_part["test"] for name, by_part in scores.items()},
        {name: by_part[parts.threshold_sample] for name, by_part in scores.items()},
        widths,
    )


def timed(model: Model, sample: Sample) -> Scoring:
    """Measures the time to score up to 50,000 candidates once more, after everything has been compiled and loaded."""
    some = sample.take(slice(0, _N_TIMED)).here()
    start = time.perf_counter()
    model.scores(some)
    return Scoring(len(some), time.perf_counter() - start)


def with_cut_strings(result: ModelResult, model: Model) -> ModelResult:
    """Returns the result with the ROOT cut string of each working point; that of the first is also the model's own."""
    points = tuple(
        p if p.flat else replace(p, cut_string=model.cut_string(p.threshold, i))
        for i, p in enumerate(result.working_points)
    )
    first = points[0].cut_string if points else model.cut_string(0.5)
    return replace(result, working_points=points, cut_string=first)


def signal_widths(sample: Sample) -> NDArray[np.float64]:
    """Returns (d,) half the central 68.3 % range of each feature in the signal, a width that ignores outliers."""
    rows = np.flatnonzero(sample.is_signal & (sample.weight != 0))
    widths = np.zeros(sample.x.shape[1])
    for j in range(len(widths)):
        values = sample.x[rows, j]
        values = values[~np.isnan(values)].astype(np.float64)
        if len(values):
            low, high = np.quantile(values, [0.1587, 0.8413])
            widths[j] = (high - low) / 2
    return widths
