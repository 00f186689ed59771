"""Friends of a run's own inputs, from the scores that the run has: only selected rows of no class are still scored."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pidlab.apply.attach import write_attach
from pidlab.apply.outputs import Summary, friend_file, friend_paths, friend_tree, write_tree
from pidlab.apply.scoring import (
    EntryRange,
    Scored,
    Scorer,
    blank_columns,
    fill_columns,
    fill_weights,
    has_folds,
)
from pidlab.apply.workers import threads
from pidlab.errors import DataError
from pidlab.models.fold import Scores
from pidlab.models.threads import one_thread
from pidlab.preprocess.events import Input, input_keys
from pidlab.preprocess.selection import selected
from pidlab.progress import Watcher
from pidlab.read import Source, Table
from pidlab.runs.bundle import Bundle
from pidlab.runs.scored_events import ScoredEvents
from pidlab.sample import IntArray
from pidlab.split import Part


def write_run_friends(
    bundle: Bundle,
    inputs: Sequence[Input],
    scored: ScoredEvents,
    scores: Mapping[str, Scores],
    outputs: Mapping[str, Scores],
    output: Path,
    watcher: Watcher,
) -> None:
    """Writes the friend trees of a run's inputs, with `pid_split`, and `attach.C` and `attach.py` beside them.

    The inputs are read once more, since the run does not keep the rows that it did not use. If all selected rows of an
    input have a class, only its branches of `data.event_id` are read.

    Args:
        bundle: the models.
        inputs: as they were read, in the order of `scored.sample.file`.
        scored: the rows that the run used.
        scores: model to the (n, k) scores of these rows.
        outputs: model to the (n, m) further numbers of these rows.
        output: the folder, which is made if it does not exist.
        watcher: is told of the progress.

    Raises:
        DataError: an input cannot be read, or has changed since the run read it.
        OutputError: a friend file cannot be written, or would replace an input.
    """
    order = np.lexsort((scored.sample.row, scored.sample.file))
    ends = np.searchsorted(scored.sample.file[order], np.arange(len(inputs) + 1))
    own = {each.source: _RunInput(each, order[slice(*ends[i : i + 2])]) for i, each in enumerate(inputs)}
    known = np.unique(scored.sample.event) if has_folds(bundle) else None
    work = _RunScorer(Scorer(bundle, known), scored, scores, outputs, own, input_keys(list(own)))
    summaries: list[Summary] = []
    with (
        watcher.task("scoring", sum(i.n_entries for i in inputs), "entries") as task,
        one_thread(),
        threads(work) as pool,
    ):
        for path, target in friend_paths([source.path for source in own], output).items():
            sources = [source for source in own if source.path == path]
            with friend_file(target, {"input": sources[0].place}) as (file, written):
                for source in sources:
                    with Table(source, bundle.recipe.per) as table:
                        keys = {key: table.dtype(key) for key in bundle.recipe.event_id}
                        counter = table.collection.counter if table.collection else None
                        tree = friend_tree(file, bundle, source, keys, counter, with_split=True)
                        results = pool.run(work.pieces(table))
                        written.append(write_tree(tree, bundle, results, source, target, task))
            summaries += written
    write_attach(output, summaries)


@dataclass(frozen=True, slots=True)
class _RunInput:
    """An input, and the rows of the run's sample that come from it, in their order in the input."""

    read: Input
    used: IntArray


@dataclass(frozen=True, slots=True)
class _RunScorer:
    """Scores the pieces of a run's inputs: the rows that the run used have their scores, and others are scored now."""

    scorer: Scorer
    scored: ScoredEvents
    scores: Mapping[str, Scores]
    outputs: Mapping[str, Scores]
    inputs: Mapping[Source, _RunInput]
    names: Mapping[Source, str]

    def pieces(self, table: Table) -> Iterator[EntryRange]:
        """Yields the entries of an input, chunk by chunk.

        Raises:
            DataError: the input cannot be read, or has changed since the run read it.
        """
        read = self.inputs[table.source].read
        needs_all = read.n_unlabelled or read.n_left_out
        n_rows, start = 0, 0
        for chunk in table.chunks(self.scorer.branches if needs_all else self.scorer.bundle.recipe.event_id):
            stop = start + chunk.n_entries
            yield EntryRange(table.source, self.names[table.source], start, stop, "", chunk)
            n_rows, start = n_rows + chunk.n_rows, stop
        if (start, n_rows) != (read.n_entries, read.n_rows):
            raise DataError(f"{table.source}: was changed while the run was made; make the run again")

    def __call__(self, piece: EntryRange) -> Scored:
        """Returns the friend's branches for the entries of a piece, which brings its chunk."""
        chunk, scorer, sample, own = piece.chunk, self.scorer, self.scored.sample, self.inputs[piece.source]
        assert chunk is not None
        ends = chunk.first_row, chunk.first_row + chunk.n_rows
        used = own.used[slice(*(bisect_left(own.used, end, key=sample.row.__getitem__) for end in ends))]
        rows = sample.row[used] - chunk.first_row
        columns = blank_columns(scorer.bundle, chunk.n_rows)
        spectators = {name: sample.spectators[name][used] for name, _ in scorer.followed}
        for model in scorer.bundle.models:
            numbers = self.scores[model][used], self.outputs[model][used]
            fill_columns(columns, scorer.bundle, model, rows, *numbers, spectators)
        fill_weights(columns, scorer.bundle, rows, spectators, sample.event[used], None)
        n_known = len(rows) if scorer.bundle.recipe.loaded.config.folds else 0
        if own.read.n_unlabelled or own.read.n_left_out:
            others = selected(scorer.bundle.recipe, chunk)
            others[rows] = False
            n_known += scorer.score(columns, chunk, np.flatnonzero(others), piece.name)
        columns["pid_selected"][rows] = True
        columns["pid_split"] = np.full(chunk.n_rows, Part.UNUSED, np.int8)
        columns["pid_split"][rows] = self.scored.part[used]
        return Scored(columns, scorer.keys(chunk), chunk.counts, n_known, {})
