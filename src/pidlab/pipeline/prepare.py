"""Prepare: from a configuration to events that are read, checked and split, with nothing imported to train models."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pidlab.config.load import LoadedConfig
from pidlab.config.patterns import with_branches
from pidlab.credentials import without_secrets
from pidlab.errors import UsageError
from pidlab.models.registry import Resources, check_models
from pidlab.preprocess.events import Events, Input, load
from pidlab.preprocess.parts import preprocess
from pidlab.preprocess.recipe import Recipe, compile_recipe
from pidlab.progress import Watcher
from pidlab.sample import Sample
from pidlab.split import Parts

if TYPE_CHECKING:  # xgboost, scipy and dask, which a wrong configuration does not need
    from pidlab.apply.cluster import Cluster
    from pidlab.datadriven.reweighting.reweighter import Reweighter
    from pidlab.datadriven.reweighting.step import Reweighted


def cluster_of(resources: Resources) -> AbstractContextManager[Cluster | None]:
    """Connects to the cluster on which the work is to be done; None if it is done in this process.

    Raises:
        UsageError: the cluster cannot be used, see `pidlab.apply.cluster.used`.
    """
    if not resources.dask:
        return nullcontext()
    from pidlab.apply.cluster import used

    return used(resources.dask)


class Notes(Watcher):
    """Passes everything on and keeps the notes, without passwords, for the report."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.sentences: list[str] = []
        self.stage = watcher.stage  # type: ignore[method-assign]  # a pure pass-through
        self.task = watcher.task  # type: ignore[method-assign]  # a pure pass-through

    def note(self, sentence: str) -> None:
        """Keeps a note, and passes it on."""
        self._watcher.note(self._kept(sentence))

    def remark(self, sentence: str) -> None:
        """Keeps a remark, and passes it on."""
        self._watcher.remark(self._kept(sentence))

    def _kept(self, sentence: str) -> str:
        self.sentences.append(without_secrets(sentence))
        return self.sentences[-1]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Events that models can be trained on, or evaluated on.

    Attributes:
        events: the rows of all inputs.
        parts: what each of the rows is for.
        notes: the watcher, with the notes so far.
        reweighted: the weights that make classes alike; None without.
        training: the rows with the weights of training; `events` has those of the evaluation.
        cluster: keeps the features in the memory of its workers; None if they are here.
    """

    events: Events
    parts: Parts
    notes: Notes
    reweighted: Reweighted | None
    training: Sample
    cluster: Cluster | None = None

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Everything that was read, also what holds no rows of the sample, for the manifest."""
        return (*self.events.inputs, *(self.reweighted.inputs if self.reweighted is not None else ()))

    @property
    def recipe(self) -> Recipe:
        """The recipe, with features that float32 cannot tell apart as differences."""
        return self.events.recipe


def prepare(
    loaded: LoadedConfig,
    resources: Resources,
    watcher: Watcher,
    *,
    trained: bool = False,
    reweighter: Reweighter | None = None,
    cluster: Cluster | None = None,
) -> Prepared:
    """Loads and preprocesses the events of a configuration; all of its mistakes are found here.

    Args:
        loaded: the configuration.
        resources: what the analysis may use.
        watcher: is told of the progress.
        trained: the models are trained already, so that their sections need no check.
        reweighter: that of a finished run, whose models are evaluated again; None to fit one, if one is asked for.
        cluster: reads the events and keeps their features; None for this process.

    Raises:
        PidlabError: the configuration has mistakes, or its inputs cannot be used.
    """
    notes = Notes(watcher)
    loaded = with_branches(loaded, notes.remark)
    recipe = compile_recipe(loaded)
    if not trained:
        check_models(loaded, resources)
    if cluster is not None and loaded.config.reweight is not None:
        raise UsageError("--dask does not make classes alike yet: leave out `reweight`, or run without --dask")
    notes.stage("load")
    make_loader = None
    if cluster is not None:
        from pidlab.pipeline.distributed.loading import DistributedLoader

        make_loader = partial(DistributedLoader, cluster)
    events = load(recipe, notes, resources.memory, make_loader)
    notes.stage("preprocess")
    events, parts = preprocess(events.recipe, events, notes)
    if loaded.config.reweight is None:
        return Prepared(events, parts, notes, None, events.sample, cluster)
    from pidlab.datadriven.reweighting.step import reweight

    made = reweight(events.recipe, events.sample, parts, notes, n_jobs=resources.n_jobs, reweighter=reweighter)
    training, evaluation = (made.applied(events.sample, purpose) for purpose in ("training", "evaluation"))
    return Prepared(replace(events, sample=evaluation), parts, notes, made, training)
