"""Run: an analysis and the folder that it leaves behind, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pidlab.config.load import LoadedConfig
from pidlab.evaluate.results import AnyResults
from pidlab.models.mlp.process import networks_apart
from pidlab.models.registry import Resources, networks_train_apart
from pidlab.pipeline.prepare import cluster_of, prepare
from pidlab.plots.worker import FigureWorker, check_figures, figure_worker
from pidlab.progress import Watcher
from pidlab.runs.whole import whole_folder

if TYPE_CHECKING:
    from pidlab.pipeline.analysis import Analysis
    from pidlab.plots.gallery import Figures


def run(
    loaded: LoadedConfig,
    output: Path,
    resources: Resources,
    watcher: Watcher,
    *,
    figures: Figures = "all",
    tensorboard: bool = False,
    found: Callable[[AnyResults], None] = lambda results: None,
) -> AnyResults:
    """Runs a configuration and leaves its results, models, figures and friend trees in the folder `output`.

    Args:
        loaded: the configuration.
        output: the folder; a run that is there is replaced.
        resources: what training may use.
        watcher: is told of the progress.
        figures: which figures are drawn, see `pidlab.plots.gallery.Figures`.
        tensorboard: whether the histories of the trainings are written as event files of TensorBoard, too.
        found: is called with the results before anything is drawn or written.

    Raises:
        PidlabError: the run cannot be made; `output` is then as it was before.
    """
    started = time.time()
    check_figures(figures)
    if tensorboard:
        from pidlab.runs.tensorboard import check_installed

        check_installed()
    apart = not resources.dask and networks_train_apart(
        (spec.kind for spec in loaded.config.models.values()), resources.device
    )
    with (
        whole_folder(output, watcher.note) as folder,
        cluster_of(resources) as cluster,
        networks_apart(apart=apart),  # torch is imported while events are read
    ):
        prepared = prepare(loaded, resources, watcher, cluster=cluster)
        with worker_for(loaded, resources.n_jobs, figures) as worker:
            # Imported when the configuration and its inputs are known to be good, so that a mistake is said at once.
            from pidlab.pipeline.analysis import analysed
            from pidlab.runs.record import manifest_of

            done = analysed(prepared, resources)
            del prepared  # its features are not needed any more
            found(done.results)
            manifest = manifest_of(loaded, done.read, resources, started)
            write_run(done, folder, manifest, watcher, figures, worker, tensorboard=tensorboard)
    return done.results


def save_run(
    done: Analysis,
    output: Path,
    manifest: Mapping[str, Any],
    watcher: Watcher,
    *,
    figures: Figures = "all",
    tensorboard: bool = False,
) -> None:
    """Writes an analysis that was made before into the folder `output`, as `run` does.

    Raises:
        PidlabError: the run cannot be written; `output` is then as it was before.
    """
    check_figures(figures)
    if tensorboard:
        from pidlab.runs.tensorboard import check_installed

        check_installed()
    # A few figures are drawn before a worker has started.
    helper = worker_for(done.recipe.loaded, None, figures) if figures == "all" else nullcontext()
    with whole_folder(output, watcher.note) as folder, helper as worker:
        if done.recipe.loaded.arrays is not None:
            done, manifest = _with_file(done, folder, output, manifest)
        write_run(done, folder, manifest, watcher, figures, worker, tensorboard=tensorboard)


def _with_file(
    done: Analysis, folder: Path, output: Path, manifest: Mapping[str, Any]
) -> tuple[Analysis, dict[str, Any]]:
    """Writes the arrays of a comparison as a ROOT file, and returns the analysis and its manifest as made of this file.

    Args:
        done: the analysis, whose one input is in memory.
        folder: where the run is being written.
        output: where the run will be.
        manifest: the manifest of the analysis.
    """
    from pidlab.rootio.files import write_tree

    loaded = done.recipe.loaded
    assert loaded.arrays is not None
    (source,) = (each.source for each in done.inputs)
    write_tree(folder / Path(source.path).name, source.tree, loaded.arrays)
    target = str(output.resolve() / Path(source.path).name)
    inputs = tuple(replace(each, source=replace(each.source, path=target)) for each in done.inputs)
    recipe = replace(done.recipe, loaded=replace(loaded, folder=output.resolve()))
    own, others = manifest["inputs"][: len(inputs)], manifest["inputs"][len(inputs) :]
    listed = [*({**each, "file": target} for each in own), *others]
    read = (*inputs, *done.read[len(inputs) :])
    return replace(done, recipe=recipe, inputs=inputs, read=read), {**manifest, "inputs": listed}


def write_run(
    done: Analysis,
    folder: Path,
    manifest: Mapping[str, Any],
    watcher: Watcher,
    figures: Figures,
    worker: FigureWorker | None,
    *,
    tensorboard: bool = False,
) -> None:
    """Writes everything of a run into a new folder."""
    from pidlab.apply import write_run_friends
    from pidlab.runs.bundle import save_bundle
    from pidlab.runs.record import seal, write_record
    from pidlab.runs.scored_events import write_events

    reweighter = None if done.reweighted is None else done.reweighted.reweighter
    bundle = save_bundle(folder, done.recipe, done.models, done.results.models, reweighter)
    write_events(folder, done.scored)
    if tensorboard:
        from pidlab.runs.tensorboard import write_histories

        write_histories(folder, done.models)
    with watcher.task("figures and report", 0):
        write_record(folder, done.results, bundle, manifest, worker, figures=figures)
    watcher.stage("apply")
    write_run_friends(bundle, done.inputs, done.scored, done.scores, done.outputs, folder / "friends", watcher)
    seal(folder, manifest)


def worker_for(
    loaded: LoadedConfig, n_jobs: int | None, figures: Figures
) -> AbstractContextManager[FigureWorker | None]:
    """Gives the process that draws figures, or helps to, for the length of a block; None if it would not save time."""
    return figure_worker(loaded.config, n_jobs or len(os.sched_getaffinity(0)), figures)
