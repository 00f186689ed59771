"""Training on the workers of a cluster: BDTs on all of them together, every other model of every fold as one task."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.apply.cluster import Cluster, ClusterError, Patience, raise_error
from pidlab.config.schema import BdtModel, Config, MlpModel, MlpRegression, Predicting, TrainableSpec
from pidlab.errors import ModelError
from pidlab.evaluate.results import Training
from pidlab.models.base import TrainingRows, ValidationSet
from pidlab.models.fold import FoldModel
from pidlab.models.inputs import columns_read, trainable, training_weights
from pidlab.models.model import Model
from pidlab.models.registry import Resources, build_estimator
from pidlab.models.training import calibrated, fit_model, joined_folds
from pidlab.pipeline.distributed.matrix import DistributedMatrix
from pidlab.pipeline.distributed.pieces import Pieces, Selector, given, indices, taken
from pidlab.preprocess.recipe import Recipe
from pidlab.progress import Task, Watcher
from pidlab.sample import Rows, Sample, concatenate
from pidlab.split import Parts

_ATTEMPTS = 3
"""How often the training of a BDT begins again because one of its workers ended."""
_SECONDS_TO_FETCH = 5.0
"""How long a result is waited for until it is looked whether the worker that has it is still there."""
_SECONDS_BETWEEN_LOOKS = 1.0
"""How often it is looked whether all workers of a training are still there."""
_SECONDS_UNTIL_MISSED = 10.0
"""How long it takes at most until a scheduler knows of a worker that ended."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What all trainings share: the recipe, the events on the workers of the cluster, and what training may use."""

    recipe: Recipe
    sample: Sample
    resources: Resources
    cluster: Cluster

    @property
    def pieces(self) -> Pieces:
        """The events as the workers hold them."""
        assert isinstance(self.sample.x, DistributedMatrix)
        return self.sample.x.pieces


def train(
    recipe: Recipe, sample: Sample, parts: Parts, resources: Resources, watcher: Watcher, cluster: Cluster
) -> dict[str, Model]:
    """Trains every model of the configuration on the workers that hold the events, and calibrates it.

    Raises:
        ModelError: a model cannot be trained.
        PidlabError: the cluster has lost its workers.
    """
    pairs, found = list(parts.training()), dict[str, Model]()
    models, work = recipe.loaded.config.models, _Work(recipe, sample, resources, cluster)
    shared = [name for name, spec in models.items() if _is_shared(name, spec, recipe, resources)]
    for name in shared:
        with watcher.task(f"training {name}", len(pairs)) as task:
            folds = []
            for pair in pairs:
                folds.append(_trained_together(name, pair, work))
                task.advance()
            found[name] = joined_folds(folds)
            watcher.remark(
                f"{name} was trained by workers of a cluster together: another division of the events among workers "
                "gives other trees, which are the same within statistical errors."
            )
    alone = [name for name, spec in models.items() if isinstance(spec, TrainableSpec) and name not in shared]
    futures = _tasks(alone, pairs, work)
    for name, spec in models.items():
        if name in found:
            continue
        with watcher.task(f"training {name}", len(pairs)) as task:
            if name in futures:
                found[name] = joined_folds(cluster.results(futures.pop(name), partial(_advance, task)))
            else:
                rows, validation = pairs[0]
                own = [(sample.take(rows), sample.take(validation))]
                found[name] = fit_model(name, spec, recipe, own, resources, None)
    calibrating = sample.take(parts.quoted()["validation"])
    return {name: calibrated(found[name], calibrating) for name in models}


def _advance(task: Task, _number: int) -> None:
    task.advance()


