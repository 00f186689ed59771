"""Loading on the workers of a cluster: each reads partitions of the inputs and keeps their features in its memory.

What comes back of a partition are sums (cut flow, numbers of rows, hashes) and narrow columns: class, weight, event,
input, row and spectators. The partitions are put together as the chunks of one process would be, in the same order, and
they are cut where its chunks end, so that every number is the same to the digit.

An input that a single task reads is hashed by it. The hash of a branch is one over all of its entries in their order;
so the branches of an input that is divided among tasks are read once more, each by one task from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.apply.cluster import Cluster
from pidlab.expressions import stored
from pidlab.pipeline.distributed.matrix import DistributedColumns, DistributedMatrix
from pidlab.pipeline.distributed.pieces import Pieces, given
from pidlab.preprocess.events import Digests, Input, Loader, NamedInput, branches_read
from pidlab.preprocess.features import to_single
from pidlab.preprocess.precision import Doubles, difference
from pidlab.preprocess.recipe import ClassRule, Recipe
from pidlab.preprocess.selection import CutFlow
from pidlab.preprocess.store import Column, Store
from pidlab.read import STEP, Source, Table
from pidlab.sample import IntArray, Sample, joined

_PARTITIONS_A_THREAD = 8
"""So many, if there are enough entries: workers finish together, and one that dies loses little."""
_LONGEST = 10
"""Chunks of `STEP` entries in a partition at most."""


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive entries of one input.

    Attributes:
        index: the number of the input.
        source: the input.
        name: the name of the input, in messages.
        key: stands for the input in the hash of the event key.
        rules: the rules of the classes that are read from it.
        spans: first entry and last + 1 of each chunk; None if the input is read as a whole.
    """

    index: int
    source: Source
    name: str
    key: str
    rules: Sequence[ClassRule]
    spans: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True, slots=True)
class LoadedPartition:
    """What a worker returns of the partition that it has read.

    Attributes:
        cutflows: the cut flow of each chunk.
        inputs: for each range the number of its input, and what was read of it.
        chunks: for each chunk the number of its input, of its selected rows, and of those that are held.
        columns, spectators, axes: the narrow columns, in the order in which the rows were read.
        doubles: the features that float32 might not resolve, by their index.
    """

    cutflows: Sequence[CutFlow]
    inputs: Sequence[tuple[int, Input]]
    chunks: Sequence[tuple[int, int, int]]
    columns: Mapping[str, NDArray[Any]]
    spectators: Mapping[str, NDArray[Any]]
    axes: Mapping[str, NDArray[Any]]
    doubles: frozenset[int]


@dataclass(frozen=True, slots=True)
class Held:
    """The rows of a partition, in the order in which they were read.

    Attributes:
        sample: without spectators.
        doubles: for each chunk its number of rows, and the features that float32 might not resolve.
    """

    sample: Sample
    doubles: Sequence[tuple[int, Mapping[int, Doubles]]]


class _ChunkFlows(CutFlow):
    """Keeps the cut flow of each chunk, whose sums are added up later in the order of the chunks."""

    def __init__(self, names: tuple[str, ...], classes: tuple[str, ...]) -> None:
        super().__init__(names, classes)
        self.flows: list[CutFlow] = []

    def fill(self, y: IntArray, weight: NDArray[np.float64], masks: Any) -> None:
        """Counts the rows of one chunk."""
        flow = CutFlow(self.names, self.classes)
        flow.fill(y, weight, masks)
        self.flows.append(flow)


