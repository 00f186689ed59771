"""Interface: a run of a configuration, and a comparison of models on arrays, as a notebook calls them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from pidlab.config.load import LoadedConfig, check_config, load_config
from pidlab.config.schema import Config
from pidlab.errors import UsageError
from pidlab.models.registry import Resources
from pidlab.pipeline.analysis import analyse
from pidlab.pipeline.given import given
from pidlab.pipeline.result import RegressionResult, Result, result_of
from pidlab.plots.gallery import Figures
from pidlab.preprocess.store import bytes_of
from pidlab.progress import Watcher
from pidlab.runs.bundle import config_yaml, plain_values
from pidlab.runs.manifest import is_run, said_of
from pidlab.runs.record import manifest_of
from pidlab.runs.tensorboard import check_installed

Device = Literal["auto", "cpu", "cuda"]


def run(
    config: str | Path | Mapping[str, Any] | Config,
    output: str | Path | None = None,
    *,
    figures: Figures = "all",
    overrides: Sequence[str] = (),
    device: Device = "auto",
    jobs: int | None = None,
    memory: int | str | None = None,
    dask: str = "",
    allow_import: Sequence[str] = (),
    tensorboard: bool = False,
    watcher: Watcher | None = None,
) -> Result | RegressionResult:
    """Loads, preprocesses, trains and evaluates, and returns what was found.

    Args:
        config: a YAML file, its content as a dict, or a `pidlab.Config`. Paths are relative to the folder of the file,
            otherwise to the working folder.
        output: the folder to leave behind, by default `output` of the configuration; a warning is given if that holds
            a run, which is replaced. Without both nothing is written, and `Result.save` does so later.
        figures: which figures are drawn into that folder: none, quick or all.
        overrides: `KEY=VALUE` as of `--set`, for example "models.mlp.epochs=20".
        device: for networks, BDTs and models in ONNX: auto, cpu or cuda.
        jobs: number of threads; None for all cores.
        memory: what the process may take, in bytes or as "4GB"; columns that would take over half of it are kept in
            temporary files. None for what the machine has.
        dask: the address of a dask scheduler, on whose workers events are read and kept, and models trained.
        allow_import: packages that models of type sklearn may import besides scikit-learn, xgboost and lightgbm.
        tensorboard: whether the folder gets event files of TensorBoard with the histories of the trainings.
        watcher: is told of the progress.

    Raises:
        PidlabError: the run cannot be made; the message says why and what to do.
    """
    if tensorboard:
        check_installed()
    loaded = _loaded(config, overrides)
    limit = None if memory is None else bytes_of(memory)
    resources = Resources(device, jobs, tuple(allow_import), limit, dask=dask)
    target = output if output is not None else loaded.config.output
    if target is not None and output is None and is_run(Path(target)):
        warnings.warn(
            f"{target}, the output of the configuration, holds {said_of(Path(target))}, which is replaced when the new "
            "run is whole; name another folder by the argument output, or set the key output to null",
            stacklevel=2,
        )
    result = _analysed(loaded, resources, watcher or Watcher())
    if target is not None:
        result.save(target, figures=figures, tensorboard=tensorboard)
    return result


@overload
def compare(X: Any, y: Any, *, models: Mapping[str, Any], **settings: Any) -> Result: ...


@overload
def compare(X: Any, *, target: Any, models: Mapping[str, Any], **settings: Any) -> RegressionResult: ...


def compare(
    X: Any,
    y: Any = None,
    *,
    models: Mapping[str, Any],
    target: Any = None,
    weight: Any = None,
    event: Any = None,
    spectators: Any = None,
    classes: Mapping[str, Any] | Sequence[Any] | None = None,
    features: Sequence[Any] | None = None,
    device: Device = "auto",
    jobs: int | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> Result | RegressionResult:
    """Trains and compares models on arrays in memory, as a run does on files, and returns what was found.

    With `y` models tell classes apart, with `target` they predict a number; one of the two is given.

    Args:
        X: (n, d) numbers, or a table with names: a dict of arrays, an awkward or numpy record array, or a pandas data
            frame. NaN is a missing value.
        y: (n,) labels: 1 for the signal and 0 for the background, or any numbers or texts.
        models: name to model. A model is an estimator of pidlab (`pidlab.BDT()`, or `pidlab.BDTRegressor()` for a
            target); an estimator or pipeline of scikit-learn, which is trained as a clone, or used unchanged if it is
            fitted; an array (n,) of scores, or of decisions if it is boolean; an expression of a cut; or a section of
            the configuration as a dict. For a target, an array or an expression is a prediction.
        target: (n,) the number to predict, NaN where it is not known; or an expression of columns; or a dict of such a
            `value` and a `cut`, which is true for the rows to train and to evaluate on.
        weight: (n,) weights of any sign, or an expression of columns.
        event: (n,) whole numbers that identify an event, a tuple or table of several such arrays, or names of columns;
            candidates of an event stay in one sample. By default each row is an event.
        spectators: a dict or table of arrays (n,) that models do not see, or a list of columns of X. Expressions of
            cuts, selection and maps may use all columns by name; those of text serve nothing else.
        classes: name to its label in y, the signal first; or the labels, the signal first. By default `signal` (1) and
            `background` (0), or the labels of y by themselves, "signal" first if there is one.
        features: names of the columns of an array; of a table, the expressions to train on, by default all its columns.
        device: for networks, BDTs and models in ONNX: auto, cpu or cuda.
        jobs: number of threads; None for all cores.
        watcher: is told of the progress.
        settings: further keys of a configuration, such as `folds=5`, `selection={"good": "p > 1"}`,
            `split={"test": 0.3}`, `evaluate={"working_points": [0.9]}`, `seed=2`.

    Raises:
        PidlabError: the comparison cannot be made; the message says why and what to do.
    """
    asked = given(
        X, y,
        target=target, models=models, weight=weight, event=event, spectators=spectators, classes=classes,
        features=features, settings=settings,
    )  # fmt: skip
    return _analysed(asked.loaded, Resources(device, jobs, objects=asked.objects), watcher or Watcher())


def _loaded(config: str | Path | Mapping[str, Any] | Config, overrides: Sequence[str]) -> LoadedConfig:
    if isinstance(config, str | Path):
        return load_config(Path(config), overrides)
    if overrides:
        raise UsageError("pidlab.run: overrides are for a file; write the values into the dict or the Config")
    content = plain_values(config) if isinstance(config, Config) else dict(config)
    return check_config(content, {(): "pidlab.run"}, Path.cwd() / "analysis.yaml")


def _analysed(loaded: LoadedConfig, resources: Resources, watcher: Watcher) -> Result | RegressionResult:
    started = time.time()
    done = analyse(loaded, resources, watcher)
    return result_of(
        done.results,
        loaded.name,
        loaded.config.style,
        config_yaml(done.recipe.loaded),
        manifest_of(loaded, done.read, resources, started),
        analysis=done,
        watcher=watcher,
    )