def _tasks(names: Sequence[str], pairs: Sequence[tuple[Rows, Rows]], work: _Work) -> dict[str, list[Any]]:
    """Returns for each model the futures of its folds; networks begin first, since they take longest."""
    models, cluster = work.recipe.loaded.config.models, work.cluster
    first = sorted(names, key=lambda name: not isinstance(models[name], MlpModel | MlpRegression))
    trainings = [(name, rows) for name in first for rows in pairs]
    workers = list(cluster.n_threads)
    n_each = -(-len(trainings) // len(workers)) if workers else 1
    request = cluster.submit(given, (work.recipe, work.resources))
    futures: dict[str, list[Any]] = {name: [] for name in names}
    for number, (name, rows) in enumerate(trainings):
        sides = [_parts_of(work.pieces, each) for each in rows]
        arguments = (name, request, n_each, *(part for side in sides for part in side))
        # The workers take turns; without this, all models would be trained where their sample was put together first.
        near = {"workers": [workers[number % len(workers)]], "allow_other_workers": True} if workers else {}
        futures[name].append(cluster.submit(_fitted, *arguments, **near))
    return futures


def _parts_of(pieces: Pieces, rows: Rows) -> tuple[list[Any], list[Selector]]:
    """Returns the futures of the rows of each piece, and their places among `rows`."""
    split = list(pieces.split(_as_slice(rows)))
    futures = [pieces.cluster.submit(taken, pieces.held[number], local) for number, local, _ in split]
    return futures, [places for _, _, places in split]


def _as_slice(rows: Rows) -> slice | NDArray[np.int64]:
    """Returns consecutive rows as a slice, which is sent in place of many numbers."""
    if isinstance(rows, slice):
        return rows
    rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return np.asarray(rows, np.int64)


def _fitted(
    name: str,
    request: tuple[Recipe, Resources],
    n_trainings: int,
    train: Sequence[Sample],
    train_places: Sequence[Selector],
    validation: Sequence[Sample],
    validation_places: Sequence[Selector],
) -> Model:
    """Returns a model trained on samples that this worker puts together.

    Args:
        name: the model.
        request: the recipe, and what training may use.
        n_trainings: how many of them this worker may do at the same time.
        train, validation: the pieces of the samples.
        train_places, validation_places: the places of their rows.
    """
    recipe, resources = request
    n_threads = _own_threads()
    n_jobs = resources.n_jobs or max(1, n_threads // min(n_threads, n_trainings))
    aside = _put_together(validation or [train[0].take(slice(0))], validation_places)
    samples, resources = (_put_together(train, train_places), aside), replace(resources, n_jobs=n_jobs)
    return fit_model(name, recipe.loaded.config.models[name], recipe, [samples], resources, None)


def _put_together(samples: Sequence[Sample], places: Sequence[Selector]) -> Sample:
    """Returns the rows of all samples, each in its place."""
    whole, order = concatenate(samples), [indices(each) for each in places]
    place = np.concatenate([np.empty(0, np.int64), *order])
    return whole if (np.diff(place) > 0).all() else whole.take(np.argsort(place))


def _own_threads() -> int:
    """Returns how many tasks this worker does at the same time."""
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def _is_shared(name: str, spec: Any, recipe: Recipe, resources: Resources) -> bool:
    """Returns whether a model is trained by all workers together."""
    if not isinstance(spec, BdtModel) or isinstance(spec, Predicting):  # a regression is one task, with its own losses
        return False
    if spec.categories or columns_read(name, spec, recipe.loaded.config)[1]:
        return False
    from pidlab.models.bdt.shards import can_be_shared

    model: Any = build_estimator(spec, [f.name for f, _ in recipe.features], recipe.signal, 0, resources)
    return can_be_shared(model)


@dataclass(frozen=True, slots=True)
class _Weighted:
    """Rows of one piece with their weights of training."""

    rows: Selector
    weight: NDArray[np.float32]


def _trained_together(name: str, rows: tuple[Rows, Rows], work: _Work) -> Model:
    """Returns a BDT that all workers with events of one pair have trained; begins again if one of them ends meanwhile.

    Raises:
        ModelError: it cannot be trained.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _attempt(name, rows, work)
        except _WorkerLostError as error:
            if attempt == _ATTEMPTS - 1:
                raise ClusterError(
                    f"models.{name}: {_ATTEMPTS} times a worker ended while the BDT was trained ({error}); is there "
                    "enough memory?"
                ) from error
        except ModelError as error:
            raise ModelError(f"models.{name}: {error}") from error
    raise AssertionError


class _WorkerLostError(Exception):
    """A worker ended while others waited for it."""


def _attempt(name: str, rows: tuple[Rows, Rows], work: _Work) -> Model:
    start, config, sample = time.perf_counter(), work.recipe.loaded.config, work.sample
    pieces, cluster = work.pieces, work.cluster
    spec = config.models[name]
    assert isinstance(spec, BdtModel)
    train, validation = (sample.take(each) for each in rows)
    weights = [_weights(each, config, spec) for each in (train, validation)]
    weights[0] /= weights[0][weights[0] > 0].mean()
    validates = len(np.unique(trainable(validation, config).y)) == len(sample.classes)
    sides = [
        {
            n: _Weighted(local, weight[indices(places)].astype(np.float32))
            for n, local, places in pieces.split(_as_slice(own))
        }
        for own, weight in zip(rows, weights, strict=True)
    ]
    plain, _ = columns_read(name, spec, config)
    columns = tuple(sample.features.index(each) for each in plain)
    model = build_estimator(spec, plain, sample.signal, config.seed, work.resources, classes=sample.classes)
    needed = sides if validates else sides[:1]
    numbers = {n for side in needed for n in side}
    places = _places(pieces, {n: sum(len(side[n].weight) for side in needed if n in side) for n in numbers})
    places = _with_all(places, needed)
    workers = list(places)
    told = _on_worker(cluster, workers[0], _tracker, len(workers))
    futures = [
        cluster.submit(
            _fitted_together,
            model,
            columns,
            len(sample.classes),
            rank,
            told,
            [pieces.held[n] for n in places[worker]],
            [sides[0].get(n) for n in places[worker]],
            [sides[1].get(n) for n in places[worker]] if validates else None,
            workers=[worker],
            retries=0,
        )
        for rank, worker in enumerate(workers)
    ]
    try:
        _wait_for_all(futures, workers, cluster)
        estimator = _fetched(futures[0], workers, cluster)
    except (ModelError, ClusterError) as error:
        if _missed(workers, cluster):
            raise _WorkerLostError(str(error)) from error
        raise
    finally:
        cluster.client.cancel(futures)
        with suppress(_WorkerLostError):
            _on_worker(cluster, workers[0], _end_tracker, told)
    fitted = FoldModel(columns, None, estimator)
    training = Training(time.perf_counter() - start, len(estimator.history_.get("loss", ())), estimator.history_)
    fold_seed = config.split.seed if config.folds else None
    return Model(name, spec.kind, work.recipe, (fitted,), fold_seed, training)


def _fetched(future: Any, workers: Sequence[str], cluster: Cluster) -> Any:
    """Returns the result of a task that has ended on one of `workers`.

    Raises:
        _WorkerLostError: a worker has ended since: the result may be gone with it, and nobody would make it again.
    """
    while True:
        try:
            return future.result(timeout=_SECONDS_TO_FETCH)
        except TimeoutError:
            if _missed(workers, cluster):
                raise _WorkerLostError("a worker ended before its result was fetched") from None


def _weights(sample: Sample, config: Config, spec: TrainableSpec) -> NDArray[np.float64]:
    """Returns (n,) the weights of training, 0 for candidates that training does not use."""
    if not len(sample):
        return np.empty(0)
    used = trainable(sample, config)
    weight = np.zeros(len(sample))
    weight[sample.weight >= 0 if len(used) < len(sample) else slice(None)] = training_weights(used, config, spec)
    return weight


def _places(pieces: Pieces, sizes: Mapping[int, int]) -> dict[str, list[int]]:
    """Returns worker to numbers of pieces, so that workers have about as many rows for each of their threads.

    A piece is trained by a worker that holds it, but dask may hold most pieces, or copies of all, on one worker: then
    pieces go to workers with less to do, since all wait for each other after each level of a tree.

    Args:
        pieces: the samples on the workers.
        sizes: for each piece that is needed its number of rows.
    """
    cluster, numbers = pieces.cluster, sorted(sizes)
    cluster.wait([pieces.held[n] for n in numbers])  # a piece may be on its way back after its worker ended
    holders = cluster.client.who_has([pieces.held[n] for n in numbers])
    n_threads = cluster.n_threads
    held = {n: [worker for worker in holders.get(pieces.held[n].key, ()) if worker in n_threads] for n in numbers}
    return divided(sizes, held, n_threads)


def divided(
    sizes: Mapping[int, int], held: Mapping[int, Sequence[str]], n_threads: Mapping[str, int]
) -> dict[str, list[int]]:
    """Returns worker to numbers of pieces, at those that hold them as far as that leaves nobody with less to do.

    Args:
        sizes: the number of rows of each piece.
        held: the workers that hold each piece; none if it is to be made again.
        n_threads: the number of threads of each worker, of which there is at least one.
    """
    load, places = dict.fromkeys(sorted(n_threads), 0.0), {worker: list[int]() for worker in sorted(n_threads)}

    def more(worker: str, number: int) -> float:
        return load[worker] + sizes[number] / n_threads[worker]

    for number in sorted(sizes, key=lambda n: (len(held[n]) or len(load), -sizes[n], n)):
        worker = min(sorted(held[number]) or load, key=lambda each: more(each, number))
        load[worker] = more(worker, number)
        places[worker].append(number)
    while True:
        most, least = max(load, key=lambda each: load[each]), min(load, key=lambda each: load[each])
        movable = [number for number in places[most] if more(least, number) < load[most]]
        if not movable:
            return {worker: sorted(numbers) for worker, numbers in places.items() if numbers}
        number = max(movable, key=lambda n: sizes[n])
        load[least] = more(least, number)
        load[most] -= sizes[number] / n_threads[most]
        places[most].remove(number)
        places[least].append(number)


def _with_all(places: Mapping[str, Sequence[int]], sides: Sequence[Mapping[int, _Weighted]]) -> dict[str, list[int]]:
    """Returns worker to numbers of pieces; the pieces of a worker that would have no rows of a side go to another."""

    def has_all(numbers: Sequence[int]) -> bool:
        return all(any((side[n].weight > 0).any() for n in numbers if n in side) for side in sides)

    found = {worker: list(numbers) for worker, numbers in places.items() if has_all(numbers)} or {min(places): []}
    for worker, numbers in places.items():
        if worker not in found or not found[worker]:
            found[min(found)] += numbers
    return found


def _wait_for_all(futures: Sequence[Any], workers: Sequence[str], cluster: Cluster) -> None:
    """Waits for tasks that are bound to workers.

    Raises:
        ModelError: one of them failed.
        _WorkerLostError: one of the workers ended.
    """
    patience, waiting = Patience(cluster), list(futures)
    while waiting:
        for future in cluster.ended(waiting, _SECONDS_BETWEEN_LOOKS, patience):
            waiting.remove(future)
            raise_error(future)
        if waiting and (lost := set(workers) - cluster.n_threads.keys()):
            raise _WorkerLostError(", ".join(sorted(lost)))


def _missed(workers: Sequence[str], cluster: Cluster) -> bool:
    """Returns whether one of the workers has ended."""
    deadline = time.monotonic() + _SECONDS_UNTIL_MISSED
    while time.monotonic() < deadline:
        if not set(workers) <= cluster.n_threads.keys():
            return True
        time.sleep(0.2)
    return False


def _on_worker(cluster: Cluster, worker: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a coroutine says in the process of a worker, even if all of its threads are busy.

    Raises:
        _WorkerLostError: the worker has ended.
    """
    try:
        return cluster.client.run(work, *arguments, workers=[worker])[worker]
    except (OSError, KeyError, ValueError) as error:  # dask has one for each moment at which a worker may end
        raise _WorkerLostError(worker) from error


async def _tracker(n_processes: int, dask_worker: Any) -> dict[str, Any]:
    """Starts a tracker in this worker, which dask gives to a function with an argument of this name."""
    import asyncio

    from distributed.comm.addressing import get_address_host

    from pidlab.models.bdt.shards import start_tracker

    return await asyncio.to_thread(start_tracker, get_address_host(dask_worker.address), n_processes)


async def _end_tracker(told: Mapping[str, Any]) -> None:
    """Ends the tracker, so that workers that wait for one that has ended fail at once."""
    import asyncio

    from pidlab.models.bdt.shards import end_tracker

    await asyncio.wait_for(asyncio.to_thread(end_tracker, told), 10.0)


def _fitted_together(
    model: Any,
    columns: tuple[int, ...],
    n_classes: int,
    rank: int,
    told: Mapping[str, Any],
    held: Sequence[Sample],
    train: Sequence[_Weighted | None],
    validation: Sequence[_Weighted | None] | None,
) -> Any:
    """Trains a BDT on the pieces that this worker holds, together with the other workers."""
    from pidlab.models.bdt.shards import fit_shard

    def rows_of(parts: Sequence[_Weighted | None], *, used: bool) -> tuple[Any, Any, Any]:
        x, y, weight = [np.empty((0, len(columns)), np.float32)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for sample, part in zip(held, parts, strict=True):
            if part is not None:
                own, keep = taken(sample, part.rows), part.weight > 0 if used else slice(None)
                x.append(own.x[keep][:, list(columns)])
                y.append(own.y[keep].astype(np.int64))
                weight.append(part.weight[keep])
        return np.concatenate(x), np.concatenate(y), np.concatenate(weight)

    validation_set = None if validation is None else ValidationSet(*rows_of(validation, used=False))
    own = TrainingRows(*rows_of(train, used=True))
    return fit_shard(model, own, validation_set, np.arange(n_classes), rank, told, _own_threads())
