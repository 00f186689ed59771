"""Again: a finished run evaluated with other settings, without training."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pidlab.config.load import load_config
from pidlab.errors import UsageError
from pidlab.evaluate.results import AnyResults, read_any_results
from pidlab.models.registry import Resources
from pidlab.pipeline.prepare import Prepared, cluster_of, prepare
from pidlab.pipeline.run import worker_for, write_run
from pidlab.progress import Watcher
from pidlab.runs.manifest import input_differences, read_manifest, refuse_other_folder, verify
from pidlab.runs.tensorboard import FOLDER
from pidlab.runs.whole import whole_folder

if TYPE_CHECKING:
    from pidlab.models.model import Model
    from pidlab.plots.gallery import Figures
    from pidlab.runs.bundle import Bundle

MAY_CHANGE = ("evaluate", "labels", "spectators", "style")
"""Sections of the configuration on which no training depends."""

_OF_TRAINING = (
    "pidlab",
    "python",
    "packages",
    "platform",
    "processor",
    "n_cores",
    "device",
    "git",
    "started",
    "seconds",
)
"""What a manifest says of the training, which is kept when the run is evaluated again."""


def evaluate_again(
    run: Path,
    output: Path | None,
    overrides: Sequence[str],
    resources: Resources,
    watcher: Watcher,
    *,
    figures: Figures = "all",
    found: Callable[[AnyResults], None] = lambda results: None,
) -> AnyResults:
    """Reads the inputs of a finished run again, scores them with its models, and leaves a whole run behind.

    The events are divided as in the run, and the models are as they were trained. Calibrations are kept, unless
    `evaluate.calibration` changes: then they are fitted on the validation sample.

    Args:
        run: the folder of the run.
        output: the folder to leave behind; None replaces the run.
        overrides: `KEY=VALUE` of the sections `MAY_CHANGE`.
        resources: memory, and number of threads and device for the manifest.
        watcher: is told of the progress.
        figures: which figures are drawn.
        found: is called with the results before anything is drawn or written.

    Raises:
        UsageError: `run` is not the folder of a run, or an override would change the training.
        PidlabError: the run cannot be evaluated; it, and what was in `output`, are as they were before.
    """
    started = time.time()
    refuse_other_folder(run, "config.yaml", "models", "results.json")
    for override in overrides:
        if override.partition("=")[0].partition(".")[0] not in MAY_CHANGE:
            command = shlex.join(["pidlab", "run", str(run / "config.yaml"), "--set", override, "-o", "FOLDER"])
            sections = f"{', '.join(MAY_CHANGE[:-1])} and {MAY_CHANGE[-1]}"
            raise UsageError(
                f"--set {override}: the models of {run} were trained without it, and only {sections} can change "
                f"without training; train again with `{command}`"
            )
    verify(run, "results.json")
    before, manifest = read_any_results(run / "results.json"), read_manifest(run)
    loaded = load_config(run / "config.yaml", overrides)
    with whole_folder(output or run, watcher.note) as folder, cluster_of(resources) as cluster:
        from pidlab.runs.bundle import load_bundle, saved_reweighter

        reweighter = saved_reweighter(run, loaded)
        prepared = prepare(loaded, resources, watcher, trained=True, reweighter=reweighter, cluster=cluster)
        from pidlab.pipeline.analysis import evaluated
        from pidlab.runs.record import manifest_of

        now = manifest_of(loaded, prepared.inputs, resources, started)
        for difference in _differences(manifest, now):
            prepared.notes.note(f"Not the events of the training: {difference}.")
        with worker_for(loaded, resources.n_jobs, figures) as worker:
            done = evaluated(prepared, _models(load_bundle(run), prepared, before))
            found(done.results)
            now = manifest_of(loaded, done.read, resources, started) | {
                "trained": manifest.get("trained", {key: manifest[key] for key in _OF_TRAINING if key in manifest})
            }
            if output is None:
                _keep_inputs(run, folder, prepared)
            if (run / FOLDER).is_dir():
                shutil.copytree(run / FOLDER, folder / FOLDER)  # the trainings are those of the run
            write_run(done, folder, now, watcher, figures, worker)
    return done.results


def _models(bundle: Bundle, prepared: Prepared, before: AnyResults) -> dict[str, Model]:
    """Returns the models of the run with what their training took, for the new settings."""
    from pidlab.models.training import calibrated

    method = prepared.recipe.loaded.config.evaluate.calibration
    is_calibrated = method == bundle.recipe.loaded.config.evaluate.calibration
    validation = prepared.training.take(prepared.parts.quoted()["validation"])
    models: dict[str, Model] = {}
    for name, model in bundle.models.items():
        training = before.models[name].training if name in before.models else None
        models[name] = replace(model, recipe=prepared.recipe, training=training)
        if not is_calibrated:
            models[name] = calibrated(replace(models[name], calibration=None), validation)
    return models


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns what differs between the inputs of two manifests, in the branches that both have read."""
    old, new = then.get("inputs", []), now["inputs"]
    if len(old) == len(new):
        both = [a["hashes"].keys() & b["hashes"].keys() for a, b in zip(old, new, strict=True)]
        old, new = (
            [{**each, "hashes": {k: each["hashes"][k] for k in keys}} for each, keys in zip(inputs, both, strict=True)]
            for inputs in (old, new)
        )
    return list(input_differences(old, new))


def _keep_inputs(run: Path, folder: Path, prepared: Prepared) -> None:
    """Copies inputs that lie in the run, as those of a comparison of arrays do, into the folder that replaces it."""
    for each in prepared.events.inputs:
        path = Path(each.source.path)
        if path.is_file() and path.resolve().parent == run.resolve():
            shutil.copy2(path, folder / path.name)