def read_partition(recipe: Recipe, ranges: Sequence[Range]) -> tuple[Held, LoadedPartition]:
    """Reads a partition on a worker.

    Raises:
        DataError: an input cannot be read, or its rows cannot be used.
    """
    loader = Loader(recipe, {r.source: r.key for r in ranges}, Store())
    loader.cutflow = flows = _ChunkFlows(loader.cutflow.names, loader.cutflow.classes)
    for r in ranges:
        with Table(r.source, recipe.per) as table:
            loader.read(r.index, r.name, table, r.rules, lambda n: None, r.spans)
    n = sum(n_held for _, _, n_held in loader.chunks)
    as_read = np.arange(n)

    def whole(columns: Mapping[str, Column]) -> dict[str, Any]:
        return {name: column.ordered(as_read, n) for name, column in columns.items()}

    columns, spectators, axes = whole(loader.columns), whole(loader.spectators), whole(loader.axes)
    sample = Sample(
        x=loader.features.matrix(as_read, n),
        features=tuple(f.name for f, _ in recipe.features),
        classes=recipe.classes,
        signal=recipe.signal,
        spectators={},
        columns={name: joined(parts) for name, parts in loader.branches.items()},
        **{name: values for name, values in columns.items() if name != "declared_test"},
    )
    inputs = [(r.index, own) for r, own in zip(ranges, loader.inputs, strict=True)]
    doubles = frozenset(j for _, kept in loader.features.doubles for j in kept)
    found = LoadedPartition(flows.flows, inputs, loader.chunks, columns, spectators, axes, doubles)
    return Held(sample, loader.features.doubles), found


def _in_order(held: Held, order: IntArray) -> Sample:
    """Returns the rows of a partition in the order of their parts, without those that were not drawn."""
    return held.sample.take(order)


def _double(held: Held, j: int) -> Doubles:
    """Returns (n,) a feature in double precision, in the order in which the rows were read."""
    values, start = held.sample.x[:, j].astype(np.float64), 0
    for n, kept in held.doubles:
        if j in kept:
            values[start : start + n] = kept[j]
        start += n
    return values


def _shifted(sample: Sample, held: Held, order: IntArray, shifts: Mapping[int, tuple[float, float]]) -> Sample:
    """Returns the sample with some features as differences from an origin."""
    x = sample.x.copy()
    for j, (origin, unit) in shifts.items():
        x[:, j] = to_single(difference(_double(held, j), origin, unit))[order]
    return sample.with_x(x)


def _hashes(recipe: Recipe, source: Source, branches: Sequence[str]) -> dict[str, str]:
    """Returns the hash of each of some branches of an input."""
    digests = Digests()
    with Table(source, recipe.per) as table:
        for chunk in table.chunks(branches):
            digests.update(chunk)
    return digests.hashes


def partitions(
    inputs: Sequence[NamedInput], keys: Mapping[Source, str], sizes: Mapping[Source, int], n_threads: int
) -> list[list[Range]]:
    """Returns what each task reads: a part of an input, or several small inputs that follow each other.

    Args:
        inputs: in their order.
        keys: the key of each input.
        sizes: the number of entries of each.
        n_threads: the number of threads of all workers together.
    """
    total = sum(-(-n // STEP) for n in sizes.values())
    n_chunks = min(_LONGEST, max(1, total // (_PARTITIONS_A_THREAD * n_threads)))
    found: list[list[Range]] = []
    n_free = 0
    for index, (source, name, rules) in enumerate(inputs):
        for spans in _divided(source, sizes[source], n_chunks):
            n = sizes[source] if spans is None else spans[-1][1] - spans[0][0]
            if not found or n > n_free:
                found.append([])
                n_free = n_chunks * STEP
            found[-1].append(Range(index, source, name, keys[source], rules, spans))
            n_free -= n
    return found


def _divided(source: Source, n_entries: int, n_chunks: int) -> Iterator[tuple[tuple[int, int], ...] | None]:
    """Yields the spans of each part of an input; None if it is read as a whole.

    Only ROOT files are divided, since the others are read from their beginning, and so is a friend whose entries are
    found by their event.
    """
    together = not source.friends or not source.event_id
    if n_entries <= n_chunks * STEP or not (source.is_root and together and all(f.is_root for f in source.friends)):
        yield None
        return
    starts = list(range(0, n_entries, STEP))
    spans = [(start, min(start + STEP, n_entries)) for start in starts]
    for first in range(0, len(spans), n_chunks):
        yield tuple(spans[first : first + n_chunks])


@dataclass(slots=True)
class DistributedFeatures:
    """The features of all partitions, in the place of `FeatureColumns`.

    Attributes:
        cluster: the cluster.
        held: the future of the rows of each partition.
        n_rows: the number of rows of each, in the order in which they were read.
        doubles: the features that float32 might not resolve in some partition.
        orders: for each partition, its rows that stay, in the order of their parts.
    """

    cluster: Cluster
    n_columns: int
    held: list[Any] = field(default_factory=list)
    n_rows: list[int] = field(default_factory=list)
    doubles: set[int] = field(default_factory=set)
    orders: list[IntArray] = field(default_factory=list)

    def matrix(self, place: IntArray, n: int) -> DistributedMatrix:
        """Returns all features, after the workers have put their rows into the order of the parts."""
        ordered, segments, start = [], list[tuple[int, int, int, int]](), 0
        for number, (held, n_rows) in enumerate(zip(self.held, self.n_rows, strict=True)):
            where = place[start : start + n_rows]
            start += n_rows
            order = np.argsort(where, kind="stable")[int((where < 0).sum()) :].astype(np.int32)
            self.orders.append(order)
            ordered.append(self.cluster.submit(_in_order, held, order))
            segments += [(first, number, at, length) for first, at, length in _segments(where[order])]
        segments.sort()
        pieces = Pieces(
            self.cluster,
            tuple(ordered),
            piece=np.array([number for _, number, _, _ in segments], np.int64),
            start=np.array([at for _, _, at, _ in segments], np.int64),
            first=np.array([*(first for first, *_ in segments), n], np.int64),
        )
        if not self.doubles:
            self.held.clear()  # the workers drop their rows in the order in which they were read
        return DistributedMatrix(pieces, slice(0, n), tuple(range(self.n_columns)))

    def column(self, j: int, x: DistributedMatrix, place: IntArray) -> Doubles | None:
        """Returns (n,) float64, the feature j in double precision; None if float32 suffices."""
        if j not in self.doubles:
            return None
        values = np.empty(len(x))
        as_read = np.concatenate(self.cluster.results([self.cluster.submit(_double, h, j) for h in self.held]))
        values[place[place >= 0]] = as_read[place >= 0]
        return values

    def shifted(
        self, x: DistributedMatrix, place: IntArray, shifts: Mapping[int, tuple[float, float]]
    ) -> DistributedMatrix:
        """Returns the features x with some of them, by their index, as differences from an origin in some unit."""
        pieces, submit = x.pieces, self.cluster.submit
        new = [
            submit(_shifted, *arguments, dict(shifts))
            for arguments in zip(pieces.held, self.held, self.orders, strict=True)
        ]
        return replace(x, pieces=replace(pieces, held=tuple(new)), _kept={})


def _segments(places: IntArray) -> Iterator[tuple[int, int, int]]:
    """Yields place, start and length of what follows each other among rising places (n,)."""
    if len(places):
        starts = np.concatenate([[0], np.flatnonzero(np.diff(places) != 1) + 1])
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(places)], strict=True):
            yield int(places[start]), start, stop - start


class DistributedLoader(Loader):
    """Lets workers read all inputs, and collects what comes back."""

    def __init__(self, cluster: Cluster, recipe: Recipe, keys: Mapping[Source, str], store: Store) -> None:
        super().__init__(recipe, keys, store)
        self.cluster = cluster
        self.lazy = DistributedFeatures(cluster, recipe.n_columns)
        self.features = self.lazy  # type: ignore[assignment]  # has its methods but for `add`

    def read_all(
        self,
        inputs: Sequence[NamedInput],
        sizes: Mapping[Source, int],
        tables: Mapping[Source, Table],
        advance: Callable[[int], Any],
    ) -> None:
        """Reads all inputs on the workers.

        Raises:
            DataError: an input cannot be read, or its rows cannot be used.
            PidlabError: the cluster has lost its workers.
        """
        cluster, recipe = self.cluster, self.cluster.submit(given, self.recipe)
        planned = partitions(inputs, self.keys, sizes, max(1, sum(cluster.n_threads.values())))
        pairs = [cluster.submit(read_partition, recipe, ranges) for ranges in planned]
        self.lazy.held = [cluster.submit(itemgetter(0), pair) for pair in pairs]
        answers = [cluster.submit(itemgetter(1), pair) for pair in pairs]
        del pairs
        divided = dict.fromkeys(r.index for ranges in planned for r in ranges if r.spans is not None)
        hashes = {index: self._submit_hashes(recipe, *inputs[index]) for index in divided}
        n_entries = [sum(_length(r, sizes) for r in ranges) for ranges in planned]
        cluster.wait(answers, lambda number: advance(n_entries[number]))
        merged: dict[int, Input] = {}
        for number, answer in enumerate(answers):
            self._absorb(answer.result(), merged)
            answers[number] = None  # the scheduler forgets it
        for index, futures in hashes.items():
            found = {branch: h for part in cluster.results(futures) for branch, h in part.items()}
            merged[index] = replace(merged[index], hashes=dict(sorted(found.items())))
        self.inputs = [merged[index] for index in range(len(inputs))]

    def _submit_hashes(self, recipe: Any, source: Source, _name: str, rules: Sequence[ClassRule]) -> list[Any]:
        """Returns futures of the hashes of the branches of an input that several tasks read."""
        branches = sorted(stored(branches_read(self.recipe, rules)))
        n = max(1, min(len(branches), sum(self.cluster.n_threads.values())))
        groups = [branches[i::n] for i in range(n)]
        return [self.cluster.submit(_hashes, recipe, source, group) for group in groups]

    def _absorb(self, found: LoadedPartition, merged: dict[int, Input]) -> None:
        """Adds the narrow columns and sums of one partition, which are those of chunks that follow each other."""
        for flow in found.cutflows:
            self.cutflow.n += flow.n
            self.cutflow.weight += flow.weight
        first_rows = {index: merged[index].n_rows if index in merged else 0 for index, _ in found.inputs}
        for index, own in found.inputs:
            merged[index] = _sum(merged[index], own) if index in merged else own
        columns = dict(found.columns)
        before = np.repeat([first_rows[index] for index, _, _ in found.chunks], [n for _, _, n in found.chunks])
        columns["row"] = columns["row"] + before.astype(np.int64)
        if self.draw is not None:
            self.draw.offer(columns["event"])
        for mine, theirs in ((self.columns, columns), (self.spectators, found.spectators), (self.axes, found.axes)):
            for name, values in theirs.items():
                mine[name].add(values)
        self.chunks += found.chunks
        self.lazy.n_rows.append(len(columns["event"]))
        self.lazy.doubles |= found.doubles

    def _branches(self, x: DistributedMatrix, order: IntArray) -> Mapping[str, Any]:
        names = sorted(self.recipe.expression_model_branches)
        return DistributedColumns(x.pieces, slice(0, len(x)), tuple(names))


def _sum(first: Input, second: Input) -> Input:
    """Returns what was read of an input in two ranges, without its hashes."""
    return replace(
        first,
        n_entries=first.n_entries + second.n_entries,
        n_rows=first.n_rows + second.n_rows,
        n_unlabelled=first.n_unlabelled + second.n_unlabelled,
    )


def _length(r: Range, sizes: Mapping[Source, int]) -> int:
    return sizes[r.source] if r.spans is None else r.spans[-1][1] - r.spans[0][0]
